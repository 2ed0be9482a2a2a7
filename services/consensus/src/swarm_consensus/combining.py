"""One answer out of many: the strategies, what each member adds, and how members differ.

Only training rows, each predicted out of fold, say anything about weights and gains. The truth of the held-out rows is
not a parameter of anything here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from swarm_common.errors import UsageError
from swarm_common.resampling import PERCENTILES, Floats, counts, interval, stream_of
from swarm_consensus import learning
from swarm_consensus.diversity import PartialMatrix, Voices, compare, mean_of_pairs, q_statistic, variance
from swarm_consensus.scoring import named, row_losses, score_of, settled
from swarm_consensus.table import Table

#: All that can be asked for; where ``best`` finds equals, the first of them here.
STRATEGIES = ("weighted", "soft", "majority", "bayesian", "greedy", "best_single", "stacking", "best")
#: Those that need no out-of-fold predictions.
UNLEARNED = ("soft", "majority")
#: Those that load scikit-learn.
STACKED = ("stacking", "best")


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


class Combined(msgspec.Struct, frozen=True, kw_only=True):
    """The answer, and how it came about; see :class:`swarm_common.events.consensus.Reached`."""

    strategy: str
    weights: dict[str, float]
    losses: dict[str, float]
    prediction: Floats
    voices: Voices
    confidence: float | None
    row_confidence: NDArray[np.float32] | None
    variance: float
    out_of_fold_score: float | None
    gains: dict[str, Gain]
    q_statistic: PartialMatrix
    q_statistic_mean: float | None
    considered: dict[str, float] = {}
    coefficients: tuple[tuple[float, ...], ...] = ()
    trajectory: tuple[tuple[float, ...], ...] = ()
    warnings: tuple[str, ...] = ()


class Way(msgspec.Struct, frozen=True):
    """A strategy that has learned from the training rows."""

    strategy: str
    cross_fitted: Floats
    """``(classes, rows)``, rows in the order of the table: each mixed as was learned without its fold."""
    weights: tuple[float, ...] = ()
    """Learned on all rows; empty for ``stacking``."""
    learner: learning.Learner | None = None
    voices: Floats | None = None
    """What is weighed, as in the table: predictions, or for ``majority`` votes."""
    stacked: Any = None
    """A :class:`swarm_consensus.stacking.Stacked`."""

    def answer(self, held_out: Sequence[Floats]) -> Floats:
        """Return the prediction of rows that nobody has seen."""
        if self.stacked is not None:
            found: Floats = self.stacked.predict(held_out)
            return found
        return mix(held_out, self.weights, self.strategy)


def combine(
    members: Sequence[Member],
    y_train: NDArray[Any],
    strategy: str,
    *,
    seed: int,
    name: str,
    picks: int = learning.PICKS,
) -> Combined:
    """Combine the members' predictions.

    ``seed`` and ``name`` (of the task) give the streams of folds and bootstraps; ``picks`` is for ``greedy``. The score
    is cross-fitted over 5 folds of the training rows: what mixes a row's predictions was learned without its fold. For
    ``best`` the choice is, too: each fold is predicted by the strategy that lost least in the others.

    Raises :class:`UsageError` for members that do not fit each other and a strategy that does not fit them.
    """
    check(members, y_train, strategy)
    names = [member.name for member in members]
    held_out = [member.held_out for member in members]
    voices = compare(held_out)
    seen = [member.out_of_fold for member in members if member.out_of_fold is not None]
    if len(seen) < len(members):
        share = [1 / len(members)] * len(members)
        return _told(strategy, names, share, held_out, mix(held_out, share, strategy), voices)
    table = Table.of(names, seen, y_train, stream_of(seed, f"{name}/folds"))
    open_to = strategies_for(table) if strategy == "best" else (strategy,)
    learners = _learners(table, stream_of(seed, f"{name}/weights"), picks)
    ways = [_way(each, table, learners, seen, y_train) for each in open_to]
    losses = np.stack([row_losses(table.truth, way.cross_fitted) for way in ways])
    chosen = ways[_least(losses.mean(axis=1))]
    honest = _chosen_by_fold(table, ways, losses) if strategy == "best" else chosen.cross_fitted
    answer = chosen.answer(held_out)
    found = _told(chosen.strategy, names, chosen.weights, held_out, answer, voices)
    right = named(table.voices) == table.truth if table.classes else None
    q = () if right is None else q_statistic(right)
    means = losses.mean(axis=1).tolist()
    return msgspec.structs.replace(
        found,
        losses=learning.mean_losses(table),
        out_of_fold_score=settled(score_of(table.truth, honest)),
        gains=gains(table, chosen, stream_of(seed, name)),
        q_statistic=q,
        q_statistic_mean=mean_of_pairs(q),
        considered={way.strategy: settled(value) for way, value in zip(ways, means, strict=True)}
        if strategy == "best"
        else {},
        coefficients=() if chosen.stacked is None else chosen.stacked.coefficients,
        warnings=() if chosen.stacked is None else chosen.stacked.warnings,
    )


def strategies_for(table: Table) -> tuple[str, ...]:
    """Return the strategies that fit the problem, without ``best``."""
    return tuple(each for each in STRATEGIES[:-1] if table.classes or each != "majority")


def _learners(table: Table, stream: list[int], picks: int) -> dict[str, Callable[[], learning.Learner]]:
    return {
        "weighted": lambda: learning.weighted(table),
        "soft": lambda: learning.equal(table),
        "majority": lambda: learning.equal(table),
        "bayesian": lambda: learning.bayesian(table, stream),
        "greedy": lambda: learning.greedy(table, picks),
        "best_single": lambda: learning.best_single(table),
    }


def _way(
    strategy: str,
    table: Table,
    learners: dict[str, Callable[[], learning.Learner]],
    seen: Sequence[Floats],
    y_train: NDArray[Any],
) -> Way:
    if strategy == "stacking":
        return _stack(table, seen, y_train)
    learner = learners[strategy]()
    weights = learner(np.ones(len(table.names), dtype=np.bool_), learning.EVERY)
    voices = _voices(table, strategy)
    cross_fitted = table.mixed(voices, weights[learning.FOLDS_OUT])
    return Way(strategy, cross_fitted, tuple(weights[0].tolist()), learner, voices)


def _stack(table: Table, seen: Sequence[Floats], y_train: NDArray[Any]) -> Way:
    from swarm_consensus import stacking  # noqa: PLC0415 - loads scikit-learn: only where it is asked for

    cross_fitted = np.empty_like(table.voices[0])
    for start, end in zip(table.edges[:-1], table.edges[1:], strict=True):
        inside = np.sort(np.delete(table.rows, slice(start, end)))
        fitted = stacking.fit([prediction[inside] for prediction in seen], y_train[inside])
        fold = fitted.predict([prediction[table.rows[start:end]] for prediction in seen])
        cross_fitted[:, start:end] = np.atleast_2d(fold.T)
    return Way("stacking", cross_fitted, stacked=stacking.fit(seen, y_train))


def _chosen_by_fold(table: Table, ways: Sequence[Way], losses: Floats) -> Floats:
    """Return each fold as predicted by the way that lost least in the others."""
    without = table.means(losses)[:, 1:]
    found = np.empty_like(ways[0].cross_fitted)
    for fold, (start, end) in enumerate(zip(table.edges[:-1], table.edges[1:], strict=True)):
        found[:, start:end] = ways[_least(without[:, fold])].cross_fitted[:, start:end]
    return found


def _least(losses: Floats) -> int:
    """Return which loss is the least, the first of equals."""
    rounded = [settled(value) for value in losses.tolist()]
    return rounded.index(min(rounded))


def _told(
    strategy: str,
    names: Sequence[str],
    weights: Sequence[float],
    held_out: Sequence[Floats],
    answer: Floats,
    voices: Voices,
) -> Combined:
    """Return what held-out predictions tell without any truth."""
    classes = answer.ndim == 2
    sure = answer.max(axis=1) if classes else None
    return Combined(
        strategy=strategy,
        weights=dict(zip(names, weights, strict=True)) if weights else {},
        losses={},
        prediction=answer,
        voices=voices,
        confidence=None if sure is None else settled(float(sure.mean())),
        row_confidence=None if sure is None else sure.astype(np.float32),
        variance=variance(held_out, weights or [1 / len(names)] * len(names)),
        out_of_fold_score=None,
        gains={},
        q_statistic=(),
        q_statistic_mean=None,
    )


def mix(predictions: Sequence[Floats], weights: Sequence[float], strategy: str) -> Floats:
    """Return the weighted mean of the predictions, or for ``majority`` each class's share of votes.

    A member votes for its likeliest class, the lowest of equals.
    """
    if strategy == "majority":
        predictions = [votes(prediction) for prediction in predictions]
    mixed = np.zeros(predictions[0].shape)
    for prediction, weight in zip(predictions, weights, strict=True):
        mixed += weight * prediction
    return mixed


def votes(probabilities: Floats) -> Floats:
    """Return ``(rows, classes)``: 1 for each row's likeliest class, the lowest of equals, else 0."""
    chosen = named(probabilities.T)[:, np.newaxis] == np.arange(probabilities.shape[1])
    return np.asarray(chosen, dtype=np.float64)


