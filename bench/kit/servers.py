"""What is measured on: a broker, or a whole stack, in a temporary directory, on loopback, on free ports."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import msgspec
from nats.aio.client import Client as NatsClient

from swarm_cli.stack import control
from swarm_cli.stack.broker import binary
from swarm_cli.stack.layout import State
from swarm_common import Client
from swarm_common.errors import SwarmError
from swarm_common.events import Event
from swarm_common.events.benchmark import TERMINAL, Requested
from swarm_common.ids import new_id, run_id
from swarm_common.log.broker import Broker
from swarm_common.log.eventlog import EventLog
from swarm_common.log.reader import Replay
from swarm_common.log.streams import ensure_streams
from swarm_common.runs import AFTERMATH
from swarm_common.settings import Settings

_PATIENCE_S = 20.0


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Give a directory that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="swarm-bench-", ignore_cleanup_errors=True) as path:
        yield Path(path)


@contextlib.contextmanager
def child(command: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process and end it, by its pid, and wait for its end."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def nats_server(home: Path, *, sync: str = "2m") -> Iterator[str]:
    """Run a broker with settings like the embedded one's; give its URL. ``sync="always"`` is the profile `durable`."""
    conf = home / "nats.conf"
    conf.write_text(
        f'listen: "127.0.0.1:-1"\nmax_payload: 1MB\nports_file_dir: "{home}"\n'
        f'jetstream {{ store_dir: "{home}/store", sync_interval: {sync} }}\n'
    )
    with (
        (home / "nats.log").open("ab") as log,
        child([str(binary()), "-c", str(conf)], stdout=log, stderr=log),
    ):
        yield until(lambda: _ports(home), f"nats-server in {home}")


def _ports(home: Path) -> str:
    with contextlib.suppress(OSError, ValueError, LookupError):
        (ports,) = home.glob("*.ports")
        return str(json.loads(ports.read_text())["nats"][0])
    return ""


def until(condition: Callable[[], Any], what: str, patience_s: float = _PATIENCE_S) -> Any:
    """Wait until ``condition()`` is true and return what it returned."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.01)
    raise TimeoutError(f"{what}: nothing within {patience_s:.0f} s")


@contextlib.asynccontextmanager
async def ours(url: str) -> AsyncIterator[EventLog]:
    """Give our log over a connection of its own, with its streams."""
    broker = await Broker.connect(url, name="bench-ours")
    await ensure_streams(broker)
    log = await EventLog(broker).start()
    try:
        yield log
    finally:
        await log.close()
        await broker.close()


@contextlib.asynccontextmanager
async def plain(url: str) -> AsyncIterator[NatsClient]:
    """Give nats-py's own client."""
    nc = NatsClient()
    await nc.connect(url, name="bench-plain", pending_size=16 * 1024 * 1024)
    try:
        yield nc
    finally:
        await nc.close()


@contextlib.contextmanager
def stack(
    replicas: Mapping[str, int] | None = None,
    *,
    cpu_workers: int = 0,
    sample_s: float = 1.0,
    llm_url: str = "",
) -> Iterator[tuple[Settings, State]]:
    """Run the embedded stack in a directory of its own; it is ready when this gives it.

    ``cpu_workers`` is how many processes train; 0 means one a core. ``sample_s`` and ``llm_url`` are as in settings.
    """
    with scratch() as home:
        settings = Settings(
            home=str(home),
            nats_port=0,
            log_level="warning",
            cpu_workers=cpu_workers,
            sample_s=sample_s,
            llm_url=llm_url,
        )
        started = control.up(settings, replicas)
        try:
            yield settings, started.state
        finally:
            control.down(settings)
            if started.supervisor is not None:
                started.supervisor.wait(30)


class Runs:
    """Requests runs one by one and waits for their end, with one light subscription for all of them."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._waiting: dict[str, _Waiting] = {}
        self._replays: list[Replay] = []

    async def __aenter__(self) -> Self:
        after = await self._client.log.last_seq()
        for name in sorted(TERMINAL | AFTERMATH):
            context, event = name.split(".")
            replay = await self._client.log.replay(
                self._note, subject=f"swarm.{context}.*.{event}", after=after
            )
            self._replays.append(replay)
        return self

    async def __aexit__(self, *_: object) -> None:
        for replay in self._replays:
            await replay.stop()

    def _note(self, event: Event) -> None:
        waiting = self._waiting.get(event.run)
        if waiting is None:
            return
        waiting.seen.add(event.type)
        if event.type in TERMINAL:
            waiting.ended.set()
        if waiting.seen >= AFTERMATH:
            waiting.settled.set()

    async def run(
        self, request: Requested, *, settle: bool = False, patience_s: float = 120.0
    ) -> tuple[str, float]:
        """Return the run's id and the seconds from before its request was sent until its end was seen here.

        With ``settle`` this returns when what follows a run is over, too, so that the next finds an idle stack.
        """
        request_id = new_id()
        run = run_id(request_id)
        waiting = self._waiting[run] = _Waiting(asyncio.Event(), asyncio.Event())
        began = time.perf_counter()
        await self._client.request(request, request_id=request_id)
        await asyncio.wait_for(waiting.ended.wait(), patience_s)
        seconds = time.perf_counter() - began
        if "benchmark.completed" not in waiting.seen:
            raise SwarmError(f"run {run} did not complete: {waiting.seen}")
        if settle:
            await asyncio.wait_for(waiting.settled.wait(), patience_s)
        del self._waiting[run]
        return run, seconds


class _Waiting(msgspec.Struct):
    ended: asyncio.Event
    settled: asyncio.Event
    seen: set[str] = set()
