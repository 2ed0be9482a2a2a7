"""Appending to a real broker: all or nothing, once, in order; and an answer to every append."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from support.brokers import BrokerProcess, running
from support.making import decision, done, event
from support.waiting import until
from swarm_common.errors import (
    AppendTimeout,
    BrokerUnavailable,
    Conflict,
    InvalidEvent,
    PermissionDenied,
    StreamFull,
    UsageError,
)
from swarm_common.events import Event
from swarm_common.events.agent import TaskDone
from swarm_common.events.subjects import decisions_filter, run_filter
from swarm_common.log import publisher as publisher_module
from swarm_common.log.broker import Broker, connected
from swarm_common.log.eventlog import EventLog, Expected
from swarm_common.log.publisher import Message, Publisher
from swarm_common.log.reader import read_stored
from swarm_common.log.streams import ensure_streams, stream_configs


async def indices(log: EventLog, run: str) -> list[int]:
    return [one.data.index for one in await log.read_run(run) if isinstance(one.data, TaskDone)]


# -- one and several ---------------------------------------------------------------------------------------


async def test_what_is_appended_is_read_as_it_was(event_log: EventLog, run: str) -> None:
    written = done(run, 1, correlation="q", duration_us=5, tracestate="a=b")
    seq = await event_log.append([written])
    (read,) = await event_log.read_run(run)
    assert (read.seq, read.id, read.data, read.traceparent, read.tracestate) == (
        seq,
        written.id,
        written.data,
        written.traceparent,
        "a=b",
    )
    assert read.duration_us == 5


async def test_a_batch_lies_together_and_in_order(event_log: EventLog, run: str) -> None:
    last = await event_log.append([done(run, index) for index in range(20)])
    read = await event_log.read_run(run)
    assert [one.seq for one in read] == list(range(last - 19, last + 1))
    assert await indices(event_log, run) == list(range(20))


async def test_a_batch_with_a_wrong_expectation_stores_nothing(event_log: EventLog, run: str) -> None:
    first = await event_log.append([decision(run, 0)], Expected(0, run_filter(run)))
    with pytest.raises(Conflict):
        await event_log.append([decision(run, index) for index in (1, 2, 3)], Expected(0, run_filter(run)))
    assert [one.seq for one in await event_log.read_run(run)] == [first]
    last = await event_log.append(
        [decision(run, index) for index in (1, 2, 3)], Expected(first, run_filter(run))
    )
    assert len(await event_log.read_run(run)) == 4
    assert last > first


async def test_only_one_of_many_writers_wins(event_log: EventLog, run: str) -> None:
    expected = Expected(0, decisions_filter(run))
    writers = [event_log.append([decision(run, index), done(run, index)], expected) for index in range(20)]
    outcomes = await asyncio.gather(*writers, return_exceptions=True)
    assert sum(isinstance(outcome, int) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 19
    assert len(await event_log.read_run(run)) == 2


async def test_a_conflict_tells_the_last_sequence(event_log: EventLog, run: str) -> None:
    seq = await event_log.append([decision(run, 0)])
    with pytest.raises(Conflict) as conflict:
        await event_log.append([decision(run, 1)], Expected(0, decisions_filter(run)))
    assert conflict.value.last_sequence in (seq, None)


@pytest.mark.parametrize("length", [1, 3])
async def test_the_same_append_again_is_answered_with_where_it_lies(
    event_log: EventLog, run: str, length: int
) -> None:
    # The broker checks the expectation before the id: to it, a retry after a lost acknowledgement is a conflict.
    events, expected = [decision(run, index) for index in range(length)], Expected(0, decisions_filter(run))
    first = await event_log.append(events, expected)
    await event_log.append([done(run)])
    assert await event_log.append(events, expected) == first
    assert len(await event_log.read_run(run)) == length + 1


async def test_the_same_events_of_another_context_are_found_too(event_log: EventLog, run: str) -> None:
    events, expected = [done(run, index) for index in range(2)], Expected(0, run_filter(run))
    first = await event_log.append(events, expected)
    assert await event_log.append(events, expected) == first


async def test_nothing_larger_than_a_batch_goes_at_once(event_log: EventLog, run: str) -> None:
    with pytest.raises(UsageError, match="1001 events in one batch; the broker takes at most 1000"):
        await event_log.append([done(run, index) for index in range(1001)])
    assert await event_log.append([done(run, index) for index in range(1000)]) > 0
    assert len(await event_log.read_run(run)) == 1000


# -- once --------------------------------------------------------------------------------------------------


async def test_a_result_goes_behind_what_is_no_event(event_log: EventLog, run: str) -> None:
    """Somebody's garbage on the subject of a result does not keep the result out, nor let a second one in."""
    await event_log.broker.js.publish(f"swarm.agent.{run}.task_done.noop-7", b"garbage")
    first = await event_log.append_result(done(run, 7, cause="behind, first"))
    second = await event_log.append_result(done(run, 7, cause="behind, second"))
    assert (first.duplicate, second.duplicate) == (False, True)
    stored = [one async for one in read_stored(event_log.broker, run_filter(run))]
    assert [one.seq for one in stored[1:]] == [first.seq]


