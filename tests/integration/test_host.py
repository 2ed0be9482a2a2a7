"""The host of a service against a real broker: every task ends in a result, a failure or a dead letter."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.brokers import BrokerProcess
from support.making import event
from support.waiting import until
from swarm_common import live
from swarm_common.client import Client
from swarm_common.errors import BrokerUnavailable, NotFound, StreamFull, SwarmError, TaskFailed, UsageError
from swarm_common.events import Data, Event, decode, encode
from swarm_common.events.agent import AgentTaskFailed, TaskDone
from swarm_common.events.benchmark import Cancelled, CancelRequested, TaskScheduled
from swarm_common.events.memory import Remembered
from swarm_common.events.subjects import run_filter
from swarm_common.log.broker import connected
from swarm_common.log.eventlog import EventLog
from swarm_common.log.publisher import MSG_ID, Message
from swarm_common.log.reader import read_stored
from swarm_common.log.streams import DEAD_STREAM, STREAM
from swarm_common.runtime import Service, Work, deadletters
from swarm_common.runtime import consumer as consumer_module
from swarm_common.runtime import host as host_module
from swarm_common.runtime import worker as worker_module
from swarm_common.runtime.context import Context
from swarm_common.runtime.host import Host
from swarm_common.settings import Settings

Serve = Callable[..., Awaitable[Host]]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer_module, "HEARTBEAT_S", 0.2)
    monkeypatch.setattr(consumer_module, "REDELIVERY_S", (0.02,))
    monkeypatch.setattr(host_module, "_BEAT_S", 0.05)


@pytest.fixture
def service(run: str) -> Service:
    """A service of this test's own, which echoes."""
    service = Service(f"echo_{run}", "agent", description="Says again what it hears.")

    @service.task("echo")
    async def echo(work: Work) -> Data:
        return TaskDone(task=work.task.task, index=work.task.params.get("index", 0))

    return service


@pytest.fixture
async def serve(broker_server: BrokerProcess, service: Service, tmp_path: Path) -> AsyncIterator[Serve]:
    """Run hosts in this process until the test ends."""
    running: list[tuple[Host, asyncio.Task[None]]] = []

    async def start(what: Service = service, url: str = broker_server.url, **settings: Any) -> Host:
        given = {"nats_url": url, "health_file": str(tmp_path / f"health-{len(running)}"), "cpu_workers": 2}
        host = Host(what, Settings(**(given | settings)))
        task = asyncio.ensure_future(host.run())
        running.append((host, task))
        await until(lambda: ready(host, task))
        return host

    yield start
    for host, _ in running:
        host.stopping.set()
    for _, task in running:
        with contextlib.suppress(Exception):
            await asyncio.wait_for(task, 30)


def ready(host: Host, task: asyncio.Task[None]) -> bool:
    if task.done():
        task.result()
    return host._micro is not None and host.healthy()


def scheduled(run: str, task: str = "t", kind: str = "echo", index: int = 0, **more: Any) -> Event:
    data = TaskScheduled(task=task, kind=kind, service=f"echo_{run}", params={"index": index}, **more)
    return event(data, run, index=f"schedule {task} {data.attempt}", correlation="request", tracestate="a=b")


async def results(log: EventLog, run: str) -> list[Event]:
    return [one for one in await log.read_run(run) if not isinstance(one.data, TaskScheduled)]


async def result(log: EventLog, run: str) -> Event:
    """Wait for the first event of a run beside its tasks."""
    return (await until(lambda: results(log, run)))[0]


async def letters(log: EventLog, consumer: str) -> list[deadletters.DeadLetter]:
    return [one async for one in deadletters.letters(log.broker) if one.consumer == consumer]


async def idle(host: Host) -> bool:
    """Say whether everything is delivered and settled."""
    lags = [await consumer.lag() for consumer in host.context.consumers]
    return all(lag == (0, 0) for lag in lags)


# -- tasks -------------------------------------------------------------------------------------------------


