"""Context ``metrics``: numbers computed from what others recorded."""

from __future__ import annotations

from swarm_common.events.registry import Data, event
from swarm_common.events.task import TaskFailedData
from swarm_common.events.values import Metric


@event("metrics.scored", concludes=True, volatile=("elapsed_s",))
class Scored(Data, frozen=True, kw_only=True):
    """Predictions were held against the truth."""

    task: str
    metrics: tuple[Metric, ...]
    """Of the combined prediction."""
    members: dict[str, tuple[Metric, ...]] = {}
    """The same for each model alone."""
    confusion: tuple[tuple[int, ...], ...] = ()
    """Rows: truth; columns: prediction; in the order of the classes."""
    elapsed_s: float


@event("metrics.task_failed")
class MetricsTaskFailed(TaskFailedData, frozen=True, kw_only=True):
    """A task of metrics ended without a result."""