async def test_the_result_of_a_task_is_stored_once_for_good(event_log: EventLog, run: str) -> None:
    first = await event_log.append_result(done(run, 7, cause="first attempt"))
    second = await event_log.append_result(done(run, 7, cause="second attempt"))
    assert not first.duplicate
    assert second.duplicate
    (read,) = await event_log.read_run(run)
    assert read.causation == "first attempt"


async def test_many_results_of_a_task_at_once_are_one(event_log: EventLog, run: str) -> None:
    acks = await asyncio.gather(*(event_log.append_result(done(run, 7, cause=str(n))) for n in range(100)))
    assert sum(not ack.duplicate for ack in acks) == 1
    assert len(await event_log.read_run(run)) == 1


async def test_an_id_is_stored_once(event_log: EventLog, run: str) -> None:
    first = await event_log.append_once(done(run, 7))
    assert await event_log.append_once(done(run, 7)) == publisher_module.Ack(first.seq, duplicate=True)
    assert not (await event_log.append_once(done(run, 7, cause="another"))).duplicate
    assert len(await event_log.read_run(run)) == 2


async def test_thousands_at_once_are_stored_once_and_in_the_order_of_each_caller(
    event_log: EventLog, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    send = Publisher._send_batch

    async def counted(self: Publisher, messages: list[Message]) -> publisher_module.Ack:
        sizes.append(len(messages))
        return await send(self, messages)

    monkeypatch.setattr(Publisher, "_send_batch", counted)

    async def caller(first: int) -> list[int]:
        return [(await event_log.append_once(done(run, first + n))).seq for n in range(4)]

    seqs = await asyncio.gather(*(caller(4 * n) for n in range(500)))
    assert all(sorted(of_one) == of_one for of_one in seqs)
    read = await event_log.read_run(run)
    assert {one.seq: one.data.index for one in read if isinstance(one.data, TaskDone)} == {
        seq: 4 * n + m for n, of_one in enumerate(seqs) for m, seq in enumerate(of_one)
    }
    assert sum(sizes) > 1000  # most went in batches, and the sequences given to callers are right


async def test_one_bad_message_spoils_no_others(event_log: EventLog, run: str) -> None:
    await event_log.append_result(done(run, 5))
    acks = await asyncio.gather(*(event_log.append_result(done(run, n, cause=str(n))) for n in range(200)))
    assert [n for n, ack in enumerate(acks) if ack.duplicate] == [5]
    assert sorted(await indices(event_log, run)) == list(range(200))


# -- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [TaskDone(task="t", elapsed_us=math.nan), TaskDone(task="t", index="one"), TaskDone(task="a.b")],  # type: ignore[arg-type]
)
async def test_what_nobody_could_read_or_find_again_is_not_stored(
    event_log: EventLog, run: str, data: TaskDone
) -> None:
    for append in (event_log.append_result, event_log.append_once, lambda one: event_log.append([one])):
        with pytest.raises(InvalidEvent):
            await append(event(data, run))  # type: ignore[operator]
    assert await event_log.read_run(run) == []


