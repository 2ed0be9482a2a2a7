"""What the coordinator decides. Pure: a state and a moment give events; replay, tests and life use the same function.

Decisions depend on the state alone and not on which message woke the coordinator, so a crash between two messages, or
two coordinators at once, lead to the same decisions (docs/decisions/0003).
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Mapping, Sequence
from typing import TypedDict

from swarm_common import clock
from swarm_common.events import Data, JudgedTarget, Metric, Target, Task
from swarm_common.events.benchmark import (
    Cancelled,
    Completed,
    Failed,
    Planned,
    RetryScheduled,
    Started,
    TaskScheduled,
)
from swarm_common.events.values import Lane
from swarm_coordinator.moment import Moment
from swarm_coordinator.plans import Finish, SoFar, Suite
from swarm_coordinator.state import RunState, Specs, TaskState, evolve, run_digest
from swarm_primitives.graphs import cycle
from swarm_primitives.queues import Entry

__all__ = ["RunState", "decide", "evolve"]

#: Most tasks of a kind in flight at once, where the scenario says nothing: enough to keep workers busy, few enough
#: that the tasks of another run are not behind all of this one's.
PARALLEL = {"io": 512, "cpu": 16}
#: Most events of one decision: an atomic batch takes 1,000.
MOST_EVENTS = 500
FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 30.0


def decide(state: RunState, moment: Moment, suites: Mapping[str, Suite]) -> tuple[Data, ...]:
    """Return the events that come next; none where there is nothing to decide."""
    started = state.started
    if started is None or state.over:
        return ()
    if state.cancel is not None:
        return (Cancelled(reason=state.cancel, **_duration(state, moment)),)
    if state.expired:
        return (
            Failed(
                reason=f"deadline: not done {started.timeout_s:g} s after it started",
                **_duration(state, moment),
            ),
        )
    if state.attempts == 0 and (wrong := cannot_be_planned(started.tasks)):
        return (_planned_wrong(state, moment, wrong),)
    verdicts = _verdicts(state, moment)
    if verdicts and isinstance(verdicts[-1], Failed):
        return verdicts[-1:]
    scheduled = _schedule(state)
    if verdicts or scheduled:
        return (*verdicts, *scheduled)[:MOST_EVENTS]
    if state.open == 0 or state.ask:
        return _ask(state, moment, suites)
    return ()


def _verdicts(state: RunState, moment: Moment) -> tuple[Data, ...]:
    """Say of every failed attempt whether another follows, or whether the run fails."""
    found: list[Data] = []
    for index in sorted(state.failed):
        task = state.tasks[state.failed[index]]
        if not task.retryable or task.attempt >= task.spec.max_attempts:
            reason = f"task {task.spec.id} failed" + (f" {task.attempt} times" if task.attempt > 1 else "")
            return (Failed(reason=reason, task=task.spec.id, error=task.error, **_duration(state, moment)),)
        delay_s = retry_delay_s(_seed(state), task.spec.id, task.attempt)
        found.append(
            RetryScheduled(
                task=task.spec.id,
                attempt=task.attempt + 1,
                delay_s=delay_s,
                due=clock.format_ns(moment.now_ns + int(delay_s * 1e9)),
                error=task.error,
            )
        )
    return tuple(found)


def _schedule(state: RunState) -> list[Data]:
    """Return the ready tasks for which there is room: the highest priority first, then in the order of planning."""

    def limit(kind: str, first: Entry) -> int:
        return _parallel(state, kind, state.tasks[first[-1]].spec.lane)

    found = state.schedule.due(limit, MOST_EVENTS)
    return [_scheduled(state.tasks[name], _seed(state)) for *_, name in found]


def _scheduled(task: TaskState, seed: int) -> TaskScheduled:
    spec = task.spec
    return TaskScheduled(
        task=spec.id,
        kind=spec.kind,
        service=spec.service,
        lane=spec.lane,
        attempt=task.attempt + 1,
        params=spec.params,
        needs=spec.after,
        seed=seed,
        timeout_s=spec.timeout_s,
    )


def _ask(state: RunState, moment: Moment, suites: Mapping[str, Suite]) -> tuple[Data, ...]:
    """Ask the planner what comes next."""
    started = state.started
    assert started is not None  # noqa: S101 - decide has looked
    suite = suites.get(started.suite)
    if suite is None:
        return (
            Failed(reason=f"suite {started.suite} is not known to this version", **_duration(state, moment)),
        )
    duration = _duration(state, moment)
    try:
        answer = suite.plan(_so_far(state, started, duration["duration_s"]))
    except Exception as error:  # noqa: BLE001 - whatever a planner raises must end its run, not leave it hanging
        return (
            Failed(
                reason=f"the planner of suite {started.suite} failed",
                error=f"{type(error).__name__}: {error}",
                **duration,
            ),
        )
    if isinstance(answer, Finish):
        return (
            _completed(state, answer, duration)
            if state.results
            else Failed(reason="no work was done", **duration),
        )
    if answer.tasks:
        if wrong := cannot_be_planned(answer.tasks, state.tasks):
            return (_planned_wrong(state, moment, wrong),)
        return (Planned(step=state.step, tasks=answer.tasks),)
    if state.open == 0:
        return (Failed(reason="the planner neither ends the run nor adds tasks", **duration),)
    return ()


def cannot_be_planned(tasks: Sequence[Task], planned: Container[str] = ()) -> str:
    """Say what is wrong with tasks: there already, or with a need that nobody meets. Such a run would never end."""
    known = set()
    for task in tasks:
        if task.id in planned or task.id in known:
            return f"plans {task.id} twice"
        known.add(task.id)
    for task in tasks:
        for need in task.after:
            if need not in known and need not in planned:
                return f"plans {task.id}, which needs {need}, and that is no task"
    if circle := cycle({task.id: task.after for task in tasks if task.after}):
        return f"plans tasks that wait for each other: {' needs '.join((*circle, circle[0]))}"
    return ""


def _planned_wrong(state: RunState, moment: Moment, what: str) -> Failed:
    suite = state.started.suite if state.started is not None else ""
    return Failed(reason=f"the planner of suite {suite} {what}", **_duration(state, moment))


def _so_far(state: RunState, started: Started, elapsed_s: float) -> SoFar:
    return SoFar(
        scenario=started.scenario,
        params=started.params,
        seed=started.seed,
        step=state.step,
        results=state.results,
        facts=state.facts,
        planned=Specs(state.tasks),
        elapsed_s=elapsed_s,
    )


def _completed(state: RunState, finish: Finish, duration: Duration) -> Completed:
    started = state.started
    assert started is not None  # noqa: S101 - decide has looked
    return Completed(
        result=finish.result,
        metrics=finish.metrics,
        targets=tuple(judge(target, finish.metrics) for target in started.targets),
        stopped=finish.stopped,
        digest=run_digest(state),
        tasks=len(state.results),
        attempts=state.attempts,
        events=state.events,
        log_sha256=state.chain,
        **duration,
    )


def judge(target: Target, metrics: tuple[Metric, ...]) -> JudgedTarget:
    """Hold a target against what was measured; a metric that is missing does not meet it."""
    value = next((metric.value for metric in metrics if metric.name == target.metric), None)
    return JudgedTarget(
        metric=target.metric, op=target.op, target=target.target, value=value, met=target.met_by(value)
    )


def retry_delay_s(seed: int, task: str, attempt: int) -> float:
    """Return the seconds before the next attempt: doubled each time, with jitter between half and all of it.

    The jitter is drawn from the run's seed, so a replayed run waits as its original did. (Exponential backoff with
    equal jitter, as in the AWS Architecture Blog, *Exponential Backoff And Jitter*, 2015.)
    """
    whole = min(FIRST_DELAY_S * 2.0 ** (attempt - 1), LONGEST_DELAY_S)
    drawn = int.from_bytes(hashlib.sha256(f"{seed}/{task}/{attempt}".encode()).digest()[:8]) / 2**64
    return round(whole * (0.5 + 0.5 * drawn), 6)


class Duration(TypedDict):
    """How long a run took, and by which clock."""

    duration_s: float
    clock: str


def _duration(state: RunState, moment: Moment) -> Duration:
    if moment.elapsed_s is not None:
        return {"duration_s": round(moment.elapsed_s, 6), "clock": "perf_counter"}
    return {"duration_s": round((moment.now_ns - state.started_ns) / 1e9, 6), "clock": "wall"}


def _parallel(state: RunState, kind: str, lane: Lane) -> int:
    given = state.started.parallel.get(kind) if state.started is not None else None
    return PARALLEL[lane] if given is None else given


def _seed(state: RunState) -> int:
    return state.started.seed if state.started is not None else 0
