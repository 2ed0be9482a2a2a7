"""Whether a series rises, and by how much: the test of Mann and Kendall, the slope of Theil and Sen.

Both look at the order or the median of all pairs, so single outliers move neither. Both take their observations for
independent; memory sampled often is not, which is why :mod:`swarm_statistics.leaks` feeds them minima of blocks.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import combinations

import msgspec

#: Up to so many values, and without ties, the test is exact.
_EXACT = 30


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """A monotone trend, by the test of Mann (1945) and Kendall (1975)."""

    n: int
    statistic: int
    """Pairs that rise less pairs that fall."""
    p_value: float
    """Two-sided: how often independent values without trend give a statistic as far from 0."""


def mann_kendall(values: Sequence[float]) -> Trend:
    """Return whether values tend to rise or fall in their order.

    Exact for up to thirty values without ties (the distribution of Kendall's statistic over all orders); else normal,
    with the variance corrected for ties and the statistic for continuity (Gilbert 1987, section 16.4).
    """
    n = len(values)
    statistic = sum((later > earlier) - (later < earlier) for earlier, later in combinations(values, 2))
    ties = [count for count in Counter(values).values() if count > 1]
    if n <= _EXACT and not ties:
        return Trend(n=n, statistic=statistic, p_value=_exact(n, abs(statistic)))
    variance = (_weight(n) - sum(map(_weight, ties))) / 18
    z = max(0, abs(statistic) - 1) / math.sqrt(variance) if variance else 0.0
    return Trend(n=n, statistic=statistic, p_value=math.erfc(z / math.sqrt(2)))


def _weight(n: int) -> int:
    return n * (n - 1) * (2 * n + 5)


def _exact(n: int, statistic: int) -> float:
    """Return the share of all orders of ``n`` values whose statistic is as far from 0."""
    pairs = n * (n - 1) // 2
    most_falling = (pairs - statistic) // 2
    tail = sum(_orders(n)[: most_falling + 1])
    return min(1.0, 2 * tail / math.factorial(n))


@cache
def _orders(n: int) -> tuple[int, ...]:
    """Return how many orders of ``n`` values have 0, 1, 2... falling pairs (Mahonian numbers)."""
    found: tuple[int, ...] = (1,)
    for size in range(2, n + 1):
        longer = len(found) + size - 1
        found = tuple(
            sum(found[max(0, falls - size + 1) : min(falls, len(found) - 1) + 1]) for falls in range(longer)
        )
    return found


def least_values(level: float) -> int:
    """Return how many values the test needs at least, to be able to fall below ``level`` at all."""
    n = 2
    while 2 / math.factorial(n) >= level:
        n += 1
    return n


class Slope(msgspec.Struct, frozen=True, kw_only=True):
    """The slope of Theil (1950) and Sen (1968): the median over all pairs, per step from one value to the next."""

    value: float
    low: float
    """Lower end of Sen's 95 % interval, which assumes independent values."""
    high: float


_Z95 = statistics.NormalDist().inv_cdf(0.975)


def theil_sen(values: Sequence[float]) -> Slope:
    """Return the slope of at least two values that are equally far apart; raises ``ValueError`` for fewer."""
    n = len(values)
    if n < 2:
        msg = f"a slope needs two values, and there are {n}"
        raise ValueError(msg)
    slopes = sorted((values[j] - values[i]) / (j - i) for i, j in combinations(range(n), 2))
    half = _Z95 * math.sqrt(_weight(n) / 18)
    low = max(0, math.floor((len(slopes) - half) / 2) - 1)
    high = min(len(slopes) - 1, math.ceil((len(slopes) + half) / 2))
    return Slope(value=statistics.median(slopes), low=slopes[low], high=slopes[high])
