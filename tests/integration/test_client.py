"""The Python client against a real broker: requests go out once, runs are followed to their end and a little beyond."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.brokers import BrokerProcess
from support.making import event
from swarm_common import Client
from swarm_common import client as client_module
from swarm_common.client import broker_url
from swarm_common.errors import BrokerUnavailable, InvalidEvent, NotFound, RunFailed, UsageError
from swarm_common.events import Data, Event, Metric, decode
from swarm_common.events.benchmark import CancelRequested, Completed, Failed, Rejected, Requested, Started
from swarm_common.events.memory import Remembered
from swarm_common.events.optimizer import Suggested
from swarm_common.events.subjects import REQUESTS
from swarm_common.ids import run_id, trace_id
from swarm_common.log.blobs import reference
from swarm_common.log.publisher import MSG_ID
from swarm_common.log.reader import Stored, read_stored
from swarm_common.log.streams import BLOBS, ensure_streams
from swarm_common.runs import RunView
from swarm_common.settings import Settings

STARTED = Started(
    request_id="q",
    suite="noop",
    scenario="throughput",
    params={},
    session="s",
    seed=1,
    timeout_s=1.0,
    deadline="later",
    tasks=(),
)
COMPLETED = Completed(
    result={"answer": 42},
    metrics=(Metric(name="accuracy", value=0.9, unit="ratio"),),
    targets=(),
    digest="sha256:d",
    duration_s=1.0,
    clock="wall",
    tasks=0,
    attempts=0,
    events=1,
    log_sha256="x",
)
AFTERMATH = (
    Remembered(key="k", runs=1, value=None, best=None, improved=False),
    Suggested(suggestions=(), looked_at=1),
)


@pytest.fixture
async def client(broker_server: BrokerProcess) -> AsyncIterator[Client]:
    async with Client(settings=Settings(nats_url=broker_server.url, session="mine")) as client:
        await ensure_streams(client.broker)
        yield client


@contextlib.asynccontextmanager
async def answering(client: Client, suite: str, *answer: Data) -> AsyncIterator[None]:
    """Answer the first request for a suite with these events, as a swarm would."""
    answered = asyncio.Event()

    async def answer_request(msg: Any) -> None:
        request = decode(msg.data)
        assert isinstance(request.data, Requested)
        if request.data.suite == suite and not answered.is_set():
            answered.set()
            for index, data in enumerate(answer):
                await client.log.append([event(data, request.run, index=index)])

    subscription = await client.broker.nc.subscribe(REQUESTS, cb=answer_request)
    await client.broker.nc.flush()
    yield
    await subscription.unsubscribe()


async def requests(client: Client, suite: str) -> list[tuple[Event, Stored]]:
    found = [(decode(stored.data), stored) async for stored in read_stored(client.broker, REQUESTS)]
    return [
        (one, stored) for one, stored in found if isinstance(one.data, Requested) and one.data.suite == suite
    ]


async def test_a_run_is_requested_and_waited_for(client: Client, run: str) -> None:
    seen: list[tuple[str, str]] = []

    def note(view: RunView, one: Event) -> None:
        seen.append((view.status, one.type))

    async with answering(client, run, STARTED, COMPLETED, *AFTERMATH):
        found = await client.run(run, "throughput", {"tasks": 3}, seed=7, timeout_s=5.0, on_event=note)
    assert (found.status, found.digest, found.result) == ("completed", "sha256:d", {"answer": 42})
    assert found.metrics["accuracy"].value == 0.9
    assert seen == [
        ("running", "benchmark.started"),
        ("completed", "benchmark.completed"),
        ("completed", "memory.remembered"),
        ("completed", "optimizer.suggested"),
    ]
    ((request, stored),) = await requests(client, run)
    assert request.data == Requested(
        suite=run, scenario="throughput", params={"tasks": 3}, session="mine", seed=7, timeout_s=5.0
    )
    assert (request.run, request.trace_id) == (found.id, trace_id(request.id))
    assert found.id == run_id(request.id)
    assert stored.headers[MSG_ID] == request.id


async def test_an_aftermath_that_does_not_come_is_not_waited_for_long(
    client: Client, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "AFTERMATH_S", 0.1)
    async with answering(client, run, STARTED, COMPLETED):
        assert (await client.run(run)).status == "completed"


async def test_a_run_that_fails_says_why(client: Client, run: str) -> None:
    failed = Failed(reason="a task failed", error="OSError: disk", duration_s=1.0, clock="wall")
    async with answering(client, run, STARTED, failed):
        with pytest.raises(RunFailed, match="failed: a task failed: OSError: disk"):
            await client.run(run)


async def test_a_request_that_is_rejected_says_what_was_wrong(client: Client, run: str) -> None:
    async with answering(
        client, run, Rejected(reason="no such suite", field="suite", given=run, allowed="noop")
    ):
        with pytest.raises(UsageError, match="no such suite") as refused:
            await client.run(run, session="another")
    assert (refused.value.field, refused.value.given, refused.value.allowed) == ("suite", run, "noop")
    ((request, _),) = await requests(client, run)
    assert isinstance(request.data, Requested)
    assert request.data.session == "another"


async def test_the_same_request_twice_is_one(client: Client, run: str) -> None:
    ids = [await client.request(Requested(suite=run), request_id=f"request-{run}") for _ in range(2)]
    assert ids == [run_id(f"request-{run}")] * 2
    assert len(await requests(client, run)) == 1


async def test_a_run_is_followed_from_anywhere(client: Client, run: str) -> None:
    last = await client.log.append([event(STARTED, run)])
    async with contextlib.aclosing(client.follow(run, after=last)) as events:
        following = asyncio.ensure_future(anext(events))
        await client.log.append([event(COMPLETED, run, index=1)])
        assert (await asyncio.wait_for(following, 20)).data == COMPLETED


async def test_a_run_is_cancelled_on_request(client: Client, run: str) -> None:
    with pytest.raises(NotFound, match="no run"):
        await client.cancel(run)
    await client.log.append([event(STARTED, run, correlation="request")])
    await client.cancel(run, "enough")
    started, cancel = await client.events(run)
    assert cancel.data == CancelRequested(reason="enough")
    assert (cancel.causation, cancel.correlation, cancel.trace_id) == (
        started.id,
        "request",
        started.trace_id,
    )


async def test_instances_of_others_are_left_out(client: Client) -> None:
    async def answer(msg: Any) -> None:
        await msg.respond(msgspec.json.encode({"name": "somebody-else", "id": "1", "endpoints": []}))

    subscription = await client.broker.nc.subscribe("$SRV.STATS", cb=answer)
    await client.broker.nc.flush()
    assert await client.instances(wait_s=0.2) == []
    await subscription.unsubscribe()


async def test_without_a_broker_it_says_so() -> None:
    with pytest.raises(BrokerUnavailable, match="swarm up"):
        async with Client("nats://127.0.0.1:1", timeout_s=1.0):
            raise AssertionError


# -- files -------------------------------------------------------------------------------------------------


async def stored_objects(client: Client) -> int:
    """Return how many messages the object store holds: chunks and names."""
    return (await client.broker.js.stream_info(f"OBJ_{BLOBS}")).state.messages


async def test_a_path_among_the_parameters_is_stored_once_and_named_by_its_content(
    client: Client, run: str, tmp_path: Path
) -> None:
    data = f"age,income\n{run},1\n".encode() * 20_000  # of more than one chunk
    path, copy = tmp_path / "my people.csv", tmp_path / "copy.csv"
    path.write_bytes(data)
    copy.write_bytes(data)
    before = await stored_objects(client)
    await client.request(Requested(suite=run, params={"data": path, "folds": 5}))
    once = await stored_objects(client)
    assert once > before + 2
    await client.request(Requested(suite=run, params={"data": copy}))
    await client.upload(path)
    assert await stored_objects(client) == once
    ref = reference(data)
    found = [one.data.params for one, _ in await requests(client, run) if isinstance(one.data, Requested)]
    assert found == [{"data": f"my_people.csv@{ref}", "folds": 5}, {"data": f"copy.csv@{ref}"}]
    assert await client.log.blobs.get(ref) == data


async def test_what_cannot_be_sent_is_no_request(client: Client, run: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist") as refused:
        await client.run(run, params={"data": tmp_path / "none.csv"})
    assert refused.value.field == "params.data"
    assert await requests(client, run) == []


async def test_bytes_are_saved_beside_whoever_needs_them(client: Client, tmp_path: Path) -> None:
    data = bytes(range(256)) * 2000
    ref = await client.log.blobs.put(data)
    await client.log.blobs.save(ref, tmp_path / "copy", most=len(data))
    assert (tmp_path / "copy").read_bytes() == data
    with pytest.raises(InvalidEvent, match="more than 1000 bytes"):
        await client.log.blobs.save(ref, tmp_path / "copy", most=1000)
    with pytest.raises(NotFound):
        await client.log.blobs.save(reference(b"never stored"), tmp_path / "copy", most=1000)


async def test_other_bytes_under_the_name_are_noticed(client: Client, run: str, tmp_path: Path) -> None:
    store = await client.broker.js.object_store(BLOBS)
    await store.put(reference(run.encode()), b"something else")
    with pytest.raises(InvalidEvent, match="other bytes"):
        await client.log.blobs.save(reference(run.encode()), tmp_path / "copy", most=1000)


# -- which broker ------------------------------------------------------------------------------------------


def test_the_broker_that_settings_name_comes_first(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text('{"nats_url": "nats://embedded"}', encoding="utf-8")
    assert broker_url(Settings(nats_url="nats://named", home=str(tmp_path))) == "nats://named"
    assert broker_url(Settings(home=str(tmp_path))) == "nats://embedded"


@pytest.mark.parametrize("content", [None, "", "{}", "[]", "nonsense"])
def test_without_one_it_is_the_usual_address(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "stack.json").write_text(content, encoding="utf-8")
    assert broker_url(Settings(home=str(tmp_path))) == "nats://127.0.0.1:4222"