def _voices(table: Table, strategy: str) -> Floats:
    if strategy != "majority":
        return table.voices
    classes = np.arange(table.voices.shape[1])[:, np.newaxis]
    return np.asarray(named(table.voices)[:, np.newaxis, :] == classes, dtype=np.float64)


def gains(table: Table, way: Way, stream: list[int]) -> dict[str, Gain]:
    """Return what each member adds to the cross-fitted score.

    Nothing where there is only one, and for ``stacking``, where it would cost six fits a member. Weights are learned
    anew for those who stay. The interval is a percentile bootstrap over rows, paired: both scores see the same
    resample.
    """
    members = len(table.names)
    if members < 2 or way.learner is None or way.voices is None:
        return {}
    without = [
        table.mixed(way.voices, way.learner(stay, learning.FOLDS_OUT))
        for stay in ~np.eye(members, dtype=np.bool_)
    ]
    base = score_of(table.truth, way.cross_fitted)
    if table.classes:
        low, high = _interval_of_hits(table.truth, way.cross_fitted, without)
    else:
        low, high = _interval_of_r2(table.truth, way.cross_fitted, without, stream)
    return {
        name: Gain(
            settled(base - score_of(table.truth, rest)),
            settled(float(low[index])),
            settled(float(high[index])),
        )
        for index, (name, rest) in enumerate(zip(table.names, without, strict=True))
    }


