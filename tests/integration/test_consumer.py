"""Durable consumers on a real broker: nothing is skipped, whatever is deleted, killed or forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import pytest
import structlog
from nats.js.api import AckPolicy, ConsumerConfig

from support.brokers import BrokerProcess
from support.making import done
from support.waiting import until
from swarm_common.events import decode
from swarm_common.events.agent import TaskDone
from swarm_common.events.subjects import run_filter
from swarm_common.log.broker import Broker, connected
from swarm_common.log.eventlog import EventLog
from swarm_common.log.reader import read_stored
from swarm_common.log.streams import ADVISORY_STREAM, STREAM, ensure_streams
from swarm_common.runtime import consumer as consumer_module
from swarm_common.runtime.consumer import Consumer, Delivery

Make = Callable[..., Awaitable[Consumer]]


class Seen:
    """What was delivered, and acknowledged unless the test says otherwise."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.keep = False

    @property
    def indices(self) -> list[int]:
        data = [decode(delivery.data).data for delivery in self.deliveries]
        return [one.index for one in data if isinstance(one, TaskDone)]

    async def __call__(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        if not self.keep:
            await delivery.ack()


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heartbeats ten times as often, so that what is missed is missed soon."""
    monkeypatch.setattr(consumer_module, "HEARTBEAT_S", 0.2)


@pytest.fixture
async def make(broker: Broker, run: str) -> AsyncIterator[Make]:
    """Start consumers of the run; they and their durables go when the test ends."""
    made: list[Consumer] = []

    async def start(deliver: object, **more: object) -> Consumer:
        given: dict[str, object] = {
            "broker": broker,
            "name": f"c-{run}",
            "filters": (run_filter(run),),
            "slots": 8,
        } | more
        consumer = Consumer(deliver=deliver, **given)  # type: ignore[arg-type]
        await consumer.start()
        made.append(consumer)
        return consumer

    yield start
    for consumer in made:
        await consumer.stop()
    for name in {consumer.name for consumer in made}:
        try:
            await broker.js.delete_consumer(STREAM, name)
        except Exception:  # noqa: BLE001, S112 - a test deleted it
            continue


async def settled(consumer: Consumer) -> bool:
    return await consumer.lag() == (0, 0)


# -- in quiet times ----------------------------------------------------------------------------------------


async def test_everything_is_delivered_once_in_order(
    event_log: EventLog, run: str, seen: Seen, make: Make
) -> None:
    await event_log.append([done(run, n) for n in range(300)])
    consumer = await make(seen)
    await until(lambda: len(seen.deliveries) >= 300)
    await event_log.append([done(run, n) for n in range(300, 310)])
    await until(lambda: len(seen.deliveries) >= 310)
    await until(lambda: settled(consumer))
    assert seen.indices == list(range(310))
    assert (consumer.in_flight, consumer.delivered, consumer.recreated) == (0, 310, 0)
    assert consumer.alive()
    first = seen.deliveries[0]
    assert (first.subject, first.deliveries, first.last) == (f"swarm.agent.{run}.task_done.t0", 1, False)
    assert first.header("Nats-Msg-Id") == done(run).id
    assert first.header("Nothing") == ""


async def at_most(consumer: Consumer, count: int) -> bool:
    return (await consumer.lag())[1] <= count


@pytest.mark.parametrize("slots", [1, 3, 8])
async def test_no_more_is_taken_than_there_are_slots(
    event_log: EventLog, run: str, seen: Seen, make: Make, slots: int
) -> None:
    await event_log.append([done(run, n) for n in range(30)])
    seen.keep = True
    consumer = await make(seen, slots=slots)
    for handled in range(30):
        await until(lambda handled=handled: len(seen.deliveries) > handled)  # type: ignore[misc]
        assert consumer.in_flight <= slots
        # The broker counts an acknowledgement a moment after it was sent; what was taken beyond would stay.
        await until(lambda: at_most(consumer, slots))
        await seen.deliveries[handled].ack()
    await until(lambda: settled(consumer))
    assert seen.indices == list(range(30))


async def test_several_filters_are_one_consumer(
    event_log: EventLog, run: str, seen: Seen, make: Make
) -> None:
    consumer = await make(seen, filters=(run_filter(run), run_filter(f"{run}-b")))
    await event_log.append([done(run, 1)])
    await event_log.append([done(f"{run}-b", 2)])
    await until(lambda: sorted(seen.indices) == [1, 2])
    await until(lambda: settled(consumer))


async def test_replicas_share_the_work(event_log: EventLog, run: str, make: Make) -> None:
    first, second = Seen(), Seen()
    await asyncio.gather(make(first, slots=2), make(second, slots=2))
    await event_log.append([done(run, n) for n in range(100)])
    await until(lambda: len(first.deliveries) + len(second.deliveries) >= 100)
    assert sorted(first.indices + second.indices) == list(range(100))
    assert first.deliveries
    assert second.deliveries


# -- again -------------------------------------------------------------------------------------------------


async def test_what_is_given_back_comes_again(event_log: EventLog, run: str, make: Make) -> None:
    deliveries: list[Delivery] = []

    async def refuse_twice(delivery: Delivery) -> None:
        deliveries.append(delivery)
        await (delivery.nak(0.01) if len(deliveries) < 3 else delivery.ack())

    consumer = await make(refuse_twice)
    await event_log.append([done(run)])
    await until(lambda: len(deliveries) == 3)
    await until(lambda: settled(consumer))
    assert [delivery.deliveries for delivery in deliveries] == [1, 2, 3]
    assert [delivery.repeated for delivery in deliveries] == [False, True, True]


async def test_what_raises_comes_again(
    event_log: EventLog, run: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer_module, "REDELIVERY_S", (0.01,))
    deliveries: list[int] = []

    async def fail_first(delivery: Delivery) -> None:
        deliveries.append(delivery.deliveries)
        if len(deliveries) == 1:
            raise ValueError("a bug")
        await delivery.ack()

    consumer = await make(fail_first)
    await event_log.append([done(run)])
    await until(lambda: settled(consumer))
    assert deliveries == [1, 2]


async def test_what_is_terminated_does_not_come_again(event_log: EventLog, run: str, make: Make) -> None:
    deliveries: list[int] = []

    async def terminate(delivery: Delivery) -> None:
        deliveries.append(delivery.deliveries)
        await delivery.term()

    consumer = await make(terminate)
    await event_log.append([done(run)])
    await until(lambda: deliveries)
    await until(lambda: settled(consumer))
    await event_log.append([done(run, 1)])
    await until(lambda: len(deliveries) == 2)
    assert deliveries == [1, 1]
    assert await advisories(event_log, f"c-{run}", "MSG_TERMINATED")


async def test_what_is_never_settled_comes_again_until_the_broker_gives_up_and_says_so(
    event_log: EventLog, run: str, seen: Seen, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer_module, "ACK_WAIT_S", 0.1)
    monkeypatch.setattr(consumer_module, "MAX_DELIVER", 3)
    seen.keep = True
    await make(seen)
    seq = await event_log.append([done(run)])
    await until(lambda: len(seen.deliveries) == 3)
    assert [delivery.last for delivery in seen.deliveries] == [False, False, True]
    (advisory,) = await until(lambda: advisories(event_log, f"c-{run}", "MAX_DELIVERIES"))
    assert (advisory["stream_seq"], advisory["deliveries"]) == (seq, 3)


async def advisories(log: EventLog, consumer: str, kind: str) -> list[dict[str, object]]:
    subject = f"$JS.EVENT.ADVISORY.CONSUMER.{kind}.{STREAM}.{consumer}"
    found = read_stored(log.broker, subject, stream=ADVISORY_STREAM)
    return [msgspec.json.decode(stored.data) async for stored in found]


async def test_long_work_that_says_so_is_left_alone(
    event_log: EventLog, run: str, seen: Seen, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer_module, "ACK_WAIT_S", 0.5)
    seen.keep = True
    consumer = await make(seen)
    await event_log.append([done(run, 0), done(run, 1)])
    await until(lambda: len(seen.deliveries) == 2)
    long, silent = seen.deliveries
    for _ in range(
        2
    ):  # until the silent one has come again twice: longer than the long one could have been silent
        before = len(seen.deliveries)
        while len(seen.deliveries) == before:
            await long.in_progress()
            await event_log.broker.nc.flush()
    assert {delivery.seq for delivery in seen.deliveries[2:]} == {silent.seq}
    for delivery in seen.deliveries:
        await delivery.ack()
    await until(lambda: settled(consumer))


# -- settings that drifted, consumers that are gone --------------------------------------------------------


async def test_settings_that_drifted_are_brought_back(
    event_log: EventLog, broker: Broker, run: str, seen: Seen, make: Make
) -> None:
    old = ConsumerConfig(
        durable_name=f"c-{run}",
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=7.0,
        filter_subject="swarm.elsewhere.>",
    )
    await broker.js.add_consumer(STREAM, old)
    with structlog.testing.capture_logs() as logs:
        consumer = await make(seen)
        await make(seen)
    assert [line["consumer"] for line in logs if line["event"] == "consumer_updated"] == [f"c-{run}"]
    config = (await broker.js.consumer_info(STREAM, f"c-{run}")).config
    assert (config.ack_wait, config.filter_subject, config.max_deliver) == (
        consumer_module.ACK_WAIT_S,
        run_filter(run),
        consumer_module.MAX_DELIVER,
    )
    await event_log.append([done(run)])
    await until(lambda: settled(consumer))
    assert seen.indices == [0]


async def test_a_consumer_that_is_deleted_is_made_anew_where_it_was(
    event_log: EventLog, broker: Broker, run: str, seen: Seen, make: Make
) -> None:
    consumer = await make(seen)
    await event_log.append([done(run, n) for n in range(50)])
    await until(lambda: settled(consumer))
    await until(lambda: consumer._floor >= seen.deliveries[-1].seq)
    with structlog.testing.capture_logs() as logs:
        await broker.js.delete_consumer(STREAM, consumer.name)
        await event_log.append([done(run, n) for n in range(50, 100)])
        await until(lambda: len(seen.deliveries) >= 100)
    (line,) = [line for line in logs if line["event"] == "consumer_recreated"]
    assert line["from_seq"] == seen.deliveries[49].seq + 1
    assert seen.indices == list(range(100))
    assert consumer.recreated == 1
    await until(lambda: settled(consumer))
    assert consumer.alive()


async def test_what_was_at_hand_or_given_back_when_a_consumer_was_deleted_is_not_lost(
    event_log: EventLog, broker: Broker, run: str, make: Make
) -> None:
    handled: set[int] = set()
    held: list[Delivery] = []
    again: list[Delivery] = []

    async def deliver(delivery: Delivery) -> None:
        data = decode(delivery.data).data
        assert isinstance(data, TaskDone)
        if data.index == 3 and not held:
            held.append(delivery)  # its worker never comes back
        elif data.index == 5 and not again:
            again.append(delivery)
            await delivery.nak(3600)  # later, it says
        else:
            handled.add(data.index)
            await delivery.ack()

    consumer = await make(deliver, slots=20)
    await event_log.append([done(run, n) for n in range(10)])
    await until(lambda: len(handled) == 8 and held and again)
    await broker.js.delete_consumer(STREAM, consumer.name)
    await event_log.append([done(run, 10)])
    await until(lambda: handled == set(range(11)))
    assert consumer.recreated == 1
    assert consumer.doubtful_until > 0


async def test_replicas_make_a_deleted_consumer_anew_once(
    event_log: EventLog, broker: Broker, run: str, make: Make
) -> None:
    sides = [Seen(), Seen(), Seen()]
    consumers = [await make(side, slots=2) for side in sides]
    await event_log.append([done(run, n) for n in range(30)])
    await until(lambda: settled(consumers[0]))
    await broker.js.delete_consumer(STREAM, consumers[0].name)
    await event_log.append([done(run, n) for n in range(30, 60)])
    await until(lambda: {n for side in sides for n in side.indices} == set(range(60)))
    await until(lambda: all(consumer.alive() for consumer in consumers))
    assert sum(consumer.recreated for consumer in consumers) >= 1


# -- the broker goes away ----------------------------------------------------------------------------------


@pytest.mark.parametrize("freeze", [False, True], ids=["killed", "frozen"])
async def test_work_goes_on_when_the_broker_is_back(
    broker_process: BrokerProcess, run: str, seen: Seen, freeze: bool
) -> None:
    async with connected(broker_process.url, name="test") as broker:
        await ensure_streams(broker)
        log = await EventLog(broker).start()
        consumer = Consumer(broker, "c", (run_filter(run),), seen, slots=4)
        await consumer.start()
        await log.append([done(run, 0)])
        await until(lambda: seen.indices == [0])
        if freeze:
            broker_process.freeze()
            await until(lambda: not consumer.alive())
            broker_process.thaw()
        else:
            broker_process.kill()
            await until(lambda: not broker.nc.is_connected)
            await until(lambda: not consumer.alive())
            broker_process.start()
        await log.append([done(run, 1)])
        await until(lambda: set(seen.indices) == {0, 1})
        await until(consumer.alive)
        await consumer.stop()
        await log.close()


# -- stopping ----------------------------------------------------------------------------------------------


async def test_what_arrives_while_stopping_goes_to_another_replica_at_once(
    event_log: EventLog, run: str, seen: Seen, make: Make
) -> None:
    blocked = asyncio.Event()
    held: list[Delivery] = []

    async def slow(delivery: Delivery) -> None:
        held.append(delivery)
        await blocked.wait()
        await delivery.ack()

    first = await make(slow, slots=4)
    await event_log.append([done(run, n) for n in range(4)])
    await until(lambda: held)
    stopping = asyncio.ensure_future(first.stop())
    await until(lambda: first._stopping)
    second = await make(seen)
    blocked.set()
    await asyncio.wait_for(stopping, 10)
    await until(lambda: settled(second), timeout_s=10)  # far below ACK_WAIT_S
    assert sorted([0, *seen.indices]) == [0, 1, 2, 3]


async def test_stopping_is_not_held_up_by_a_broker_that_is_away(
    broker_process: BrokerProcess, run: str, seen: Seen
) -> None:
    async with connected(broker_process.url, name="test") as broker:
        await ensure_streams(broker)
        consumer = Consumer(broker, "c", (run_filter(run),), seen, slots=4)
        await consumer.start()
        broker_process.kill()
        await until(lambda: not broker.nc.is_connected)
        async with asyncio.timeout(6):
            await consumer.stop()
        assert not consumer.alive()