async def test_a_task_is_handled_and_its_result_appended(event_log: EventLog, run: str, serve: Serve) -> None:
    host = await serve()
    cause = scheduled(run, index=7)
    await event_log.append([cause])
    found = await result(event_log, run)
    assert found.data == TaskDone(task="t", index=7)
    assert (found.causation, found.correlation, found.tracestate) == (cause.id, "request", "a=b")
    assert found.source == f"/swarm/echo_{run}/{host.context.instance}"
    assert (found.trace_id, found.span_id != cause.span_id) == (cause.trace_id, True)
    assert found.duration_us is not None
    await until(lambda: idle(host))
    assert host.state()["handled"] == 1


async def test_a_handler_may_say_several_things_of_its_task(
    event_log: EventLog, run: str, service: Service, serve: Serve
) -> None:
    @service.task("both", lane="cpu")
    async def both(work: Work) -> Sequence[Data]:
        failed = AgentTaskFailed(task=work.task.task, attempt=1, error="E", message="m", retryable=True)
        return [failed, TaskDone(task=work.task.task)]

    await serve()
    await event_log.append([scheduled(run, kind="both", lane="cpu")])
    await until(lambda: _count(event_log, run, 2))
    assert [one.type for one in await results(event_log, run)] == ["agent.task_failed", "agent.task_done"]


async def _count(log: EventLog, run: str, count: int) -> bool:
    return len(await results(log, run)) >= count


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        (ValueError("a bug"), True),
        (OSError(28, "No space left on device"), True),
        (TimeoutError("its own"), True),
        (TaskFailed("not worth it"), False),
        (TaskFailed("once more", retryable=True), True),
        (UsageError("params.folds: too many"), False),
        (ValueError("no text: \udcff"), True),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_what_a_handler_raises_becomes_an_event(
    event_log: EventLog, run: str, service: Service, serve: Serve, error: Exception, retryable: bool
) -> None:
    @service.task("fail")
    async def fail(_work: Work) -> Data:
        raise error

    host = await serve()
    await event_log.append([scheduled(run, kind="fail", attempt=2)])
    data = (await result(event_log, run)).data
    assert isinstance(data, AgentTaskFailed)
    assert (data.task, data.attempt, data.error, data.retryable) == ("t", 2, type(error).__name__, retryable)
    assert data.message == str(error).encode("utf-8", "backslashreplace").decode()
    await until(lambda: idle(host))
    assert (host.state()["failures"], await letters(event_log, f"echo_{run}-io")) == (1, [])


async def test_each_attempt_may_fail(event_log: EventLog, run: str, service: Service, serve: Serve) -> None:
    @service.task("fail")
    async def fail(_work: Work) -> Data:
        raise TaskFailed("no")

    await serve()
    for attempt in (1, 2):
        await event_log.append([scheduled(run, kind="fail", attempt=attempt)])
    await until(lambda: _count(event_log, run, 2))
    assert {one.data.attempt for one in await results(event_log, run)} == {1, 2}  # type: ignore[union-attr]


async def test_data_that_nobody_could_read_are_a_failure(
    event_log: EventLog, run: str, service: Service, serve: Serve
) -> None:
    @service.task("nan")
    async def nan(work: Work) -> Data:
        return TaskDone(task=work.task.task, elapsed_us=float("nan"))

    await serve()
    await event_log.append([scheduled(run, kind="nan")])
    data = (await result(event_log, run)).data
    assert isinstance(data, AgentTaskFailed)
    assert (data.error, data.retryable) == ("InvalidEvent", False)


async def test_an_unknown_kind_is_refused_with_those_that_are_known(
    event_log: EventLog, run: str, serve: Serve
) -> None:
    await serve()
    await event_log.append([scheduled(run, kind="dance")])
    data = (await result(event_log, run)).data
    assert isinstance(data, AgentTaskFailed)
    assert (data.error, data.retryable) == ("UsageError", False)
    assert "'dance'; it does echo" in data.message


async def test_a_task_has_its_time(event_log: EventLog, run: str, service: Service, serve: Serve) -> None:
    @service.task("wait")
    async def wait(_work: Work) -> Data:
        await asyncio.Event().wait()
        raise AssertionError

    await serve()
    await event_log.append([scheduled(run, kind="wait", timeout_s=0.1)])
    data = (await result(event_log, run)).data
    assert isinstance(data, AgentTaskFailed)
    assert (data.message, data.retryable) == ("no result in 0.1 s", True)
    await event_log.append([scheduled(run, task="quick", timeout_s=20.0)])
    await until(lambda: _count(event_log, run, 2))