def _interval_of_hits(truth: NDArray[Any], whole: Floats, without: Sequence[Floats]) -> tuple[Floats, Floats]:
    """Return the ends of the intervals of gains in accuracy.

    A row is lost, the same, or won by a member's leaving. A resample of the rows draws these with their shares, so that
    won less lost has the characteristic function ``(same + won e^it + lost e^-it)^rows``: the bootstrap's distribution
    is had exactly, as if from endless resamples, and faster than from a thousand.
    """
    rows = len(truth)
    right = (named(whole) == truth).astype(np.int8)
    differs = np.stack([right - (named(rest) == truth) for rest in without])
    won, lost = (differs > 0).mean(axis=1), (differs < 0).mean(axis=1)
    # What is more than 12 standard deviations away is nothing in 64 bits; so the circle need not hold all rows.
    reach = min(rows, int(12 * np.sqrt(rows * (won + lost).max())) + int(rows * np.abs(won - lost).max()) + 1)
    turns = np.exp(-2j * np.pi * np.arange(reach + 1) / (2 * reach + 1))
    base = 1 + won[:, np.newaxis] * (turns - 1) + lost[:, np.newaxis] * (turns.conj() - 1)
    chances = np.fft.irfft(_power(base, rows), 2 * reach + 1)
    # From -reach to reach. Where chance and bound are equal, rounding must not decide.
    up_to = np.cumsum(np.roll(chances, reach, axis=1), axis=1) + 1e-9
    low, high = ((up_to >= share / 100).argmax(axis=1) for share in PERCENTILES)
    return (low - reach) / rows, (high - reach) / rows


def _power(base: NDArray[np.complex128], exponent: int) -> NDArray[np.complex128]:
    """Return ``base ** exponent`` by squaring: numpy goes by logarithms, number by number."""
    found = np.ones_like(base)
    while exponent:
        if exponent & 1:
            found *= base
        base, exponent = base * base, exponent >> 1
    return found


