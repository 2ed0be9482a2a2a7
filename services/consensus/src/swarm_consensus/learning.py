"""How much each member counts, learned from what it said out of fold.

A *learner* is made once from a :class:`~swarm_consensus.table.Table`. Asked with a mask of those who stay and a slice
of the parts, it returns weights ``(parts, members)``, learned on each part. They sum to 1 in each.

``weighted``     in proportion to 1/loss².
``bayesian``     pseudo-BMA+ (Yao, Vehtari, Simpson, Gelman 2018, "Using stacking to average Bayesian predictive
                 distributions", section 3.4). Not plain Bayesian model averaging: that weighs by exp(sum of log
                 densities), so that of two models of 2,000 rows the one better by 0.005 nats a row counts 22,000 times
                 as much; it picks one model and calls it an average. Here each member's sum is drawn again by
                 the Bayesian bootstrap (Rubin 1981) and the weights are averaged over the draws: what could be
                 otherwise with other rows keeps its share.
``greedy``       ensemble selection (Caruana, Niculescu-Mizil, Crew, Ksikes 2004, "Ensemble selection from libraries of
                 models"): again and again, with replacement, the member whose addition makes the mean of the chosen
                 best; of all steps the best one counts. A weight is a share of picks.
``best_single``  all to the member with the least loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from swarm_common.resampling import RESAMPLES, Floats
from swarm_consensus.scoring import TINY, settled, settled_all
from swarm_consensus.table import Table

Mask = NDArray[np.bool_]
Learner = Callable[[Mask, slice], Floats]
#: The parts: all, and all but the first, which are those without a fold each.
EVERY, FOLDS_OUT = slice(None), slice(1, None)

#: Picks of ``greedy`` unless told otherwise.
PICKS = 20
#: Rows whose probabilities are multiplied before their logarithm is taken: few enough that none is lost to nothing.
_PRODUCT = 16
#: In one nat: sums are compared as whole numbers of these.
_UNITS = 1e9
#: Digits of weights from exponentials of long sums: those differ by more than the last bits.
_DIGITS = 9


def equal(table: Table) -> Learner:
    """Return a learner that learns nothing: equal weights."""
    parts = len(table.sizes) + 1
    return lambda stay, asked: np.tile(stay / stay.sum(), (parts, 1))[asked]


def weighted(table: Table) -> Learner:
    """Return a learner of weights in proportion to 1/loss²."""
    losses = settled_all(table.means(table.row_losses).T)

    def learn(stay: Mask, asked: slice) -> Floats:
        # A loss of nothing would take all the weight there is; it counts as the least a float can tell from nothing.
        skill = np.where(stay, 1 / np.maximum(losses[asked], TINY) ** 2, 0.0)
        return np.asarray(skill / skill.sum(axis=1, keepdims=True))

    return learn


def best_single(table: Table) -> Learner:
    """Return a learner that gives all to the member with the least loss, the first by name of equals."""
    losses = settled_all(table.means(table.row_losses).T)
    by_name = np.argsort(table.names)

    def learn(stay: Mask, asked: slice) -> Floats:
        open_to = np.where(stay, losses[asked], np.inf)[:, by_name]
        weights = np.zeros_like(open_to)
        weights[np.arange(len(weights)), by_name[open_to.argmin(axis=1)]] = 1.0
        return weights

    return learn


def bayesian(table: Table, stream: list[int]) -> Learner:
    """Return a learner of pseudo-BMA+ weights; ``stream`` draws the Bayesian bootstrap.

    Log densities of classes are those of the true class; of values, normal with the member's out-of-fold variance (its
    mean squared error on the part's rows).

    The weights of rows in a resample are exponential numbers over their sum, which is Dirichlet(1, ..., 1), as the
    paper has it. Resample b takes the numbers b, b + 1, ... of one long row: neighbours give the same numbers to other
    rows. That leaves each resample's distribution as it is, and the mean over them unbiased; and the sums of all
    resamples are one correlation, which a Fourier transform does in a fraction of the time that it takes to draw a
    thousand times as many numbers.
    """
    drawn, shares = _resampled_sums(table, np.random.default_rng(stream))
    rows = table.sizes @ table.inside
    # (members, parts, resamples): the mean of the row losses in each resample, then the sum of log densities
    means = drawn / shares
    if table.classes:
        logs = -means * rows[:, np.newaxis]
    else:
        variance = np.maximum(settled_all(table.means(table.row_losses)), TINY)[:, :, np.newaxis]
        logs = -0.5 * (np.log(variance) + means / variance) * rows[:, np.newaxis]
    logs = np.ascontiguousarray(logs)

    def learn(stay: Mask, asked: slice) -> Floats:
        kept = logs[stay, asked]
        kept -= kept.max(axis=0)
        np.exp(kept, out=kept)
        kept /= kept.sum(axis=0)
        weights = np.zeros((kept.shape[1], len(stay)))
        weights[:, stay] = settled_all(kept.mean(axis=2).T, _DIGITS)
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))

    return learn


def _resampled_sums(table: Table, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return sums of the row losses ``(members, parts, resamples)`` and of the rows' weights ``(parts, resamples)``."""
    # Centred, so that the transform adds up small numbers; what is taken off is added to the weights' share again.
    centre = table.row_losses.mean(axis=1, keepdims=True)
    sums, shares = [], []
    for start, end in zip(table.edges[:-1], table.edges[1:], strict=True):
        numbers = rng.standard_exponential(end - start + RESAMPLES - 1)
        length = 1 << (len(numbers) - 1).bit_length()
        lost = np.vstack([table.row_losses[:, start:end] - centre, np.ones(end - start)])
        frequencies = np.fft.rfft(numbers, length) * np.conj(np.fft.rfft(lost, length))
        *of_losses, share = np.fft.irfft(frequencies, length)[:, :RESAMPLES]
        sums.append(np.array(of_losses) + centre * share)
        shares.append(share)
    folds, share = np.stack(sums, axis=-1), np.stack(shares, axis=-1)
    return np.moveaxis(folds @ table.inside, -1, 1), (share @ table.inside).T


