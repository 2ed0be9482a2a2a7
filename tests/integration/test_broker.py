"""Connections, streams and timers on a real broker: made right, kept right, and back when the broker is."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog
from nats.js.api import ConsumerConfig, StreamConfig

from support.brokers import BrokerProcess, NativeBroker, running
from support.making import done
from support.waiting import until
from swarm_common.clock import now_ns
from swarm_common.errors import BrokerUnavailable, SwarmError
from swarm_common.log import broker as broker_module
from swarm_common.log.broker import Broker, connected, header
from swarm_common.log.eventlog import EventLog
from swarm_common.log.reader import Stored, read_stored
from swarm_common.log.streams import (
    ADVISORY_STREAM,
    BLOBS,
    DEAD_STREAM,
    SNAPSHOTS,
    STREAM,
    TIMER_STREAM,
    ensure_streams,
    stream_configs,
)
from swarm_common.log.timers import FIRED, Timer, fired, is_fired, set_timer


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# -- connections -------------------------------------------------------------------------------------------


async def test_a_command_is_told_at_once_that_no_broker_answers() -> None:
    url = f"nats://user:secret@127.0.0.1:{free_port()}"
    with pytest.raises(BrokerUnavailable, match=r"no broker answers at nats://127.* `swarm up`") as refused:
        await Broker.connect(url, name="test", timeout_s=1.0)
    assert "secret" not in str(refused.value)


async def test_a_service_waits_for_its_broker(tmp_path: Path) -> None:
    server = NativeBroker(tmp_path / "nats")
    server.port = free_port()
    url = f"nats://127.0.0.1:{server.port}"
    with structlog.testing.capture_logs() as logs:
        connecting = asyncio.ensure_future(Broker.connect(url, name="test", wait=True, timeout_s=0.5))
        await until(lambda: any(line["event"] == "waiting_for_broker" for line in logs))
        try:
            await asyncio.to_thread(server.start)
            broker = await asyncio.wait_for(connecting, 30)
            assert await broker.check()
            await broker.close()
        finally:
            server.stop()
    assert len([line for line in logs if line["event"] == "waiting_for_broker"]) <= 2


async def test_a_wrong_password_is_said(tmp_path: Path) -> None:
    config = "authorization { user: u, password: right }"
    with running(tmp_path / "nats", config=config) as server:
        url = server.url.replace("nats://", "nats://u:wrong@")
        with pytest.raises(BrokerUnavailable, match="uthorization") as refused:
            await Broker.connect(url, name="test", timeout_s=1.0)
        assert "wrong" not in str(refused.value)


async def test_a_connection_comes_back_with_its_broker(broker_process: BrokerProcess) -> None:
    async with connected(broker_process.url, name="test") as broker:
        told: list[int] = []
        broker.on_back(lambda: told.append(broker.reconnects))
        for count in (1, 2):
            await asyncio.to_thread(broker_process.restart)
            await until(lambda count=count: told == list(range(1, count + 1)))  # type: ignore[misc]
        assert await broker.check()


async def test_a_connection_that_is_away_is_not_healthy(broker_process: BrokerProcess) -> None:
    async with connected(broker_process.url, name="test") as broker:
        broker_process.kill()
        await until(lambda: not broker.nc.is_connected)
        assert not await broker.check(0.1)
        broker_process.start()
        await until(broker.check)


async def test_a_read_loop_that_died_is_noticed_and_the_connection_renewed(
    broker_server: BrokerProcess,
) -> None:
    # nats-py says `is_connected` all the while, and nothing reconnects (its pull request 914).
    async with connected(broker_server.url, name="test") as broker:
        await ensure_streams(broker)
        heard: list[bytes] = []

        async def listen(msg: object) -> None:
            heard.append(msg.data)  # type: ignore[attr-defined]

        await broker.nc.subscribe("said", cb=listen)
        assert broker.nc._reading_task is not None
        broker.nc._reading_task.cancel()
        await asyncio.wait([broker.nc._reading_task])
        assert broker.nc.is_connected
        assert not await broker.check(0.2)
        await until(lambda: broker.reconnects == 1)
        assert await broker.check()
        await broker.nc.publish("said", b"again")
        await until(lambda: heard == [b"again"])
        assert (await broker.js.stream_info(STREAM)).config.name == STREAM


async def test_the_watchdog_notices_a_frozen_broker_by_itself(
    broker_process: BrokerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_module, "WATCH_EVERY_S", 0.1)
    monkeypatch.setattr(Broker.check, "__defaults__", (0.2,))
    with structlog.testing.capture_logs() as logs:
        async with connected(broker_process.url, name="test") as broker:
            broker_process.freeze()
            await until(lambda: any(line["event"] == "connection_silent" for line in logs))
            broker_process.thaw()
            await until(lambda: broker.reconnects > 0)
            await until(broker.check)


async def test_closing_is_not_held_up_by_a_broker_that_is_away(broker_process: BrokerProcess) -> None:
    broker = await Broker.connect(broker_process.url, name="test")
    broker_process.kill()
    async with asyncio.timeout(6):
        await broker.close()
    assert broker.nc.is_closed
    assert not await broker.check()


async def test_a_header_of_a_message(broker: Broker) -> None:
    subscription = await broker.nc.subscribe("headers")
    await broker.nc.publish("headers", b"", headers={"A": "b"})
    await broker.nc.publish("headers", b"")
    first, second = await subscription.next_msg(5), await subscription.next_msg(5)
    assert (header(first, "A"), header(first, "B", "none"), header(second, "A")) == ("b", "none", "")


# -- streams -----------------------------------------------------------------------------------------------

NAMES = [STREAM, TIMER_STREAM, DEAD_STREAM, ADVISORY_STREAM]


async def heard_of(broker: Broker, verb: str) -> list[str]:
    """Collect what is asked of JetStream's API from now on."""
    asked: list[str] = []

    async def note(msg: object) -> None:
        asked.append(msg.subject)  # type: ignore[attr-defined]

    await broker.nc.subscribe(f"$JS.API.{verb}", cb=note)
    await broker.nc.flush()
    return asked


