"""What an ensemble's held-out rows tell beside its score: where it errs, how sure it is, who disagrees. Pure.

A run may repeat itself on several splits; those of the same combination are put together.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from swarm_common.events import Event
from swarm_common.events.agent import DataPrepared
from swarm_common.events.consensus import Reached
from swarm_common.events.metrics import CalibrationBin, Scored


class Confusion(msgspec.Struct, frozen=True):
    """Truth by row, prediction by column."""

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    @property
    def largest(self) -> int:
        """The largest count of a cell."""
        return max((count for row in self.counts for count in row), default=0)


class Disagreement(msgspec.Struct, frozen=True):
    """By pair of members: the share of held-out rows in which they name different classes."""

    members: tuple[str, ...]
    shares: tuple[tuple[float, ...], ...]

    @property
    def largest(self) -> float:
        """The largest share of a pair."""
        return max((share for row in self.shares for share in row), default=0.0)


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """Of one combination, over all its splits; what the log does not tell is ``None`` or empty."""

    splits: int = 0
    confusion: Confusion | None = None
    disagreement: Disagreement | None = None
    calibration: tuple[CalibrationBin, ...] = ()


def combination_of(scored: Scored, reached: dict[str, Reached]) -> Reached | None:
    """Return what was scored: the combination that the scores name as their source, or else one of the same members.

    ``reached`` is by the id of its event.
    """
    sources = [source for metric in scored.metrics for source in metric.source]
    named = next((reached[source] for source in sources if source in reached), None)
    names = set(scored.members)
    return named or next((one for one in reached.values() if set(one.members) == names), None)


def diagnose(events: Sequence[Event], strategy: str) -> Diagnosis:
    """Return the diagnosis of a strategy's combinations; of the first one's kind where none goes by that name.

    ``best`` is what consensus was asked for where it chose the strategy itself.
    """
    reached = {event.id: event.data for event in events if isinstance(event.data, Reached)}
    scored = [event.data for event in events if isinstance(event.data, Scored)]
    both = [(one, combination_of(one, reached)) for one in scored]
    used = [pair for pair in both if _is(pair[1], strategy)]
    if not used and both:
        first = both[0][1]
        used = [pair for pair in both if first is None or _is(pair[1], first.strategy)]
    classes = next((event.data.classes for event in events if isinstance(event.data, DataPrepared)), ())
    return Diagnosis(
        splits=len(used),
        confusion=confusion([one for one, _ in used], classes),
        disagreement=_disagreement([one for _, one in used if one is not None]),
        calibration=_calibration([one for one, _ in used]),
    )


def _is(reached: Reached | None, strategy: str) -> bool:
    if reached is None:
        return False
    return reached.strategy == strategy or (strategy == "best" and bool(reached.considered))


def confusion(scored: Sequence[Scored], classes: tuple[str, ...]) -> Confusion | None:
    """Return the sum of the confusion matrices, those of another size than the first left out."""
    matrices = [one.confusion for one in scored if one.confusion]
    if not matrices:
        return None
    size = len(matrices[0])
    same = [matrix for matrix in matrices if len(matrix) == size]
    counts = tuple(tuple(sum(cells) for cells in zip(*rows, strict=True)) for rows in zip(*same, strict=True))
    return Confusion(classes if len(classes) == size else tuple(map(str, range(size))), counts)


def _disagreement(reached: Sequence[Reached]) -> Disagreement | None:
    """Return the mean of the matrices of those combinations that have the first one's members."""
    having = [one for one in reached if len(one.members) > 1 and len(one.disagreement) == len(one.members)]
    if not having:
        return None
    members = having[0].members
    same = [one.disagreement for one in having if one.members == members]
    shares = tuple(
        tuple(sum(cells) / len(same) for cells in zip(*rows, strict=True)) for rows in zip(*same, strict=True)
    )
    return Disagreement(members, shares)


def _calibration(scored: Sequence[Scored]) -> tuple[CalibrationBin, ...]:
    """Return the bins with the rows of all splits in them."""
    by_edge: dict[tuple[float, float], list[CalibrationBin]] = {}
    for one in scored:
        for bin_ in one.calibration:
            by_edge.setdefault((bin_.low, bin_.high), []).append(bin_)
    found = []
    for (low, high), bins in sorted(by_edge.items()):
        rows = sum(one.rows for one in bins)
        found.append(
            CalibrationBin(
                low=low,
                high=high,
                rows=rows,
                confidence=sum(one.rows * one.confidence for one in bins) / rows,
                accuracy=sum(one.rows * one.accuracy for one in bins) / rows,
            )
        )
    return tuple(found)