async def test_what_is_larger_than_the_broker_takes_is_refused_and_the_connection_lives(
    event_log: EventLog, run: str
) -> None:
    limit = event_log.broker.nc.max_payload
    for body, headers in ((b"x" * (limit + 1), {}), (b"x" * (limit - 500), {"A": "x" * 1000})):
        with pytest.raises(UsageError, match="the broker takes at most"):
            await event_log.publish(Message(f"swarm.test.{run}.said", body, headers))
        with pytest.raises(UsageError, match="the broker takes at most"):
            await event_log._publisher.publish_atomic([Message("swarm.test.x.y", body, headers)] * 2)
    assert (await event_log.publish(Message(f"swarm.test.{run}.said", b"x" * (limit - 500), {}))).seq > 0
    assert event_log.broker.reconnects == 0


async def test_what_cannot_be_encoded_stops_nobody_else(event_log: EventLog, run: str) -> None:
    for subject, headers in ((f"swarm.test.{run}.\ud800", {}), (f"swarm.test.{run}.x", {"Über": "x"})):
        with pytest.raises(UsageError, match="cannot be sent"):
            await event_log.publish(Message(subject, b"", headers))
    assert await event_log.append([done(run)]) > 0


async def test_no_stream_takes_the_subject(event_log: EventLog) -> None:
    with pytest.raises(AppendTimeout, match="no stream takes this subject"):
        await event_log.publish(Message("elsewhere", b"", {}))


# -- brokers with settings of their own --------------------------------------------------------------------

USERS = """
authorization {
  users: [
    { user: admin, password: secret }
    { user: agent, password: secret, permissions: {
        publish: { allow: ["swarm.agent.>", "$JS.API.DIRECT.GET.>"] }, subscribe: { allow: ["_INBOX.>"] } } }
  ]
}
"""


@pytest.fixture
async def agent_log(tmp_path: Path) -> AsyncIterator[EventLog]:
    """A log over an identity that may write results, and nothing else."""
    with running(tmp_path / "nats", config=USERS) as server:
        host = server.url.removeprefix("nats://")
        async with connected(f"nats://admin:secret@{host}", name="test") as admin:
            await ensure_streams(admin)
        async with connected(f"nats://agent:secret@{host}", name="test") as broker:
            log = await EventLog(broker, timeout_s=30.0).start()
            yield log
            await log.close()


async def test_a_refused_subject_is_told_at_once(agent_log: EventLog, run: str) -> None:
    assert await agent_log.append([done(run)]) == 1
    async with asyncio.timeout(10):  # far below the time-out of the log
        with pytest.raises(PermissionDenied, match=r"may not publish to swarm\.benchmark\."):
            await agent_log.append([decision(run)])
        with pytest.raises(PermissionDenied):
            await agent_log.append([decision(run), done(run, 1)])
        with pytest.raises(PermissionDenied):
            await agent_log.append([done(run, 1), decision(run)])
    assert await indices(agent_log, run) == [0]


async def test_one_refused_message_in_a_group_harms_no_other(agent_log: EventLog, run: str) -> None:
    appends = [agent_log.append_once(decision(run, n) if n == 50 else done(run, n)) for n in range(100)]
    async with asyncio.timeout(20):
        outcomes = await asyncio.gather(*appends, return_exceptions=True)
    assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, BaseException)] == [50]
    assert isinstance(outcomes[50], PermissionDenied)
    assert sorted(await indices(agent_log, run)) == [n for n in range(100) if n != 50]


