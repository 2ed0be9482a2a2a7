"""The view is a function of the log: however it is cut, repeated or begun again, the tables come out the same."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.measured import measured
from swarm_common.errors import BrokerUnavailable, InvalidEvent, NotFound
from swarm_common.events import Data, Event, Metric, Samples
from swarm_common.events.agent import AgentTaskFailed, ModelTrained, TaskDone
from swarm_common.events.benchmark import (
    Cancelled,
    Completed,
    Failed,
    Rejected,
    Started,
    TaskAbandoned,
    TaskScheduled,
)
from swarm_common.events.envelope import new_event
from swarm_metrics import queries
from swarm_metrics.feed import BATCH, MOST_WAITING, Feed
from swarm_metrics.projection import Projection, file_in, rebuild

ACCURACY = Metric(name="accuracy", value=0.9, unit="ratio", n=10, low=0.8, high=0.95, source=("e1",))


def started(session: str = "default") -> Started:
    return Started(
        request_id="q",
        suite="noop",
        scenario="throughput",
        params={"tasks": 2},
        session=session,
        seed=42,
        timeout_s=60.0,
        deadline="2027-01-01T00:00:00Z",
        tasks=(),
    )


def completed() -> Completed:
    return Completed(
        result={"tasks": 2},
        metrics=(ACCURACY, Metric(name="seconds", value=None, unit="s", timing=True, reason="no clock")),
        targets=(),
        digest="sha256:00",
        duration_s=1.5,
        clock="perf_counter",
        tasks=2,
        attempts=3,
        events=9,
        log_sha256="",
    )


def trained(task: str) -> ModelTrained:
    return ModelTrained(
        task=task,
        model="m",
        model_type="svm",
        hyperparameters={},
        n_train=4,
        n_features=1,
        folds=2,
        fold_scores=(1.0, 0.5),
        score_name="accuracy",
        fitted="",
        fit_s=0.5,
        fold_s=(0.25, 0.125),
        score_s=0.1,
        cpu_s=0.9,
        max_rss_bytes=1,
        worker="w/1",
        started="",
        waited_s=0.0,
    )


def scheduled(task: str, attempt: int = 1) -> TaskScheduled:
    return TaskScheduled(task=task, kind="noop", service="model_agent", attempt=attempt)


def failed(task: str) -> AgentTaskFailed:
    return AgentTaskFailed(task=task, attempt=1, error="OSError", message="away", retryable=True)


def log_of(data: Sequence[tuple[str, Data]]) -> list[Event]:
    return [
        msgspec.structs.replace(
            new_event(
                item,
                run=run,
                source="/swarm/x/1",
                cause=f"c{index}",
                handler="h",
                duration_us=index,
                time_ns=1_800_000_000_000_000_000 + index * 1000,
            ),
            seq=index + 1,
        )
        for index, (run, item) in enumerate(data)
    ]


WHOLE = log_of(
    [
        ("a", started()),
        ("a", scheduled("t1")),
        ("b", started("nightly")),
        ("a", scheduled("t2")),
        ("a", failed("t1")),
        ("a", scheduled("t1", attempt=2)),
        ("a", trained("t2")),
        ("a", TaskDone(task="t2")),
        ("b", scheduled("t1")),
        ("a", TaskDone(task="t1")),
        ("b", TaskAbandoned(task="t1", attempt=1, reason="delivered 5 times")),
        ("a", completed()),
        ("b", Failed(reason="a task failed", task="t1", error="gone", duration_s=2.0, clock="wall")),
        ("c", started()),
        ("c", Cancelled(reason="enough", duration_s=0.5, clock="wall")),
        ("d", Rejected(reason="no such suite", field="suite", request={"suite": "x", "session": "nightly"})),
    ]
)


def told(task: str, values: list[float]) -> Data:
    return measured(task, *(Samples(name=name, unit="us", values=tuple(values)) for name in "xy"))


steps = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.one_of(
            st.just(started()),
            st.just(completed()),
            st.builds(scheduled, st.sampled_from(["t1", "t2"]), st.integers(1, 3)),
            st.builds(failed, st.sampled_from(["t1", "t2"])),
            st.builds(lambda task: TaskDone(task=task), st.sampled_from(["t1", "t2"])),
            st.builds(trained, st.sampled_from(["t1", "t2"])),
            st.builds(told, st.sampled_from(["t1", "t2"]), st.lists(st.floats(-1e9, 1e9), max_size=4)),
        ),
    ),
    max_size=30,
)


def view(*stretches: Sequence[Event]) -> dict[str, Any]:
    projection = Projection()
    for stretch in stretches:
        projection.apply(stretch)
    found = projection.dump()
    projection.close()
    return found


@given(steps, st.lists(st.integers(0, 30), max_size=4))
def test_however_the_log_is_cut_the_view_is_the_same(data: list[tuple[str, Data]], cuts: list[int]) -> None:
    events = log_of(data)
    ends = [0, *sorted(cuts), len(events)]
    assert view(*(events[a:b] for a, b in itertools.pairwise(ends))) == view(events)


@given(steps, st.integers(0, 30))
def test_what_comes_twice_counts_once(data: list[tuple[str, Data]], again: int) -> None:
    events = log_of(data)
    assert view(events, events) == view(events[:again], events) == view(events)


def test_every_kind_of_end_is_told_apart() -> None:
    rows = queries.runs(filled().connection, {})["runs"]
    assert {row["run"]: (row["status"], row["reason"]) for row in rows} == {
        "a": ("completed", ""),
        "b": ("failed", "a task failed: gone"),
        "c": ("cancelled", "enough"),
        "d": ("rejected", "no such suite"),
    }


def filled() -> Projection:
    projection = Projection()
    assert projection.apply(WHOLE) == len(WHOLE)
    return projection


def test_a_run_has_its_tasks_and_metrics() -> None:
    found = queries.run(filled().connection, {"run": "a"})
    assert (found["params"], found["result"], found["deterministic"]) == ({"tasks": 2}, {"tasks": 2}, True)
    work = {task["task"]: (task["status"], task["attempts"], task["failures"]) for task in found["work"]}
    assert work == {"t1": ("done", 2, 1), "t2": ("done", 1, 0)}
    accuracy, seconds = found["metrics"]
    assert (accuracy["value"], accuracy["low"], accuracy["source"]) == (0.9, 0.8, ["e1"])
    assert (seconds["value"], seconds["reason"], seconds["timing"]) == (None, "no clock", True)


def test_an_abandoned_task_says_why() -> None:
    [task] = queries.run(filled().connection, {"run": "b"})["work"]
    assert (task["status"], task["error"]) == ("abandoned", "delivered 5 times")


def test_samples_are_kept_one_by_one() -> None:
    rows = queries.samples(filled().connection, {"run": "a"})["samples"]
    assert [
        (row["name"], row["of"], row["values"], row["unit"], row["clock"], row["task"]) for row in rows
    ] == [
        ("cpu", "m", [0.9], "s", "process_time_ns", "t2"),
        ("duration", "noop", [7.0], "us", "perf_counter_ns", "t2"),
        ("duration", "noop", [9.0], "us", "perf_counter_ns", "t1"),
        ("fit", "m", [0.5], "s", "perf_counter_ns", "t2"),
        ("fold", "m", [0.25, 0.125], "s", "perf_counter_ns", "t2"),
        ("score", "m", [0.1], "s", "perf_counter_ns", "t2"),
        ("wait", "m", [0.0], "s", "perf_counter_ns", "t2"),
    ]
    fold = rows[4]
    assert (fold["event"], fold["time"], fold["better"]) == (WHOLE[6].id, WHOLE[6].time, "lower")
    assert (fold["suite"], fold["scenario"], fold["session"]) == ("noop", "throughput", "default")


def test_a_run_that_is_not_there_is_not_found() -> None:
    with pytest.raises(NotFound, match="'z'"):
        queries.run(filled().connection, {"run": "z"})


def test_rows_and_position_are_written_together_or_not_at_all() -> None:
    projection = Projection()
    projection.apply(WHOLE[:3])
    before = projection.dump()
    with pytest.raises(InvalidEvent):
        projection.apply([*WHOLE[3:6], msgspec.structs.replace(WHOLE[6], data=None)])
    assert projection.dump() == before
    projection.apply(WHOLE)
    assert projection.dump() == view(WHOLE)


def test_a_file_is_read_on_from_where_it_stands(tmp_path: Path) -> None:
    path = file_in(str(tmp_path / "new"))
    for stretch in (WHOLE[:7], WHOLE):
        projection = Projection(path)
        projection.apply(stretch)
        projection.close()
    projection = Projection(path)
    assert (projection.position, projection.dump()) == (len(WHOLE), view(WHOLE))
    projection.close()


def test_another_log_begins_afresh_and_the_same_goes_on() -> None:
    projection = Projection()
    projection.begin("made on Monday")
    projection.apply(WHOLE)
    projection.begin("made on Monday")
    assert projection.position == len(WHOLE)
    projection.begin("made on Tuesday")
    assert (projection.position, projection.log) == (0, "made on Tuesday")
    assert all(rows == [] for table, rows in projection.dump().items() if table != "position")


def test_a_view_can_be_made_anew_beside_the_old(tmp_path: Path) -> None:
    path = tmp_path / "view.sqlite"
    spoilt = Projection(str(path))
    spoilt.connection.execute("UPDATE position SET seq = 99")
    spoilt.close()
    rebuild(path, WHOLE)
    projection = Projection(str(path))
    assert projection.dump() == view(WHOLE)
    projection.close()
    assert list(tmp_path.glob("*.rebuilt*")) == []


# -- the feed ----------------------------------------------------------------------------------------------


async def never(_event: Event) -> Event:
    raise AssertionError


async def test_the_feed_writes_what_it_took() -> None:
    projection = Projection()
    feed = Feed(projection, never)
    for event in WHOLE:
        feed.take(event)
    assert projection.position == 0
    await feed.flush()
    assert projection.dump() == view(WHOLE)


async def test_the_feed_writes_long_logs_in_batches() -> None:
    events = log_of([("a", scheduled(f"t{index}")) for index in range(2 * BATCH + 5)])
    projection = Projection()
    feed = Feed(projection, never)
    for event in events:
        feed.take(event)
    await feed.flush()
    assert projection.dump() == view(events)


async def test_a_feed_that_has_much_to_write_asks_to_be_given_no_more_for_now() -> None:
    events = log_of([("a", scheduled(f"t{index}")) for index in range(MOST_WAITING)])
    projection = Projection()
    feed = Feed(projection, never)
    asked = [feed.take(event) for event in events]
    assert asked[:-1] == [None] * (MOST_WAITING - 1)
    assert asked[-1] is not None
    room = asyncio.ensure_future(asked[-1])
    await asyncio.sleep(0)
    assert not room.done()
    await feed.flush()
    await room
    assert projection.position == MOST_WAITING


async def test_data_that_lie_elsewhere_are_fetched() -> None:
    async def fetch(event: Event) -> Event:
        return WHOLE[event.seq - 1]

    projection = Projection()
    feed = Feed(projection, fetch)
    for event in WHOLE:
        feed.take(msgspec.structs.replace(event, data=None))
    await feed.flush()
    assert projection.dump() == view(WHOLE)


async def test_data_that_are_lost_do_not_stop_the_view() -> None:
    async def lost(_event: Event) -> Event:
        raise NotFound("the object store holds no such thing")

    projection = Projection()
    feed = Feed(projection, lost)
    for event in WHOLE:
        feed.take(msgspec.structs.replace(event, data=None) if event.seq == 5 else event)
    await feed.flush()
    assert projection.position == len(WHOLE)


async def test_a_broker_that_is_away_loses_no_event() -> None:
    away = True

    async def fetch(event: Event) -> Event:
        if away:
            raise BrokerUnavailable("no answer")
        return WHOLE[event.seq - 1]

    projection = Projection()
    feed = Feed(projection, fetch)
    for event in WHOLE:
        feed.take(msgspec.structs.replace(event, data=None) if event.seq == 5 else event)
    with pytest.raises(BrokerUnavailable):
        await feed.flush()
    away = False
    await feed.flush()
    assert projection.dump() == view(WHOLE)