async def test_streams_that_are_right_are_left_alone(broker: Broker) -> None:
    asked = await heard_of(broker, "STREAM.>")
    for _ in range(2):
        await ensure_streams(broker)
    await broker.nc.flush()
    assert {subject.split(".")[3] for subject in asked} == {"INFO"}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (STREAM, {"max_age": 3600.0}),
        (STREAM, {"max_msgs": 10}),
        (STREAM, {"max_msgs_per_subject": 1}),
        (STREAM, {"duplicate_window": 60.0}),
        (STREAM, {"description": "somebody else's"}),
        (STREAM, {"no_ack": True}),
        (TIMER_STREAM, {"max_age": 60.0}),
        (DEAD_STREAM, {"subjects": ["dead.>", "deader.>"]}),
    ],
)
async def test_streams_that_drifted_are_brought_back(
    broker: Broker, name: str, change: dict[str, object]
) -> None:
    before = (await broker.js.stream_info(name)).config
    (wanted,) = [config for config in stream_configs() if config.name == name]
    if "no_ack" in change:  # the broker would not answer the change itself
        changed = StreamConfig(**(vars(wanted) | change | {"allow_atomic": False}))
    else:
        changed = StreamConfig(**(vars(wanted) | change))
    try:
        await broker.js.update_stream(changed)
    except Exception as error:  # noqa: BLE001
        pytest.skip(f"the broker does not let a stream drift so: {error}")
    with structlog.testing.capture_logs() as logs:
        await ensure_streams(broker)
    assert [line["stream"] for line in logs if line["event"] == "stream_updated"] == [name]
    assert (await broker.js.stream_info(name)).config == before


async def test_many_make_the_streams_at_once(broker_process: BrokerProcess) -> None:
    async with (
        connected(broker_process.url, name="a") as first,
        connected(broker_process.url, name="b") as second,
    ):
        await asyncio.gather(*(ensure_streams(broker) for broker in (first, second) for _ in range(3)))
        names = [info.config.name for info in await first.js.streams_info()]
    assert set(names) == {*NAMES, f"OBJ_{BLOBS}", f"OBJ_{SNAPSHOTS}"}


async def test_a_log_that_is_bounded_refuses_and_does_not_forget(broker: Broker) -> None:
    await ensure_streams(broker, max_bytes=10_000_000)
    config = (await broker.js.stream_info(STREAM)).config
    assert (config.max_bytes, config.discard) == (10_000_000, "new")
    await ensure_streams(broker)
    assert (await broker.js.stream_info(STREAM)).config.max_bytes == -1


