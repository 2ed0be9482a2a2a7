"""What single timings come to: percentiles, spread, and what the clock itself costs. Standard library alone.

The rules are those of pyperf (Stinner 2016): samples are kept and not only their mean, what is measured first is
dropped, and samples that scatter by more than a tenth of their mean are called unstable.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

from swarm_common.events.measuring import Clock, Timing

UNSTABLE = 0.10
"""Standard deviation over mean above which samples are unstable, as in ``pyperf check``."""
ENOUGH_FOR_P99 = 100
_READINGS = 2001


def clock_of(clock: Callable[[], int] = time.perf_counter_ns, readings: int = _READINGS) -> Clock:
    """Return what reading a clock of nanoseconds costs: the median of pairs, one reading right after the other."""
    costs = []
    for _ in range(readings):
        began = clock()
        costs.append(clock() - began)
    return Clock(
        cost_ns=float(statistics.median(costs)),
        resolution_ns=time.get_clock_info("perf_counter").resolution * 1e9,
    )


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which ``share`` of all lie, interpolated linearly (type 7 of Hyndman and Fan 1996).

    Raises ``ValueError`` where there are no values.
    """
    if not values:
        msg = "no values have no percentile"
        raise ValueError(msg)
    ordered = sorted(values)
    at = (len(ordered) - 1) * share
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def timing_of(
    name: str, values_us: Sequence[float], *, loops: int = 1, operations: int = 1, warm_up: int = 0
) -> Timing:
    """Return what samples of the time of one operation come to, in microseconds; raises ``ValueError`` for none."""
    p50 = percentile(values_us, 0.5)
    mean = statistics.fmean(values_us)
    sd = statistics.stdev(values_us) if len(values_us) > 1 else 0.0
    return Timing(
        name=name,
        n=len(values_us),
        p50_us=p50,
        p99_us=percentile(values_us, 0.99) if len(values_us) >= ENOUGH_FOR_P99 else None,
        max_us=max(values_us),
        mean_us=mean,
        sd_us=sd,
        mad_us=percentile([abs(value - p50) for value in values_us], 0.5),
        unstable=sd > UNSTABLE * mean,
        loops=loops,
        operations=operations,
        warm_up=warm_up,
    )
