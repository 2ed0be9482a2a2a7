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
from swarm_common.pipelines import Space
from swarm_common.runtime.context import Context
from swarm_common.runtime.service import Service, Work
from swarm_optimizer import llm
from swarm_optimizer.rules import suggest
from swarm_optimizer.search import LLM, POLICIES, TPE, Move, Question, Trial, asking, propose, propose_told
from swarm_optimizer.search.steps import best_of

#: Bytes of a language model's answer that are kept.
_KEPT = 4096

service = Service(
    "optimizer",
    "optimizer",
    description="Suggests what a run could have done without, and what a search tries next.",
)


_endpoint = llm.Endpoint(url="")


@service.on_start
async def set_endpoint(context: Context) -> None:
    """Note where the language model is."""
    global _endpoint  # noqa: PLW0603 - settings are there only now
    _endpoint = llm.Endpoint(url=context.settings.llm_url, model=context.settings.llm_model)


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
    dice: str = ""
    """Of policy ``llm``: the arm whose draws fill up what the model leaves open; empty means this one."""


@service.reaction(Completed, pure=True)
async def look_at(work: Work) -> Suggested:
    """Look at a completed run."""
    return suggest(await work.run_events())


@service.task("propose", lane="io", pure=True)
async def propose_next(work: Work) -> Proposed:
    """Say what a search evaluates next, given all it has evaluated: the task's inputs, in the order of their names."""
    params = _params(work, tuple(name for name in POLICIES if name != TPE))
    return await asyncio.to_thread(_propose, work.task.task, params, await _trials(work), work.task.seed)


@service.task("propose_tpe", lane="io", pure=False)
async def propose_tpe(work: Work) -> Proposed:
    """Do the same by Optuna. Not pure: between choices as good its last digits decide, and those are a processor's."""
    params = _params(work, (TPE,))
    # In a thread: Optuna takes its time, and the loop its heartbeats.
    return await asyncio.to_thread(_propose, work.task.task, params, await _trials(work), work.task.seed)


@service.task("propose_llm", lane="io", pure=False)
async def propose_llm(work: Work) -> Proposed:
    """Do what ``mle_star`` does, with variations of the block that matters most by a language model.

    Inputs are what was evaluated and what was proposed before, for what the model said is not made again.
    """
    params, trials, seed = _params(work, (LLM,)), await _trials(work), work.task.seed
    llm.check(_endpoint)  # before the recipes, which need no model, are evaluated for nothing
    space = _space(params)
    before = [data for _, data in await work.inputs_of(Proposed) if data.phase == "refinement"]
    answers = [tuple(one.spec for one in data.candidates if one.by == LLM) for data in before]

    def step() -> Move | Question:
        return propose_told(
            space,
            trials,
            answers,
            budget=params.budget,
            batch=params.batch,
            seed=seed,
            arm=params.dice or params.arm,
        )

    found = step()
    if isinstance(found, Move):
        return _proposed(work.task.task, params, trials, found)
    messages, schema = asking.messages(space, trials, found), asking.schema(space, found)
    said = await llm.ask(_endpoint, messages, schema, seed=seed)
    told = asking.read(said.text, space, found)
    answers.append(told.specs)
    move = step()
    assert isinstance(move, Move)  # noqa: S101 - a question is answered once
    return msgspec.structs.replace(
        _proposed(work.task.task, params, trials, move),
        model=said.model,
        answer=said.text.encode()[:_KEPT].decode(errors="ignore"),
        refused=tuple(llm.redact(reason) for reason in told.refused),
        tokens_in=said.tokens_in,
        tokens_out=said.tokens_out,
        llm_s=said.seconds,
    )


def _params(work: Work, policies: tuple[str, ...]) -> ProposeParams:
    """Return the task's parameters; raises :class:`UsageError` naming what does not fit."""
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
    return params


async def _trials(work: Work) -> list[Trial]:
    return [
        Trial(
            spec=data.spec,
            score=0.0 if data.score is None else data.score,
            loss=data.loss,
            failed=data.score is None,
            name=data.candidate,
        )
        for _, data in await work.inputs_of(CandidateEvaluated)
    ]


def _space(params: ProposeParams) -> Space:
    return pipelines.space(
        params.problem,
        params.n_features,
        categorical=params.categorical,
        missing=params.missing,
        extra_models=params.extra_models,
    )


def _propose(task: str, params: ProposeParams, trials: list[Trial], seed: int) -> Proposed:
    move = propose(
        params.policy,
        _space(params),
        trials,
        budget=params.budget,
        batch=params.batch,
        seed=seed,
        arm=params.arm,
        recipes=params.recipes,
    )
    return _proposed(task, params, trials, move)


def _proposed(task: str, params: ProposeParams, trials: list[Trial], move: Move) -> Proposed:
    best = best_of(trials)
    return Proposed(
        task=task,
        arm=params.arm,
        policy=params.policy,
        phase=move.phase,
        block=move.block,
        ablation=move.ablation,
        candidates=tuple(
            Candidate(name=f"{params.arm}-{number}", spec=draft.spec, why=draft.why, by=draft.by)
            for number, draft in enumerate(move.drafts, len(trials) + 1)
        ),
        best="" if best is None else best.name,
        evaluated=len(trials),
        done=move.phase == "done",
    )
