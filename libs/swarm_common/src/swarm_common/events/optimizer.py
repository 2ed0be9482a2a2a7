"""Context ``optimizer``: suggestions out of measured facts, and what a search looks at next."""

from __future__ import annotations

import msgspec

from swarm_common.events.registry import Data, event
from swarm_common.events.task import TaskFailedData
from swarm_common.pipelines import Spec


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


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A pipeline to be evaluated."""

    name: str
    """``mle_star-7``: the arm, and the candidate's number in it from 1."""
    spec: Spec
    why: str
    """One sentence: what it is to show, or who recommends it."""


@event("optimizer.proposed", concludes=True)
class Proposed(Data, frozen=True, kw_only=True):
    """A search looked at what is known so far and says what to evaluate next."""

    task: str
    arm: str
    """Which of the searches of the run."""
    policy: str
    """``mle_star``, ``random``, ``random_block`` or ``tpe``."""
    phase: str
    """``recipes``, ``ablation``, ``refinement``, ``sampling`` or ``done``."""
    block: str = ""
    """The block being refined."""
    ablation: dict[str, float] = {}
    """By block, from the last ablation: score of the best pipeline, less its score with that block changed."""
    candidates: tuple[Candidate, ...] = ()
    best: str = ""
    """The best candidate so far; empty where none could be fitted."""
    evaluated: int = 0
    """How many candidates were known."""
    done: bool = False
    """Whether the search is over, and there are no candidates."""


@event("optimizer.task_failed")
class OptimizerTaskFailed(TaskFailedData, frozen=True, kw_only=True):
    """A task of optimizer ended without a result."""
