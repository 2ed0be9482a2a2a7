"""Optimizer: suggestions out of measured facts, and the next step of a search.

Wiring only: rules are in :mod:`~swarm_optimizer.rules`, policies in :mod:`swarm_optimizer.search`.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
from msgspec import Meta

from swarm_common import pipelines
from swarm_common.errors import UsageError
from swarm_common.events.agent import CandidateEvaluated
from swarm_common.events.benchmark import Completed
from swarm_common.events.optimizer import Candidate, Proposed, Suggested
from swarm_common.runtime.service import Service, Work
from swarm_optimizer.rules import suggest
from swarm_optimizer.search import POLICIES, TPE, Trial, propose
from swarm_optimizer.search.steps import best_of

service = Service(
    "optimizer",
    "optimizer",
    description="Suggests what a run could have done without, and what a search tries next.",
)


class ProposeParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a search is about."""

    arm: str
    """Its name in the run, and the first part of its candidates' names."""
    policy: str
    problem: str
    n_features: Annotated[int, Meta(ge=1)]
    categorical: bool = False
    """Whether there are columns of words."""
    missing: bool = False
    """Whether there are missing values."""
    budget: Annotated[int, Meta(ge=1)]
    """Most candidates of the whole search."""
    batch: Annotated[int, Meta(ge=1)] = 3
    """Most candidates at a time; recipes and ablation come at once."""
    recipes: bool = True
    """Whether the search starts from recipes."""
    extra_models: tuple[str, ...] = ()


@service.reaction(Completed, pure=True)
async def look_at(work: Work) -> Suggested:
    """Look at a completed run."""
    return suggest(await work.run_events())


@service.task("propose", lane="io", pure=True)
async def propose_next(work: Work) -> Proposed:
    """Say what a search evaluates next, given all it has evaluated: the task's inputs, in the order of their names."""
    return await _next(work, tuple(name for name in POLICIES if name != TPE))


@service.task("propose_tpe", lane="io", pure=False)
async def propose_tpe(work: Work) -> Proposed:
    """Do the same by Optuna. Not pure: between choices as good its last digits decide, and those are a processor's."""
    return await _next(work, (TPE,))


async def _next(work: Work, policies: tuple[str, ...]) -> Proposed:
    try:
        params = msgspec.convert(work.task.params, ProposeParams)
    except msgspec.ValidationError as error:
        allowed = ", ".join(ProposeParams.__struct_fields__)
        raise UsageError(
            f"params: {error}; fields are {allowed}",
            field="params",
            given=str(work.task.params),
            allowed=allowed,
        ) from None
    if params.policy not in policies:
        allowed = ", ".join(policies)
        raise UsageError(
            f"{params.policy!r} is no policy of a task of kind {work.task.kind}; there are {allowed}",
            field="params.policy",
            given=params.policy,
            allowed=allowed,
        )
    evaluated = [data for _, data in await work.inputs_of(CandidateEvaluated)]
    # In a thread: Optuna takes its time, and the loop its heartbeats.
    return await asyncio.to_thread(_propose, work.task.task, params, evaluated, work.task.seed)


def _propose(task: str, params: ProposeParams, evaluated: list[CandidateEvaluated], seed: int) -> Proposed:
    space = pipelines.space(
        params.problem,
        params.n_features,
        categorical=params.categorical,
        missing=params.missing,
        extra_models=params.extra_models,
    )
    trials = [
        Trial(
            spec=data.spec,
            score=0.0 if data.score is None else data.score,
            loss=data.loss,
            failed=data.score is None,
            name=data.candidate,
        )
        for data in evaluated
    ]
    move = propose(
        params.policy,
        space,
        trials,
        budget=params.budget,
        batch=params.batch,
        seed=seed,
        arm=params.arm,
        recipes=params.recipes,
    )
    best = best_of(trials)
    return Proposed(
        task=task,
        arm=params.arm,
        policy=params.policy,
        phase=move.phase,
        block=move.block,
        ablation=move.ablation,
        candidates=tuple(
            Candidate(name=f"{params.arm}-{number}", spec=draft.spec, why=draft.why)
            for number, draft in enumerate(move.drafts, len(trials) + 1)
        ),
        best="" if best is None else best.name,
        evaluated=len(trials),
        done=move.phase == "done",
    )
