"""Appending: EventLog.append_once with 500 in flight, beside nats-py's own ``js.publish``.

The peer gets subject, body and headers ready made; ours gets events, and encodes them within the time that counts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from kit.cli import alone, run_async
from kit.measure import Bench, Row, pair, turns
from kit.servers import nats_server, ours, plain, scratch

from swarm_common.events import Event
from swarm_common.events.agent import TaskDone
from swarm_common.events.envelope import new_event
from swarm_common.ids import new_id, trace_id
from swarm_common.log import publisher
from swarm_common.log.eventlog import EventLog
from swarm_common.tracing import root

IN_FLIGHT = 500
#: Sizes at which the crossover of single publishes and one atomic batch is shown.
_SIZES = (4, 16, 48, 128, 500)


def task_done(count: int) -> list[Event]:
    """Return events as a worker writes them."""
    run, cause = new_id(), new_id()
    parent = root(trace_id(cause))
    return [
        new_event(
            TaskDone(task=f"noop-{index}", index=index, elapsed_us=1.5),
            run=run,
            source="/swarm/model_agent/bench-1",
            cause=cause,
            handler="model_agent.noop",
            index=index,
            correlation=cause,
            traceparent=parent,
            duration_us=100,
        )
        for index in range(count)
    ]


async def in_flight(items: Sequence[Any], send: Callable[[Any], Coroutine[Any, Any, Any]]) -> float:
    """Send all items from ``IN_FLIGHT`` tasks that each await their acknowledgement; return how many a second."""
    left = iter(items)

    async def work() -> None:
        for item in left:
            await send(item)

    began = time.perf_counter()
    await asyncio.gather(*[work() for _ in range(IN_FLIGHT)])
    return len(items) / (time.perf_counter() - began)


async def _measure(quick: bool) -> tuple[list[Row], list[str]]:
    count, repeats = (5_000, 3) if quick else (20_000, 7)
    with scratch() as home, nats_server(home) as url:
        async with ours(url) as log, plain(url) as nc:
            js = nc.jetstream()

            async def append(_: int) -> float:
                return await in_flight(task_done(count), log.append_once)

            async def publish(_: int) -> float:
                ready = [await log._message(event) for event in task_done(count)]  # noqa: SLF001 - the very same bytes
                return await in_flight(ready, lambda m: js.publish(m.subject, m.body, headers=m.headers))

            rates = await turns(repeats, append, publish)
            rows = pair(
                *rates,
                names=(
                    "EventLog.append_once, encoding included",
                    "nats-py js.publish from 500 tasks, bytes ready made",
                ),
                unit="events/s",
                target=">= 0.8",
            )
    for profile, sync in (("fast", "2m"), ("durable", "always")):
        with scratch() as home, nats_server(home, sync=sync) as url:
            async with ours(url) as log:
                for size in (64,) if quick else _SIZES:
                    rows.append(await _crossover(log, profile, size, 3 if quick else 9))
    return rows, [
        "N together: below 1 an atomic batch is the faster; publisher.BATCH_FROM is a compromise between the profiles"
    ]


async def _crossover(log: EventLog, profile: str, size: int, repeats: int) -> Row:
    """Compare one atomic batch with as many single publishes."""

    async def batch(_: int) -> float:
        events = task_done(size)
        began = time.perf_counter()
        await log.append(events)
        return time.perf_counter() - began

    async def single(_: int) -> float:
        events = task_done(size)
        before, publisher.BATCH_FROM = publisher.BATCH_FROM, 1_000_000
        try:
            began = time.perf_counter()
            await asyncio.gather(*[log.append_once(event) for event in events])
            return time.perf_counter() - began
        finally:
            publisher.BATCH_FROM = before

    batches, singles = await turns(repeats, batch, single)
    return Row(
        name=f"{profile}, {size} together",
        what="one atomic batch / as many single publishes",
        unit="x",
        samples=tuple(a / b for a, b in zip(batches, singles, strict=True)),
    )


def run(quick: bool) -> tuple[list[Row], list[str]]:
    return run_async(_measure(quick))


BENCH = Bench("append", "events appended with 500 in flight, each one acknowledged", run)

if __name__ == "__main__":
    alone(BENCH)
