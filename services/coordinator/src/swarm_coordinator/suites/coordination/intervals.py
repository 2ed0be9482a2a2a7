"""Intervals of few questions, without numpy. Each says by name how it was made."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import NamedTuple

_Z = 1.959964
_RESAMPLES = 2000


class Estimate(NamedTuple):
    """A mean with its 95 % interval, and how that was made."""

    value: float
    low: float
    high: float
    how: str


def share(scores: Sequence[float], seed: int, name: str) -> Estimate:
    """Return the mean of scores from 0 to 1 over at least one question.

    Where all are 0 or 1 the interval is Wilson's (1927), which holds for few questions and near the ends; with partial
    credit it is the percentile bootstrap over questions (Efron 1979).
    """
    mean = math.fsum(scores) / len(scores)
    if not _binary(scores):
        return Estimate(
            mean, *_bootstrap(scores, seed, name), f"mean; 95 % bootstrap, {_RESAMPLES} resamples"
        )
    n = len(scores)
    middle = (mean + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(mean * (1 - mean) / n + _Z**2 / (4 * n**2))
    return Estimate(mean, max(0.0, middle - half), min(1.0, middle + half), "share right; 95 % Wilson")


def difference(ours: Sequence[float], theirs: Sequence[float], seed: int, name: str) -> Estimate:
    """Return the mean difference of two scores on the same questions, with an interval of the pairs.

    Where all are 0 or 1 it is Agresti and Min's (2005), half a pair added to each cell, which is not empty even where
    no pair differs; with partial credit it is the bootstrap over questions.
    """
    pairs = [one - other for one, other in zip(ours, theirs, strict=True)]
    mean = math.fsum(pairs) / len(pairs)
    if not (_binary(ours) and _binary(theirs)):
        low, high = _bootstrap(pairs, seed, name)
        return Estimate(
            mean, low, high, f"mean of paired differences; 95 % bootstrap, {_RESAMPLES} resamples"
        )
    won, lost = pairs.count(1.0) + 0.5, pairs.count(-1.0) + 0.5
    n = len(pairs) + 2.0
    middle = (won - lost) / n
    half = _Z * math.sqrt(won + lost - (won - lost) ** 2 / n) / n
    return Estimate(
        mean,
        max(-1.0, middle - half),
        min(1.0, middle + half),
        "mean of paired differences; 95 % Agresti-Min",
    )


def _binary(scores: Sequence[float]) -> bool:
    return all(score in {0.0, 1.0} for score in scores)


def _bootstrap(values: Sequence[float], seed: int, name: str) -> tuple[float, float]:
    """Return the ends of the percentile interval of the mean; the same numbers for the same seed and name."""
    drawn = random.Random(f"{seed}/{name}")  # noqa: S311 - seeded, nothing secret
    n = len(values)
    means = sorted(math.fsum(drawn.choices(values, k=n)) / n for _ in range(_RESAMPLES))
    return means[round(0.025 * (_RESAMPLES - 1))], means[round(0.975 * (_RESAMPLES - 1))]
