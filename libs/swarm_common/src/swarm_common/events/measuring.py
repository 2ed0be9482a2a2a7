"""What services record of a scenario of the primitives that they measured at a size."""

from __future__ import annotations

import msgspec

from swarm_common.events.registry import Data
from swarm_common.events.values import Host, Samples


class Clock(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the clock that timed costs itself."""

    cost_ns: float
    """Median time from one reading to the next, with nothing between: it is taken off what lies between two."""
    resolution_ns: float
    """As the system states it."""


class Timing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How samples were taken, and what they come to. Times are of one operation, in microseconds."""

    name: str
    """Of the samples that it sums up."""
    n: int
    p50_us: float
    p99_us: float | None = None
    """``None`` where there are fewer than a hundred samples: the greatest would stand for it."""
    max_us: float
    mean_us: float
    sd_us: float
    mad_us: float
    """Median absolute deviation from the median."""
    unstable: bool = False
    """Whether the standard deviation is over 10 % of the mean: the figure is then no better than its spread."""
    loops: int = 1
    """How often the work was done for one sample."""
    operations: int = 1
    """Operations of one loop: a sample is the mean of ``loops * operations``."""
    warm_up: int = 0
    """Samples that were taken before and dropped."""


MEASURED_VOLATILE = ("samples", "timings", "host", "load_end", "clock", "elapsed_s")
"""Fields of :class:`MeasuredData` that say how long and where, and not what."""


class MeasuredData(Data, frozen=True, kw_only=True):
    """A scenario of the primitives was measured at a size, and its work checked."""

    task: str
    scenario: str
    variant: str = ""
    """Which of the scenario's cases, where it has several."""
    size: int
    operation: str = ""
    """What one operation is."""
    growth: str = ""
    """What its time is promised to grow like with the size; empty: nothing is promised."""
    checked: dict[str, int | float | str | bool]
    """What came of the work: the same for the same size and seed, however often it was done."""
    samples: tuple[Samples, ...]
    timings: tuple[Timing, ...]
    """One for each of ``samples`` that is a time."""
    host: Host
    """With its load when it began."""
    load_end: float | None = None
    """The same when it had ended."""
    clock: Clock
    elapsed_s: float
