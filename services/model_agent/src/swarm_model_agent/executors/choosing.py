"""Which executor answers a turn: made when first asked for, shared by all turns, closed with the service."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

import msgspec

from swarm_common.errors import UsageError
from swarm_common.events.agent import Called
from swarm_common.llm import Request, Response
from swarm_common.settings import Settings
from swarm_model_agent.acting.params import ActParams
from swarm_model_agent.acting.spending import Price, Purse
from swarm_model_agent.executors import embedded
from swarm_model_agent.executors.apart import Apart, Loop
from swarm_model_agent.executors.core import Endpoint, Executor, Patient, Pause
from swarm_model_agent.executors.pace import Pace
from swarm_model_agent.executors.recorded import Recorded, Recording

Calls = Callable[[str], Awaitable[Sequence[Called]]]
"""Returns the calls of a run."""
#: Recordings that are kept at hand.
_RECORDINGS = 4
#: Servers of the embedded model that a request may see, one after another.
_SERVERS = 3
#: How long a server beside is waited for that is not there, and how long between asking for it.
_STARTING_S, _AGAIN_S = 60.0, 1.0


class Embedded:
    """The embedded model: its server starts with the first request, and again where it has died."""

    def __init__(self, options: embedded.Options | None = None) -> None:
        self.model = embedded.MODEL
        self._options = options or embedded.Options()
        self._starting = asyncio.Lock()
        self._server: embedded.Server | None = None
        self._asked: Patient | None = None
        self._before: list[Patient] = []

    async def run(self, request: Request) -> Response:
        """Ask the server; a new one where it died over the request, twice at most."""
        left, began = _SERVERS, time.perf_counter()
        while True:
            server, asked = await self._ready()
            waited = time.perf_counter() - began
            found = waited_for(await asked.run(request), waited)
            left -= 1
            # Whether this server died, not the one that another request may have started meanwhile.
            died = found.trouble in {"unreachable", "interrupted"} and await server.ended()
            if not (died and left):
                return found

    async def _ready(self) -> tuple[embedded.Server, Patient]:
        async with self._starting:
            if self._server is None or not self._server.alive or self._asked is None:
                await self._end()
                self._server = await embedded.Server.start(self._options)
                endpoint = await asyncio.to_thread(_llama, self._server.url, self.model)
                self._asked = Patient(endpoint, slots=self._options.slots)
            return self._server, self._asked

    @property
    def pid(self) -> int | None:
        """Of the server, while there is one."""
        return self._server.pid if self._server and self._server.alive else None

    async def close(self) -> None:
        """End the server."""
        async with self._starting:
            await self._end()
            while self._before:
                await self._before.pop().close()

    async def _end(self) -> None:
        if self._asked is not None:
            self._before.append(
                self._asked
            )  # others may be asking by it still, and shall learn that nobody is there
            self._asked = None
        if self._server is not None:
            await self._server.stop()
            self._server = None


class Beside:
    """The embedded model on a server that somebody else runs, as a container beside this one."""

    def __init__(self, endpoint: Endpoint, *, pause: Pause = asyncio.sleep) -> None:
        self.model = endpoint.model
        self._asked = Patient(endpoint, slots=1, pause=pause)
        self._pause = pause

    async def run(self, request: Request) -> Response:
        """Ask the server; again while it is not there, for as long as one takes to be started anew."""
        began = time.perf_counter()
        while True:
            waited = time.perf_counter() - began
            found = waited_for(await self._asked.run(request), waited)
            away = found.trouble in {"unreachable", "interrupted", "overloaded"}
            if not away or waited > _STARTING_S:
                return found
            await self._pause(_AGAIN_S)

    async def close(self) -> None:
        """Close the connections; the server stays."""
        await self._asked.close()


def waited_for(found: Response, seconds: float) -> Response:
    """Return an answer whose timings tell of a wait before it was asked for."""
    timings = found.timings
    timings = msgspec.structs.replace(
        timings, queue_s=timings.queue_s + seconds, total_s=timings.total_s + seconds
    )
    return msgspec.structs.replace(found, timings=timings)


def _llama(url: str, model: str) -> Endpoint:
    from swarm_model_agent.executors.openai import OpenAI  # noqa: PLC0415 - an extra, and slow

    return OpenAI(url, model, dialect="llama.cpp", api_key="")


def is_here(url: str) -> bool:
    """Say whether an address is this machine's own, by its words alone."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


