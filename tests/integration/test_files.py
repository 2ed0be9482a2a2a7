"""A file of the user's, from the object store to predictions: fetched once, verified, kept while there is room."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from support.brokers import BrokerProcess
from support.making import event
from swarm_cli.commands.run import prepared
from swarm_cli.exporting import export_runs
from swarm_cli.importing import import_file
from swarm_common import Client, datafiles
from swarm_common.errors import SwarmError, UsageError
from swarm_common.events.agent import DataPrepared, ModelTrained, Predicted
from swarm_common.events.benchmark import Requested, Started, TaskScheduled
from swarm_common.events.envelope import Event, new_event
from swarm_common.log.eventlog import EventLog
from swarm_common.log.files import check, read_lines
from swarm_common.log.streams import ensure_streams
from swarm_common.runtime import Work
from swarm_common.runtime.history import RecordedHistory
from swarm_common.settings import Settings
from swarm_model_agent import fetching
from swarm_model_agent import service as agent
from swarm_model_agent.fetching import Files
from swarm_model_agent.params import FILES
from swarm_model_agent.pool import WarmPool


def people(rows: int = 60) -> str:
    """Return a CSV with a gap and a word, whose target follows both."""
    rng = np.random.default_rng(1)
    lines = ["age,town,income"]
    for row in range(rows):
        age, town = int(rng.integers(18, 80)), "ab"[rng.integers(2)]
        income = "high" if age > 50 or town == "b" else "low"
        lines.append(f"{'' if row == 3 else age},{town},{income}")
    return "\n".join(lines) + "\n"


@pytest.fixture
async def service(
    event_log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[dict[str, Any]]:
    """Yield the handlers of model-agent, as they are after its start, with one worker."""
    monkeypatch.setattr(agent, "pool", WarmPool(1))
    monkeypatch.setattr(agent, "_store", str(tmp_path / "store"))
    monkeypatch.setattr(agent, "_files", Files(tmp_path / "store" / FILES, event_log.blobs))
    yield {kind: handler.handle for kind, handler in agent.service.tasks.items()}
    await agent.pool.close()


def started(run: str, file: str) -> Event:
    data = Started(
        request_id="q",
        suite="ensemble",
        scenario="file",
        params={"data": file, "target": "income"},
        session="s",
        seed=1,
        timeout_s=1.0,
        deadline="later",
        tasks=(),
    )
    return event(data, run)


@pytest.fixture
async def sent(broker_server: BrokerProcess, tmp_path: Path, service: object) -> str:
    """Return what the client calls a file that it has sent."""
    assert service  # the streams are there
    path = tmp_path / "people.csv"
    path.write_text(people(), encoding="utf-8")
    async with Client(settings=Settings(nats_url=broker_server.url)) as client:
        return str(await client.upload(path))


def work(kind: str, **params: Any) -> Work:
    task = TaskScheduled(task="t", kind=kind, service="model_agent", params=params, seed=7)
    return Work(
        new_event(task, run="r", source="/swarm/test/1", cause="c", handler="test"), RecordedHistory([])
    )


async def test_a_file_that_was_sent_is_prepared_and_learned_from(service: Any, sent: str) -> None:
    data = {"dataset": "file", "file": sent, "target": "income"}
    [prepared] = await service["prepare_file"](work("prepare_file", **data))
    trained, predicted = await service["train"](
        work("train", **data, model="lr", model_type="logistic_regression", folds=3)
    )
    assert isinstance(prepared, DataPrepared)
    assert isinstance(trained, ModelTrained)
    assert isinstance(predicted, Predicted)
    assert (prepared.classes, prepared.n_train, prepared.categorical) == (("high", "low"), 48, (1,))
    assert trained.n_features == 2
    assert predicted.out_of_fold is not None
    right = predicted.out_of_fold.numpy().argmax(axis=1) == prepared.y_train.numpy()
    assert right.mean() > 0.8


async def test_it_is_fetched_once_and_used_by_many(
    service: Any, sent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []
    blobs = agent._files._blobs  # type: ignore[union-attr]
    save = blobs.save

    async def counted(ref: str, path: Path, *, most: int) -> None:
        fetched.append(ref)
        await save(ref, path, most=most)

    monkeypatch.setattr(blobs, "save", counted)
    data = {"dataset": "file", "file": sent, "target": "income"}
    tasks = [work("prepare_file", **data, split_seed=seed) for seed in range(3)]
    assert len(await asyncio.gather(*(service["prepare_file"](task) for task in tasks))) == 3
    assert fetched == [sent.partition("@")[2]]
    [path] = (tmp_path / "store" / FILES).iterdir()
    assert path.read_text(encoding="utf-8") == people()


@pytest.mark.parametrize("file", ["people.csv", "/etc/passwd", f"people.csv@sha256:{'0' * 64}"])
async def test_what_is_not_in_the_object_store_is_refused(service: Any, file: str) -> None:
    with pytest.raises(UsageError) as caught:
        await service["prepare_file"](work("prepare_file", dataset="file", file=file, target="income"))
    assert caught.value.field == "params.file"
    assert agent.pool.pids() == []  # no worker heard of it


async def test_a_larger_file_than_can_be_sent_is_not_fetched(
    service: Any, sent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datafiles, "MOST_BYTES", 100)
    with pytest.raises(UsageError, match="more than 100 bytes"):
        await service["prepare_file"](work("prepare_file", dataset="file", file=sent, target="income"))
    assert list((tmp_path / "store" / FILES).iterdir()) == []


async def test_preparing_a_file_is_not_taken_for_pure(service: Any, sent: str) -> None:
    assert not agent.service.tasks["prepare_file"].pure
    with pytest.raises(UsageError, match="prepare_file"):
        await service["prepare"](work("prepare", dataset="file", file=sent, target="income"))


async def test_without_a_broker_it_says_where_the_file_is(
    service: Any, sent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "_files", None)
    with pytest.raises(SwarmError, match="no broker is there"):
        await service["prepare_file"](work("prepare_file", dataset="file", file=sent, target="income"))


async def test_the_files_used_last_are_kept_and_those_in_use(
    event_log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "KEPT_BYTES", 250)
    files = Files(tmp_path / FILES, event_log.blobs)
    names = [f"f@{await event_log.blobs.put(bytes([number]) * 100)}" for number in range(4)]

    def there() -> set[str]:
        return {name for name in names if (tmp_path / FILES / name[-64:]).exists()}

    async def use(name: str, second: int) -> None:
        async with files.holding(name):
            os.utime(tmp_path / FILES / name[-64:], (second, second))

    async with files.holding(names[0]):
        os.utime(tmp_path / FILES / names[0][-64:], (0, 0))
        await use(names[1], 1)
        await use(names[2], 2)
        assert there() == set(names[:3])  # one too many, but the oldest is at work
    await use(names[1], 3)
    await use(names[3], 4)
    assert there() == {names[1], names[3]}


# -- what the command line sends --------------------------------------------------------------------------


async def test_a_parameter_is_a_path_where_the_coordinator_says_so(broker_server: BrokerProcess) -> None:
    async def answer(message: Any) -> None:
        params = [{"name": "data", "type": "file"}, {"name": "target", "type": "str"}]
        scenarios = [{"name": "file", "params": params}]
        await message.respond(msgspec.json.encode([{"name": "ensemble", "scenarios": scenarios}]))

    given = {"data": "people.csv", "target": "income", "folds": 3}
    request = Requested(suite="ensemble", scenario="file", params=given)
    async with Client(settings=Settings(nats_url=broker_server.url)) as client:
        # Nobody answers: the request waits for who does.
        assert (await prepared(client, request, yes=False)).params == given
        answering = await client.broker.nc.subscribe("query.coordinator.suites", cb=answer)
        await client.broker.nc.flush()
        found = await prepared(client, request, yes=False)
        assert found.params == {**given, "data": Path("people.csv")}
        await answering.unsubscribe()


# -- out of one log and into another ----------------------------------------------------------------------


async def test_an_export_carries_the_file_and_an_import_puts_it_back(
    broker_server: BrokerProcess, broker_process: BrokerProcess, sent: str, run: str, tmp_path: Path
) -> None:
    path = tmp_path / "run.jsonl"
    async with Client(settings=Settings(nats_url=broker_server.url)) as one:
        await one.log.append([started(run, sent)])
        with path.open("wb") as stream:
            exported = await export_runs(one, [run], stream)
        with (tmp_path / "bare.jsonl").open("wb") as stream:
            await export_runs(one, [run], stream, files=False)
    assert (exported.events, exported.absent) == (1, ())
    assert check(path) == check(tmp_path / "bare.jsonl") == []
    assert [line.blob for line in read_lines(tmp_path / "bare.jsonl")] == [b""]
    async with Client(settings=Settings(nats_url=broker_process.url)) as other:
        await ensure_streams(other.broker)
        imported = await import_file(other, path)
        assert (imported.events, imported.blobs) == (1, 1)
        assert await other.log.blobs.get(sent.partition("@")[2]) == people().encode()


async def test_a_file_that_never_came_is_named_and_the_rest_exported(
    broker_server: BrokerProcess, event_log: EventLog, run: str, tmp_path: Path
) -> None:
    never = f"people.csv@sha256:{'0' * 64}"
    await event_log.append([started(run, never)])
    async with Client(settings=Settings(nats_url=broker_server.url)) as client:
        with (tmp_path / "run.jsonl").open("wb") as stream:
            exported = await export_runs(client, [run], stream)
    assert (exported.events, exported.absent) == (1, (never,))