async def test_the_log_deletes_nothing(broker: Broker, event_log: EventLog, run: str) -> None:
    seq = await event_log.append([done(run)])
    with pytest.raises(Exception, match="delete"):
        await broker.js.delete_msg(STREAM, seq)


async def test_what_the_broker_cannot_be_is_said(broker: Broker) -> None:
    with pytest.raises(SwarmError, match="JetStream refuses"):
        await ensure_streams(broker, replicas=3, timeout_s=5.0)


async def test_a_broker_without_jetstream_is_not_waited_for_without_end(
    broker_process: BrokerProcess,
) -> None:
    async with connected(broker_process.url, name="test") as broker:
        broker_process.freeze()
        broker.js._timeout = 0.2
        with pytest.raises(BrokerUnavailable, match="JetStream does not answer"):
            await ensure_streams(broker, timeout_s=0.3)
        broker_process.thaw()


# -- timers ------------------------------------------------------------------------------------------------


@pytest.fixture
async def rough_log(broker_process: BrokerProcess) -> AsyncIterator[EventLog]:
    async with connected(broker_process.url, name="test") as broker:
        await ensure_streams(broker)
        log = await EventLog(broker).start()
        yield log
        await log.close()


async def fired_of(log: EventLog, run: str) -> list[Stored]:
    found = [stored async for stored in read_stored(log.broker, FIRED, stream=TIMER_STREAM)]
    return [stored for stored in found if fired(stored.subject)[0] == run]


@pytest.mark.parametrize("delay_ms", [-60_000, 0, 300])
async def test_a_timer_fires_once_when_it_is_due(event_log: EventLog, run: str, delay_ms: int) -> None:
    due = now_ns() + delay_ms * 1_000_000
    await set_timer(event_log, Timer(run, "deadline", due))
    (stored,) = await until(lambda: fired_of(event_log, run))
    assert now_ns() >= due
    assert is_fired(stored.subject)
    assert fired(stored.subject) == (run, "deadline")
    await set_timer(event_log, Timer(run, "another", now_ns()))
    await until(lambda: _fired(event_log, run, 2))
    assert [fired(one.subject)[1] for one in await fired_of(event_log, run)] == ["deadline", "another"]


async def _fired(log: EventLog, run: str, count: int) -> bool:
    return len(await fired_of(log, run)) >= count


async def test_a_timer_that_is_set_twice_fires_once(event_log: EventLog, run: str) -> None:
    timer = Timer(run, "deadline", now_ns() + 400_000_000)
    for _ in range(3):
        await set_timer(event_log, timer)
    await set_timer(event_log, Timer(run, "later", timer.due_ns + 300_000_000))
    await until(lambda: _fired(event_log, run, 2))
    assert [fired(one.subject)[1] for one in await fired_of(event_log, run)] == ["deadline", "later"]


async def test_a_timer_outlives_the_broker(
    rough_log: EventLog, broker_process: BrokerProcess, run: str
) -> None:
    await set_timer(rough_log, Timer(run, "overdue", now_ns() + 300_000_000))
    await set_timer(rough_log, Timer(run, "due", now_ns() + 1_500_000_000))
    broker_process.kill()
    await until(lambda: not rough_log.broker.nc.is_connected)
    broker_process.start()
    await until(lambda: rough_log.broker.reconnects == 1)
    await until(lambda: _fired(rough_log, run, 2))
    assert [fired(one.subject)[1] for one in await fired_of(rough_log, run)] == ["overdue", "due"]


def test_consumers_have_no_filter_that_catches_set_timers() -> None:
    assert FIRED == "timer.fired.>"
    assert ConsumerConfig(filter_subject=FIRED).filter_subject == FIRED


async def test_closing_in_the_middle_of_a_check_says_nothing(
    broker_process: BrokerProcess, caplog: pytest.LogCaptureFixture
) -> None:
    broker = await Broker.connect(broker_process.url, name="test")
    broker_process.freeze()
    checking = asyncio.create_task(broker.check())
    await until(lambda: len(broker.nc._pongs) > 0)
    checking.cancel()
    await asyncio.wait([checking])
    broker_process.thaw()
    await broker.close()
    assert [record.message for record in caplog.records if record.name.startswith("nats")] == []