async def test_a_full_log_says_so_and_loses_nothing(broker: Broker, run: str) -> None:
    (config, *_) = stream_configs(max_bytes=40_000)
    config.name, config.subjects = f"FULL_{run}", ["full.>"]
    await broker.js.add_stream(config)
    log = await EventLog(broker).start()
    acknowledged = 0

    async def fill() -> None:
        nonlocal acknowledged
        while True:
            await log.publish(Message(f"full.{acknowledged}", b"x" * 1000, {}))
            acknowledged += 1

    with pytest.raises(StreamFull, match="nothing acknowledged is lost"):
        await fill()
    group = [log.publish(Message(f"full.group.{n}", b"x" * 1000, {})) for n in range(100)]
    outcomes = await asyncio.gather(*group, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {StreamFull}
    assert acknowledged > 5
    assert (await broker.js.stream_info(config.name)).state.messages == acknowledged
    await log.close()
    await broker.js.delete_stream(config.name)


# -- brokers that go away ----------------------------------------------------------------------------------


@pytest.fixture
async def fragile(broker_process: BrokerProcess) -> AsyncIterator[EventLog]:
    """A log over a broker that the test kills."""
    async with connected(broker_process.url, name="test") as broker:
        await ensure_streams(broker)
        log = await EventLog(broker).start()
        yield log
        await log.close()


async def test_a_broker_killed_in_the_middle_loses_nothing_acknowledged_and_stores_nothing_twice(
    fragile: EventLog, broker_process: BrokerProcess, run: str
) -> None:
    acknowledged: list[int] = []

    async def writer(first: int) -> None:
        for index in range(first, first + 200):
            await fragile.append_once(done(run, index))
            acknowledged.append(index)

    writers = asyncio.gather(*(writer(200 * n) for n in range(8)))
    for kill in (200, 700):
        await until(lambda kill=kill: len(acknowledged) > kill)  # type: ignore[misc]
        await asyncio.to_thread(broker_process.restart)
    await asyncio.wait_for(writers, 60)
    assert fragile.broker.reconnects >= 2
    assert sorted(await indices(fragile, run)) == list(range(1600))
    assert len(acknowledged) == 1600


async def test_decisions_survive_a_broker_killed_in_the_middle(
    fragile: EventLog, broker_process: BrokerProcess, run: str
) -> None:
    """One writer under optimistic concurrency, batches of two: never a conflict with itself, never a half batch."""
    written = 0

    async def write() -> None:
        nonlocal written
        seq = 0
        for index in range(0, 200, 2):
            pair = [decision(run, index), decision(run, index + 1)]
            seq = await fragile.append(pair, Expected(seq, decisions_filter(run)))
            written += 2

    writing = asyncio.ensure_future(write())
    for kill in (20, 100):
        await until(lambda kill=kill: written > kill)  # type: ignore[misc]
        await asyncio.to_thread(broker_process.restart)
    await asyncio.wait_for(writing, 60)
    reasons = [one.data.reason for one in await fragile.read_run(run)]  # type: ignore[union-attr]
    assert reasons == [str(index) for index in range(200)]


async def test_an_append_whose_acknowledgement_is_lost_ends(broker_process: BrokerProcess, run: str) -> None:
    async with connected(broker_process.url, name="test") as broker:
        await ensure_streams(broker)
        log = await EventLog(broker, timeout_s=0.3).start()
        broker_process.freeze()
        appends = [log.append([decision(run, n)], Expected(0, decisions_filter(run))) for n in range(100)]
        appends += [log.append_once(done(run, n)) for n in range(100)]  # type: ignore[misc]
        appends += [log.append_result(done(run, 1000)), log.append([done(run, n) for n in range(2000, 2003)])]  # type: ignore[list-item]
        async with asyncio.timeout(60):
            outcomes = await asyncio.gather(*appends, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {AppendTimeout}
        broker_process.thaw()
        assert await log.append([done(run, 3000)]) > 0
        await log.close()


async def test_an_append_whose_acknowledgement_is_lost_but_which_is_stored_is_found(
    event_log: EventLog, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = Publisher._settle
    lost: list[str] = []

    def lose_the_first(self: Publisher, key: str, outcome: object) -> None:
        if isinstance(outcome, publisher_module.Ack) and not lost:
            lost.append(key)
            outcome = AppendTimeout("lost on the way")
        settle(self, key, outcome)  # type: ignore[arg-type]

    monkeypatch.setattr(Publisher, "_settle", lose_the_first)
    seq = await event_log.append([decision(run, 0), decision(run, 1)], Expected(0, decisions_filter(run)))
    assert lost
    assert [one.seq for one in await event_log.read_run(run)] == [seq - 1, seq]


@pytest.mark.parametrize("write", [EventLog.append_result, EventLog.append_once])
async def test_a_result_whose_acknowledgement_is_lost_is_stored_once(
    event_log: EventLog,
    run: str,
    write: Callable[[EventLog, Event], Awaitable[publisher_module.Ack]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    publish = Publisher.publish
    calls: list[Message] = []

    def lose_the_first(self: Publisher, message: Message) -> asyncio.Future[publisher_module.Ack]:
        future = publish(self, message)
        calls.append(message)
        if len(calls) > 1:
            return future
        lost: asyncio.Future[publisher_module.Ack] = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda _: lost.set_exception(AppendTimeout("lost on the way")))
        return lost

    monkeypatch.setattr(Publisher, "publish", lose_the_first)
    ack = await write(event_log, done(run))
    assert ack.duplicate
    assert len(calls) == 2
    assert len(await event_log.read_run(run)) == 1


# -- closing -----------------------------------------------------------------------------------------------


async def test_closing_ends_what_is_on_its_way(broker_process: BrokerProcess, run: str) -> None:
    async with connected(broker_process.url, name="test") as broker:
        await ensure_streams(broker)
        log = await EventLog(broker).start()
        broker_process.freeze()
        group = [log.publish(Message(f"swarm.test.{run}.{n}", b"", {})) for n in range(60)]
        await until(lambda: log._publisher._pending)
        single = log.publish(Message(f"swarm.test.{run}.single", b"", {}))
        async with asyncio.timeout(5):
            await log.close()
            outcomes = await asyncio.gather(*group, single, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {AppendTimeout}
        for append in (
            log.append([done(run)]),
            log.append([done(run), done(run, 1)]),
            log.append_once(done(run)),
        ):
            with pytest.raises(BrokerUnavailable, match="this log is closed"):
                await append
        broker_process.thaw()


async def test_a_connection_that_was_closed_refuses(broker_server: BrokerProcess, run: str) -> None:
    async with connected(broker_server.url, name="test") as broker:
        log = await EventLog(broker).start()
    with pytest.raises(AppendTimeout):
        await log.publish(Message(f"swarm.test.{run}.x", b"", {}))
    with pytest.raises(AppendTimeout):
        await log._publisher.publish_atomic([Message(f"swarm.test.{run}.x", b"", {})] * 2)
    await log.close()


async def test_a_cancelled_append_is_not_sent(event_log: EventLog, run: str) -> None:
    future = event_log.publish(Message(f"swarm.test.{run}.x", b"", {}))
    future.cancel()
    await event_log.append([decision(run)])
    subjects = [stored.subject async for stored in read_stored(event_log.broker, run_filter(run))]
    assert subjects == [f"swarm.benchmark.{run}.cancel_requested"]


@pytest.mark.parametrize("garbage", [b"", b"nonsense", b'{"specversion": "1.0"}'])
async def test_garbage_on_the_subject_of_a_result_keeps_it_from_nobody(
    event_log: EventLog, run: str, garbage: bytes
) -> None:
    subject = f"swarm.agent.{run}.task_done.t7"
    await event_log.publish(Message(subject, garbage, {}))
    assert not (await event_log.append_result(done(run, 7))).duplicate
    assert (await event_log.append_result(done(run, 7, cause="another"))).duplicate
    last = await event_log.last(subject)
    assert last is not None
    assert last.id == done(run, 7).id
