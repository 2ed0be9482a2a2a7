"""What a failed task says, whichever service did it."""

from __future__ import annotations

from swarm_common.events.registry import Data


class TaskFailedData(Data, frozen=True, kw_only=True):
    """An attempt at a task ended without a result. Each context registers its own ``<context>.task_failed``."""

    task: str
    attempt: int
    error: str
    """Class of the error."""
    message: str
    retryable: bool
