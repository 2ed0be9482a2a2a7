"""Context ``memory``: what the swarm remembers across runs and sessions."""

from __future__ import annotations

import msgspec

from swarm_common.events.registry import Data, event
from swarm_common.events.task import TaskFailedData
from swarm_common.events.values import Better


class Best(msgspec.Struct, frozen=True, kw_only=True):
    """The best known value of a scenario's main metric."""

    metric: str
    value: float
    better: Better
    run: str
    session: str
    time: str


@event("memory.recalled", concludes=True, digested=False)
class Recalled(Data, frozen=True, kw_only=True):
    """What was known of a scenario when a run asked; depends on history, so no part of a digest."""

    task: str
    key: str
    runs: int
    """Completed runs of that scenario and those parameters so far."""
    best: Best | None = None


@event("memory.remembered", digested=False)
class Remembered(Data, frozen=True, kw_only=True):
    """A completed run was remembered."""

    key: str
    """Suite, scenario and a hash of the parameters."""
    runs: int
    value: Best | None
    """This run's own; ``None`` where it measured no main metric."""
    best: Best | None
    improved: bool


@event("memory.task_failed")
class MemoryTaskFailed(TaskFailedData, frozen=True, kw_only=True):
    """A task of memory-sync ended without a result."""
