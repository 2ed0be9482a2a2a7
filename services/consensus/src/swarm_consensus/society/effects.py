"""How far two samples lie apart: an effect size with its interval, and a test; no assumption of any distribution."""

from __future__ import annotations

import msgspec
import numpy as np

from swarm_common.resampling import Floats, counts, interval

_PERMUTATIONS = 9999
#: Numbers in one block of permutations.
_BLOCK = 2**20


class Effect(msgspec.Struct, frozen=True):
    """Of observed over null."""

    delta: float
    """Cliff's delta: how much likelier an observed value is the larger one of two than the smaller one, -1 to 1."""
    low: float
    """95 % percentile bootstrap interval of ``delta``."""
    high: float
    p_value: float
    """Of a two-sided permutation test of the difference of means."""


def effect(observed: Floats, null: Floats, stream: list[int]) -> Effect:
    """Compare two independent samples, ``(repetitions,)`` each; the same arguments give the same.

    Cliff 1993, and resamples of both sides, each for itself. The p-value counts the observed split among
    the permutations (Phipson and Smyth 2010), so it is never 0.
    """
    over = np.sign(observed[:, np.newaxis] - null)
    drawn = zip(
        counts(len(observed), [*stream, 0]),
        counts(len(null), [*stream, 1]),
        strict=True,
    )
    resampled = np.concatenate([((mine @ over) * other).sum(axis=1) for mine, other in drawn])
    low, high = interval(resampled / over.size)
    return Effect(float(over.mean()), float(low), float(high), _p_value(observed, null, [*stream, 2]))


def _p_value(observed: Floats, null: Floats, stream: list[int]) -> float:
    pooled = np.concatenate([observed, null])
    pooled -= pooled.mean()  # the sum of one side then says all about the difference of means
    found = abs(pooled[: len(observed)].sum())
    rng = np.random.default_rng(stream)
    at_least, height = 0, max(1, _BLOCK // len(pooled))
    for start in range(0, _PERMUTATIONS, height):
        block = np.tile(pooled, (min(height, _PERMUTATIONS - start), 1))
        sums = rng.permuted(block, axis=1)[:, : len(observed)].sum(axis=1)
        # Sums of the same numbers in another order differ in their last digits.
        at_least += int((np.abs(sums) >= found - 1e-9 * max(1.0, found)).sum())
    return (at_least + 1) / (_PERMUTATIONS + 1)
