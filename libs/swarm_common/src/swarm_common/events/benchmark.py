"""Context ``benchmark``: what the coordinator decides about a run, and what users ask of it."""

from __future__ import annotations

from typing import Any

from swarm_common.events.registry import Data, event
from swarm_common.events.values import Host, JudgedTarget, Lane, Metric, Target, Task


@event("benchmark.requested")
class Requested(Data, frozen=True, kw_only=True):
    """A user asks for a run. The only event that comes from outside; its body may also be this bare object."""

    suite: str
    scenario: str = ""
    """Empty means the suite's first scenario."""
    params: dict[str, Any] = {}
    session: str = "default"
    seed: int = 42
    timeout_s: float | None = None
    """Longest life of the run, in seconds; the suite has a default."""


@event("benchmark.rejected")
class Rejected(Data, frozen=True, kw_only=True):
    """A request that cannot become a run, and why."""

    reason: str
    field: str = ""
    given: str = ""
    allowed: str = ""
    request: dict[str, Any] = {}
    """The request as far as it could be read."""


@event("benchmark.started", volatile=("deadline", "engine", "host"))
class Started(Data, frozen=True, kw_only=True):
    """A request became a run: what it will do, with every default filled in, and its first tasks."""

    request_id: str
    suite: str
    scenario: str
    params: dict[str, Any]
    session: str
    seed: int
    timeout_s: float
    deadline: str
    """RFC 3339: when the run fails if it has not ended."""
    tasks: tuple[Task, ...]
    parallel: dict[str, int] = {}
    """Most tasks in flight at once, by kind; the engine's default for the others."""
    targets: tuple[Target, ...] = ()
    deterministic: bool = True
    engine: str = ""
    """Version of the code that planned it."""
    host: Host | None = None
    """The coordinator's machine: an embedded stack has all its services there, a cluster may have them elsewhere."""


@event("benchmark.planned")
class Planned(Data, frozen=True, kw_only=True):
    """The planner saw results and added tasks."""

    step: int
    tasks: tuple[Task, ...]


@event("benchmark.task_scheduled")
class TaskScheduled(Data, frozen=True, kw_only=True):
    """A task is ready; the named service does it. ``needs`` are tasks whose results are its inputs."""

    task: str
    kind: str
    service: str
    lane: Lane = "io"
    attempt: int = 1
    params: dict[str, Any] = {}
    needs: tuple[str, ...] = ()
    seed: int = 0
    """The run's seed; a handler that needs its own stream of numbers derives it from seed and task."""
    timeout_s: float | None = None


@event("benchmark.retry_scheduled", volatile=("due", "delay_s"))
class RetryScheduled(Data, frozen=True, kw_only=True):
    """An attempt failed and another will follow: exponential backoff, jitter from the run's seed."""

    task: str
    attempt: int
    """Number of the attempt to come."""
    delay_s: float
    due: str
    error: str


@event("benchmark.timer_fired", volatile=("due",))
class TimerFired(Data, frozen=True, kw_only=True):
    """A timer of the run came due: ``deadline``, or ``retry`` of a task."""

    timer: str
    due: str
    task: str = ""
    attempt: int = 0


@event("benchmark.task_abandoned")
class TaskAbandoned(Data, frozen=True, kw_only=True):
    """A task was delivered as often as allowed and never reported: its letter is in the dead-letter stream."""

    task: str
    attempt: int
    reason: str


@event("benchmark.cancel_requested")
class CancelRequested(Data, frozen=True, kw_only=True):
    """A user wants a run stopped."""

    reason: str = ""


@event(
    "benchmark.completed",
    volatile=("duration_s", "clock", "metrics", "targets", "result", "log_sha256", "events"),
)
class Completed(Data, frozen=True, kw_only=True):
    """The run ended with a result."""

    result: dict[str, Any]
    """The suite's own."""
    metrics: tuple[Metric, ...]
    targets: tuple[JudgedTarget, ...]
    stopped: str = ""
    """Why the run ended before its work was done, as with a budget that is spent; the result is then of a part."""
    digest: str
    """``sha256:...`` over what was computed and not when."""
    duration_s: float
    """From ``benchmark.started`` to now."""
    clock: str
    """``perf_counter`` where one process saw both ends, ``wall`` where another took over in between."""
    tasks: int
    attempts: int
    events: int
    """Events of the run before this one."""
    log_sha256: str
    """Chain over the bytes of those events, in the order of the log."""


@event("benchmark.failed", volatile=("duration_s", "clock"))
class Failed(Data, frozen=True, kw_only=True):
    """The run ended without a result; what was done stays in the log."""

    reason: str
    task: str = ""
    error: str = ""
    duration_s: float
    clock: str


@event("benchmark.cancelled", volatile=("duration_s", "clock"))
class Cancelled(Data, frozen=True, kw_only=True):
    """The run was stopped on request."""

    reason: str
    duration_s: float
    clock: str


#: Types after which a run takes no further decisions.
TERMINAL = frozenset({"benchmark.completed", "benchmark.failed", "benchmark.cancelled", "benchmark.rejected"})
