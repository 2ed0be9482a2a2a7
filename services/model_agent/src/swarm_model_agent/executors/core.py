"""One way to ask any model: :class:`Executor`. An adapter answers once; trying again, waiting and bounds are here.

An adapter (:class:`Endpoint`) knows one protocol. It raises :class:`Failed` for what went wrong, by class, and says
what its protocol can be told (:attr:`Endpoint.abilities`): a request that asks for more is refused, for an option that
is silently ignored makes two runs differ that claim to be alike.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Literal, Protocol

import msgspec

from swarm_common.llm import TRANSIENT, Choices, Grammar, Request, Response, Schema, Trouble, check
from swarm_model_agent.executors.pace import Pace

Ability = Literal["temperature", "top_p", "seed", "stop", "tools", "choices", "grammar", "schema"]

#: Waiting between tries where the endpoint does not say how long: so many seconds, doubled each time.
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
#: More than this of an answer is not read.
MOST_BYTES = 8 * 1024 * 1024


class Failed(Exception):
    """An attempt came to nothing.

    Attributes:
        trouble: Its class, see :class:`~swarm_common.llm.Response`.
        pause_s: How long the endpoint wants to be left alone; ``None``: it does not say.
        raw: What came, as far as it came.
    """

    def __init__(self, trouble: Trouble, why: str, *, pause_s: float | None = None, raw: bytes = b"") -> None:
        super().__init__(why)
        self.trouble = trouble
        self.pause_s = pause_s
        self.raw = raw


class Endpoint(Protocol):
    """An adapter: one protocol, one model."""

    model: str
    abilities: frozenset[Ability]

    async def answer(self, request: Request) -> Response:
        """Ask once and return what came; raises :class:`Failed`. Of the timings only ``first_token_s`` is filled in."""
        ...

    async def close(self) -> None:
        """Let go of connections and processes."""
        ...


class Executor(Protocol):
    """Whatever answers requests: an endpoint with patience, or a recording."""

    model: str

    async def run(self, request: Request) -> Response:
        """Return the answer, or a response whose ``trouble`` says what went wrong; raises nothing but cancellation.

        Raises:
            UsageError: No endpoint could answer such a request.
        """
        ...

    async def close(self) -> None:
        """Let go of what it holds."""
        ...


Pause = Callable[[float], Awaitable[None]]


class Patient:
    """An :class:`Executor` over an endpoint: so many requests at once, so fast, tries within the request's limits."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        slots: int = 1024,
        pause: Pause = asyncio.sleep,
        pace: Pace | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.model = endpoint.model
        self._slots = asyncio.Semaphore(slots)
        self._pause = pause
        self._pace = pace or Pace()

    async def run(self, request: Request) -> Response:
        """Ask, again where another try may help, until there is an answer or the limits are reached."""
        check(request)
        began = time.perf_counter()
        if missing := _beyond(request, self.endpoint.abilities):
            return Response(
                model=self.model,
                finish="other",
                trouble="refused_request",
                why=f"{self.model} cannot be told {missing}; leave it out, or ask another endpoint",
            )
        tries, sent, failed = 0, began, Failed("timeout", "its turn did not come in time")
        try:
            async with asyncio.timeout(request.limits.time_s), self._slots:
                while True:
                    reckoned = await self._pace.enter(request)
                    tries += 1
                    sent = time.perf_counter()
                    try:
                        found = await self.endpoint.answer(request)
                    except Failed as error:
                        failed = error
                        if error.trouble not in TRANSIENT or tries >= request.limits.tries:
                            break
                    else:
                        self._pace.counted(reckoned, found)
                        return _timed(found, began, sent, tries)
                    await self._pause(_pause_s(failed, tries))
        except TimeoutError:
            if tries:
                last = f"; the last of {tries} tries failed: {failed}" if tries > 1 else ""
                failed = Failed("timeout", f"no answer in {request.limits.time_s:g} s{last}", raw=failed.raw)
        return _timed(
            Response(
                model=self.model, finish="other", raw=failed.raw, trouble=failed.trouble, why=str(failed)
            ),
            began,
            sent,
            max(tries, 1),
        )

    async def close(self) -> None:
        """Close the endpoint."""
        await self.endpoint.close()


def _pause_s(failed: Failed, tries: int) -> float:
    doubled = min(FIRST_PAUSE_S * 2 ** (tries - 1), LONGEST_PAUSE_S)
    return doubled if failed.pause_s is None else failed.pause_s


def _timed(response: Response, began: float, sent: float, tries: int) -> Response:
    timings = msgspec.structs.replace(
        response.timings, queue_s=sent - began, total_s=time.perf_counter() - began, tries=tries
    )
    return msgspec.structs.replace(response, timings=timings)


def _beyond(request: Request, abilities: frozenset[Ability]) -> str:
    """Return what a request asks for that the endpoint cannot be told, in words; empty where there is nothing."""
    sampling, constraint = request.sampling, request.constraint
    asked: dict[Ability, bool] = {
        "temperature": sampling.temperature is not None,
        "top_p": sampling.top_p is not None,
        "seed": sampling.seed is not None,
        "stop": bool(sampling.stop),
        "tools": bool(request.tools),
        "choices": isinstance(constraint, Choices),
        "grammar": isinstance(constraint, Grammar),
        "schema": isinstance(constraint, Schema),
    }
    return ", ".join(name for name, wanted in asked.items() if wanted and name not in abilities)
