"""Context ``metrics``: numbers computed from what others recorded."""

from __future__ import annotations

from typing import Literal

import msgspec

from swarm_common.events.measuring import MEASURED_VOLATILE, MeasuredData
from swarm_common.events.registry import Data, event
from swarm_common.events.task import TaskFailedData
from swarm_common.events.values import Better, Metric, Samples

Verdict = Literal["better", "worse", "no difference shown"]


class CalibrationBin(msgspec.Struct, frozen=True, kw_only=True):
    """Rows whose winning class has a probability in ``(low, high]``; calibrated are those whose two means agree."""

    low: float
    high: float
    rows: int
    """At least one: empty bins are left out."""
    confidence: float
    """Mean probability of the winning class."""
    accuracy: float
    """Share of the rows where that class is the true one."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """An ensemble beside a baseline on the same rows: how much better, and whether that is more than chance."""

    metric: str
    better: Better = "higher"
    """Which direction of ``metric`` is the better one."""
    baseline: str
    """The model beside which the ensemble stands, or ``best single`` where each split has its own."""
    difference: float
    """The ensemble's value less the baseline's."""
    low: float | None = None
    """Lower end of the interval of ``difference`` that ``estimator`` names."""
    high: float | None = None
    p_value: float | None = None
    """Two-sided: how often chance alone gives such a difference; ``None`` where nothing could be tested."""
    method: str
    """The test that ``p_value`` is from."""
    estimator: str = ""
    """How difference and interval were made."""
    n: int
    """How many rows (one split) or splits the test is over."""
    verdict: Verdict
    """``better`` or ``worse`` where ``p_value`` is below 0.05."""
    reason: str = ""
    """Why there is no ``p_value``, where there is none."""


@event("metrics.scored", concludes=True, volatile=("elapsed_s",))
class Scored(Data, frozen=True, kw_only=True):
    """Predictions were held against the truth."""

    task: str
    metrics: tuple[Metric, ...]
    """Of the combined prediction."""
    members: dict[str, tuple[Metric, ...]] = {}
    """The same for each model alone."""
    confusion: tuple[tuple[int, ...], ...] = ()
    """Rows: truth; columns: prediction; in the order of the classes."""
    calibration: tuple[CalibrationBin, ...] = ()
    """Of the combined prediction, by rising confidence; empty for values."""
    best_single: str = ""
    """The member with the least out-of-fold loss: chosen without a look at the held-out rows."""
    best_single_reason: str = ""
    """Why there is none, where there is none."""
    versus_best: Comparison | None = None
    """The combined prediction beside that of ``best_single``."""
    elapsed_s: float

    def computed(self) -> Scored:
        """Return the scores without the ids of the events they are from, which differ from run to run."""
        return msgspec.structs.replace(
            self,
            metrics=_without_source(self.metrics),
            members={name: _without_source(metrics) for name, metrics in self.members.items()},
        )


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """One split: the ensemble's value beside the baseline's."""

    ensemble: float
    baseline: float
    model: str
    """Whose value ``baseline`` is: a model, or a task."""


@event("metrics.compared", concludes=True, volatile=("elapsed_s",))
class Compared(Data, frozen=True, kw_only=True):
    """Scores of several splits were held against a baseline's on the same splits."""

    task: str
    metric: str
    pairs: tuple[Pair, ...]
    """In the order of the splits."""
    ensemble: Metric
    """Mean over the splits."""
    baseline: Metric
    members: dict[str, Metric] = {}
    """The same for each model that was scored on every split."""
    comparison: Comparison
    elapsed_s: float

    def computed(self) -> Compared:
        """Return the comparison without the ids of the events it is from, which differ from run to run."""
        ensemble, baseline = _without_source((self.ensemble, self.baseline))
        members = dict(zip(self.members, _without_source(tuple(self.members.values())), strict=True))
        return msgspec.structs.replace(self, ensemble=ensemble, baseline=baseline, members=members)


def _without_source(metrics: tuple[Metric, ...]) -> tuple[Metric, ...]:
    return tuple(msgspec.structs.replace(metric, source=()) for metric in metrics)


@event("metrics.measured", concludes=True, volatile=MEASURED_VOLATILE)
class CaseMeasured(MeasuredData, frozen=True, kw_only=True):
    """A scenario of the primitives was measured at a size by metrics."""


@event("metrics.exercised", concludes=True, volatile=("elapsed_s",))
class Exercised(Data, frozen=True, kw_only=True):
    """The work of scenarios was done and checked, and not timed by itself."""

    task: str
    checked: dict[str, dict[str, int | float | str | bool]]
    """By scenario, variant and size: what came of it."""
    elapsed_s: float