async def test_a_task_gets_its_inputs(event_log: EventLog, run: str, service: Service, serve: Serve) -> None:
    @service.task("sum")
    async def add_up(work: Work) -> Data:
        events = await work.run_events()
        assert max(one.seq for one in events) == work.event.seq
        return TaskDone(
            task=work.task.task, index=sum(data.index for _, data in await work.inputs_of(TaskDone))
        )

    await serve()
    await event_log.append([scheduled(run, "a", index=3), scheduled(run, "b", index=4)])
    await until(lambda: _count(event_log, run, 2))
    await event_log.append(
        [scheduled(run, "c", "sum", needs=("a", "b")), scheduled(run, "d", "sum", needs=("none",))]
    )
    await until(lambda: _count(event_log, run, 4))
    by_task = {one.data.task: one.data for one in await results(event_log, run)}  # type: ignore[union-attr]
    assert by_task["c"] == TaskDone(task="c", index=7)
    assert isinstance(by_task["d"], AgentTaskFailed)
    assert "needs the result of none" in by_task["d"].message


async def test_a_large_task_is_fetched(event_log: EventLog, run: str, serve: Serve) -> None:
    await serve()
    data = TaskScheduled(
        task="t", kind="echo", service=f"echo_{run}", params={"index": 3, "text": "x" * 300_000}
    )
    await event_log.append([event(data, run)])
    assert (await result(event_log, run)).data == TaskDone(task="t", index=3)


# -- again -------------------------------------------------------------------------------------------------