def _interval_of_r2(
    truth: NDArray[Any], whole: Floats, without: Sequence[Floats], stream: list[int]
) -> tuple[Floats, Floats]:
    """Return the ends of the intervals of gains in r2, from 1000 resamples of the rows."""
    rows = len(truth)
    centred = truth - truth.mean()  # the spread does not change, and squares of small numbers lose less
    missed = (truth - whole[0]) ** 2
    more = np.stack([(truth - rest[0]) ** 2 - missed for rest in without], axis=1)
    blocks = []
    for block in counts(rows, stream):
        spread = block @ centred**2 - (block @ centred) ** 2 / rows
        # A resample of equal rows tells no model from another: no gain.
        blocks.append(block @ more / np.where(spread > 0, spread, np.inf)[:, np.newaxis])
    return interval(np.concatenate(blocks))


def check(members: Sequence[Member], y_train: NDArray[Any], strategy: str) -> None:
    """Raise :class:`UsageError` for members that do not fit each other and a strategy that does not fit them."""
    if strategy not in STRATEGIES:
        allowed = ", ".join(STRATEGIES)
        raise UsageError(
            f"unknown strategy {strategy!r}; there are {allowed}",
            field="params.strategy",
            given=strategy,
            allowed=allowed,
        )
    check_members(members, y_train)
    known = all(member.out_of_fold is not None for member in members)
    if strategy == "majority" and members[0].held_out.ndim == 1:
        allowed = ", ".join(each for each in STRATEGIES if each != "majority")
        raise UsageError(
            f"majority votes are for classes; for values use one of {allowed}",
            field="params.strategy",
            given=strategy,
            allowed=allowed,
        )
    if strategy not in UNLEARNED and not (known and len(y_train) > 1):
        raise UsageError(
            f"{strategy} needs out-of-fold predictions of 2 rows or more; train with params.folds of 2 or more, or use"
            f" {' or '.join(UNLEARNED)}",
            field="params.strategy",
            given=strategy,
            allowed=", ".join(UNLEARNED),
        )


def check_members(members: Sequence[Member], y_train: NDArray[Any]) -> None:
    """Raise :class:`UsageError` where there are no members, or what they say makes no sense together."""
    if not members:
        raise UsageError("there is nothing to combine: the task needs predictions", field="needs")
    names = [member.name for member in members]
    if len(set(names)) < len(names):
        raise UsageError(f"two members have the same name: {', '.join(names)}", field="params.model")
    first = members[0].held_out
    if first.ndim not in {1, 2} or 0 in first.shape or first.shape[1:] == (1,):
        raise UsageError(
            f"{names[0]} predicts {first.shape}; needed are (rows, classes), 2 classes or more, or (rows,)",
            field="needs",
            given=names[0],
        )
    for member in members:
        seen = member.out_of_fold
        if member.held_out.shape != first.shape or (
            seen is not None and seen.shape != (len(y_train), *first.shape[1:])
        ):
            raise UsageError(
                f"{member.name} predicts {member.held_out.shape} held-out rows and classes, {names[0]}"
                f" {first.shape}; out of fold {None if seen is None else seen.shape} for {len(y_train)} training rows",
                field="needs",
                given=member.name,
            )
        if not all(np.isfinite(said).all() for said in (member.held_out, seen) if said is not None):
            raise UsageError(
                f"{member.name} predicts something that is no finite number; leave it out, or see why its fit failed",
                field="needs",
                given=member.name,
            )
    check_truth(y_train, first)


def check_truth(truth: NDArray[Any], prediction: Floats) -> None:
    """Raise :class:`UsageError` where the truth is none that such a prediction could meet."""
    fits = np.isfinite(truth) if prediction.ndim == 1 else (truth >= 0) & (truth < prediction.shape[-1])
    if not fits.all():
        wrong = truth[~fits][0]
        allowed = "finite numbers" if prediction.ndim == 1 else f"classes 0 to {prediction.shape[-1] - 1}"
        raise UsageError(
            f"the truth has {wrong}, and the models predict {allowed}",
            field="needs",
            given=str(wrong),
            allowed=allowed,
        )
