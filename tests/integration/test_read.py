"""Reading a real broker: by run, from anywhere, live; large data, snapshots, export and import."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.brokers import BrokerProcess, running
from support.making import decision, done, event
from support.waiting import until
from swarm_common.errors import BrokerUnavailable, Conflict, InvalidEvent, NotFound
from swarm_common.events import Event
from swarm_common.events.agent import TaskDone
from swarm_common.events.benchmark import Rejected, Requested
from swarm_common.events.envelope import decode, encode
from swarm_common.events.subjects import REQUESTS, result_subject, run_filter
from swarm_common.log import blobs as blobs_module
from swarm_common.log import reader
from swarm_common.log.blobs import CLAIM_CHECK_BYTES, reference
from swarm_common.log.broker import Broker, connected
from swarm_common.log.eventlog import IMPORTED, EventLog
from swarm_common.log.files import Writer, check, read_lines
from swarm_common.log.publisher import MSG_ID, Message
from swarm_common.log.reader import read_at, read_last, read_stored
from swarm_common.log.streams import BLOBS, SNAPSHOTS, STREAM, ensure_streams
from swarm_common.runtime.history import LiveHistory


def large(run: str) -> Event:
    """Return an event whose data are too large to travel in it."""
    return event(
        Rejected(reason="it is large", request={"text": "x" * CLAIM_CHECK_BYTES}), run, index="large"
    )


async def fill(log: EventLog, run: str, count: int) -> int:
    """Append ``count`` results of a run and return the sequence of the last."""
    last = 0
    for start in range(0, count, 500):
        last = await log.append([done(run, n) for n in range(start, min(count, start + 500))])
    return last


# -- by run ------------------------------------------------------------------------------------------------


async def test_a_run_is_read_whole_however_long(event_log: EventLog, run: str) -> None:
    await fill(event_log, run, 2500)
    await event_log.append([done(run + "x")])
    read = await event_log.read_run(run)
    assert [one.data.index for one in read if isinstance(one.data, TaskDone)] == list(range(2500))
    assert [one.seq for one in read] == sorted(one.seq for one in read)


async def test_a_run_is_read_from_a_sequence(event_log: EventLog, run: str) -> None:
    await fill(event_log, run, 10)
    read = await event_log.read_run(run)
    assert await event_log.read_run(run, after=read[6].seq) == read[7:]
    assert await event_log.read_run(run, after=read[-1].seq) == []


async def test_a_run_without_events_is_empty(event_log: EventLog, run: str) -> None:
    assert await event_log.read_run(run) == []
    assert await event_log.last(f"swarm.agent.{run}.task_done.t1") is None


async def test_many_read_at_once(event_log: EventLog, run: str) -> None:
    await fill(event_log, run, 300)
    reads = await asyncio.gather(*(event_log.read_run(run) for _ in range(50)))
    assert all(read == reads[0] for read in reads)
    lasts = await asyncio.gather(
        *(event_log.last(result_subject("agent.task_done", run, f"t{n}")) for n in range(50))
    )
    assert [one.data.index for one in lasts if one and isinstance(one.data, TaskDone)] == list(range(50))


async def test_one_message_is_read_by_its_place(event_log: EventLog, run: str) -> None:
    seq = await event_log.append([done(run)])
    stored = await read_at(event_log.broker, seq)
    assert (stored.seq, stored.subject) == (seq, f"swarm.agent.{run}.task_done.t0")
    assert stored.time.endswith("Z")
    assert stored.headers[MSG_ID] == done(run).id
    with pytest.raises(NotFound, match="SWARM holds no message 999999999"):
        await read_at(event_log.broker, 999_999_999)


async def test_headers_of_a_sender_do_not_pass_for_those_of_the_broker(event_log: EventLog, run: str) -> None:
    subject = f"swarm.agent.{run}.task_done.t0"
    forged = {"Nats-Sequence": "7", "Nats-Subject": "forged", "Nats-Time-Stamp": "never", "Status": "503"}
    ack = await event_log.publish(Message(subject, encode(done(run)), forged))
    (stored,) = [stored async for stored in read_stored(event_log.broker, run_filter(run))]
    assert (stored.seq, stored.subject) == (ack.seq, subject)
    assert stored.time != "never"
    last = await read_last(event_log.broker, subject)
    assert last is not None
    assert last.seq == ack.seq


async def test_a_result_is_found_by_its_task(event_log: EventLog, run: str) -> None:
    history = LiveHistory(event_log)
    assert await history.result(run, "t1") is None
    await event_log.publish(Message(f"swarm.agent.{run}.of_a_later_version.t1", b"{}", {}))
    await event_log.append([done(run, 1), done(run, 2)])
    found = await history.result(run, "t1")
    assert found is not None
    assert found.data == TaskDone(task="t1", index=1)


async def test_bytes_that_are_no_event_are_refused_with_their_words(event_log: EventLog, run: str) -> None:
    await event_log.publish(Message(f"swarm.agent.{run}.task_done.t0", b"nonsense", {}))
    with pytest.raises(InvalidEvent, match="not a CloudEvents JSON object"):
        await event_log.read_run(run)


async def test_a_stream_that_is_not_there(event_log: EventLog) -> None:
    with pytest.raises(BrokerUnavailable, match="NOWHERE"):
        _ = [stored async for stored in read_stored(event_log.broker, ">", stream="NOWHERE")]


async def test_a_broker_that_does_not_answer_is_not_waited_for_without_end(
    broker_process: BrokerProcess,
) -> None:
    async with connected(broker_process.url, name="test") as broker:
        await ensure_streams(broker)
        broker_process.freeze()
        with pytest.raises(BrokerUnavailable, match=r"did not answer a read of SWARM in 0\.2 s"):
            _ = [stored async for stored in read_stored(broker, ">", timeout_s=0.2)]
        broker_process.thaw()
        assert [stored async for stored in read_stored(broker, ">")] == []


# -- live --------------------------------------------------------------------------------------------------


async def test_a_replay_goes_from_the_past_to_what_comes(event_log: EventLog, run: str) -> None:
    await fill(event_log, run, 1200)
    seen: list[Event] = []
    replay = await event_log.replay(seen.append, subject=run_filter(run))
    for index in range(1200, 1300):
        await event_log.append([done(run, index)])
    await until(lambda: len(seen) >= 1300)
    assert [one.data.index for one in seen if isinstance(one.data, TaskDone)] == list(range(1300))
    assert [one.seq for one in seen] == sorted({one.seq for one in seen})
    await replay.stop()
    await replay.stop()
    await event_log.append([done(run, 9999)])
    await event_log.broker.nc.flush()
    assert len(seen) == 1300


async def test_a_replay_begins_behind_a_sequence(event_log: EventLog, run: str) -> None:
    await fill(event_log, run, 10)
    past = await event_log.read_run(run)
    seen: list[Event] = []
    replay = await event_log.replay(seen.append, subject=run_filter(run), after=past[6].seq)
    await until(lambda: len(seen) == 3)
    assert seen == past[7:]
    await replay.stop()


async def test_a_replay_shows_large_events_without_their_data(event_log: EventLog, run: str) -> None:
    await event_log.append([large(run)])
    seen: list[Event] = []
    replay = await event_log.replay(seen.append, subject=run_filter(run))
    await until(lambda: seen)
    assert seen[0].data is None
    assert (await event_log.resolve(seen[0])).data == large(run).data
    await replay.stop()


async def test_what_is_no_event_ends_no_replay(event_log: EventLog, run: str) -> None:
    seen: list[Event] = []
    replay = await event_log.replay(seen.append, subject=run_filter(run))
    await event_log.publish(Message(f"swarm.agent.{run}.task_done.bad", b"nonsense", {}))
    await event_log.append([done(run)])
    await until(lambda: seen)
    assert seen[0].data == TaskDone(task="t0")
    await replay.stop()


@pytest.mark.parametrize("before", [0, 5])
async def test_a_replay_goes_on_when_its_consumer_is_deleted(
    event_log: EventLog, run: str, before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "HEARTBEAT_S", 0.2)
    seen: list[Event] = []
    last = await fill(event_log, run, 5)
    replay = await event_log.replay(seen.append, subject=run_filter(run), after=last if before == 0 else 0)
    await until(lambda: len(seen) == before)
    for info in await event_log.broker.js.consumers_info(STREAM):
        await event_log.broker.js.delete_consumer(STREAM, info.name)
    await event_log.append([done(run, 5)])
    await until(lambda: seen and seen[-1].data == TaskDone(task="t5", index=5), timeout_s=30)
    assert [one.data.index for one in seen if isinstance(one.data, TaskDone)] == list(range(5 - before, 6))
    await replay.stop()


async def test_a_replay_goes_on_when_the_broker_was_killed(broker_process: BrokerProcess, run: str) -> None:
    async with connected(broker_process.url, name="test") as broker:
        await ensure_streams(broker)
        log = await EventLog(broker).start()
        seen: list[Event] = []
        replay = await log.replay(seen.append, subject=run_filter(run))
        await fill(log, run, 5)
        await until(lambda: len(seen) == 5)
        await asyncio.to_thread(broker_process.restart)
        await log.append([done(run, 5)])
        await until(lambda: len(seen) >= 6, timeout_s=30)
        assert [one.data.index for one in seen if isinstance(one.data, TaskDone)] == list(range(6))
        await replay.stop()
        await log.close()


# -- large data and snapshots ------------------------------------------------------------------------------


async def test_large_data_travel_beside_the_event(event_log: EventLog, run: str) -> None:
    written = large(run)
    seq = await event_log.append([done(run), written])
    stored = await read_at(event_log.broker, seq)
    assert len(stored.data) < 2000
    body = json.loads(stored.data)
    assert "data" not in body
    assert body["dataref"].startswith("sha256:")
    read = (await event_log.read_run(run))[1]
    assert read.data == written.data
    assert (await event_log.last(stored.subject)) == read


async def test_the_same_bytes_are_stored_once(event_log: EventLog) -> None:
    data = b"the same" * 1000
    assert await event_log.blobs.put(data) == await event_log.blobs.put(data) == reference(data)
    assert await event_log.blobs.get(reference(data)) == data
    store = await event_log.broker.js.object_store(BLOBS)
    assert [info.name for info in await store.list()].count(reference(data)) == 1


async def test_many_store_the_same_bytes_at_once(event_log: EventLog) -> None:
    data = b"at once" * 50_000
    refs = await asyncio.gather(*(event_log.blobs.put(data) for _ in range(5)))
    assert set(refs) == {reference(data)}
    assert await event_log.blobs.get(refs[0]) == data


async def test_a_blob_that_is_not_there(event_log: EventLog) -> None:
    with pytest.raises(NotFound, match="SWARM_BLOBS holds no sha256:0"):
        await event_log.blobs.get("sha256:0")


async def test_a_blob_whose_bytes_were_altered_is_refused(event_log: EventLog) -> None:
    ref = await event_log.blobs.put(b"the truth")
    store = await event_log.broker.js.object_store(BLOBS)
    await store.put(ref, b"something else")
    with pytest.raises(InvalidEvent, match="holds other bytes"):
        await event_log.blobs.get(ref)


async def test_a_blob_whose_bytes_are_gone_is_refused(event_log: EventLog) -> None:
    ref = await event_log.blobs.put(b"here today")
    info = await (await event_log.broker.js.object_store(BLOBS)).get_info(ref)
    await event_log.broker.js.purge_stream(f"OBJ_{BLOBS}", subject=f"$O.{BLOBS}.C.{info.nuid}")
    with pytest.raises(InvalidEvent, match="holds other bytes"):
        await event_log.blobs.get(ref)


async def test_a_blob_that_is_replaced_while_it_is_read_is_read_again(
    event_log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"replaced" * 1000
    ref = await event_log.blobs.put(data)
    store = await event_log.broker.js.object_store(BLOBS)
    chunks = blobs_module.Blobs._chunks
    reads = 0

    async def replace_first(self: blobs_module.Blobs, bucket: str, nuid: str) -> AsyncIterator[bytes]:
        nonlocal reads
        reads += 1
        if reads in {1, 3}:
            await store.put(ref, data)  # another process stores the same bytes: the old chunks go
        async for chunk in chunks(self, bucket, nuid):
            yield chunk

    monkeypatch.setattr(blobs_module.Blobs, "_chunks", replace_first)
    assert await event_log.blobs.get(ref) == data
    assert reads == 2
    await event_log.blobs.save(ref, tmp_path / "copy", most=len(data))
    assert (tmp_path / "copy").read_bytes() == data
    assert reads == 4


async def test_a_snapshot_is_kept_replaced_and_no_loss(event_log: EventLog, run: str) -> None:
    assert await event_log.blobs.load_snapshot(run) is None
    for state in (b"first", b"second" * 100_000):
        await event_log.blobs.save_snapshot(run, state)
        assert await event_log.blobs.load_snapshot(run) == state
    await (await event_log.broker.js.object_store(SNAPSHOTS)).delete(run)
    assert await event_log.blobs.load_snapshot(run) is None


# -- export and import -------------------------------------------------------------------------------------


async def export(log: EventLog, run: str, path: Path) -> None:
    with path.open("wb") as stream:
        writer = Writer(stream)
        for one in await log.read_run(run):
            writer.add(one, await log.blobs.get(one.dataref) if one.dataref else b"")
        writer.close()


async def load(log: EventLog, path: Path, last: dict[str, int] | None = None) -> int:
    events = []
    for line in read_lines(path):
        if line.event is None:
            await log.blobs.put(line.blob)
        else:
            events.append(line.event)
    return await log.import_events(events, last)


async def test_an_export_imported_elsewhere_is_exported_the_same(
    event_log: EventLog, run: str, tmp_path: Path
) -> None:
    await event_log.append([decision(run), large(run), done(run, 1), done(run, 2)])
    raw = encode(done(run, 3)).replace(b'"data":', b'"later":1, "data" : ')
    await event_log.publish(Message(f"swarm.agent.{run}.task_done.t3", raw, {}))
    await export(event_log, run, tmp_path / "first.jsonl")
    with running(tmp_path / "nats") as server:
        async with connected(server.url, name="test") as broker:
            await ensure_streams(broker)
            other = await EventLog(broker).start()
            last = await load(other, tmp_path / "first.jsonl", {run: 0})
            await export(other, run, tmp_path / "second.jsonl")
            assert (await read_at(broker, last)).headers[IMPORTED] == "1"
            with pytest.raises(Conflict):
                await load(other, tmp_path / "first.jsonl", {run: 0})
            assert len(await other.read_run(run)) == 5
            await other.close()
    first, second = (tmp_path / name for name in ("first.jsonl", "second.jsonl"))
    assert check(first) == check(second) == []
    assert first.read_bytes().splitlines()[:-1] == second.read_bytes().splitlines()[:-1]


async def test_a_request_is_imported_to_where_requests_lie(event_log: EventLog, run: str) -> None:
    request = event(Requested(suite="s"), run)
    events = [decode(encode(one)) for one in (request, done(run))]
    last = await event_log.import_events(events)
    assert (await read_at(event_log.broker, last - 1)).subject == REQUESTS
    assert (await read_at(event_log.broker, last)).subject == f"swarm.agent.{run}.task_done.t0"


async def test_what_was_removed_a_moment_ago_can_be_imported_again(broker: Broker, run: str) -> None:
    log = await EventLog(broker).start()
    await log.append([done(run, 1), done(run, 2)])
    events = await log.read_run(run)
    await broker.js.purge_stream(STREAM, subject=run_filter(run))
    assert await log.read_run(run) == []
    await log.import_events(events, {run: 0})
    assert [one.raw for one in await log.read_run(run)] == [one.raw for one in events]
    await log.close()


def test_a_reference_is_the_sha256() -> None:
    assert reference(b"x") == f"sha256:{hashlib.sha256(b'x').hexdigest()}"


async def test_what_is_no_event_may_be_passed_over_by_whoever_asks(event_log: EventLog, run: str) -> None:
    await event_log.publish(Message(f"swarm.agent.{run}.task_done.t0", b"nonsense", {}))
    seq = await event_log.append([done(run, 1)])
    passed: list[tuple[int, str]] = []
    read = [
        one
        async for one in event_log.read(
            run_filter(run),
            unreadable=lambda stored, error: passed.append((stored.seq, type(error).__name__)),
        )
    ]
    assert [one.data for one in read] == [TaskDone(task="t1", index=1)]
    assert passed == [(seq - 1, "InvalidEvent")]
