"""Whether a process leaks: does its memory grow with its work, and would it go on to?

Samples are memory after equal portions of work, in bytes. The first third is warm-up and is left out. What is left is
cut into blocks that each hold a garbage collection, and of each block the least counts: what no collection took back.
A trend of these minima (Mann-Kendall, p < .01) whose size matters (Theil-Sen, at least 1 MiB and 2 %) is a suspicion,
no more: caches that fill and random walks look the same. A leak is what doubled work doubles (:func:`confirm`).
docs/leaks.md has the error rates, and the command that measures them.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import msgspec
from msgspec.structs import replace

from swarm_statistics.growth import Slope, least_values, mann_kendall, theil_sen

Verdict = Literal["no leak", "suspected", "leak", "too few samples"]

#: Samples in a block, unless collections come more rarely.
BLOCK = 16
#: Growth below both is none: allocators, caches and buffers move by as much.
LEAST_BYTES, LEAST_SHARE = 2.0**20, 0.02
#: A trend has to be as improbable without one.
LEVEL = 0.01
#: Blocks that the test needs to reach that level at all: with five, no order of them does.
LEAST_BLOCKS = least_values(LEVEL)
#: Each half of a steady growth has at least this share of what half of the whole growth would be.
_STEADY = 0.25
#: Doubled work doubles the growth, within these.
DOUBLED = (1.5, 2.67)


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """What a series of samples shows."""

    verdict: Verdict
    """Never ``leak``: that needs :func:`confirm`."""
    reason: str
    samples: int
    warm_up: int
    """Samples left out at the beginning."""
    block: int
    """Samples of a block."""
    blocks: int
    needed: int
    """Samples that are needed to tell, with blocks of this size."""
    p_value: float | None = None
    growth: float | None = None
    """Bytes, over the samples that count."""
    low: float | None = None
    """Lower end of Sen's 95 % interval of ``growth``."""
    high: float | None = None
    per_sample: float | None = None
    """Bytes."""
    least: float | None = None
    """Growth from which on it matters."""
    steady: bool = False
    """Whether it grew in both halves: a single step did in one."""


class Confirmation(msgspec.Struct, frozen=True, kw_only=True):
    """What two series show, the second with doubled work in each portion."""

    verdict: Verdict
    reason: str
    single: Growth
    double: Growth
    ratio: float | None = None
    """Growth of the second, over that of the first: about 2 where work is what makes it grow."""


def detect(samples: Sequence[float], *, collections: Sequence[int] = (), block: int = BLOCK) -> Growth:
    """Return what memory after equal portions of work shows: ``no leak``, ``suspected`` or ``too few samples``.

    ``collections`` are the indices of samples during which all garbage was collected; where they lie further apart
    than ``block`` samples, blocks are as long as their greatest distance.
    """
    size = max([block, *(later - earlier for earlier, later in pairwise(collections))])
    # What does not fill a block is left out at the beginning, where warm-up is nearest.
    blocks = (len(samples) - math.ceil(len(samples) / 3)) // size
    shape = Growth(
        verdict="too few samples",
        reason="",
        samples=len(samples),
        warm_up=len(samples) - blocks * size,
        block=size,
        blocks=blocks,
        needed=math.ceil(LEAST_BLOCKS * size * 3 / 2),
    )
    if blocks < LEAST_BLOCKS:
        why = (
            f"{len(samples)} samples leave {blocks} blocks of {size}, and a trend of fewer than {LEAST_BLOCKS} cannot "
            f"reach p < {LEVEL}: take {shape.needed} samples"
        )
        return replace(shape, reason=why)
    return _judged([min(samples[at : at + size]) for at in range(shape.warm_up, len(samples), size)], shape)


def _judged(minima: Sequence[float], shape: Growth) -> Growth:
    trend, slope = mann_kendall(minima), theil_sen(minima)
    length = len(minima) - 1
    growth = slope.value * length
    least = max(LEAST_BYTES, LEAST_SHARE * statistics.median(minima))
    steady = _steady(minima, slope)
    risen = trend.p_value < LEVEL and trend.statistic > 0
    if not risen:
        reason = f"no rising trend (p = {trend.p_value:.2g})"
    elif growth < least:
        reason = f"it rises by {_mib(growth)}, less than the {_mib(least)} that matter"
    elif steady:
        reason = f"it rises steadily, by {_mib(growth)} (p = {trend.p_value:.2g})"
    else:
        reason = f"it rises by {_mib(growth)} (p = {trend.p_value:.2g}), but in one half only, as with a step"
    return replace(
        shape,
        verdict="suspected" if risen and growth >= least else "no leak",
        reason=reason,
        p_value=trend.p_value,
        growth=growth,
        low=slope.low * length,
        high=slope.high * length,
        per_sample=slope.value / shape.block,
        least=least,
        steady=steady,
    )


def _steady(minima: Sequence[float], slope: Slope) -> bool:
    middle = len(minima) // 2
    halves = (theil_sen(minima[: middle + 1]), theil_sen(minima[middle:]))
    return all(half.value >= _STEADY * slope.value for half in halves) and slope.value > 0


def confirm(single: Growth, double: Growth) -> Confirmation:
    """Return the verdict over a run and one with doubled work in each portion, as many portions, in a fresh process.

    It is ``leak`` only where both grow steadily and the second about twice as much: what grows once, or with time
    alone, does not.
    """
    ratio = None
    if single.growth is not None and double.growth is not None and single.growth > 0:
        ratio = double.growth / single.growth

    def said(verdict: Verdict, reason: str) -> Confirmation:
        return Confirmation(verdict=verdict, reason=reason, single=single, double=double, ratio=ratio)

    for one in (single, double):
        if one.verdict == "too few samples":
            return said(one.verdict, one.reason)
    if {single.verdict, double.verdict} == {"no leak"}:
        return said("no leak", f"{single.reason}; with doubled work, {double.reason}")
    if single.verdict != double.verdict:
        which, other = ("the single", double) if single.verdict == "suspected" else ("the doubled", single)
        return said("suspected", f"only with {which} work does it grow; otherwise {other.reason}")
    if not (single.steady and double.steady):
        return said("suspected", "it grows with both, but not steadily, as caches that fill do")
    if ratio is None or not DOUBLED[0] <= ratio <= DOUBLED[1]:
        return said("suspected", f"doubled work gives {ratio or 0:.2f} times the growth, not about twice")
    return said("leak", f"doubled work gives {ratio:.2f} times the growth: {_mib(double.growth or 0)}")


def _mib(size: float) -> str:
    return f"{size / 2**20:.2f} MiB"
