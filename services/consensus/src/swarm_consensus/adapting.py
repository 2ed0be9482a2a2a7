"""Weights that follow a stream: exponential weights with fixed share.

The method is that of Herbster and Warmuth 1998, "Tracking the best expert", section 5, with a block for a trial.
Held-out rows are a stream in the order of time. Each block of them is predicted first and its truth seen afterwards, so
that a block's weights come from earlier blocks alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarm_common.errors import UsageError
from swarm_consensus.combining import Combined, Member, check_members, check_truth
from swarm_consensus.diversity import compare, mean_of_pairs, q_statistic, variance
from swarm_consensus.scoring import TINY, loss, row_losses, settled
from swarm_consensus.table import laid_out


def adapt(
    members: Sequence[Member],
    y_train: NDArray[Any],
    y_stream: NDArray[Any],
    *,
    block: int,
    rate: float,
    share: float,
) -> Combined:
    """Predict the stream block by block, weights following the members' losses so far.

    After each block of ``block`` rows a member's weight is multiplied by ``exp(-rate * loss)``, where ``loss`` is its
    mean log loss (or squared error) in the block over the mean of all members' in this and earlier blocks: the same
    rate fits any unit. Then each member hands ``share`` of its weight to the others in equal parts, so that none is
    lost for good. The first block's weights are in proportion to 1/loss² out of fold, or equal without folds.

    In what is returned, ``trajectory`` has the weights of each block, ``weights`` those that the next one would have.
    Raises :class:`UsageError` for members that do not fit each other or the stream, and where there is but one block.
    """
    check_members(members, y_train)
    held_out = [member.held_out for member in members]
    rows = len(y_stream)
    if len(held_out[0]) != rows:
        raise UsageError(
            f"the stream has {rows} rows, {members[0].name} predicts {len(held_out[0])}",
            field="needs",
            given=members[0].name,
        )
    check_truth(y_stream, held_out[0])
    if block >= rows:
        raise UsageError(
            f"params.block is {block}, and the stream has {rows} rows: with one block nothing can be learned from it",
            field="params.block",
            given=str(block),
            allowed=f"1 to {rows - 1}",
        )
    losses = _out_of_fold(members, y_train)
    edges = [*range(0, rows, block), rows]
    by_row = row_losses(y_stream, laid_out(held_out))
    by_block = [by_row[:, start:end].mean(axis=1).tolist() for start, end in pairwise(edges)]
    *used, final = _weights(_first(losses, len(members)), by_block, rate, share)
    weights = np.repeat(used, np.diff(edges), axis=0).T
    answer = np.zeros(held_out[0].shape)
    for prediction, weight in zip(held_out, weights, strict=True):
        answer += (weight if answer.ndim == 1 else weight[:, np.newaxis]) * prediction
    sure = answer.max(axis=1) if answer.ndim == 2 else None
    names = [member.name for member in members]
    q = _q(members, y_train)
    return Combined(
        strategy="adaptive",
        weights=dict(zip(names, final, strict=True)),
        losses=dict(zip(names, losses, strict=True)) if losses else {},
        prediction=answer,
        voices=compare(held_out),
        confidence=None if sure is None else settled(float(sure.mean())),
        row_confidence=None if sure is None else sure.astype(np.float32),
        variance=variance(held_out, weights),
        out_of_fold_score=None,
        gains={},
        q_statistic=q,
        q_statistic_mean=mean_of_pairs(q),
        trajectory=tuple(tuple(each) for each in used),
    )


def _out_of_fold(members: Sequence[Member], y_train: NDArray[Any]) -> list[float]:
    """Return each member's loss, nothing where not all have out-of-fold predictions."""
    seen = [member.out_of_fold for member in members if member.out_of_fold is not None]
    return [loss(y_train, prediction) for prediction in seen] if len(seen) == len(members) else []


def _q(members: Sequence[Member], y_train: NDArray[Any]) -> tuple[tuple[float | None, ...], ...]:
    seen = [member.out_of_fold for member in members if member.out_of_fold is not None]
    if len(seen) < len(members) or seen[0].ndim == 1:
        return ()
    return q_statistic(np.stack([prediction.argmax(axis=1) == y_train for prediction in seen]))


def _first(losses: Sequence[float], members: int) -> list[float]:
    skill = [1 / max(value, TINY) ** 2 for value in losses] or [1.0] * members
    return [value / sum(skill) for value in skill]


def _weights(
    first: list[float], by_block: Sequence[Sequence[float]], rate: float, share: float
) -> list[list[float]]:
    """Return the weights of each block and, last, those after all of them."""
    found, so_far = [first], 0.0
    for number, losses in enumerate(by_block, start=1):
        so_far += math.fsum(losses) / len(losses)
        scale = so_far / number or 1.0
        least = min(losses)  # of all taken off: the best keeps its weight, and none of the powers overflows
        kept = [
            weight * math.exp(-rate * (value - least) / scale)
            for weight, value in zip(found[-1], losses, strict=True)
        ]
        found.append(_shared([value / math.fsum(kept) for value in kept], share))
    return found


def _shared(weights: list[float], share: float) -> list[float]:
    if len(weights) == 1:
        return weights
    handed = [settled((1 - share) * weight + share * (1 - weight) / (len(weights) - 1)) for weight in weights]
    return [weight / math.fsum(handed) for weight in handed]
