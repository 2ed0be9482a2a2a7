"""Replay: a recorded log of ``noop`` runs through decode and evolve, beside nats-py's bare ordered consumer.

One run is recorded on a real stack; the log replayed holds it many times, under as many run ids.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from kit.cli import alone, run_async
from kit.measure import Bench, Row, pair, ratios, turns
from kit.servers import Runs, nats_server, ours, plain, scratch, stack
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg

from swarm_common import Client
from swarm_common.errors import SwarmError
from swarm_common.events import Event
from swarm_common.events.benchmark import Requested
from swarm_common.events.envelope import decode
from swarm_common.ids import new_id, run_id
from swarm_common.log.eventlog import EventLog
from swarm_coordinator.state import RunState, evolve

TASKS = 500
"""Of the recorded run: its log is 1,002 events."""


async def record() -> list[Event]:
    """Return the events of one ``noop`` run of a real stack."""
    with stack() as (settings, _):
        async with Client(settings=settings) as client, Runs(client) as runs:
            run, _seconds = await runs.run(
                Requested(suite="noop", scenario="throughput", params={"tasks": TASKS})
            )
            events = await client.events(run)
    return [event for event in events if event.type.split(".")[0] in {"benchmark", "agent"}]


async def fill(log: EventLog, recorded: list[Event], total: int) -> int:
    """Import the recorded run under new ids until the log holds ``total`` events; return how many it holds."""
    old, stored, batch = recorded[0].run.encode(), 0, []
    while stored < total:
        new = run_id(new_id()).encode()
        batch = [decode(event.raw.replace(old, new)) for event in recorded]
        for start in range(0, len(batch), 1000):
            await log.import_events(batch[start : start + 1000])
        stored += len(batch)
    return stored


async def _ours(log: EventLog, count: int, on_event: Callable[[Event], None]) -> float:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    seen = 0

    def note(event: Event) -> None:
        nonlocal seen
        on_event(event)
        seen += 1
        if seen == count:
            done.set_result(None)

    began = time.perf_counter()
    replay = await log.replay(note)
    await asyncio.wait_for(done, 60)
    seconds = time.perf_counter() - began
    await replay.stop()
    return count / seconds


async def _folded(log: EventLog, count: int) -> float:
    states: dict[str, RunState] = {}

    def fold(event: Event) -> None:
        states[event.run] = evolve(states.get(event.run) or RunState(run=event.run), event)

    rate = await _ours(log, count, fold)
    if not all(state.over and not state.open for state in states.values()):
        raise SwarmError("the replayed runs are not over: the fold is wrong")
    return rate


async def _plain(nc: NatsClient, count: int) -> float:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    seen = 0

    async def note(_: Msg) -> None:
        nonlocal seen
        seen += 1
        if seen == count:
            done.set_result(None)

    began = time.perf_counter()
    subscription = await nc.jetstream().subscribe(
        "swarm.>", ordered_consumer=True, cb=note, pending_msgs_limit=0, pending_bytes_limit=0
    )
    await asyncio.wait_for(done, 60)
    seconds = time.perf_counter() - began
    await subscription.unsubscribe()
    return count / seconds


async def _measure(quick: bool) -> tuple[list[Row], list[str]]:
    total, repeats = (20_000, 2) if quick else (100_000, 5)
    recorded = await record()
    with scratch() as home, nats_server(home) as url:
        async with ours(url) as log, plain(url) as nc:
            count = await fill(log, recorded, total)
            folded, decoded, bare = await turns(
                repeats,
                lambda _: _folded(log, count),
                lambda _: _ours(log, count, lambda _: None),
                lambda _: _plain(nc, count),
            )
    names = ("EventLog.replay, decode and evolve", "nats-py ordered consumer with a callback that counts")
    rows = pair(folded, bare, names=names, unit="events/s", target=">= 0.6")
    rows.append(
        Row(
            name="no fold",
            what="decode alone / peer",
            unit="x",
            samples=ratios(decoded, bare),
        )
    )
    return rows, [f"{count:,} events of {count // len(recorded)} runs"]


def run(quick: bool) -> tuple[list[Row], list[str]]:
    return run_async(_measure(quick))


BENCH = Bench("replay", "a recorded log replayed through decode and evolve", run)

if __name__ == "__main__":
    alone(BENCH)
