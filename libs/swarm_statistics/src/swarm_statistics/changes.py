"""Change points in a series of many sessions: where its level moved, and by how much.

The method of Apache Otava (formerly Hunter; Fleming et al. 2023, arXiv:2301.03034): windows of the series are divided
again and again where the energy distance of both parts is largest (E-divisive; Matteson and James 2014,
arXiv:1306.4933), as long as Student's t says that the parts differ; then the weakest divisions are taken back until all
that are left are significant and large enough.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]

WINDOW = 50
MAX_P = 0.001
#: While dividing, this much weaker evidence will do: a division between two others may look weak until they are found.
_LENIENT = 10.0


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """The level moves between two values of a series."""

    index: int
    """The first value on the new level."""
    before: float
    """Mean from the change before, or the beginning, to here."""
    after: float
    """Mean from here to the next change, or the end."""
    p: float

    @property
    def magnitude(self) -> float:
        """The larger of the relative changes there and back; infinite from or to zero."""
        if self.before == self.after:
            return 0.0
        smaller = min(abs(self.before), abs(self.after))
        return abs(self.after - self.before) / smaller if smaller else math.inf


def change_points(
    values: Sequence[float], *, max_p: float = MAX_P, min_magnitude: float = 0.05, window: int = WINDOW
) -> tuple[Change, ...]:
    """Return where the level of a series changes, first to last.

    Raises ``ValueError`` for numbers that are not finite, or a window of fewer than two values.
    """
    series = np.asarray(values, dtype=np.float64)
    if not np.all(np.isfinite(series)) or window < 2:
        raise ValueError("a series is of finite numbers, and a window of two values or more")
    points = _divided(series, min(1.0, max_p * _LENIENT), window)
    while points:
        found = _changes(series, points)
        weakest = max(found, key=lambda change: change.p)
        if weakest.p < max_p:
            weakest = min(found, key=lambda change: change.magnitude)
            if weakest.magnitude > min_magnitude:
                return tuple(found)
        points.remove(weakest.index)
    return ()


def _divided(series: Floats, max_p: float, window: int) -> list[int]:
    """Return where overlapping windows of the series are divided."""
    found: set[int] = set()
    start = 0
    while start < len(series):
        points = [start + point for point in _divisions(series[start : start + window], max_p)]
        found.update(points)
        start = max([start + window // 2, *points[-1:]])
    return sorted(found)


def _divisions(series: Floats, max_p: float) -> list[int]:
    """Divide where the parts differ most, as long as they differ significantly."""
    points: list[int] = []
    sums = _block_sums(np.abs(series[:, np.newaxis] - series))
    while True:
        bounds = [0, *points, len(series)]
        pieces = [(low, high) for low, high in pairwise(bounds) if high - low > 1]
        if not pieces:
            return points
        candidates = [(*_best_division(sums, low, high), low, high) for low, high in pieces]
        _, at, low, high = max(candidates, key=lambda candidate: candidate[0])
        if _p(series[low:at], series[at:high]) > max_p:
            return points
        points = sorted([*points, at])


def _block_sums(distances: Floats) -> Floats:
    """Return sums over all rectangles that begin in the corner, so that four of them give any rectangle's."""
    return np.pad(distances.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))


def _best_division(sums: Floats, low: int, high: int) -> tuple[float, int]:
    """Return the largest energy distance of ``low:at`` and ``at:end``, over all ``at`` and ``end``, and its ``at``."""
    at = np.arange(low + 1, high)[:, np.newaxis]
    end = np.arange(low + 2, high + 1)[np.newaxis, :]
    n, m = at - low, np.maximum(end - at, 1)
    between = sums[at, end] - sums[low, end] - sums[at, at] + sums[low, at]
    left = (sums[at, at] - 2 * sums[low, at] + sums[low, low]) / 2
    right = (sums[end, end] - 2 * sums[at, end] + sums[at, at]) / 2
    within = m * left / np.maximum(n - 1, 1) + n * right / np.maximum(m - 1, 1)
    distance = np.where(end > at, 2 / (n + m) * (between - within), -np.inf)
    best = np.unravel_index(np.argmax(distance), distance.shape)
    return float(distance[best]), low + 1 + int(best[0])


def _changes(series: Floats, points: Sequence[int]) -> list[Change]:
    bounds = [0, *points, len(series)]
    parts = [series[low:high] for low, high in pairwise(bounds)]
    return [
        Change(index=point, before=float(left.mean()), after=float(right.mean()), p=_p(left, right))
        for point, (left, right) in zip(points, pairwise(parts), strict=True)
    ]


def _p(left: Floats, right: Floats) -> float:
    """Return the two-sided p of Student's t with one variance for both parts."""
    if len(left) + len(right) < 3:
        return 1.0
    if np.ptp(left) == np.ptp(right) == 0:  # nothing varies: a step is a step
        return 1.0 if left[0] == right[0] else 0.0
    squares = float(np.var(left) * len(left) + np.var(right) * len(right))
    degrees = len(left) + len(right) - 2
    error = math.sqrt(squares / degrees * (1 / len(left) + 1 / len(right)))
    return float(2 * stats.t.sf(abs(float(left.mean() - right.mean())) / error, degrees))
