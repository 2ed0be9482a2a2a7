"""Context ``optimizer``: suggestions out of measured facts."""

from __future__ import annotations

import msgspec

from swarm_common.events.registry import Data, event
from swarm_common.events.task import TaskFailedData


class Suggestion(msgspec.Struct, frozen=True, kw_only=True):
    """One suggestion with its evidence."""

    kind: str
    """``drop_model``, ..."""
    subject: str
    """What it is about: a model's name."""
    text: str
    """One sentence a person can act on, with the figures."""
    saves_cpu_s: float | None = None
    gain: float | None = None
    """What the subject adds to the score, out of fold."""
    gain_low: float | None = None
    gain_high: float | None = None
    evidence: tuple[str, ...] = ()
    """Ids of the events the figures are from."""


@event("optimizer.suggested", digested=False)
class Suggested(Data, frozen=True, kw_only=True):
    """A completed run was looked at; ``suggestions`` is empty where the figures suggest nothing."""

    suggestions: tuple[Suggestion, ...]
    looked_at: int
    """Events of the run that were read."""


@event("optimizer.task_failed")
class OptimizerTaskFailed(TaskFailedData, frozen=True, kw_only=True):
    """A task of optimizer ended without a result."""
