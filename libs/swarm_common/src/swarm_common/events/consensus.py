"""Context ``consensus``: one answer made out of many."""

from __future__ import annotations

from swarm_common.events.arrays import Array
from swarm_common.events.registry import Data, event
from swarm_common.events.task import TaskFailedData


@event("consensus.reached", concludes=True, volatile=("consensus_s",))
class Reached(Data, frozen=True, kw_only=True):
    """The models' predictions became one."""

    task: str
    strategy: str
    """``majority``, ``soft``, ``weighted``, ``bayesian``, ``greedy``, ``best_single``, ``stacking`` or ``adaptive``.

    Where ``best`` was asked for, the one that was chosen.
    """
    members: tuple[str, ...]
    weights: dict[str, float]
    """By member; they sum to 1. Empty for ``stacking``; of ``adaptive`` those after the last block."""
    losses: dict[str, float] = {}
    """Out-of-fold log loss (classification) or mean squared error, by member; what the weights come from."""
    prediction: Array
    """Class probabilities ``(rows, classes)``, vote shares, or values ``(rows,)``, for the held-out rows."""
    agreement: float | None
    """Mean share of pairs of members that give the same class, over rows; ``None`` for regression."""
    confidence: float | None
    """Mean of the winning class's share."""
    out_of_fold_score: float | None
    """The combination's accuracy or r2 on the training rows; ``None`` where there were no folds, and for ``adaptive``.

    Cross-fitted: what says how much each member counts in a row has not seen that row's truth.
    """
    gain: dict[str, float] = {}
    """By member: out-of-fold score with all, less the score without that member; empty for ``stacking``, ``adaptive``
    and a member alone."""
    gain_low: dict[str, float] = {}
    """Lower end of a 95 % paired bootstrap interval of ``gain``."""
    gain_high: dict[str, float] = {}
    diversity: float | None = None
    """Share of held-out rows in which two members name different classes, in the mean over pairs; ``None`` for values
    and for a member alone."""
    disagreement: tuple[tuple[float, ...], ...] = ()
    """The same for each pair, ``members`` by ``members``; empty for values."""
    q_statistic: tuple[tuple[float | None, ...], ...] = ()
    """Yule's Q of being right out of fold, ``members`` by ``members``: 1 where two are right in the same rows, 0 where
    independent, below 0 where one is right where the other is not; ``None`` where undefined. Empty for values and
    without folds."""
    q_statistic_mean: float | None = None
    """Over those pairs where it is defined."""
    variance: float | None = None
    """Consensus variance: the weighted variance of the members' predictions, in the mean over held-out rows and classes
    (probabilities), or in the target's unit squared (values). Weights are ``weights``; equal where there are none."""
    row_confidence: Array | None = None
    """``(rows,)`` float32: the winning class's share in each held-out row; ``None`` for values."""
    row_agreement: Array | None = None
    """``(rows,)`` float32: the share of pairs of members that name the same class in each held-out row; ``None`` for
    values and for a member alone."""
    considered: dict[str, float] = {}
    """Where ``best`` was asked for: the cross-fitted out-of-fold loss of every strategy that fits the problem."""
    coefficients: tuple[tuple[float, ...], ...] = ()
    """Of ``stacking``: one row a class (one alone for two classes, and for values). First the intercept, then member by
    member its coefficients: one for each of its classes (of two classes, for the second alone), or one for its
    value."""
    trajectory: tuple[tuple[float, ...], ...] = ()
    """Of ``adaptive``: one row a block, the weights it was predicted with, in the order of ``members``."""
    warnings: tuple[str, ...] = ()
    """What a library warned of, each once: that the fit of ``stacking`` did not converge, say."""
    consensus_s: float


@event("consensus.task_failed")
class ConsensusTaskFailed(TaskFailedData, frozen=True, kw_only=True):
    """A task of consensus ended without a result."""