def greedy(table: Table, picks: int = PICKS) -> Learner:
    """Return a learner of shares of ``picks`` picks, fewer where fewer are better; equals go by name."""
    return _Selection(table, picks).learn if table.classes else _SquaredSelection(table, picks).learn


class _State(msgspec.Struct, frozen=True, gc=False):
    """The members chosen so far, and what each addition would lose."""

    chosen: Floats
    """Each row's sum of the true class' probabilities, in groups of rows."""
    losses: list[list[float]]
    """By part, then by member added: the sum of log losses in units of 1e-9 nats, whole."""


class _Selection:
    """Ensemble selection by log loss. Only the true class' probability is needed of each row.

    Parts and subsets of members walk mostly the same ways: each state is looked at once for all of them. A sum of
    logarithms is taken as the logarithm of products of a few rows each. Rows are filled up to whole products with rows
    of which all members are certain: they cost nothing.
    """

    def __init__(self, table: Table, picks: int) -> None:
        self._picks = picks
        self._order = [int(index) for index in np.argsort(table.names)]
        folds, groups = len(table.sizes), -(-int(table.sizes.max()) // _PRODUCT)
        own = np.ones((len(self._order), folds, groups * _PRODUCT))
        for fold, (start, end) in enumerate(zip(table.edges[:-1], table.edges[1:], strict=True)):
            own[:, fold, : end - start] = np.exp(-table.row_losses[self._order, start:end])
        # (members, _PRODUCT, folds * groups): what is multiplied lies apart, so that many products go on at once.
        apart = own.reshape(len(own), folds * groups, _PRODUCT).transpose(0, 2, 1)
        self._own = np.ascontiguousarray(apart)
        self._added = np.empty_like(self._own)
        self._products = np.empty((len(own), folds * groups))
        self._to_parts = np.repeat(table.inside, groups, axis=0) * -_UNITS
        self._rows = (self._to_parts.sum(axis=0) * -_PRODUCT).tolist()
        self._shift = picks.bit_length()  # how often each is picked stands in so many bits of one number
        self._states: dict[int, _State] = {}
        everyone = range(len(self._order))
        self._of_all = [self._walk(part, everyone) for part in range(len(self._rows))]

    def learn(self, stay: Mask, asked: slice) -> Floats:
        weights = np.zeros((len(self._rows), len(stay)))
        may = [place for place, member in enumerate(self._order) if stay[member]]
        for part in range(len(weights))[asked]:
            best, last = self._of_all[part]
            # Whoever was never picked is not missed: those who stay are picked as before.
            missed = sum(last) > sum(last[place] for place in may)
            found = self._walk(part, may)[0] if missed else best
            weights[part, self._order] = [count / sum(found) for count in found]
        return weights[asked]

    def _walk(self, part: int, may: Sequence[int]) -> tuple[list[int], list[int]]:
        """Return how often each member is picked at the best step, and at the last."""
        shift, rows = self._shift, self._rows[part]
        state = self._states.get(0) or self._look(0, np.zeros(self._own.shape[1:]))
        counts = best = 0
        least = math.inf
        for step in range(1, self._picks + 1):
            losses = state.losses[part]
            pick = min(may, key=losses.__getitem__)
            counts += 1 << shift * pick
            # Sums of probabilities are `step` times their means.
            reached = round(losses[pick] + rows * math.log(step))
            if reached < least:
                best, least = counts, reached
            if step < self._picks:
                known = self._states.get(counts)
                state = known or self._look(counts, state.chosen + self._own[pick])
        return self._counted(best), self._counted(counts)

    def _counted(self, counts: int) -> list[int]:
        return [counts >> self._shift * place & (1 << self._shift) - 1 for place in range(len(self._order))]

    def _look(self, counts: int, chosen: Floats) -> _State:
        np.add(chosen, self._own, out=self._added)
        np.multiply.reduce(self._added, axis=1, out=self._products)
        np.log(self._products, out=self._products)
        losses = np.rint((self._products @ self._to_parts).T).tolist()
        self._states[counts] = state = _State(chosen, losses)
        return state


class _SquaredSelection:
    """Ensemble selection by squared error: all that is needed is how the members' errors go together."""

    def __init__(self, table: Table, picks: int) -> None:
        self._picks = picks
        self._order = np.argsort(table.names)
        errors = table.voices[self._order, 0] - table.truth
        pairs = [
            errors[:, a:b] @ errors[:, a:b].T for a, b in zip(table.edges[:-1], table.edges[1:], strict=True)
        ]
        products = np.tensordot(table.inside, np.stack(pairs), axes=(0, 0))
        # In units of the mean squared error of all, so that rounding leaves as many digits of any target.
        scale = np.trace(products, axis1=1, axis2=2)[:, np.newaxis, np.newaxis]
        self._products: Floats = products / np.where(scale > 0, scale, 1.0)

    def learn(self, stay: Mask, asked: slice) -> Floats:
        products = self._products[asked]
        parts, members = products.shape[:2]
        each = np.arange(parts)
        closed = np.where(stay[self._order], 0.0, np.inf)
        alone = np.diagonal(products, axis1=1, axis2=2)
        counts = np.zeros((parts, members))
        with_all, so_far = np.zeros((parts, members)), np.zeros(parts)
        best, least = counts.copy(), np.full(parts, np.inf)
        for step in range(1, self._picks + 1):
            sums = so_far[:, np.newaxis] + 2 * with_all + alone
            losses = np.round(sums / step**2, 12) + closed
            pick = losses.argmin(axis=1)
            counts[each, pick] += 1
            so_far = sums[each, pick]
            with_all += products[each, pick]
            better = losses[each, pick] < least
            best[better], least[better] = counts[better], losses[each, pick][better]
        weights = np.zeros_like(best)
        weights[:, self._order] = best / best.sum(axis=1, keepdims=True)
        return weights


def mean_losses(table: Table) -> dict[str, float]:
    """Return each member's out-of-fold loss."""
    means: Any = table.row_losses.mean(axis=1).tolist()
    return {name: settled(value) for name, value in zip(table.names, means, strict=True)}
