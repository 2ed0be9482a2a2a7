"""Did something change? Two samples or pairs of one metric, and a verdict that says what was shown and what was not.

A change is reported where chance explains it badly (p, adjusted for the number of metrics, below ``alpha``) and it is
at least ``threshold`` large. Equality is reported where every change of that size is refuted. All else is
inconclusive: silence is no result.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec
import numpy as np
from scipy import stats

from swarm_statistics.equivalence import equivalent, level_for
from swarm_statistics.ranks import Interval, hodges_lehmann, mann_whitney, pseudomedian, signed_rank

Better = Literal["higher", "lower", "neither"]
Verdict = Literal["regression", "improvement", "equal", "inconclusive"]

THRESHOLD = 0.05
_TINY = 1e-9
ALPHA = 0.05


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What two samples say of one metric, before anybody judges it."""

    n_base: int
    n_head: int
    paired: bool
    logarithmic: bool
    """Whether shifts are ratios: so where all values are positive, as times, sizes, rates and prices are."""
    base: float
    """Median of the side."""
    head: float
    p: float
    """Two-sided, of "no shift": Mann-Whitney, or Wilcoxon's signed ranks for pairs."""
    shift: Interval
    """Of ``head`` over ``base`` at the level ``1 - alpha``, on the working scale: log, or parts of the larger side."""
    inner: Interval
    """The same at the level ``1 - 2 alpha``: what equality is read off."""
    margin: float
    """The threshold on the working scale."""
    spread: float | None
    """Standard deviation on the working scale, of a side or of the differences; ``None`` with one value."""

    def relative(self, value: float) -> float | None:
        """Return a shift of the working scale as a part of ``base``: 0.1 is 10 % more; ``None``: without bound."""
        if math.isinf(value):
            return None
        return math.expm1(value) if self.logarithmic else value

    @property
    def large(self) -> bool:
        """Whether the estimated shift reaches the threshold."""
        return abs(self.shift.estimate) >= self.margin


class Judged(msgspec.Struct, frozen=True):
    """A verdict, and why it is no other."""

    verdict: Verdict
    reason: str


def find(
    base: Sequence[float],
    head: Sequence[float],
    *,
    paired: bool = False,
    threshold: float = THRESHOLD,
    alpha: float = ALPHA,
) -> Finding:
    """Return what the samples say; ``paired`` takes ``base[i]`` and ``head[i]`` for one pair.

    Raises ``ValueError`` for an empty side, for numbers that are not finite, and for pairs that are none.
    """
    if paired and len(base) != len(head):
        raise ValueError(f"pairs have two ends: {len(base)} values of base, {len(head)} of head")
    if not (len(base) and len(head)):
        raise ValueError("a side without values cannot be compared")
    logarithmic = min(*base, *head) > 0
    here, there = _working(base, head, logarithmic=logarithmic)
    if paired:
        differences = [after - before for before, after in zip(here, there, strict=True)]
        p = signed_rank(differences)
        shift, inner = (pseudomedian(differences, level) for level in (1 - alpha, level_for(alpha)))
    else:
        differences = []
        p = mann_whitney(here, there)
        shift, inner = (hodges_lehmann(here, there, level) for level in (1 - alpha, level_for(alpha)))
    return Finding(
        n_base=len(base),
        n_head=len(head),
        paired=paired,
        logarithmic=logarithmic,
        base=float(np.median(base)),
        head=float(np.median(head)),
        p=p,
        shift=shift,
        inner=inner,
        margin=margin_of(threshold, logarithmic=logarithmic),
        spread=_spread([differences] if paired else [here, there]),
    )


def margin_of(threshold: float, *, logarithmic: bool) -> float:
    """Return a threshold (0.05 is 5 %) on the working scale; swapping the sides changes nothing."""
    if not 0 < threshold < math.inf:
        raise ValueError(f"the threshold is {threshold}; allowed is a part above 0, as 0.05 for 5 %")
    return math.log1p(threshold) if logarithmic else threshold / (1 + threshold)


def judge(
    found: Finding,
    adjusted_p: float,
    *,
    better: Better,
    alpha: float = ALPHA,
    violations: Sequence[str] = (),
    certainty: float = 1.0,
) -> Judged:
    """Return the verdict on a finding.

    ``violations`` are assumptions that do not hold: with any of them nothing is concluded. ``certainty`` is the share
    of the values that count as independent (:func:`swarm_statistics.independence.effective`): ``adjusted_p`` is
    the p at that size, and intervals are widened to it.
    """
    if violations:
        return Judged("inconclusive", "; ".join(violations))
    inner = found.inner.scaled(1 / math.sqrt(certainty))
    if found.large and adjusted_p < alpha:
        return _changed(found, better)
    if equivalent(inner, found.margin):
        return Judged("equal", f"every shift of {_percent(_threshold(found))} or more is refuted")
    shift = _percent(found.relative(found.shift.estimate))
    if found.large:
        return Judged("inconclusive", f"{shift}, but chance alone may give as much (p {adjusted_p:.2g})")
    ends = (found.relative(inner.low), found.relative(inner.high))
    if None in ends:
        return Judged("inconclusive", "so few values show no change and exclude none")
    return Judged(
        "inconclusive",
        f"no shift of {_percent(_threshold(found))} is shown, and none is excluded: it may be "
        f"{_percent(ends[0])} to {_percent(ends[1])}",
    )


def _changed(found: Finding, better: Better) -> Judged:
    shift = _percent(found.relative(found.shift.estimate))
    if better == "neither":
        return Judged("inconclusive", f"it changed by {shift}; whether that is better, nobody has said")
    worse = (found.shift.estimate > 0) == (better == "lower")
    return Judged("regression" if worse else "improvement", f"{better} is better")


def _threshold(found: Finding) -> float:
    return math.expm1(found.margin) if found.logarithmic else found.margin / (1 - found.margin)


def _percent(part: float | None) -> str:
    return "any" if part is None else f"{part * 100:+.1f} %" if part < 0 else f"{part * 100:.3g} %"


def _working(
    base: Sequence[float], head: Sequence[float], *, logarithmic: bool
) -> tuple[list[float], list[float]]:
    if logarithmic:
        return [math.log(value) for value in base], [math.log(value) for value in head]
    size = max(abs(float(np.median(base))), abs(float(np.median(head))))
    largest = float(np.max(np.abs([*base, *head]))) or 1.0
    if size < _TINY * largest:  # both medians are nothing: parts of them say nothing
        size = largest
    return [value / size for value in base], [value / size for value in head]


def _spread(samples: Sequence[Sequence[float]]) -> float | None:
    """Return the pooled standard deviation."""
    degrees = sum(len(sample) - 1 for sample in samples)
    if degrees < 1:
        return None
    return math.sqrt(sum(float(np.var(sample)) * len(sample) for sample in samples) / degrees)


def proportions(base: tuple[int, int], head: tuple[int, int]) -> float:
    """Return the two-sided p of "the same share succeeds"; a side is how many did, of how many (Fisher 1935)."""
    table = [[done, total - done] for done, total in (base, head)]
    return float(stats.fisher_exact(table).pvalue)


def exit_code(verdicts: Iterable[Verdict]) -> int:
    """Return 1 where anything regressed, else 3 where anything is open, else 0."""
    found = set(verdicts)
    return 1 if "regression" in found else 3 if "inconclusive" in found else 0