async def test_a_task_whose_result_is_there_is_not_worked_on_again(
    event_log: EventLog, run: str, service: Service, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked: list[str] = []

    @service.task("count")
    async def count(work: Work) -> Data:
        worked.append(work.task.task)
        return TaskDone(task=work.task.task)

    ack = consumer_module.Delivery.ack
    lost: list[int] = []

    async def lose_first(self: consumer_module.Delivery) -> None:
        if not lost:
            lost.append(self.seq)
            await self.nak(0)  # to the broker, a lost acknowledgement is none
        else:
            await ack(self)

    monkeypatch.setattr(consumer_module.Delivery, "ack", lose_first)
    host = await serve()
    await event_log.append([scheduled(run, kind="count")])
    await until(lambda: lost and not host.worker.at_hand)
    await until(lambda: idle(host))
    assert worked == ["t"]
    assert len(await results(event_log, run)) == 1


async def test_passing_trouble_is_tried_again_and_ends_as_a_dead_letter(
    event_log: EventLog, run: str, service: Service, serve: Serve
) -> None:
    tries: list[int] = []

    @service.task("flaky")
    async def flaky(work: Work) -> Data:
        tries.append(work.event.seq)
        if work.task.task == "hopeless" or len(tries) < 3:
            raise BrokerUnavailable("not now")
        return TaskDone(task="t")

    host = await serve()
    await event_log.append([scheduled(run, kind="flaky")])
    assert (await result(event_log, run)).data == TaskDone(task="t")
    assert len(tries) == 3
    cause = scheduled(run, "hopeless", "flaky")
    await event_log.append([cause])
    (letter,) = await until(lambda: letters(event_log, f"echo_{run}-io"))
    assert (letter.error, letter.deliveries) == ("BrokerUnavailable: not now", consumer_module.MAX_DELIVER)
    assert decode(letter.body).id == cause.id
    await until(lambda: idle(host))


async def test_a_failure_that_cannot_be_written_is_tried_again(
    event_log: EventLog, run: str, service: Service, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    @service.task("fail")
    async def fail(_work: Work) -> Data:
        raise TaskFailed("no")

    append_once = EventLog.append_once
    refused: list[str] = []

    async def refuse_first(self: EventLog, one: Event) -> Any:
        if not refused:
            refused.append(one.id)
            raise BrokerUnavailable("not now")
        return await append_once(self, one)

    monkeypatch.setattr(EventLog, "append_once", refuse_first)
    host = await serve()
    await event_log.append([scheduled(run, kind="fail")])
    assert (await result(event_log, run)).type == "agent.task_failed"
    await until(lambda: idle(host))


async def test_a_full_log_is_waited_for_and_nothing_is_done_twice(
    event_log: EventLog, run: str, service: Service, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "FULL_AGAIN_S", 0.01)
    worked: list[str] = []

    @service.task("count")
    async def count(work: Work) -> Data:
        worked.append(work.task.task)
        return TaskDone(task=work.task.task)

    append_result = EventLog.append_result
    refusals: list[str] = []

    async def refuse_thrice(self: EventLog, one: Event) -> Any:
        if len(refusals) < 3:
            refusals.append(one.id)
            raise StreamFull("full")
        return await append_result(self, one)

    monkeypatch.setattr(EventLog, "append_result", refuse_thrice)
    await serve()
    await event_log.append([scheduled(run, kind="count")])
    assert (await result(event_log, run)).type == "agent.task_done"
    assert worked == ["t"]


async def test_what_nobody_expected_keeps_no_slot(
    event_log: EventLog, run: str, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    do_task = worker_module.Worker._do_task
    calls: list[int] = []

    async def fail_first(
        self: worker_module.Worker, delivery: consumer_module.Delivery, cause: Event
    ) -> None:
        calls.append(delivery.seq)
        if len(calls) == 1:
            raise RuntimeError("a bug of the worker itself")
        await do_task(self, delivery, cause)

    monkeypatch.setattr(worker_module.Worker, "_do_task", fail_first)
    host = await serve(io_slots=1)
    await event_log.append([scheduled(run)])
    assert (await result(event_log, run)).data == TaskDone(task="t")
    await until(lambda: idle(host))
    assert (len(calls), host.state()["in_flight"]) == (2, 0)


async def test_tasks_of_a_run_that_has_ended_are_not_worked_on(
    event_log: EventLog, run: str, serve: Serve
) -> None:
    host = await serve()
    await event_log.append([event(Cancelled(reason="enough", duration_s=1.0, clock="wall"), run)])
    await until(lambda: run in host.worker.ended)
    await event_log.append([scheduled(run)])
    await event_log.append([event(TaskScheduled(task="t", kind="echo", service=f"echo_{run}"), f"{run}-b")])
    await result(event_log, f"{run}-b")
    await until(lambda: idle(host))
    assert [one.type for one in await results(event_log, run)] == ["benchmark.cancelled"]


# -- what cannot be handled --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 300_000, 1_000_000])
async def test_what_is_no_event_becomes_a_dead_letter_with_its_bytes(
    event_log: EventLog, run: str, serve: Serve, size: int
) -> None:
    host = await serve()
    body = b'{"no": "event \xff' + b"x" * size
    subject = f"swarm.benchmark.{run}.task_scheduled.echo_{run}.io"
    ack = await event_log.publish(
        Message(subject, body, {MSG_ID: f"bad-{run}", "X-Own": "kept", "X-Other": "ß"})
    )
    (letter,) = await until(lambda: letters(event_log, f"echo_{run}-io"))
    assert (letter.subject, letter.seq, letter.deliveries) == (subject, ack.seq, 1)
    assert letter.body == body
    assert letter.size_bytes == len(body)
    assert letter.error.startswith("InvalidEvent: not a CloudEvents JSON object")
    assert await deadletters.letter(event_log.broker, letter.id) == letter
    await until(lambda: idle(host))
    assert host.context.broker.reconnects == 0


async def test_a_letter_is_written_once(event_log: EventLog, run: str) -> None:
    for error in ("first", "second\r\nEvil: 1"):
        await deadletters.bury(
            event_log,
            consumer=f"c-{run}",
            subject="benchmark.requested",
            seq=7,
            body=b"x",
            headers=None,
            deliveries=1,
            error=error,
        )
    (letter,) = await letters(event_log, f"c-{run}")
    assert letter.error == "first"


async def test_a_letter_that_is_redriven_is_handled_and_gone(
    event_log: EventLog, run: str, service: Service, serve: Serve
) -> None:
    works = False

    @service.task("later")
    async def later(work: Work) -> Data:
        if not works:
            raise BrokerUnavailable("not yet")
        return TaskDone(task=work.task.task)

    await serve()
    cause = scheduled(run, kind="later")
    await event_log.append([cause])
    (letter,) = await until(lambda: letters(event_log, f"echo_{run}-io"))
    works = True
    assert (await deadletters.redrive(event_log, letter.id)) == letter
    found = await result(event_log, run)
    assert (found.type, found.causation) == ("agent.task_done", cause.id)
    assert await letters(event_log, f"echo_{run}-io") == []
    with pytest.raises(NotFound, match="no dead letter"):
        await deadletters.redrive(event_log, letter.id)


@pytest.mark.parametrize("ident", ["", "x", "-1", "99999999", "1.5"])
async def test_no_such_letter(event_log: EventLog, ident: str) -> None:
    with pytest.raises(NotFound, match="no dead letter"):
        await deadletters.letter(event_log.broker, ident)


async def test_the_original_headers_go_along_but_what_the_broker_would_act_on(
    event_log: EventLog, run: str
) -> None:
    headers = {
        "X-Own": "kept",
        "Nats-Expected-Last-Subject-Sequence": "0",
        "Nats-Batch-Id": "b",
        MSG_ID: f"id-{run}",
    }
    await deadletters.bury(
        event_log,
        consumer=f"c-{run}",
        subject=f"swarm.test.{run}.said",
        seq=7,
        body=b"original",
        headers=headers,
        deliveries=5,
        error="E",
    )
    (letter,) = await letters(event_log, f"c-{run}")
    await deadletters.redrive(event_log, letter.id)
    (stored,) = [stored async for stored in read_stored(event_log.broker, run_filter(run), stream=STREAM)]
    assert (stored.data, stored.headers["X-Own"]) == (b"original", "kept")
    assert "Nats-Expected-Last-Subject-Sequence" not in stored.headers
    assert stored.headers[MSG_ID] != f"id-{run}"
    dead = [stored.subject async for stored in read_stored(event_log.broker, "dead.>", stream=DEAD_STREAM)]
    assert f"dead.c-{run}.{run}" not in dead


async def test_imported_events_are_not_worked_on(event_log: EventLog, run: str, serve: Serve) -> None:
    host = await serve()
    imported = decode(encode(scheduled(run)))
    await event_log.import_events([imported])
    await event_log.append([event(TaskScheduled(task="t", kind="echo", service=f"echo_{run}"), f"{run}-b")])
    await result(event_log, f"{run}-b")
    await until(lambda: idle(host))
    assert await results(event_log, run) == []


# -- reactions ---------------------------------------------------------------------------------------------


def reacting(service: Service, handler: Callable[[Work], Awaitable[Data]]) -> None:
    service.reaction(CancelRequested)(handler)


async def test_a_reaction_follows_its_event(
    event_log: EventLog, run: str, service: Service, serve: Serve
) -> None:
    async def remember(work: Work) -> Data:
        return Remembered(key=work.event.run, runs=1, value=None, best=None, improved=False)

    reacting(service, remember)
    await serve()
    cause = event(CancelRequested(), run)
    await event_log.append([cause])
    found = await until(lambda: event_log.last(f"swarm.memory.{run}.remembered"))
    assert found.causation == cause.id


@pytest.mark.parametrize(
    ("error", "tries"),
    [(UsageError("never"), 1), (ValueError("a bug"), 5), (BrokerUnavailable("not now"), 5)],
    ids=lambda value: type(value).__name__,
)
async def test_a_reaction_that_fails_ends_as_a_dead_letter(
    event_log: EventLog, run: str, service: Service, serve: Serve, error: Exception, tries: int
) -> None:
    seen: list[int] = []

    async def fail(work: Work) -> Data:
        if work.event.run != run:
            return Remembered(key="other", runs=1, value=None, best=None, improved=False)
        seen.append(work.event.seq)
        raise error

    reacting(service, fail)
    host = await serve()
    await event_log.append([event(CancelRequested(), run)])
    (letter,) = await until(lambda: letters(event_log, f"echo_{run}-reactions"))
    assert letter.error == f"{type(error).__name__}: {error}"
    await until(lambda: idle(host))
    assert len(seen) == tries


# -- queries and discovery ---------------------------------------------------------------------------------


@pytest.fixture
async def client(broker_server: BrokerProcess) -> AsyncIterator[Client]:
    async with Client(settings=Settings(nats_url=broker_server.url)) as client:
        yield client


async def test_queries_are_answered_and_refused_in_words(
    client: Client, run: str, service: Service, serve: Serve
) -> None:
    @service.query("double")
    async def double(context: Context, given: dict[str, Any]) -> Any:
        assert context.service is service
        match given.get("n"):
            case int(n):
                return {"n": 2 * n}
            case "usage":
                raise UsageError("n must be a number,\r\nEvil: not 'ü'")
            case "swarm":
                raise SwarmError("not today")
            case _:
                raise ValueError("a bug")

    await serve()
    name = f"echo_{run}"
    assert await client.query(name, "double", {"n": 21}) == {"n": 42}
    with pytest.raises(UsageError, match=r"n must be a number,  Evil: not '\\xfc'"):
        await client.query(name, "double", {"n": "usage"})
    with pytest.raises(SwarmError, match="not today"):
        await client.query(name, "double", {"n": "swarm"})
    with pytest.raises(SwarmError, match="ValueError: a bug"):
        await client.query(name, "double")
    for bad in (b"[1]", b"{", b"\xff", b'{"a":' * 5000):
        reply = await client.broker.nc.request(f"query.{name}.double", bad, timeout=5)
        assert reply.headers is not None
        assert reply.headers["Nats-Service-Error-Code"] == "400"
        assert "no JSON object" in reply.headers["Nats-Service-Error"]
    with pytest.raises(BrokerUnavailable, match="nobody does not answer"):
        await client.query("nobody", "health", timeout_s=1.0)


async def test_a_service_is_discovered_with_its_state(
    client: Client, event_log: EventLog, run: str, serve: Serve
) -> None:
    hosts = [await serve(), await serve()]
    await event_log.append([scheduled(run)])
    await result(event_log, run)
    for host in hosts:
        await until(lambda host=host: idle(host))  # type: ignore[misc]
    found = [one for one in await client.instances(wait_s=1.0) if one["service"] == f"echo_{run}"]
    assert len(found) == 2
    assert sum(one["handled"] for one in found) == 1
    assert all(one["ready"] and one["healthy"] and one["in_flight"] == 0 for one in found)
    assert found[0]["consumers"] == [f"echo_{run}-io"]
    health = await client.query(f"echo_{run}", "health")
    assert health["service"] == f"echo_{run}"
    reply = await client.broker.nc.request(f"$SRV.INFO.swarm-echo_{run}", b"", timeout=5)
    info = msgspec.json.decode(reply.data)
    assert info["metadata"]["service"] == f"echo_{run}"
    clock = live.clock_subject(f"echo_{run}", hosts[0].context.instance)
    assert {endpoint["subject"] for endpoint in info["endpoints"]} == {f"query.echo_{run}.health", clock}


# -- beginning, sharing, ending ----------------------------------------------------------------------------


async def test_a_healthy_service_touches_its_file(serve: Serve) -> None:
    host = await serve()
    path = Path(host.settings.health_file)
    before = (await until(lambda: path.exists() and path.stat())).st_mtime_ns
    await until(lambda: path.stat().st_mtime_ns > before)


async def test_replicas_share_tasks_and_each_is_done_once(
    event_log: EventLog, run: str, serve: Serve
) -> None:
    hosts = [await serve(io_slots=2), await serve(io_slots=2)]
    await event_log.append([scheduled(run, f"t{n}", index=n) for n in range(100)])
    await until(lambda: _count(event_log, run, 100))
    assert sorted(one.data.index for one in await results(event_log, run)) == list(range(100))  # type: ignore[union-attr]
    for host in hosts:
        await until(lambda host=host: idle(host))  # type: ignore[misc]
    assert sum(host.state()["handled"] for host in hosts) == 100
    assert all(host.state()["handled"] > 0 for host in hosts)


async def test_work_at_hand_is_finished_when_a_service_stops(
    event_log: EventLog, run: str, service: Service, serve: Serve
) -> None:
    working, go_on = asyncio.Event(), asyncio.Event()
    stopped: list[str] = []

    @service.task("slow")
    async def slow(work: Work) -> Data:
        working.set()
        await go_on.wait()
        return TaskDone(task=work.task.task)

    @service.on_stop
    async def note(context: Context) -> None:
        stopped.append(context.instance)
        raise ValueError("a hook that fails stops nobody")

    host = await serve()
    await event_log.append([scheduled(run, kind="slow")])
    await working.wait()
    host.stopping.set()
    await until(lambda: host.context.consumers[0]._stopping)
    assert stopped == []
    go_on.set()
    await until(lambda: stopped)
    assert (await result(event_log, run)).data == TaskDone(task="t")


async def test_work_that_does_not_end_is_given_back(
    event_log: EventLog, run: str, service: Service, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "GRACE_S", 0.1)
    first = asyncio.Event()

    @service.task("stuck")
    async def stuck(work: Work) -> Data:
        if not first.is_set():
            first.set()
            await asyncio.Event().wait()
        return TaskDone(task=work.task.task)

    host = await serve()
    await event_log.append([scheduled(run, kind="stuck")])
    await first.wait()
    host.stopping.set()
    await serve()
    assert (await asyncio.wait_for(result(event_log, run), 8)).data == TaskDone(
        task="t"
    )  # far below ACK_WAIT_S


async def test_long_work_is_told_to_the_broker(
    event_log: EventLog, run: str, service: Service, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (consumer_module, host_module):
        monkeypatch.setattr(module, "ACK_WAIT_S", 0.6)
    starts: list[int] = []
    told: list[int] = []
    in_progress = consumer_module.Delivery.in_progress
    enough = asyncio.Event()

    async def note(self: consumer_module.Delivery) -> None:
        await in_progress(self)
        told.append(self.seq)
        if len(told) >= 8:  # at least 1.6 s, more than twice ACK_WAIT_S
            enough.set()

    monkeypatch.setattr(consumer_module.Delivery, "in_progress", note)

    @service.task("long")
    async def long(work: Work) -> Data:
        starts.append(work.event.seq)
        await enough.wait()
        return TaskDone(task=work.task.task)

    host = await serve()
    await event_log.append([scheduled(run, kind="long")])
    await result(event_log, run)
    await until(lambda: idle(host))
    assert len(starts) == 1


async def test_a_service_whose_start_fails_ends(
    broker_server: BrokerProcess, service: Service, tmp_path: Path
) -> None:
    @service.on_start
    async def fail(_context: Context) -> None:
        raise SwarmError("no view")

    with pytest.raises(SwarmError, match="no view"):
        await Host(service, Settings(nats_url=broker_server.url, health_file=str(tmp_path / "h"))).run()


async def test_a_service_ends_with_what_it_spawned(
    broker_server: BrokerProcess, service: Service, tmp_path: Path
) -> None:
    @service.on_start
    async def begin(context: Context) -> None:
        async def fail() -> None:
            raise SwarmError("the view broke")

        context.spawn(fail(), "view")

    host = Host(service, Settings(nats_url=broker_server.url, health_file=str(tmp_path / "h")))
    async with asyncio.timeout(20):
        with pytest.raises(SwarmError, match="the view broke"):
            await host.run()


async def test_tasks_outlive_a_broker_that_is_killed(
    broker_process: BrokerProcess, run: str, serve: Serve
) -> None:
    await serve(url=broker_process.url)
    async with connected(broker_process.url, name="test") as broker:
        log = await EventLog(broker).start()
        await log.append([scheduled(run, f"t{n}", index=n) for n in range(200)])
        await until(lambda: _count(log, run, 20))
        await asyncio.to_thread(broker_process.restart)
        await until(lambda: broker.reconnects == 1)
        await log.append([scheduled(run, f"t{n}", index=n) for n in range(200, 210)])
        await until(lambda: _count(log, run, 210), timeout_s=30)
        assert sorted(one.data.index for one in await results(log, run)) == list(range(210))  # type: ignore[union-attr]
        await log.close()
