"""One answer out of many: weights from out-of-fold losses, the mix, and what each member adds to it.

Only training rows, each predicted out of fold, say anything about weights and gains. The truth of the held-out rows is
not a parameter of anything here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from swarm_common.errors import UsageError
from swarm_common.resampling import RESAMPLES, Floats, counts, interval, stream_of

STRATEGIES = ("weighted", "soft", "majority")


class Member(msgspec.Struct, frozen=True):
    """A model's voice: class probabilities ``(rows, classes)`` or values ``(rows,)``, each row."""

    name: str
    held_out: Floats
    out_of_fold: Floats | None
    """For the training rows; ``None`` where there were no folds."""


class Gain(msgspec.Struct, frozen=True):
    """The score with all members less that without one, and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


class Combined(msgspec.Struct, frozen=True):
    """The answer, and how it came about; see :class:`swarm_common.events.consensus.Reached`."""

    weights: dict[str, float]
    losses: dict[str, float]
    prediction: Floats
    agreement: float | None
    confidence: float | None
    out_of_fold_score: float | None
    gains: dict[str, Gain]


def combine(
    members: Sequence[Member], y_train: NDArray[Any], strategy: str, *, seed: int, name: str
) -> Combined:
    """Combine the members' predictions.

    ``seed`` and ``name`` (of the task) give the stream of the bootstrap. Raises :class:`UsageError` for members that do
    not fit each other and a strategy that does not fit them.
    """
    _check(members, y_train, strategy)
    seen = [member.out_of_fold for member in members if member.out_of_fold is not None]
    known = len(seen) == len(members)
    losses = [loss(y_train, prediction) for prediction in seen] if known else []
    weights = weights_of(losses, len(members), strategy)
    held_out = [member.held_out for member in members]
    prediction = mix(held_out, weights, strategy)
    classes = prediction.ndim == 2
    names = [member.name for member in members]
    return Combined(
        weights=dict(zip(names, weights, strict=True)),
        losses=dict(zip(names, losses, strict=True)) if known else {},
        prediction=prediction,
        agreement=agreement(held_out) if classes and len(members) > 1 else None,
        confidence=settled(float(prediction.max(axis=1).mean())) if classes else None,
        out_of_fold_score=settled(score(y_train, mix(seen, weights, strategy))) if known else None,
        gains=(
            gains(names, seen, losses, y_train, strategy=strategy, stream=stream_of(seed, name))
            if known
            else {}
        ),
    )


def loss(truth: NDArray[Any], prediction: Floats) -> float:
    """Return log loss in nats (as ``sklearn.metrics.log_loss`` defines it), or the mean squared error of values."""
    if prediction.ndim == 1:
        return settled(float(np.mean((truth - prediction) ** 2)))
    tiny = np.finfo(np.float64).eps
    # Each row is made to sum to 1 by what it sums to: a fold may not have seen a class.
    own = prediction[np.arange(len(truth)), truth] / np.maximum(prediction.sum(axis=1), tiny)
    return settled(float(-np.log(np.clip(own, tiny, 1 - tiny)).mean()))


def weights_of(losses: Sequence[float], members: int, strategy: str) -> list[float]:
    """Return weights that sum to 1: in proportion to 1/loss² for ``weighted``, equal for the others."""
    if strategy != "weighted":
        return [1 / members] * members
    # A loss of nothing would take all the weight there is; it counts as the least a float can tell from nothing.
    skill = [1 / max(value, float(np.finfo(np.float64).eps)) ** 2 for value in losses]
    total = sum(skill)
    return [value / total for value in skill]


def mix(predictions: Sequence[Floats], weights: Sequence[float], strategy: str) -> Floats:
    """Return the weighted mean of the predictions, or for ``majority`` each class's share of votes.

    A member votes for its likeliest class, the lowest of equals.
    """
    if strategy == "majority":
        predictions = [votes(prediction) for prediction in predictions]
    mixed = np.zeros_like(predictions[0])
    for prediction, weight in zip(predictions, weights, strict=True):
        mixed += weight * prediction
    return mixed


def votes(probabilities: Floats) -> Floats:
    """Return ``(rows, classes)``: 1 for each row's likeliest class, the lowest of equals, else 0."""
    chosen: Floats = np.eye(probabilities.shape[1])[probabilities.argmax(axis=1)]
    return chosen


def agreement(predictions: Sequence[Floats]) -> float:
    """Return the share of pairs of members that name the same class, in the mean over rows; needs two members."""
    count = len(predictions)
    ballots = mix(predictions, [1.0] * count, "majority")
    agreeing = (ballots * (ballots - 1)).sum(axis=1) / (count * (count - 1))
    return settled(float(agreeing.mean()))


