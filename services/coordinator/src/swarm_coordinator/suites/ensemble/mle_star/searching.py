"""The searches: a policy is asked what comes next, candidates are evaluated, until the budget is used up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from swarm_common import pipelines
from swarm_common.events import Task
from swarm_common.events.agent import CandidateEvaluated, DataPrepared
from swarm_common.events.optimizer import Proposed
from swarm_coordinator.plans import SoFar
from swarm_coordinator.suites.ensemble.results import one
from swarm_coordinator.suites.ensemble.tasks import named, splits_of

HALVING = "halving"
LLM = "llm"
ARMS = ("mle_star", "random", "random_block", "tpe", HALVING)
#: Arms that are there where they are asked for.
MORE_ARMS = (LLM,)
#: These refine what they start from, and so always start from recipes.
FROM_RECIPES = ("mle_star", "random_block", LLM)


class Arm(msgspec.Struct, frozen=True):
    """One search on one split, as far as it has come."""

    name: str
    evaluated: tuple[CandidateEvaluated, ...]
    done: bool
    missing: tuple[Task, ...] = ()
    """Tasks that come next and are not planned yet."""

    @property
    def ranked(self) -> list[CandidateEvaluated]:
        """Candidates that could be fitted: best score first, of equals the least loss, of those the first."""
        fitted = [(data.score, data.loss or 0.0, data) for data in self.evaluated if data.score is not None]
        return [data for _, _, data in sorted(fitted, key=lambda triple: (-triple[0], triple[1]))]


def data_of(sofar: SoFar) -> list[dict[str, Any]]:
    """Return the parameters of the data, a set for each split."""
    params = sofar.params
    what = {"dataset": params["dataset"]}
    if params["dataset"] == "file":
        what |= {"file": params["data"], "target": params["target"]}
    return [{**what, **split} for split in splits_of(params, sofar.seed)]


def prepared_of(sofar: SoFar, split: int = 0) -> DataPrepared:
    """Return what is known of a split's data."""
    data = one(sofar, named("prepare", split), DataPrepared).data
    assert isinstance(data, DataPrepared)  # noqa: S101 - one() has looked
    return data


# -- the searches ------------------------------------------------------------------------------------------


def arm_of(sofar: SoFar, split: int, data: dict[str, Any], name: str) -> Arm:
    """Return how far a search has come, and the tasks that it lacks."""
    arm = named(name, split)
    if name == HALVING:
        return _halving(sofar, data, arm)
    needs: list[str] = []
    step = 0
    while True:
        propose = f"propose-{arm}-{step}"
        if propose not in sofar.planned:
            return Arm(name, _evaluated(sofar, needs), False, (_propose(sofar, split, name, step, needs),))
        proposed = sofar.results[propose].data if propose in sofar.results else None
        if not isinstance(proposed, Proposed) or proposed.done:
            return Arm(name, _evaluated(sofar, needs), proposed is not None)
        ids = [f"evaluate-{candidate.name}" for candidate in proposed.candidates]
        needs += ids
        if ids[0] not in sofar.planned:
            tasks = [
                _evaluate(sofar, data, arm, candidate.name, candidate.spec)
                for candidate in proposed.candidates
            ]
            following = _propose(sofar, split, name, step + 1, needs)
            return Arm(name, (), False, (*tasks, following))
        step += 1


def _evaluated(sofar: SoFar, needs: Sequence[str]) -> tuple[CandidateEvaluated, ...]:
    found = [sofar.results[name].data for name in needs if name in sofar.results]
    return tuple(data for data in found if isinstance(data, CandidateEvaluated))


#: Policies that have a kind of task of their own, for what they propose is not decided again by a replay.
_KINDS = {"tpe": "propose_tpe", LLM: "propose_llm"}


def _propose(sofar: SoFar, split: int, name: str, step: int, needs: Sequence[str]) -> Task:
    prepared = prepared_of(sofar, split)
    params = sofar.params
    arm = named(name, split)
    # What a language model has said cannot be made again from its outcome: the arm is told what was proposed.
    earlier = [f"propose-{arm}-{before}" for before in range(step)] if name == LLM else []
    # The same draws as mle_star's, so that the two differ by the model's proposals alone.
    dice = {"dice": named("mle_star", split)} if name == LLM else {}
    return Task(
        id=f"propose-{arm}-{step}",
        kind=_KINDS.get(name, "propose"),
        service="optimizer",
        after=(*needs, *earlier),
        decides=True,
        params={
            **dice,
            "arm": arm,
            "policy": name,
            "problem": prepared.problem,
            "n_features": prepared.n_features,
            "categorical": bool(prepared.categorical),
            "missing": prepared.missing > 0,
            "budget": params["budget"],
            "batch": params["batch"],
            "recipes": params["recipes"] or name in FROM_RECIPES,
            "extra_models": params["extra_models"],
        },
    )


def _evaluate(sofar: SoFar, data: dict[str, Any], arm: str, candidate: str, spec: pipelines.Spec) -> Task:
    return Task(
        id=f"evaluate-{candidate}",
        kind="evaluate",
        service="model_agent",
        lane="cpu",
        params={
            **data,
            "arm": arm,
            "candidate": candidate,
            "spec": msgspec.to_builtins(spec),
            "folds": sofar.params["folds"],
        },
    )


def _halving(sofar: SoFar, data: dict[str, Any], arm: str) -> Arm:
    task = Task(
        id=f"search-{arm}",
        kind="halving_search",
        service="model_agent",
        lane="cpu",
        decides=True,
        params={
            **data,
            "arm": arm,
            "candidate": f"{arm}-best",
            "folds": sofar.params["folds"],
            "budget": sofar.params["budget"],
            "extra_models": sofar.params["extra_models"],
        },
    )
    planned = task.id in sofar.planned
    return Arm(HALVING, _evaluated(sofar, [task.id]), task.id in sofar.results, () if planned else (task,))
