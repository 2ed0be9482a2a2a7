"""Medians with their intervals, for planners: exact, without resampling, and without numpy."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

ESTIMATOR = "median; 95 % interval by ranks (binomial)"


def median(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Return the median of at least one value and its 95 % interval.

    The interval lies between two of the values, by their ranks: that holds for any distribution (Hollander and Wolfe,
    section 3.6). Fewer than six values have none.
    """
    ordered = sorted(values)
    n, outside, rank = len(ordered), 0.0, 0
    while rank < n // 2 and 2 * (outside + math.comb(n, rank) / 2**n) <= 0.05:
        outside += math.comb(n, rank) / 2**n
        rank += 1
    if rank == 0:
        return statistics.median(ordered), None, None
    return statistics.median(ordered), ordered[rank - 1], ordered[n - rank]
