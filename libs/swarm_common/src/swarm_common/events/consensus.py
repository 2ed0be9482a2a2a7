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
    """``weighted`` (1/loss squared, out of fold), ``soft`` or ``majority`` (equal voices)."""
    members: tuple[str, ...]
    weights: dict[str, float]
    """By member; they sum to 1."""
    losses: dict[str, float] = {}
    """Out-of-fold log loss (classification) or mean squared error, by member; what the weights come from."""
    prediction: Array
    """Class probabilities ``(rows, classes)``, vote shares, or values ``(rows,)``, for the held-out rows."""
    agreement: float | None
    """Mean share of pairs of members that give the same class, over rows; ``None`` for regression."""
    confidence: float | None
    """Mean of the winning class's share."""
    out_of_fold_score: float | None
    """The combination's accuracy or r2 on the training rows, out of fold; ``None`` where there were no folds."""
    gain: dict[str, float] = {}
    """By member: out-of-fold score with all, less the score without that member."""
    gain_low: dict[str, float] = {}
    """Lower end of a 95 % paired bootstrap interval of ``gain``."""
    gain_high: dict[str, float] = {}
    consensus_s: float


@event("consensus.task_failed")
class ConsensusTaskFailed(TaskFailedData, frozen=True, kw_only=True):
    """A task of consensus ended without a result."""
