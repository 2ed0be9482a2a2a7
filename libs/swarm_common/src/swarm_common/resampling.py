"""The bootstrap (Efron 1979): how often each row is drawn in each resample, as matrices to multiply with.

A mean over a resample is one row of ``counts @ values / rows``, so a thousand resamples are one matrix product. Needs
the extra ``numpy``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RESAMPLES = 1000
#: Ends of a 95 % percentile interval.
PERCENTILES = (2.5, 97.5)
#: Numbers in one block of counts: what a core's cache holds. Part of what is drawn: another size draws other rows.
_BLOCK = 65536


def stream_of(seed: int, name: str) -> list[int]:
    """Return a seed for ``numpy.random.default_rng`` that belongs to this run's seed and this name."""
    return [seed % 2**64, int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")]


def counts(rows: int, stream: list[int], resamples: int = RESAMPLES) -> Iterator[Floats]:
    """Yield blocks ``(some resamples, rows)``: how often each row is drawn, ``rows`` draws with replacement a resample.

    The same rows, stream and number of resamples give the same blocks.
    """
    rng = np.random.default_rng(stream)
    height = max(1, min(resamples, _BLOCK // max(1, rows)))
    for start in range(0, resamples, height):
        block = min(height, resamples - start)
        drawn = rng.integers(0, rows, size=(block, rows))
        drawn += np.arange(block)[:, np.newaxis] * rows
        yield np.bincount(drawn.ravel(), minlength=block * rows).reshape(block, rows).astype(np.float64)


def interval(values: Floats) -> tuple[Floats, Floats]:
    """Return the lower and upper end of the 95 % percentile interval over the first axis (resamples)."""
    low, high = np.percentile(values, PERCENTILES, axis=0)
    return low, high
