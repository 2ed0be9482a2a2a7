"""The view of a run: a fold over its events. What `swarm show`, `swarm watch`, reports and clients see is this."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from swarm_common.events import Event
from swarm_common.events.benchmark import (
    TERMINAL,
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
)
from swarm_common.events.memory import Recalled, Remembered
from swarm_common.events.optimizer import Suggested, Suggestion
from swarm_common.events.task import TaskFailedData
from swarm_common.events.values import Host, JudgedTarget, Metric, Task

Status = Literal["unknown", "running", "cancelling", "completed", "failed", "cancelled", "rejected"]
TaskStatus = Literal["planned", "scheduled", "retrying", "done", "failed"]

#: What follows a completed run: reactions that belong to it.
AFTERMATH = frozenset({"memory.remembered", "optimizer.suggested"})


class TaskView(msgspec.Struct, kw_only=True):
    """A task as far as the log tells."""

    id: str
    kind: str
    service: str
    status: TaskStatus = "planned"
    attempts: int = 0
    scheduled: str = ""
    concluded: str = ""
    duration_us: int | None = None
    source: str = ""
    """Instance that reported it."""
    event: str = ""
    """Id of the event that concluded it."""
    error: str = ""


class RunView(msgspec.Struct, kw_only=True):
    """A run as far as the log tells. :func:`fold` makes it; :meth:`apply` takes it one event further."""

    run: str
    suite: str = ""
    scenario: str = ""
    session: str = ""
    seed: int = 0
    params: dict[str, Any] = {}
    status: Status = "unknown"
    trace_id: str = ""
    request_id: str = ""
    started: str = ""
    ended: str = ""
    events: int = 0
    last_seq: int = 0
    duration_s: float | None = None
    digest: str = ""
    deterministic: bool = True
    started_by: str = ""
    """Instance of the coordinator that began it."""
    host: Host | None = None
    """Machine of that instance; ``None`` where the log does not tell."""
    metrics: tuple[Metric, ...] = ()
    targets: tuple[JudgedTarget, ...] = ()
    result: dict[str, Any] = {}
    reason: str = ""
    rejected: Rejected | None = None
    tasks: dict[str, TaskView] = {}
    suggestions: tuple[Suggestion, ...] = ()
    recalled: Recalled | None = None
    remembered: Remembered | None = None
    seen: set[str] = set()
    """Reactions that have come in."""

    @property
    def over(self) -> bool:
        return self.status in {"completed", "failed", "cancelled", "rejected"}

    @property
    def settled(self) -> bool:
        """Whether the run is over and what follows it has come in too."""
        return self.over and (self.status != "completed" or self.seen >= AFTERMATH)

    @property
    def stopped(self) -> bool:
        """Whether the run completed with a part of its work, as with a budget that is spent."""
        return self.status == "completed" and bool(self.reason)

    @property
    def good(self) -> bool:
        """Whether the run completed, with all its work, and met its targets."""
        return self.status == "completed" and not self.stopped and all(target.met for target in self.targets)

    def count(self, status: TaskStatus) -> int:
        return sum(task.status == status for task in self.tasks.values())

    def apply(self, event: Event) -> None:  # noqa: C901, PLR0912, PLR0915 - one case a type, in the order of a run's life
        """Take the view one event further."""
        self.events += 1
        self.last_seq = event.seq
        self.trace_id = self.trace_id or event.trace_id
        data = event.data
        match data:
            case Started():
                self.suite, self.scenario, self.session = data.suite, data.scenario, data.session
                self.seed, self.params, self.request_id = data.seed, data.params, data.request_id
                self.deterministic = data.deterministic
                self.started_by, self.host = event.source, data.host
                self.started, self.status = event.time, "running"
                self._plan(data.tasks)
            case Planned():
                self._plan(data.tasks)
            case TaskScheduled():
                task = self._task(data.task)
                task.kind, task.service = data.kind, data.service
                task.status, task.attempts = "scheduled", data.attempt
                task.scheduled = task.scheduled or event.time
            case RetryScheduled():
                self._task(data.task).status = "retrying"
            case TaskAbandoned():
                task = self._task(data.task)
                task.status, task.error = "failed", data.reason
            case CancelRequested():
                if not self.over:
                    self.status = "cancelling"
            case Completed():
                self.status, self.ended, self.duration_s = "completed", event.time, data.duration_s
                self.digest, self.metrics, self.targets = data.digest, data.metrics, data.targets
                self.result, self.reason = data.result, data.stopped
            case Failed():
                self.status, self.ended, self.duration_s = "failed", event.time, data.duration_s
                self.reason = f"{data.reason}: {data.error}" if data.error else data.reason
            case Cancelled():
                self.status, self.ended, self.duration_s = "cancelled", event.time, data.duration_s
                self.reason = data.reason
            case Rejected():
                self.status, self.ended, self.rejected = "rejected", event.time, data
                self.reason, self.request_id = data.reason, event.correlation
                asked = {key: value for key, value in data.request.items() if isinstance(value, str)}
                self.suite, self.scenario = asked.get("suite", ""), asked.get("scenario", "")
                self.session = asked.get("session", "default")
            case TaskFailedData():
                task = self._task(data.task)
                task.status, task.error = "failed", f"{data.error}: {data.message}"
                task.source = event.source
            case Suggested():
                self.suggestions = data.suggestions
            case Remembered():
                self.remembered = data
            case _:
                pass
        if isinstance(data, Recalled):
            self.recalled = data
        if data is not None and data.concludes:
            task = self._task(data.task)  # type: ignore[attr-defined]
            task.status, task.concluded, task.error = "done", event.time, ""
            task.duration_us, task.source, task.event = event.duration_us, event.source, event.id
        if event.type in AFTERMATH:
            self.seen = self.seen | {event.type}

    def _plan(self, tasks: Iterable[Task]) -> None:
        for task in tasks:
            self.tasks[task.id] = TaskView(id=task.id, kind=task.kind, service=task.service)

    def _task(self, name: str) -> TaskView:
        if name not in self.tasks:
            self.tasks[name] = TaskView(id=name, kind="", service="")
        return self.tasks[name]

    def summary(self) -> dict[str, Any]:
        """Return what ``swarm run --json`` and ``swarm show --json`` print; docs/reference/json.md has the fields."""
        found: dict[str, Any] = {
            "run": self.run,
            "suite": self.suite,
            "scenario": self.scenario,
            "session": self.session,
            "status": self.status,
            "trace_id": self.trace_id,
            "events": self.events,
            "duration_s": self.duration_s,
            "digest": self.digest or None,
            "deterministic": self.deterministic,
            "metrics": [_metric(metric) for metric in self.metrics],
            "targets": [msgspec.to_builtins(target) for target in self.targets],
            "result": self.result,
            "seed": self.seed,
            "params": self.params,
            "tasks": {
                status: self.count(status)
                for status in ("planned", "scheduled", "retrying", "done", "failed")
            },
            "best_known": self._best_known(),
            "suggestions": [msgspec.to_builtins(suggestion) for suggestion in self.suggestions],
        }
        if self.reason:
            found["reason"] = self.reason
        if self.rejected is not None:
            found["field"] = self.rejected.field
            found["given"], found["allowed"] = self.rejected.given, self.rejected.allowed
        return found

    def _best_known(self) -> dict[str, Any] | None:
        """Return the best value that was known before this run, and whether this one improved on it."""
        if self.recalled is None or self.recalled.best is None:
            return None
        best: dict[str, Any] = msgspec.to_builtins(self.recalled.best)
        best["runs"] = self.recalled.runs
        best["improved"] = None if self.remembered is None else self.remembered.improved
        return best


def new_view(run: str) -> RunView:
    """Return the view of a run of which nothing is known yet."""
    return RunView(run=run, tasks={}, seen=set())


def fold(run: str, events: Iterable[Event]) -> RunView:
    """Return the view of a run after its events, in the order of the log."""
    view = new_view(run)
    for event in events:
        view.apply(event)
    return view


def ended_by(event: Event) -> bool:
    """Say whether an event ends its run."""
    return event.type in TERMINAL


def _metric(metric: Metric) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(metric)
    if metric.value is not None:
        del plain["reason"]
    return plain