@event(
    "metrics.curve_fitted",
    concludes=True,
    volatile=("exponent", "low", "high", "model", "verdict", "errors", "times_us", "elapsed_s"),
)
class CurveFitted(Data, frozen=True, kw_only=True):
    """How the time of an operation grows with the size was fitted, and held against what is promised."""

    task: str
    scenario: str
    variant: str = ""
    growth: str
    """What is promised: ``constant``, ``log n``, ``linear``, ``n log n``, ``quadratic``; empty: nothing."""
    sizes: tuple[int, ...]
    times_us: tuple[float, ...]
    """By size, what was fitted: the 10th percentile of its samples."""
    exponent: float | None
    """Slope of log time over log size; ``None``: there are fewer than three sizes."""
    low: float | None = None
    """Lower end of its 95 % interval."""
    high: float | None = None
    model: str
    """Which of the growths fits best."""
    errors: dict[str, float]
    """By growth: root mean square of what is left of log time, when it is fitted."""
    verdict: str
    """``kept``, ``steeper``, ``undecided``; ``not promised`` where nothing is."""
    elapsed_s: float


@event("metrics.overhead_measured", concludes=True, volatile=("samples", "elapsed_s"))
class OverheadMeasured(Data, frozen=True, kw_only=True):
    """The same empty tasks were done with nothing measured beside, and with one thing after the other measured."""

    task: str
    tasks: int
    """In each block."""
    rounds: int
    """Blocks of each condition; in each round every condition has one, in an order that is drawn."""
    conditions: tuple[str, ...]
    """The first is the one with nothing measured."""
    spans: dict[str, int]
    """By condition: spans that a collector took, over all rounds."""
    samples: tuple[Samples, ...]
    """``task_cpu`` and ``task_time`` of each condition, one value a round; ``sample_cpu``, one a sample."""
    elapsed_s: float


GrowthVerdict = Literal["no leak", "suspected", "leak", "too few samples"]


class GrowthShown(msgspec.Struct, frozen=True, kw_only=True):
    """What memory after equal portions of work showed; docs/leaks.md says how."""

    samples: int
    warm_up: int
    """Samples left out at the beginning."""
    block: int
    """Samples of a block."""
    blocks: int
    p_value: float | None = None
    growth: float | None = None
    """Bytes, over the samples that count."""
    low: float | None = None
    """Lower end of Sen's 95 % interval."""
    high: float | None = None
    per_sample: float | None = None
    """Bytes."""
    reason: str = ""


class Grown(msgspec.Struct, frozen=True, kw_only=True):
    """Whether memory grows with work: single and doubled, each in a fresh process."""

    verdict: GrowthVerdict
    reason: str
    ratio: float | None = None
    """Growth with doubled work over that with single."""
    single: GrowthShown
    double: GrowthShown


class Grew(msgspec.Struct, frozen=True, kw_only=True):
    """Memory that was taken and not given back."""

    where: str
    """File and line that took it (``tracemalloc``): ``swarm_metrics/projection.py:12``; or the type of objects."""
    bytes: int
    """More at the end than after the warm-up."""
    blocks: int


@event(
    "metrics.memory_profiled",
    concludes=True,
    volatile=("samples", "grown", "grew", "view_bytes", "elapsed_s"),
)
class MemoryProfiled(Data, frozen=True, kw_only=True):
    """What it costs to keep a view of the log over sessions: the service's own view, on a file of its own."""

    task: str
    events: int
    """Events of the log that was kept."""
    event_bytes: int
    """Their JSON, in all."""
    rows: int
    """Runs in the view afterwards."""
    portions: int
    """Equal portions of work, after each of which memory was read."""
    samples: tuple[Samples, ...]
    grown: Grown
    grew: tuple[Grew, ...] = ()
    """Lines, then types, the most of each first; empty unless asked for."""
    view_bytes: int
    """The view's file."""
    elapsed_s: float


class Totals(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an instance of a service had used since its process began, as its live metrics say."""

    service: str
    instance: str
    cpu_s: float
    children_cpu_s: float | None = None
    """Of the processes that it started; ``None`` where it does not know."""
    rss_peak_bytes: int | None = None
    gc_pause_us: float = 0.0
    handled: int = 0


@event("metrics.collected", concludes=True, volatile=("instances", "samples", "reason", "elapsed_s"))
class Collected(Data, frozen=True, kw_only=True):
    """What every service had used was heard from its live metrics."""

    task: str
    since: str = ""
    """The task that had done so before, to which ``samples`` are the difference; empty for the first."""
    instances: tuple[Totals, ...]
    """In the order of services and instances."""
    samples: tuple[Samples, ...] = ()
    """``cpu`` and ``gc_pause`` used since then and ``rss_peak`` so far, one value an instance, of each service."""
    reason: str = ""
    """Why there is nothing, or no difference."""
    elapsed_s: float


@event("metrics.task_failed")
class MetricsTaskFailed(TaskFailedData, frozen=True, kw_only=True):
    """A task of metrics ended without a result."""
