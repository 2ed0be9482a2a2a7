"""A free slot of a consumer is filled as soon as there is work, whatever was taken and settled before."""

from __future__ import annotations

import pytest

from support.making import done
from support.waiting import until
from swarm_common.events.subjects import run_filter
from swarm_common.log.broker import Broker
from swarm_common.log.eventlog import EventLog
from swarm_common.log.streams import STREAM
from swarm_common.runtime import consumer as consumer_module
from swarm_common.runtime.consumer import Consumer, Delivery


@pytest.mark.parametrize("slots", [1, 2, 3, 8])
async def test_all_slots_fill_whatever_was_settled_before(
    broker: Broker, event_log: EventLog, run: str, slots: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Rare: a supervisor that looks after it by the clock does not hide a pull that nobody asked for.
    monkeypatch.setattr(consumer_module, "HEARTBEAT_S", 9.0)
    kept: list[Delivery] = []

    async def keep(delivery: Delivery) -> None:
        kept.append(delivery)

    consumer = Consumer(broker, f"c-{run}", (run_filter(run),), keep, slots=slots)
    await consumer.start()
    try:
        appended = 0
        for before in range(1, slots + 1):
            for _ in range(before):  # one at a time, so that credit is used up by and by
                await event_log.append([done(run, appended)])
                appended += 1
                await until(lambda: len(kept) == 1, timeout_s=4)
                await kept.pop().ack()
            await event_log.append([done(run, appended + n) for n in range(slots)])
            appended += slots
            await until(lambda: len(kept) == slots, timeout_s=4)
            while kept:
                await kept.pop().ack()
    finally:
        await consumer.stop()
        await broker.js.delete_consumer(STREAM, f"c-{run}")
