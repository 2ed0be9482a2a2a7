"""Consuming: our pull consumer with decoding, a trivial handler and the acknowledgement, beside nats-py's fetch.

The peer is what one writes by hand with nats-py and msgspec: ``fetch(500)``, a typed decode, ``ack``.
"""

from __future__ import annotations

import asyncio
import time

import msgspec
from append import task_done
from kit.cli import alone, run_async
from kit.measure import Bench, Row, pair, turns
from kit.servers import nats_server, ours, plain, scratch
from nats.aio.client import Client as NatsClient
from nats.js.api import AckPolicy, ConsumerConfig

from swarm_common.events.agent import TaskDone
from swarm_common.events.envelope import decode
from swarm_common.ids import new_id
from swarm_common.log.eventlog import EventLog
from swarm_common.log.streams import STREAM
from swarm_common.runtime.consumer import Consumer, Delivery

FETCH = 500
_FILTER = "swarm.agent.>"


class _ByHand(msgspec.Struct):
    """The envelope as somebody without our library would declare it."""

    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: str
    dataschema: str
    data: TaskDone
    correlationid: str = ""
    causationid: str = ""
    traceparent: str = ""
    durationus: int | None = None


async def _ours(log: EventLog, count: int) -> float:
    """Return messages a second of a fresh consumer over the whole stream."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    handled = 0

    async def handle(delivery: Delivery) -> None:
        nonlocal handled
        event = decode(delivery.data, delivery.seq)
        handled += isinstance(event.data, TaskDone)
        await delivery.ack()
        if handled == count:
            done.set_result(None)

    consumer = Consumer(log.broker, f"bench-{new_id()}", (_FILTER,), handle, slots=FETCH)
    began = time.perf_counter()
    await consumer.start()
    await asyncio.wait_for(done, 60)
    seconds = time.perf_counter() - began
    await consumer.stop()
    await log.broker.js.delete_consumer(STREAM, consumer.name)
    return count / seconds


async def _plain(nc: NatsClient, count: int) -> float:
    js, name = nc.jetstream(), f"bench-{new_id()}"
    read = msgspec.json.Decoder(_ByHand).decode
    handled = 0
    config = ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, max_ack_pending=2 * FETCH)
    began = time.perf_counter()
    subscription = await js.pull_subscribe(_FILTER, durable=name, stream=STREAM, config=config)
    while handled < count:
        for message in await subscription.fetch(FETCH, timeout=5):
            handled += isinstance(read(message.data).data, TaskDone)
            await message.ack()
    seconds = time.perf_counter() - began
    await subscription.unsubscribe()
    await js.delete_consumer(STREAM, name)
    return count / seconds


async def _measure(quick: bool) -> tuple[list[Row], list[str]]:
    count, repeats = (5_000, 3) if quick else (20_000, 9)
    with scratch() as home, nats_server(home) as url:
        async with ours(url) as log, plain(url) as nc:
            events = task_done(count)
            for start in range(0, count, 1000):
                await log.append(events[start : start + 1000])
            rates = await turns(repeats, lambda _: _ours(log, count), lambda _: _plain(nc, count))
    names = ("Consumer + decode + handler + ack", f"nats-py fetch({FETCH}) + msgspec decode + ack")
    return pair(*rates, names=names, unit="events/s", target=">= 0.7"), []


def run(quick: bool) -> tuple[list[Row], list[str]]:
    return run_async(_measure(quick))


BENCH = Bench("consume", "events pulled, decoded, handled and acknowledged", run)

if __name__ == "__main__":
    alone(BENCH)
