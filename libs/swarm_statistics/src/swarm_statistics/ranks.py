"""Rank tests and the shifts that belong to them: distribution-free, with intervals that come of the same ranks.

Two samples: the test of Mann and Whitney (1947), the estimate of Hodges and Lehmann (1963) and its interval (Moses; in
Hollander, Wolfe and Chicken, Nonparametric Statistical Methods, 3rd ed., sections 4.1 to 4.3). Pairs: Wilcoxon's signed
ranks (1945) with the median of Walsh averages (the same book, sections 3.1 to 3.3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

Floats = NDArray[np.float64]

#: Up to this many values a side (and pairs) the interval comes of the exact distribution of the statistic.
_EXACT = 40


class Interval(msgspec.Struct, frozen=True):
    """An estimate between its ends; an end is infinite where so few values can bound it no better."""

    estimate: float
    low: float
    high: float

    def scaled(self, factor: float) -> Interval:
        """Return an interval around the same estimate, its ends ``factor`` times as far away."""
        return Interval(
            self.estimate,
            self.estimate - factor * (self.estimate - self.low),
            self.estimate + factor * (self.high - self.estimate),
        )


def mann_whitney(base: Sequence[float], head: Sequence[float]) -> float:
    """Return the two-sided p of "neither side tends to larger values".

    Exact for up to 40 values a side without ties; else normal, corrected for ties and for continuity.
    """
    _need(base, head)
    n, m = len(base), len(head)
    values = np.concatenate([np.asarray(base, float), np.asarray(head, float)])
    ranks = stats.rankdata(values)
    u = float(ranks[n:].sum()) - m * (m + 1) / 2
    ties = np.unique(values, return_counts=True)[1]
    if max(n, m) <= _EXACT and len(ties) == n + m:
        return min(1.0, 2 * float(_chances_of_two(n, m)[round(min(u, n * m - u))]))
    total = n + m
    variance = n * m / 12 * (total + 1 - float((ties**3 - ties).sum()) / (total * (total - 1)))
    if variance <= 0:  # all values are one
        return 1.0
    distance = max(0.0, abs(u - n * m / 2) - 0.5) / math.sqrt(variance)
    return float(2 * special.ndtr(-distance))


def hodges_lehmann(base: Sequence[float], head: Sequence[float], level: float = 0.95) -> Interval:
    """Return by how much ``head`` lies above ``base``: the median of all differences, with its interval."""
    _need(base, head)
    differences = np.sort(np.subtract.outer(np.asarray(head, float), np.asarray(base, float)).ravel())
    return _ordered(differences, _left_out_of_two(len(base), len(head), round(1 - level, 12)))


def signed_rank(differences: Sequence[float]) -> float:
    """Return the two-sided p of "the differences lie around zero"; zeros count half to each side (Pratt 1959)."""
    _need(differences)
    if not any(differences):
        return 1.0
    exact = len(differences) <= _EXACT and len({abs(one) for one in differences}) == len(differences)
    method = "exact" if exact and all(differences) else "asymptotic"
    found = stats.wilcoxon(differences, zero_method="pratt", correction=method == "asymptotic", method=method)
    return min(1.0, float(found.pvalue))


def pseudomedian(differences: Sequence[float], level: float = 0.95) -> Interval:
    """Return the middle of the differences: the median of their Walsh averages, with its interval."""
    _need(differences)
    values = np.asarray(differences, float)
    rows, columns = np.triu_indices(len(values))
    averages = np.sort((values[rows] + values[columns]) / 2)
    return _ordered(averages, _left_out_of_pairs(len(values), round(1 - level, 12)))


def _ordered(values: Floats, left_out: int) -> Interval:
    """Return the median of sorted values, and those that stand ``left_out`` places inside the two ends."""
    if left_out < 0:
        return Interval(float(np.median(values)), -math.inf, math.inf)
    return Interval(float(np.median(values)), float(values[left_out]), float(values[-1 - left_out]))


@lru_cache(maxsize=512)
def _left_out_of_two(n: int, m: int, alpha: float) -> int:
    """Return how many differences lie outside the interval at each end; -1 where no interval has this level."""
    if max(n, m) > _EXACT:
        sd = math.sqrt(n * m * (n + m + 1) / 12)
        return math.floor(n * m / 2 - float(-special.ndtri(alpha / 2)) * sd - 0.5)
    return _below(_chances_of_two(n, m), alpha)


@lru_cache(maxsize=512)
def _left_out_of_pairs(n: int, alpha: float) -> int:
    if n > _EXACT:
        sd = math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        return math.floor(n * (n + 1) / 4 - float(-special.ndtri(alpha / 2)) * sd - 0.5)
    ways = np.ones(1)
    for rank in range(1, n + 1):  # a rank is in the sum or it is not
        ways = np.convolve(ways, np.concatenate(([1.0], np.zeros(rank - 1), [1.0])))
    return _below(np.cumsum(ways) / ways.sum(), alpha)


@lru_cache(maxsize=512)
def _chances_of_two(n: int, m: int) -> Floats:
    """Return P(U <= u) for each u."""
    ways = _ways_of_two(n, m)
    found: Floats = np.cumsum(ways) / ways.sum()
    return found


def _ways_of_two(n: int, m: int) -> Floats:
    """Return in how many ways U takes each of its values 0..nm: the coefficients of the Gaussian binomial."""
    ways = np.zeros(
        n * m + 1, dtype=object
    )  # whole numbers of any length: differences of large ones must stay exact
    ways[0] = 1
    for step in range(1, n + 1):  # times 1 - x^(m + step), divided by 1 - x^step
        if m + step <= n * m:
            ways[m + step :] -= ways[: -(m + step)].copy()
        for rest in range(step):
            ways[rest::step] = np.cumsum(ways[rest::step])
    return ways.astype(np.float64)


def _below(chance: Floats, alpha: float) -> int:
    """Return the largest value ``c`` with P(statistic <= c) <= alpha / 2; -1 where there is none."""
    return int(np.searchsorted(chance, alpha / 2 + 1e-12, side="right")) - 1


def _need(*samples: Sequence[float]) -> None:
    for sample in samples:
        if not len(sample) or not np.all(np.isfinite(np.asarray(sample, float))):
            raise ValueError(f"a sample is one finite number or more; given are {list(sample)[:5]}")
