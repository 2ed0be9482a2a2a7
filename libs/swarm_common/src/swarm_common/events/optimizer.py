"""Context ``optimizer``: suggestions out of measured facts, and what a search looks at next."""

from __future__ import annotations

from typing import Any

import msgspec

from swarm_common.events.registry import Data, event
from swarm_common.events.task import TaskFailedData
from swarm_common.pipelines import Spec


class Suggestion(msgspec.Struct, frozen=True, kw_only=True):
    """One suggestion with its evidence."""

    kind: str
    """``drop_model``, ``idle_workers``, ``dominating_task``, ``retries``, ``slow_consumer``, ``cache_misses``,
    ``dear_mode`` or ``memory_growth``."""
    subject: str
    """What it is about: a model's name, a task's, a service's."""
    text: str
    """One sentence a person can act on, with the figures."""
    metric: str = ""
    """What should become less: a metric of the run by its name, or what ``unit`` counts."""
    metric_after: str = ""
    """What that metric is called in a run that follows the suggestion, where it is another."""
    unit: str = ""
    expected: float | None = None
    """By how much it should become less, as ``estimator`` says."""
    expected_low: float | None = None
    expected_high: float | None = None
    estimator: str = ""
    """How the expectation and its ends were made."""
    change: dict[str, Any] = {}
    """What a request that follows it has otherwise: ``params``, or the stack's ``settings``. Empty: nothing we know."""
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


class Candidate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A pipeline to be evaluated."""

    name: str
    """``mle_star-7``: the arm, and the candidate's number in it from 1."""
    spec: Spec
    why: str
    """One sentence: what it is to show, or who recommends it."""
    by: str = "rules"
    """Who proposed it: ``rules`` or ``llm``."""


@event("optimizer.proposed", concludes=True, volatile=("llm_s",))
class Proposed(Data, frozen=True, kw_only=True):
    """A search looked at what is known so far and says what to evaluate next."""

    task: str
    arm: str
    """Which of the searches of the run."""
    policy: str
    """``mle_star``, ``random``, ``random_block``, ``tpe`` or ``llm``."""
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
    model: str = ""
    """The language model that was asked for variations, as its server names it; empty where none was."""
    answer: str = ""
    """What it answered: the first 4 KiB."""
    refused: tuple[str, ...] = ()
    """What of the answer could not be used, and why."""
    tokens_in: int | None = None
    """Tokens of the question, by the server's count; ``None`` where it gave none."""
    tokens_out: int | None = None
    """Tokens of the answer, by the server's count; ``None`` where it gave none."""
    llm_s: float | None = None
    """From question to answer."""


@event("optimizer.task_failed")
class OptimizerTaskFailed(TaskFailedData, frozen=True, kw_only=True):
    """A task of optimizer ended without a result."""
