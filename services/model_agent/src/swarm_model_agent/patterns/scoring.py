"""A score with its interval: over held-out questions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from swarm_common.resampling import Floats, counts, interval
from swarm_model_agent.patterns.core import Floats as Scores

RESAMPLES = 500
_Z = 1.959964
_DIGITS = 9
"""Sums of the same numbers may differ in their last bits from one processor's library to another's."""


class Score(NamedTuple):
    """The mean of questions' scores."""

    value: float
    low: float
    high: float
    estimator: str
    resampled: Floats
    """Means of resamples of the questions."""
    gained: Floats
    """Those means less the ones of the same resamples before training."""


def scored(scores: Scores, before: Scores, stream: list[int]) -> Score:
    """Return the mean of scores with a 95 % interval, beside scores of the same questions ``before`` training.

    It is the percentile bootstrap over questions (Efron 1979); where all scores are 0 or 1 it is widened to Wilson's
    (1927), which has a width even where every answer is right.
    """
    rows = len(scores)
    value = settled(float(scores.mean()))
    both = np.stack([scores, scores - before], axis=1)
    resampled, gained = np.concatenate([block @ both for block in counts(rows, stream, RESAMPLES)]).T / rows
    low, high = (float(end) for end in interval(resampled))
    estimator = f"mean over questions; 95 % bootstrap, {RESAMPLES} resamples"
    if np.isin(scores, (0.0, 1.0)).all():
        middle = (value + _Z**2 / (2 * rows)) / (1 + _Z**2 / rows)
        half = _Z / (1 + _Z**2 / rows) * float(np.sqrt(value * (1 - value) / rows + _Z**2 / (4 * rows**2)))
        low, high = min(low, max(0.0, middle - half)), max(high, min(1.0, middle + half))
        estimator += ", or Wilson's where that is wider"
    return Score(
        value,
        settled(low),
        settled(high),
        estimator,
        np.round(resampled, _DIGITS),
        np.round(gained, _DIGITS),
    )


def settled(value: float) -> float:
    """Return the value to nine decimals: the digits beyond depend on the library that adds up."""
    return round(value, _DIGITS) + 0.0
