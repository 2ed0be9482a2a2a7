"""Context ``metrics``: numbers computed from what others recorded."""

from __future__ import annotations

import msgspec

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

    def computed(self) -> Scored:
        """Return the scores without the ids of the events they are from, which differ from run to run."""
        return msgspec.structs.replace(
            self,
            metrics=_without_source(self.metrics),
            members={name: _without_source(metrics) for name, metrics in self.members.items()},
        )


def _without_source(metrics: tuple[Metric, ...]) -> tuple[Metric, ...]:
    return tuple(msgspec.structs.replace(metric, source=()) for metric in metrics)


@event("metrics.task_failed")
class MetricsTaskFailed(TaskFailedData, frozen=True, kw_only=True):
    """A task of metrics ended without a result."""