class Executors:
    """All executors of a service."""

    def __init__(self, settings: Settings, *, here: Callable[[str], bool] = is_here) -> None:
        """Make none yet.

        Args:
            settings: Of the service.
            here: Says of an address whether it is on this machine, where nobody asks for money.
        """
        self._settings = settings
        self._here = here
        self._purses: dict[str, Purse] = {}
        self._made: dict[tuple[str, str], Executor] = {}
        self._recordings: dict[tuple[str, str], Recording] = {}
        self._making = asyncio.Lock()
        self._loop = Loop()

    async def of(self, params: ActParams, calls: Calls, task: str = "") -> Executor:
        """Return the executor that a turn asks for.

        Args:
            params: The turn.
            calls: Reads the calls of a recording.
            task: Whose turn it is: a recording is asked for the answer in the task of this name first.

        Raises:
            UsageError: It is not there, or lacks a setting; the message says what to set or install.
        """
        kind = self.kind(params)
        async with self._making:
            if kind == "recorded":
                recording = await self._recorded(params, calls)
                return Recorded(recording, task, honour_latency=params.honour_latency)
            made = self._made.get((kind, params.model))
            if made is None:
                # In a thread: the libraries take a second to load, in which nothing else would be heard of.
                made = await asyncio.to_thread(self._make, kind, params.model)
                self._made[kind, params.model] = made
        return made

    def costs(self, params: ActParams) -> str:
        """Return, in words, the endpoint of a turn where it may cost money; empty where it does not.

        A price that is set decides for an endpoint of OpenAI's protocol; without one, all but this machine may cost.
        """
        kind = self.kind(params)
        if kind in {"anthropic", "claude-code"}:
            return f"executor {kind}"
        if kind != "openai" or not self._settings.llm_url:
            return ""
        free = self._here(self._settings.llm_url) if self.price is None else self.price.free
        return "" if free else f"the endpoint at {urlsplit(self._settings.llm_url).hostname}"

    def counted(self, params: ActParams) -> bool:
        """Say whether it is known what a call of a turn costs: by a price that is set, or by the endpoint itself."""
        return self.price is not None or self.kind(params) == "claude-code"

    @property
    def price(self) -> Price | None:
        """Of tokens, where it is set."""
        return Price(*self._settings.llm_prices) if self._settings.llm_prices else None

    def purse(self, run: str) -> Purse:
        """Return what a run spends through this process."""
        return self._purses.setdefault(run, Purse())

    def kind(self, params: ActParams) -> str:
        """Return which executor answers a turn: ``default`` is the endpoint that is set, else the embedded model."""
        if params.executor != "default":
            return params.executor
        return "openai" if self._settings.llm_url else "embedded"

    def _make(self, kind: str, model: str) -> Executor:
        if kind == "embedded":
            if model not in {"", embedded.MODEL}:
                raise UsageError(
                    f"params.model is {model!r}; the embedded model is {embedded.MODEL}",
                    field="params.model",
                    given=model,
                    allowed=embedded.MODEL,
                )
            if self._settings.embedded_url:
                return Beside(_llama(self._settings.embedded_url, embedded.MODEL))
            embedded.weights()
            return Embedded()
        if kind == "openai":
            if not self._settings.llm_url:
                raise UsageError(
                    "executor openai asks an endpoint, and none is set: set SWARM_LLM_URL (and SWARM_LLM_MODEL) "
                    "before the stack starts, or use executor embedded",
                    field="params.executor",
                    given=kind,
                )
            from swarm_model_agent.executors.openai import OpenAI  # noqa: PLC0415 - an extra, and slow

            return self._patient(OpenAI(self._settings.llm_url, model or self._settings.llm_model))
        if kind == "anthropic":
            if not model:
                raise UsageError(
                    "executor anthropic needs params.model, the name of one of its models",
                    field="params.model",
                )
            from swarm_model_agent.executors.anthropic import Anthropic  # noqa: PLC0415 - an extra, and slow

            return self._patient(Anthropic(model))
        from swarm_model_agent.executors.claude_code import ClaudeCode  # noqa: PLC0415 - rarely wanted

        return Patient(ClaudeCode(model), slots=4, pace=self._pace())

    def _patient(self, endpoint: Endpoint) -> Patient:
        """Return an executor whose endpoint is asked beside the service's own event loop."""
        slots = self._settings.llm_slots
        return Patient(Apart(endpoint, self._loop), slots=slots, pace=self._pace())

    def _pace(self) -> Pace:
        return Pace(self._settings.llm_rpm, self._settings.llm_tpm)

    async def _recorded(self, params: ActParams, calls: Calls) -> Recording:
        if not params.recording:
            raise UsageError(
                "executor recorded needs params.recording, the run whose answers are repeated",
                field="params.recording",
            )
        found = self._recordings.get((params.recording, params.model))
        if found is None:
            made = await calls(params.recording)
            models = {call.model for call in made} if not params.model else {params.model}
            if len(models) != 1:
                raise UsageError(
                    f"run {params.recording} has calls of {', '.join(sorted(models)) or 'no model'}; "
                    + (
                        "name one as params.model"
                        if models
                        else "name a run that asked one as params.recording"
                    ),
                    field="params.model" if models else "params.recording",
                    given=params.recording,
                )
            (model,) = models
            while len(self._recordings) >= _RECORDINGS:
                del self._recordings[next(iter(self._recordings))]
            found = self._recordings[params.recording, params.model] = Recording(made, model)
        return found

    async def close(self) -> None:
        """Close all."""
        await asyncio.gather(*(executor.close() for executor in self._made.values()))
        self._made.clear()
        await self._loop.close()
