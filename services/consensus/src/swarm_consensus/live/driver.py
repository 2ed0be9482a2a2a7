"""The driver of a live swarm: starts its processes, talks to them, hurts them, and ends them."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from swarm_common.errors import BrokerUnavailable, TaskFailed, UsageError
from swarm_common.mechanisms import MECHANISMS as MODULES
from swarm_consensus.live.client import Client
from swarm_consensus.live.host import LOST, frame, needed
from swarm_consensus.live.keys import publics_of, secrets_for
from swarm_consensus.live.params import ALONE, LiveParams
from swarm_consensus.live.telling import (
    DRIVER,
    TO_DRIVER,
    Answer,
    Ask,
    Decide,
    Done,
    Elsewhere,
    Go,
    Hosting,
    Leads,
    Ready,
    Said,
    Turn,
)
from swarm_consensus.live.wire import Wire
from swarm_consensus.protocols.core import Mechanism, Value
from swarm_consensus.protocols.quorum import faulty

_SHARED = 4
"""Processes of a swarm whose agents share them."""
_START_S = 60.0
_END_S = 5.0
_LOOK_S = 0.002
_PATIENCE_MS = 10_000.0
_PATIENCE_TICKS = 100
_LIARS_FIRST_TICKS = 100
_SAID = 1500

T = TypeVar("T")


class Swarm:
    """Host processes of one measurement, and the way to them. Made by :func:`swarm`."""

    def __init__(self, params: LiveParams, url: str, run: str, directory: Path, seed: int) -> None:
        self.params = params
        self.mechanism: Mechanism = importlib.import_module(MODULES[params.mechanism]).MECHANISM
        self.n = params.agents
        self.needed = needed(self.mechanism, self.n)
        """How many agents must say the same for a client to believe it."""
        self.seed = seed
        self.liars = _liars(params, self.mechanism)
        self.victims = _victims(params, self.mechanism)
        self.honest = tuple(agent for agent in range(self.n) if agent not in self.liars)
        self.hosts = _spread(params, self.victims)
        self.where = {agent: host for host, agents in enumerate(self.hosts) for agent in agents}
        self.tick_ms = params.tick_ms or _tick_ms(self.mechanism, self.n)
        self.patience_s = (params.patience_ms or max(_PATIENCE_MS, _PATIENCE_TICKS * self.tick_ms)) / 1e3
        """How long a client waits for one decision."""
        self.leaders: dict[int, int] = {}
        """Whom each agent names, as it last said."""
        self.down: set[int] = set()
        """Hosts that were killed and have not come back."""
        self.decided: dict[int, list[tuple[int, Value]]] = {agent: [] for agent in range(self.n)}
        self.clients: dict[int, Client] = {}
        self.answers: list[Answer] = []
        self._url = url
        self._run = run
        self._directory = directory
        self._secrets = secrets_for(self.mechanism, range(self.n), params.authentication)
        self._publics = publics_of(self._secrets, params.authentication)
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._ready: set[int] = set()
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(TO_DRIVER).decode
        self._wire = Wire(self._deliver, self._settle, self._lost, echo=False)
        self._heard: list[_Heard[Any]] = []
        self._broken: BaseException | None = None
        self._prefix = f"wire.{run}."

    # --- processes ----------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start all hosts and return when they are ready to begin."""
        await self._wire.connect(self._url, name="swarm-live-driver")
        self._wire.subscribe(1, f"{self._prefix}told")
        await self._wire.flushed()
        for host in range(len(self.hosts)):
            await self._start(host, restarted=False)
        await self.until(lambda: len(self._ready) == len(self.hosts), _START_S, "hosts to be ready")
        if self.liars:
            # The worst case is a liar that leads: liars' clocks run first, so that one does where it can.
            for host in sorted({self.where[liar] for liar in self.liars}):
                self.say(host, Go())
            patience_s = _LIARS_FIRST_TICKS * self.tick_ms / 1e3
            await self.soon(lambda: any(self.leaders.get(liar) == liar for liar in self.liars), patience_s)
        self.say_all(Go())

    async def _start(self, host: int, *, restarted: bool) -> None:
        hosting = Hosting(
            run=self._run,
            url=self._url,
            host=host,
            hosts=self.hosts,
            mechanism=self.params.mechanism,
            directory=str(self._directory),
            fsync=self.params.fsync,
            tick_ms=self.tick_ms,
            seed=self.seed,
            secrets={agent: self._secrets[agent] for agent in self.hosts[host] if agent in self._secrets},
            publics=self._publics,
            parent=os.getpid(),
            liars=self.liars,
            options=self.params.options,
            restarted=restarted,
        )
        with (self._directory / f"host-{host}.err").open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "swarm_consensus.live.host",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=errors,
            )
        self._processes[host] = process
        assert process.stdin is not None  # noqa: S101 - asked for
        process.stdin.write(frame(hosting))

    async def kill(self, host: int) -> None:
        """End a host at once, as ``kill -9`` does, and its agents with it."""
        self.down.add(host)
        self._ready.discard(host)
        for agent in self.hosts[host]:
            self.leaders.pop(agent, None)
        process = self._processes.pop(host)
        process.kill()
        await process.wait()

    async def restart(self, host: int) -> None:
        """Start a killed host again, with what is on its agents' disks, and return when it has begun."""
        await self._start(host, restarted=True)
        await self.until(lambda: host in self._ready, _START_S, f"host {host} to come back")
        self.down.discard(host)

    async def stop(self) -> None:
        """End all hosts: gently, by the end of their input, and after a while by their pids."""
        for process in self._processes.values():
            if process.stdin is not None:
                with contextlib.suppress(OSError, RuntimeError):
                    process.stdin.write(b".")
                process.stdin.close()
        for process in self._processes.values():
            try:
                await asyncio.wait_for(process.wait(), _END_S)
            except TimeoutError:
                process.kill()
                await process.wait()
        self._processes.clear()
        self._wire.close()

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes.values()]

    # --- the wire -----------------------------------------------------------------------------------------

    def say(self, host: int, what: Said) -> None:
        """Tell one host something."""
        self._wire.send(f"{self._prefix}to.{host}".encode(), self._encode(what))
        self._wire.flush()

    def say_all(self, what: Said) -> None:
        """Tell every host that is up."""
        for host in self.up:
            self.say(host, what)

    def ask(self, client: int, agent: int, value: Value) -> None:
        """Ask an agent in a client's name, with the next :meth:`flush`."""
        # Where agents may lie, all must know who waits for an answer.
        alone = agent >= 0 and self.needed == 1
        subject = f"{self._prefix}to.{self.where[agent]}" if alone else f"{self._prefix}asked"
        self._wire.send(subject.encode(), self._encode(Ask(agent, value, client, DRIVER)))

    async def decide(
        self,
        values: Sequence[Value],
        *,
        rounds: int = 0,
        patience_s: float = 0.0,
        limit_s: float = 600.0,
        home: int | None = None,
    ) -> list[Turn]:
        """Have values decided one after the other, asked for by a client beside an agent; return a turn each.

        Args:
            values: What is asked for.
            rounds: Before how many of them a round of all agents is measured.
            patience_s: How long the client waits for one, if not as long as others; it gives up when it has waited
                twice in a row.
            limit_s: How long all may take.
            home: The agent that the client is beside; by default the leader, or where it lies another that does not.
        """
        if home is None:
            honest = [agent for agent in self.alive if agent in self.honest and agent not in self.victims]
            home = self.leader if self.leader in honest else honest[0]
        assert home is not None  # noqa: S101 - the first of the honest
        patience_s = patience_s or self.patience_s
        leader = home if self.leaders.get(home) == home or self.leader is None else self.leader
        order = Decide(home, 0, tuple(values), rounds, len(self.alive), patience_s, leader)
        with self.listen(Turn) as turns, self.listen(Done) as done:
            self.say(self.where[home], order)
            limit_s = min(limit_s, (len(values) + 2) * patience_s) + patience_s
            await self.until(lambda: bool(done.said), limit_s, "decisions one after the other")
            return list(turns.said)

    def flush(self) -> None:
        """Send what clients have asked."""
        self._wire.flush()

    @property
    def up(self) -> list[int]:
        """Hosts that run."""
        return [host for host in range(len(self.hosts)) if host not in self.down]

    @property
    def alive(self) -> list[int]:
        """Agents whose hosts run."""
        return sorted(agent for host in self.up for agent in self.hosts[host])

    @property
    def leader(self) -> int | None:
        """An agent alive that names itself and is named by most; the lowest where several are; ``None``: nobody."""
        alive = set(self.alive)
        named = [leader for agent, leader in self.leaders.items() if agent in alive]
        own = [agent for agent in sorted(alive) if self.leaders.get(agent) == agent]
        return min(own, key=lambda agent: (-named.count(agent), agent), default=None)

    def _deliver(self, sid: int, subject: bytes, payload: bytes) -> None:  # noqa: ARG002 - one subscription
        said = self._decode(payload)
        if isinstance(said, Answer):
            self.answers.append(said)
            client = self.clients.get(said.client)
            if client is not None:
                client.answered(said)
        elif isinstance(said, Elsewhere):
            client = self.clients.get(said.client)
            if client is not None:
                client.elsewhere(said.asked, said.agent)
        elif isinstance(said, Leads):
            self.leaders[said.agent] = said.leader
        elif isinstance(said, Ready):
            self._ready.add(said.host)
        for heard in self._heard:
            heard.take(said)

    def _settle(self) -> None:
        self._wire.flush()

    def _lost(self, reason: str) -> None:
        self._broken = BrokerUnavailable(reason)

    def listen(self, kind: type[T]) -> _Heard[T]:
        """Return what collects all that is said of a kind from now on, until it is closed."""
        heard = _Heard(kind, self._heard)
        self._heard.append(heard)
        return heard

    async def until(self, condition: Callable[[], bool], patience_s: float, what: str) -> None:
        """Return when ``condition()`` holds.

        Raises:
            TaskFailed: It does not within ``patience_s``, or a host has ended that nobody has killed.
            BrokerUnavailable: The broker is gone.
        """
        if not await self.soon(condition, patience_s):
            raise TaskFailed(f"waited {patience_s:.0f} s for {what}; {self._errors()}", retryable=True)

    async def soon(self, condition: Callable[[], bool], patience_s: float) -> bool:
        """Return whether ``condition()`` comes to hold in time; raises as :meth:`until` does where something broke."""
        deadline = time.perf_counter() + patience_s
        while not condition():
            self._look()
            if time.perf_counter() > deadline:
                return False
            await asyncio.sleep(_LOOK_S)
        return True

    def _look(self) -> None:
        if self._broken is not None:
            raise self._broken
        for host, process in self._processes.items():
            if process.returncode is not None:
                if process.returncode == LOST:
                    raise BrokerUnavailable(f"host {host} lost the broker: {self._errors()}")
                raise TaskFailed(
                    f"host {host} ended with status {process.returncode}: {self._errors()}", retryable=True
                )
        for client in list(self.clients.values()):
            client.look()
        self._wire.flush()

    def _errors(self) -> str:
        said = [
            path.read_text(encoding="utf-8", errors="replace").strip()
            for path in sorted(self._directory.glob("host-*.err"))
        ]
        return " | ".join(text for text in said if text)[-_SAID:] or "hosts say nothing"


