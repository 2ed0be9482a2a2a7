"""What services record of a scenario of the primitives that they measured at a size."""

from __future__ import annotations

import msgspec

from swarm_common.events.registry import Data
from swarm_common.events.values import Samples


class HostFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The machine on which something was timed, and how busy it was: figures of two machines are no comparison."""

    cpu: str
    """Model of the processor, as the system names it; empty where it does not."""
    cores: int
    """Those that the process may use."""
    python: str
    platform: str
    load_begin: float | None = None
    """Load average of one minute when timing began; ``None``: the system has none."""
    load_end: float | None = None
    clock_ns: float = 0.0
    """Median time between two readings of the clock, one right after the other: it is taken off each sample."""
    clock_resolution_ns: float = 0.0
    """As the system states it."""


class Timing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How samples were taken, and what they come to. Times are of one operation, in microseconds."""

    name: str
    """Of the samples that it sums up."""
    n: int
    p50_us: float
    p99_us: float | None = None
    """``None`` where there are too few samples for it to be another than the greatest."""
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


MEASURED_VOLATILE = ("samples", "timings", "host", "elapsed_s")
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
    host: HostFacts
    elapsed_s: float
