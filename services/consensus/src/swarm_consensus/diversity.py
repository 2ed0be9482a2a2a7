"""How members differ: where they name other classes, where they are right, how far their predictions lie apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from swarm_common.resampling import Floats
from swarm_consensus.scoring import named, settled
from swarm_consensus.table import laid_out

Matrix = tuple[tuple[float, ...], ...]
PartialMatrix = tuple[tuple[float | None, ...], ...]


class Voices(msgspec.Struct, frozen=True):
    """What members said of the held-out rows; see :class:`swarm_common.events.consensus.Reached`."""

    agreement: float | None
    diversity: float | None
    disagreement: Matrix
    row_agreement: NDArray[np.float32] | None


def compare(predictions: Sequence[Floats]) -> Voices:
    """Hold the classes that members name against each other; there is nothing to hold where they predict values.

    A member names its likeliest class, the lowest of equals. Agreement and diversity, which sum to 1, need two members.
    """
    if predictions[0].ndim == 1:
        return Voices(None, None, (), None)
    members, (rows, classes) = len(predictions), predictions[0].shape
    chosen = named(laid_out(predictions))
    together, pairs_agreeing = np.zeros((members, members)), np.zeros(rows)
    for each in range(classes):
        ballots = (chosen == each).astype(np.float64)
        together += ballots @ ballots.T  # counts: exact in any order
        votes = ballots.sum(axis=0)
        pairs_agreeing += votes * (votes - 1)
    apart: Matrix = tuple(map(tuple, (1 - together / rows).tolist()))
    if members < 2:
        return Voices(None, None, apart, None)
    by_row = pairs_agreeing / (members * (members - 1))
    agreement = settled(float(by_row.mean()))
    return Voices(agreement, settled(1 - agreement), apart, by_row.astype(np.float32))


def q_statistic(right: NDArray[np.bool_]) -> PartialMatrix:
    """Return Yule's Q (Yule 1900; Kuncheva and Whitaker 2003, section 2.1) of every pair of rows of ``right``.

    With a, d the counts of rows in which both are right and both wrong, and b, c those in which one is:
    ``(ad - bc) / (ad + bc)``, and ``None`` where that divides by 0. ``right`` is ``(members, rows)``.
    """
    hits = right.astype(np.float64)
    both = hits @ hits.T
    alone = hits.sum(axis=1)
    first, second = alone[:, np.newaxis] - both, alone[np.newaxis, :] - both
    neither = right.shape[1] - both - first - second
    same, other = both * neither, first * second
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (same - other) / (same + other)
    return tuple(tuple(None if value != value else value for value in row) for row in found.tolist())  # noqa: PLR0124 - NaN


def mean_of_pairs(matrix: PartialMatrix) -> float | None:
    """Return the mean over pairs of different members of what is defined, ``None`` where nothing is."""
    known = [value for at, row in enumerate(matrix) for value in row[at + 1 :] if value is not None]
    return settled(sum(known) / len(known)) if known else None


def variance(predictions: Sequence[Floats], weights: Any) -> float:
    """Return the weighted variance of the members' predictions, in the mean over rows (and classes).

    ``weights`` sum to 1: ``(members,)``, or ``(members, rows)``.
    """
    shape = predictions[0].shape
    # Member by member: the sums of all at once are arrays too large to be had cheaply.
    shares = [
        share if np.ndim(share) == 0 else share.reshape(-1, *[1] * (len(shape) - 1)) for share in weights
    ]
    middle, spread = np.zeros(shape), np.zeros(shape)
    for share, prediction in zip(shares, predictions, strict=True):
        middle += share * prediction
    for share, prediction in zip(shares, predictions, strict=True):
        apart = prediction - middle
        apart *= apart
        apart *= share
        spread += apart
    return settled(float(spread.mean()))