class _Heard(Generic[T]):
    """Collects what is said of one kind."""

    def __init__(self, kind: type[T], among: list[_Heard[Any]]) -> None:
        self.said: list[T] = []
        self._kind = kind
        self._among = among

    def take(self, said: Any) -> None:
        if isinstance(said, self._kind):
            self.said.append(said)

    def __enter__(self) -> _Heard[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self._among.remove(self)


@contextlib.asynccontextmanager
async def swarm(
    params: LiveParams, url: str, *, seed: int = 0, home: Path | None = None
) -> AsyncIterator[Swarm]:
    """Give a running swarm; its processes and disks are gone afterwards.

    ``home`` is where its disks are made; by default the temporary directory.
    """
    directory = Path(tempfile.mkdtemp(prefix="swarm-live-", dir=home))
    made = Swarm(params, url, secrets.token_hex(6), directory, seed)
    try:
        await made.start()
        yield made
    finally:
        await made.stop()
        shutil.rmtree(directory, ignore_errors=True)


# --- who shares a process, who dies, who lies -----------------------------------------------------------------


def _tick_ms(mechanism: Mechanism, n: int) -> float:
    """Return how long a tick is: protocols have their time-outs in ticks, and should not doubt who is only busy.

    A process handles a message in some ten microseconds, where nobody signs and it has a core to itself.
    """
    return max(10.0, n / 4, 0.03 * mechanism.fault_free(n))


def _liars(params: LiveParams, mechanism: Mechanism) -> dict[int, str]:
    if not params.fault.startswith("byzantine"):
        return {}
    if params.behaviour != "silence" and params.behaviour not in mechanism.lies:
        allowed = ", ".join([*mechanism.lies, "silence"])
        raise UsageError(
            f"liars of {mechanism.name} do no {params.behaviour!r}; they do {allowed}",
            field="behaviour",
            given=params.behaviour,
            allowed=allowed,
        )
    # As many as any mechanism can stand, so that all face the same: one at least, or nothing is tried.
    may = max(1, faulty(params.agents))
    count = may if params.fault == "byzantine" else max(may, faulty(params.agents) + 1)
    return dict.fromkeys(range(count), params.behaviour)


def _victims(params: LiveParams, mechanism: Mechanism) -> tuple[int, ...]:
    """Return who is killed where f agents crash: the last ones."""
    if params.fault != "crashes":
        return ()
    return tuple(range(params.agents - mechanism.crashes(params.agents), params.agents))


def _spread(params: LiveParams, victims: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Return the agents of every process. Who is to be killed shares none with those who are not."""
    n = params.agents
    processes = params.processes or (n if n <= ALONE else _SHARED)
    rest = [agent for agent in range(n) if agent not in victims]
    of_victims = min(len(victims), max(1, round(processes * len(victims) / n))) if victims else 0
    of_rest = max(1, min(len(rest), processes - of_victims))
    groups = [tuple(rest[at::of_rest]) for at in range(of_rest)]
    groups += [tuple(victims[at::of_victims]) for at in range(of_victims)]
    return tuple(groups)
