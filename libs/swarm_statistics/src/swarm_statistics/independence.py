"""Are the values as independent as a test takes them to be? Order tells: neighbours that are alike, and trends.

A rank test knows nothing of order, and takes runs on a machine that drifts for independent ones: it then calls chance a
change. What is asked here is whether the recorded order differs from a shuffled one. Shuffling (within each side, all
metrics of a run together) is the reference, so the answers hold whatever the distribution of the values is and however
metrics hang together (a permutation test; Good, Permutation, Parametric and Bootstrap Tests, 3rd ed., chapter 3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

Floats = NDArray[np.float64]

PERMUTATIONS = 1999
#: Numbers in one block of shuffled values: a few dozen megabytes.
_BLOCK = 4_000_000


class Order(msgspec.Struct, frozen=True):
    """How much the order of some values matters: one metric, or all metrics of some runs together."""

    autocorrelation: float
    """Mean product of neighbouring standardized ranks, over both sides; 0 where order does not matter."""
    alike_p: float
    """How often shuffled values have neighbours so alike."""
    trend: float
    """Spearman's correlation with the order within the sides: 1 rises all the time, -1 falls."""
    trend_p: float
    """How often shuffled values have so strong a trend, up or down."""


class Orders(msgspec.Struct, frozen=True):
    """What :func:`orders` finds."""

    alone: tuple[Order, ...]
    """Each metric, in the order given."""
    mean: Order
    """The mean over the metrics of autocorrelation and of the square of the trend."""
    common: Order
    """What all metrics share: the mean of their ranks, run by run. A machine that slows down slows all of them."""


def orders(sides: Sequence[ArrayLike], *, seed: int = 0, permutations: int = PERMUTATIONS) -> Orders:
    """Return how much order matters within the sides.

    Each side is an array of metrics by runs, in the order in which they ran; larger is worse for all metrics or for
    none. Runs of one side keep their metrics together when they are shuffled.
    """
    rng = np.random.default_rng([seed % 2**64, permutations])
    ranked = [_standard(np.asarray(side, dtype=np.float64)) for side in sides]
    seen = _Sums.of([side[:, np.newaxis, :] for side in ranked])
    shuffled = [_shuffled(side, permutations, rng) for side in ranked]
    drawn = _Sums.of_drawn(shuffled)
    alone = tuple(
        _order(
            seen.alike[at, 0],
            drawn.alike[at],
            seen.trend[at, 0],
            np.abs(drawn.trend[at]),
            abs(seen.trend[at, 0]),
        )
        for at in range(len(ranked[0]))
    )
    mean = _order(
        seen.alike.mean(),
        drawn.alike.mean(axis=0),
        math.sqrt((seen.trend**2).mean()),
        (drawn.trend**2).mean(axis=0),
        (seen.trend**2).mean(),
    )
    common = _order(
        seen.common_alike[0],
        drawn.common_alike,
        seen.common_trend[0],
        np.abs(drawn.common_trend),
        abs(seen.common_trend[0]),
    )
    return Orders(alone, mean, common)


class _Sums(msgspec.Struct, frozen=True):
    alike: Floats
    trend: Floats
    common_alike: Floats
    common_trend: Floats

    @classmethod
    def of(cls, blocks: Sequence[Floats]) -> _Sums:
        """Sum over the sides: blocks are metrics by shuffles by runs."""
        parts = [_parts(block) for block in blocks]
        common = [_parts(block.mean(axis=0, keepdims=True)) for block in blocks]
        return cls(*_joined(parts), *(one[0] for one in _joined(common)))

    @classmethod
    def of_drawn(cls, sides: Sequence[Sequence[Floats]]) -> _Sums:
        found = [cls.of(blocks) for blocks in zip(*sides, strict=True)]
        return cls(
            *(
                np.concatenate([getattr(one, name) for one in found], axis=-1)
                for name in cls.__struct_fields__
            )
        )


def _parts(block: Floats) -> tuple[Floats, Floats, Floats, float]:
    """Return, for the last axis: products of neighbours, squares, products with the centred order and its squares."""
    order = np.arange(block.shape[-1]) - (block.shape[-1] - 1) / 2
    return (
        np.einsum("msr,msr->ms", block[..., 1:], block[..., :-1]),
        np.einsum("msr,msr->ms", block, block),
        block @ order,
        float(order @ order),
    )


def _joined(parts: Sequence[tuple[Floats, Floats, Floats, float]]) -> tuple[Floats, Floats]:
    products, squares, along, of_order = (sum(column) for column in zip(*parts, strict=True))
    safe = np.where(squares > 0, squares, 1.0)  # a metric that never changes has neither
    return products / safe, along / np.sqrt(safe * of_order) if of_order else along * 0.0


def _standard(side: Floats) -> Floats:
    """Return the ranks of each metric, centred, with mean square one: what is far out counts by its rank only."""
    ranks = stats.rankdata(side, axis=1)
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=1, keepdims=True))
    found: Floats = centred / np.where(spread > 0, spread, 1.0)
    return found


def _shuffled(side: Floats, permutations: int, rng: np.random.Generator) -> list[Floats]:
    runs = side.shape[1]
    drawn = rng.permuted(np.tile(np.arange(runs), (permutations, 1)), axis=1)
    height = max(1, _BLOCK // max(1, side.size))
    return [side[:, drawn[start : start + height]] for start in range(0, permutations, height)]


def _order(alike: float, alike_drawn: Floats, trend: float, trend_drawn: Floats, trend_seen: float) -> Order:
    return Order(
        float(alike),
        _share(alike_drawn >= alike - 1e-12),
        float(trend),
        _share(trend_drawn >= trend_seen - 1e-12),
    )


def _share(hits: NDArray[np.bool_]) -> float:
    """Return the p of a permutation test: the recorded order is one of them."""
    return float((1 + hits.sum()) / (1 + hits.size))


def effective(n: int, autocorrelation: float) -> float:
    """Return how many independent values ``n`` values with this correlation between neighbours are worth.

    For an autoregressive process of order one (Bayley and Hammersley 1946), after adding 1/(n-1), which the estimate is
    too low by; never more than ``n``.
    """
    if n < 2:
        return float(n)
    corrected = min(max(0.0, autocorrelation + 1 / (n - 1)), 0.99)
    return n * (1 - corrected) / (1 + corrected)


def deflated(p: float, share: float) -> float:
    """Return the p that a test would have given with the ``share`` of the values that count as independent."""
    return float(min(1.0, 2 * special.ndtr(special.ndtri(p / 2) * math.sqrt(share)))) if p < 1 else 1.0
