"""Values that several events share: tasks, metrics, targets."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Better = Literal["higher", "lower", "neither"]
Op = Literal[">=", "<=", ">", "<", "=="]
Lane = Literal["io", "cpu"]


class Task(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A unit of work of a run, as planned."""

    id: str
    """Unique in its run, and a subject token: letters, digits, ``_`` and ``-``."""
    kind: str
    """Which handler of the service does it: ``train``, ``combine``."""
    service: str
    lane: Lane = "io"
    """``cpu`` work goes to warm processes, one a core; ``io`` work shares the service's event loop."""
    params: dict[str, Any] = {}
    after: tuple[str, ...] = ()
    """Tasks that must have concluded before; their results are this task's inputs, in this order."""
    priority: int = 0
    """Of the tasks that are ready the highest are handed out first, equals in the order in which they were planned."""
    decides: bool = False
    """Whether the planner is asked again when this task has concluded, although others are still open."""
    max_attempts: int = 3
    timeout_s: float | None = None


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """One measured number. ``value`` is ``None`` where it could not be measured, and ``reason`` says why."""

    name: str
    value: float | None
    unit: str
    """``ratio``, ``s``, ``us``, ``bytes``, ``tasks/s``, ``count``..."""
    better: Better = "higher"
    n: int | None = None
    """How many observations the value summarises."""
    low: float | None = None
    """Lower end of the interval that ``estimator`` names."""
    high: float | None = None
    estimator: str = ""
    """How value and interval were made: ``mean; 95 % bootstrap, 1000 resamples``."""
    timing: bool = False
    """Whether it tells of time or machine, so that it stays out of the digest."""
    source: tuple[str, ...] = ()
    """Ids of the events it was computed from."""
    reason: str = ""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A promise about a metric: ``accuracy >= 0.85``."""

    metric: str
    op: Op
    target: float

    def met_by(self, value: float | None) -> bool:
        """Say whether ``value`` keeps the promise; what could not be measured does not."""
        if value is None:
            return False
        match self.op:
            case ">=":
                return value >= self.target
            case "<=":
                return value <= self.target
            case ">":
                return value > self.target
            case "<":
                return value < self.target
            case "==":
                return value == self.target


class JudgedTarget(msgspec.Struct, frozen=True, kw_only=True):
    """A target beside what was measured."""

    metric: str
    op: Op
    target: float
    value: float | None
    met: bool


class Samples(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Single measurements of one quantity, in the order in which they were taken.

    A field ``samples`` of an event's data is projected by metrics, whatever the event: one row a value.
    """

    name: str
    unit: str
    values: tuple[float, ...]
    better: Better = "lower"
    clock: str = "perf_counter_ns"
    """What it was measured with: ``perf_counter_ns``, ``process_time_ns``, ``count``, ``psutil``..."""
    of: str = ""
    """What was measured, where one event tells of several: a size, a process."""


class Host(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The machine that something was measured on, and the state it was in: timings of others are not like these."""

    cpu: str
    """Model name of the processor; empty where the system does not tell."""
    cores: int
    """Cores that the process may use."""
    memory: int = 0
    """Bytes of main memory; 0 where the system does not tell."""
    system: str
    """``Linux 6.1.0 x86_64``."""
    python: str
    """``CPython 3.11.7``."""
    versions: dict[str, str] = {}
    """Of the distributions that timings depend on, as far as they are installed."""
    load: float | None = None
    """Processes that ran or waited on average in the minute before, for each core (getloadavg(3))."""
    since: str = ""
    """RFC 3339: when the process that tells this was started. With its name, it says which start a run belongs to."""
