"""Runs as a log has them, as many as wanted and each time the same: what a view is filled with to see what it costs."""

from __future__ import annotations

from swarm_common.events import Data, Event
from swarm_common.events.agent import TaskDone
from swarm_common.events.benchmark import Completed, Started, TaskScheduled
from swarm_common.events.envelope import new_event
from swarm_common.events.values import Metric, Task

#: Tasks of each run; it has twice as many events, its beginning and its end.
TASKS = 5
_EPOCH_NS = 1_800_000_000_000_000_000
_MINUTE_NS = 60 * 10**9
_COORDINATOR, _WORKER = "/swarm/coordinator/costs-1", "/swarm/model_agent/costs-1"


def run_events(number: int) -> list[Event]:
    """Return the events of a run, from its beginning to its end; another number is another run, a minute later."""
    run = f"{number:016x}"
    tasks = tuple(
        Task(id=f"noop-{index}", kind="noop", service="model_agent", params={"index": index})
        for index in range(TASKS)
    )
    said: list[tuple[str, Data]] = [(_COORDINATOR, _started(number, tasks))]
    said += [
        (_COORDINATOR, TaskScheduled(task=task.id, kind=task.kind, service=task.service, params=task.params))
        for task in tasks
    ]
    said += [(_WORKER, TaskDone(task=task.id, index=index)) for index, task in enumerate(tasks)]
    said.append((_COORDINATOR, _completed(number)))
    return [
        new_event(
            data,
            run=run,
            source=source,
            cause=f"request {number}",
            handler="costs",
            index=index,
            traceparent=f"00-{number + 1:032x}-{index + 1:016x}-01",
            time_ns=_EPOCH_NS + number * _MINUTE_NS + index * 1_000_000,
            duration_us=250,
        )
        for index, (source, data) in enumerate(said)
    ]


def _started(number: int, tasks: tuple[Task, ...]) -> Started:
    return Started(
        request_id=f"request {number}",
        suite="noop",
        scenario="throughput",
        params={"tasks": TASKS, "fail_attempts": 0},
        session=f"session-{number // 100}",
        seed=number,
        timeout_s=600.0,
        deadline="2027-01-16T00:00:00Z",
        tasks=tasks,
    )


def _completed(number: int) -> Completed:
    return Completed(
        result={"tasks": TASKS},
        metrics=(
            Metric(name="tasks", value=TASKS, unit="count", n=TASKS),
            Metric(name="throughput", value=100.0 + number % 7, unit="tasks/s", n=TASKS, timing=True),
        ),
        targets=(),
        digest=f"sha256:{number:064x}",
        duration_s=0.05,
        clock="perf_counter",
        tasks=TASKS,
        attempts=TASKS,
        events=2 * TASKS + 1,
        log_sha256=f"{number:064x}",
    )