def score(truth: NDArray[Any], prediction: Floats) -> float:
    """Return the accuracy of class probabilities, or the coefficient of determination r2 of values."""
    if prediction.ndim == 2:
        return float((prediction.argmax(axis=1) == truth).mean())
    spread = float(((truth - truth.mean()) ** 2).sum())
    missed = float(((truth - prediction) ** 2).sum())
    return 1 - missed / spread if spread else float(missed == 0)


def gains(
    names: Sequence[str],
    predictions: Sequence[Floats],
    losses: Sequence[float],
    truth: NDArray[Any],
    *,
    strategy: str,
    stream: list[int],
) -> dict[str, Gain]:
    """Return what each member adds to the score; nothing where there is only one.

    Weights are made anew for those who stay. The interval is a percentile bootstrap over rows, paired: both scores see
    the same resample.
    """
    if len(names) < 2:
        return {}
    everyone = range(len(names))
    without = []
    for left_out in everyone:
        stay = [index for index in everyone if index != left_out]
        weights = weights_of([losses[index] for index in stay], len(stay), strategy)
        without.append(mix([predictions[index] for index in stay], weights, strategy))
    whole = mix(predictions, weights_of(losses, len(names), strategy), strategy)
    base = score(truth, whole)
    low, high = interval(_resampled_gains(truth, whole, without, stream))
    return {
        name: Gain(
            settled(base - score(truth, rest)), settled(float(low[index])), settled(float(high[index]))
        )
        for index, (name, rest) in enumerate(zip(names, without, strict=True))
    }


def _resampled_gains(
    truth: NDArray[Any], whole: Floats, without: Sequence[Floats], stream: list[int]
) -> Floats:
    """Return ``(resamples, members)``: the gains in each resample of the rows."""
    rows = len(truth)
    if whole.ndim == 2:
        right = (whole.argmax(axis=1) == truth).astype(np.int8)
        differs = np.stack([right - (rest.argmax(axis=1) == truth) for rest in without], axis=1)
        # Few patterns of right and wrong occur. To draw rows and count their patterns is to draw patterns: one
        # multinomial a resample, however many rows there are.
        patterns, often = np.unique(differs, axis=0, return_counts=True)
        drawn = np.random.default_rng(stream).multinomial(rows, often / rows, size=RESAMPLES)
        return np.asarray(drawn @ patterns.astype(np.int64) / rows)
    centred = truth - truth.mean()  # the spread does not change, and squares of small numbers lose less
    missed = (truth - whole) ** 2
    more = np.stack([(truth - rest) ** 2 - missed for rest in without], axis=1)
    blocks = []
    for block in counts(rows, stream):
        spread = block @ centred**2 - (block @ centred) ** 2 / rows
        # A resample of equal rows tells no model from another: no gain.
        blocks.append(block @ more / np.where(spread > 0, spread, np.inf)[:, np.newaxis])
    return np.concatenate(blocks)


def settled(value: float) -> float:
    """Return ``value`` to 12 significant digits.

    Logarithms and long sums differ in their last bits from one kind of processor to another; what is recorded, and what
    weights are made from, should not.
    """
    return float(f"{value:.12g}")


def _check(members: Sequence[Member], y_train: NDArray[Any], strategy: str) -> None:
    if strategy not in STRATEGIES:
        allowed = ", ".join(STRATEGIES)
        raise UsageError(
            f"unknown strategy {strategy!r}; there are {allowed}",
            field="params.strategy",
            given=strategy,
            allowed=allowed,
        )
    if not members:
        raise UsageError("there is nothing to combine: the task needs predictions", field="needs")
    names = [member.name for member in members]
    if len(set(names)) < len(names):
        raise UsageError(f"two members have the same name: {', '.join(names)}", field="params.model")
    first = members[0].held_out
    for member in members:
        seen = member.out_of_fold
        if member.held_out.shape != first.shape or (
            seen is not None and seen.shape != (len(y_train), *first.shape[1:])
        ):
            raise UsageError(
                f"{member.name} predicts {member.held_out.shape} held-out rows and classes, {members[0].name}"
                f" {first.shape}; out of fold {None if seen is None else seen.shape} for {len(y_train)} training rows",
                field="needs",
                given=member.name,
            )
    if strategy == "majority" and first.ndim == 1:
        raise UsageError(
            "majority votes are for classes; for values use weighted or soft",
            field="params.strategy",
            given=strategy,
            allowed="weighted, soft",
        )
    if strategy == "weighted" and any(member.out_of_fold is None for member in members):
        raise UsageError(
            "weights need out-of-fold predictions; train with params.folds of 2 or more, or use soft or majority",
            field="params.strategy",
            given=strategy,
            allowed="soft, majority",
        )
