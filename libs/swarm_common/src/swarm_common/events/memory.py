"""Context ``memory``: what the swarm remembers across runs and sessions."""

from __future__ import annotations

from typing import Any, Literal

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


class Ranked(msgspec.Struct, frozen=True, kw_only=True):
    """One candidate of a lesson."""

    candidate: str
    model_type: str
    hyperparameters: dict[str, Any] = {}
    """As the fitted estimator reports them."""
    score: float
    """Mean over the folds."""
    rank: float
    """From 1, the best; equal scores share the mean of their ranks."""


@event("memory.learned", concludes=True)
class Learned(Data, frozen=True, kw_only=True):
    """What one data set taught about the candidates that were cross-validated on it."""

    task: str
    name: str
    """What the data are called; a later lesson of the same name and candidates takes the place of an earlier one."""
    dataset: str
    problem: str
    """``classification`` or ``regression``."""
    rows: int
    """Training rows."""
    features: int
    classes: int
    """0 where values were predicted."""
    score_name: str
    """``accuracy`` or ``r2``."""
    folds: int
    ranking: tuple[Ranked, ...]
    """Best first; equals by name."""
    learned_from: tuple[str, ...]
    """Ids of the events: the data, then every fold."""

    def computed(self) -> Learned:
        """Return the lesson without the ids of the events it is from, which differ from run to run."""
        return msgspec.structs.replace(self, learned_from=())


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """A lesson that an advice draws on."""

    name: str
    run: str
    event: str
    distance: float
    """From the target's sizes to the lesson's; 0 where they are equal, at most 1 for each size compared."""
    weight: float
    """Its share in the advice; all sum to 1."""


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """One candidate of an advised order."""

    candidate: str
    rank: float | None
    """Weighted mean of its relative ranks: 0 where it was the best everywhere, 1 the worst; ``None`` if unknown."""
    reason: str


@event("memory.advised", concludes=True)
class Advised(Data, frozen=True, kw_only=True):
    """In which order candidates should be tried on data that nothing was fitted on yet."""

    task: str
    target: str
    """What the data are called."""
    memory: Literal["run", "all"]
    """Whose lessons were heard: this run's, or those of all runs up to then."""
    problem: str
    rows: int
    features: int
    classes: int
    order: tuple[Advice, ...]
    """The most promising first."""
    lessons: tuple[Heard, ...]
    """The nearest first."""
    left_out: tuple[str, ...] = ()
    """Lessons that were known and not heard, each with its reason."""

    def computed(self) -> Advised:
        """Return the advice without the runs and events that its lessons are from, which differ from run to run."""
        bare = tuple(msgspec.structs.replace(heard, run="", event="") for heard in self.lessons)
        return msgspec.structs.replace(self, lessons=bare)


@event("memory.task_failed")
class MemoryTaskFailed(TaskFailedData, frozen=True, kw_only=True):
    """A task of memory-sync ended without a result."""
