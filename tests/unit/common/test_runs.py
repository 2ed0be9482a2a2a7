"""The view of a run: given events, then the view."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from swarm_common.events import Data, Event, JudgedTarget, Metric, Task
from swarm_common.events.agent import AgentTaskFailed, TaskDone
from swarm_common.events.benchmark import (
    Cancelled,
    CancelRequested,
    Completed,
    Failed,
    Planned,
    Rejected,
    RetryScheduled,
    Started,
    TaskAbandoned,
    TaskScheduled,
    TimerFired,
)
from swarm_common.events.envelope import new_event
from swarm_common.events.memory import Best, Recalled, Remembered
from swarm_common.events.optimizer import Suggested, Suggestion
from swarm_common.runs import RunView, ended_by, fold

RUN = "run-1"
METRIC = Metric(name="accuracy", value=0.9, unit="ratio")
UNMEASURED = Metric(name="tokens", value=None, unit="count", reason="no model endpoint")
BEST = Best(metric="accuracy", value=0.95, better="higher", run="r0", session="s", time="then")
STARTED = Started(
    request_id="q",
    suite="noop",
    scenario="empty",
    params={"tasks": 2},
    session="s",
    seed=7,
    timeout_s=60.0,
    deadline="later",
    tasks=(
        Task(id="a", kind="noop", service="model_agent"),
        Task(id="b", kind="noop", service="model_agent"),
    ),
)
COMPLETED = Completed(
    result={"tasks": 2},
    metrics=(METRIC, UNMEASURED),
    targets=(JudgedTarget(metric="accuracy", op=">=", target=0.85, value=0.9, met=True),),
    digest="sha256:d",
    duration_s=1.5,
    clock="perf_counter",
    tasks=2,
    attempts=2,
    events=6,
    log_sha256="x",
)


def scheduled(task: str, attempt: int = 1) -> TaskScheduled:
    return TaskScheduled(task=task, kind="noop", service="model_agent", attempt=attempt)


def given(*data: Data, **attributes: Any) -> RunView:
    """Return the view after these events, one a second."""
    return fold(RUN, [_event(index, one, **attributes) for index, one in enumerate(data)])


def _event(index: int, data: Data, **attributes: Any) -> Event:
    event = new_event(
        data,
        run=RUN,
        source="/swarm/model_agent/1",
        cause="c",
        handler="h",
        index=index,
        correlation="q",
        traceparent=f"00-{'a' * 32}-{'b' * 16}-01",
        time_ns=index * 10**9,
        **attributes,
    )
    return msgspec.structs.replace(event, seq=index + 1)


def test_of_a_run_without_events_nothing_is_known() -> None:
    view = given()
    assert (view.status, view.events, view.over, view.settled, view.good) == (
        "unknown",
        0,
        False,
        False,
        False,
    )


def test_a_started_run_has_its_plan() -> None:
    view = given(STARTED)
    assert (view.status, view.suite, view.seed, view.params) == ("running", "noop", 7, {"tasks": 2})
    assert view.started == "1970-01-01T00:00:00.000000Z"
    assert view.trace_id == "a" * 32
    assert view.count("planned") == 2


def test_tasks_go_from_planned_to_done() -> None:
    view = given(STARTED, scheduled("a"), scheduled("b"), TaskDone(task="a"), duration_us=12)
    assert (view.tasks["a"].status, view.tasks["b"].status) == ("done", "scheduled")
    task = view.tasks["a"]
    assert (task.scheduled, task.concluded, task.duration_us) == (
        "1970-01-01T00:00:01.000000Z",
        "1970-01-01T00:00:03.000000Z",
        12,
    )
    assert task.source == "/swarm/model_agent/1"
    assert task.event


def test_a_task_that_fails_is_tried_again() -> None:
    failed = AgentTaskFailed(task="a", attempt=1, error="OSError", message="disk", retryable=True)
    retry = RetryScheduled(task="a", attempt=2, delay_s=0.5, due="soon", error="OSError")
    assert given(STARTED, scheduled("a"), failed).tasks["a"].error == "OSError: disk"
    assert given(STARTED, scheduled("a"), failed, retry).tasks["a"].status == "retrying"
    view = given(STARTED, scheduled("a"), failed, retry, scheduled("a", 2), TaskDone(task="a"))
    task = view.tasks["a"]
    assert (task.status, task.attempts, task.error) == ("done", 2, "")
    assert task.scheduled == "1970-01-01T00:00:01.000000Z"


def test_an_abandoned_task_has_failed() -> None:
    view = given(STARTED, scheduled("a"), TaskAbandoned(task="a", attempt=1, reason="delivered 5 times"))
    assert (view.tasks["a"].status, view.tasks["a"].error) == ("failed", "delivered 5 times")


def test_tasks_that_are_planned_later_and_tasks_nobody_planned_are_seen() -> None:
    view = given(
        STARTED, Planned(step=1, tasks=(Task(id="c", kind="k", service="metrics"),)), TaskDone(task="d")
    )
    assert (view.tasks["c"].status, view.tasks["d"].status, view.tasks["d"].kind) == ("planned", "done", "")


def test_a_completed_run_has_its_result() -> None:
    view = given(STARTED, COMPLETED)
    assert (view.status, view.over, view.settled, view.good) == ("completed", True, False, True)
    assert (view.digest, view.duration_s, view.metrics) == ("sha256:d", 1.5, (METRIC, UNMEASURED))


def test_a_completed_run_is_settled_with_its_aftermath() -> None:
    remembered = Remembered(key="k", runs=1, value=None, best=None, improved=False)
    suggested = Suggested(suggestions=(Suggestion(kind="drop_model", subject="m", text="t"),), looked_at=3)
    assert not given(STARTED, COMPLETED, remembered).settled
    view = given(STARTED, COMPLETED, remembered, suggested)
    assert view.settled
    assert view.suggestions == suggested.suggestions


def test_a_missed_target_is_not_good() -> None:
    missed = JudgedTarget(metric="accuracy", op=">=", target=0.99, value=0.9, met=False)
    assert not given(STARTED, msgspec.structs.replace(COMPLETED, targets=(missed,))).good


@pytest.mark.parametrize(
    ("end", "status", "reason"),
    [
        (
            Failed(reason="a task failed", task="a", error="OSError: disk", duration_s=1.0, clock="wall"),
            "failed",
            "a task failed: OSError: disk",
        ),
        (Failed(reason="deadline", duration_s=1.0, clock="wall"), "failed", "deadline"),
        (Cancelled(reason="enough", duration_s=1.0, clock="wall"), "cancelled", "enough"),
    ],
)
def test_other_ends(end: Data, status: str, reason: str) -> None:
    view = given(STARTED, CancelRequested(), end, CancelRequested())
    assert (view.status, view.reason, view.settled, view.good) == (status, reason, True, False)
    assert view.summary()["reason"] == reason


def test_a_run_that_is_to_be_cancelled_says_so() -> None:
    assert given(STARTED, CancelRequested()).status == "cancelling"


def test_a_rejected_request_says_what_was_wrong() -> None:
    request = {"suite": "nope", "scenario": 5, "session": "mine"}
    view = given(
        Rejected(reason="no such suite", field="suite", given="nope", allowed="noop", request=request)
    )
    assert (view.status, view.suite, view.scenario, view.session) == ("rejected", "nope", "", "mine")
    assert view.request_id == "q"
    summary = view.summary()
    assert (summary["field"], summary["given"], summary["allowed"]) == ("suite", "nope", "noop")


def test_what_was_known_before_stands_beside_the_result() -> None:
    recalled = Recalled(task="m", key="k", runs=4, best=BEST)
    assert given(STARTED, Recalled(task="m", key="k", runs=0)).summary()["best_known"] is None
    best = given(STARTED, recalled, COMPLETED).summary()["best_known"]
    assert (best["value"], best["runs"], best["improved"]) == (0.95, 4, None)
    remembered = Remembered(key="k", runs=5, value=None, best=BEST, improved=False)
    assert given(STARTED, recalled, COMPLETED, remembered).summary()["best_known"]["improved"] is False


def test_a_summary_is_json_with_the_promised_fields() -> None:
    summary = given(
        STARTED, scheduled("a"), TaskDone(task="a"), TimerFired(timer="deadline", due="x"), COMPLETED
    ).summary()
    promised = [
        "run",
        "suite",
        "scenario",
        "session",
        "status",
        "trace_id",
        "events",
        "duration_s",
        "digest",
        "metrics",
        "targets",
        "result",
    ]
    assert set(promised) <= set(summary)
    assert summary["events"] == 5
    assert summary["tasks"] == {"planned": 1, "scheduled": 0, "retrying": 0, "done": 1, "failed": 0}
    measured, unmeasured = summary["metrics"]
    assert "reason" not in measured
    assert (unmeasured["value"], unmeasured["reason"]) == (None, "no model endpoint")
    assert msgspec.json.decode(msgspec.json.encode(summary))["run"] == RUN


def test_views_share_nothing() -> None:
    first, second = given(STARTED), given(STARTED)
    first.tasks["a"].status = "done"
    assert second.tasks["a"].status == "planned"


def test_what_ends_a_run() -> None:
    assert ended_by(_event(0, COMPLETED))
    assert not ended_by(_event(0, STARTED))


@pytest.mark.parametrize("steps", range(5))
def test_a_view_can_be_taken_further(steps: int) -> None:
    data = (STARTED, scheduled("a"), TaskDone(task="a"), COMPLETED)
    view = given(*data[:steps])
    for index, one in enumerate(data[steps:], steps):
        view.apply(_event(index, one))
    assert view == given(*data)
