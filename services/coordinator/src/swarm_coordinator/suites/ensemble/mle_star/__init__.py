"""Configuration ``mle_star``: searches over whole pipelines side by side, and one answer of what the first has found.

Every arm has the same budget of evaluations on training rows. Policies are asked what comes next (``propose``), the
candidates are cross-validated (``evaluate``), until the budget is used up; scikit-learn's halving search is one task
with the same budget of fits. Held-out rows are opened when all searches have ended: each arm's best pipeline is
trained on all training rows and scored once. The best pipelines of the leading arm become members, and of all ways to
combine them the one with the least out-of-fold loss is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from swarm_common import pipelines
from swarm_common.errors import UsageError
from swarm_common.events import Target
from swarm_coordinator.plans import Finish, Param, Scenario, SoFar, Step
from swarm_coordinator.suites.ensemble.cases import SIZES, TEST_FOLDS
from swarm_coordinator.suites.ensemble.mle_star.ending import final_tasks
from swarm_coordinator.suites.ensemble.mle_star.searching import (
    ARMS,
    HALVING,
    LLM,
    MORE_ARMS,
    arm_of,
    data_of,
)
from swarm_coordinator.suites.ensemble.mle_star.telling import metrics_of, result_of
from swarm_coordinator.suites.ensemble.tasks import named, prepare_task

__all__ = ["ARMS", "SCENARIOS", "plan"]


def plan(sofar: SoFar) -> Step | Finish:
    """Plan the splits, the searches step by step, the final trainings and scores, then what all that has measured."""
    splits = data_of(sofar)
    if sofar.step == 0:
        _check(sofar.params)
        prepare = (prepare_task(named("prepare", split), data) for split, data in enumerate(splits))
        return Step(tasks=tuple(msgspec.structs.replace(task, decides=True) for task in prepare))
    arms = {
        (split, name): arm_of(sofar, split, data, name)
        for split, data in enumerate(splits)
        if named("prepare", split) in sofar.results
        for name in sofar.params["arms"]
    }
    missing = [task for arm in arms.values() for task in arm.missing]
    if (
        missing
        or len(arms) < len(splits) * len(sofar.params["arms"])
        or not all(arm.done for arm in arms.values())
    ):
        return Step(tasks=tuple(missing))
    final = list(final_tasks(sofar, splits, arms))
    if not all(task.id in sofar.results for task in final):
        return Step(tasks=tuple(task for task in final if task.id not in sofar.planned))
    return Finish(result=result_of(sofar, splits, arms), metrics=metrics_of(sofar, splits, arms))


def _check(params: Mapping[str, Any]) -> None:
    if not params["arms"] or len(set(params["arms"])) != len(params["arms"]):
        raise UsageError(
            f"params.arms is {', '.join(params['arms']) or 'empty'}; name each arm once, at least one",
            field="params.arms",
            given=", ".join(params["arms"]),
            allowed=", ".join((*ARMS, *MORE_ARMS)),
        )
    if HALVING in params["arms"] and params["budget"] < 2:
        raise UsageError(
            "params.budget is 1; arm halving needs 2: one for its search, one for its best on all rows",
            field="params.budget",
            given="1",
            allowed="2 and more, or arms without halving",
        )
    for name in ("data", "target"):
        if bool(params[name]) != (params["dataset"] == "file"):
            raise UsageError(
                f"params.{name} goes with dataset file, and with no other; dataset is {params['dataset']}",
                field=f"params.{name}",
                given=str(params[name]),
            )


_PARAMS = (
    Param(
        name="dataset",
        type="str",
        default="wine",
        choices=(*SIZES, "file"),
        description="whose pipelines are searched; file is your own table",
    ),
    Param(name="data", type="file", default="", description="of dataset file: CSV or Parquet"),
    Param(name="target", type="str", default="", description="of dataset file: the column to predict"),
    Param(
        name="budget",
        type="int",
        default=24,
        low=1,
        high=1000,
        description="evaluations of each arm, each a fit a fold",
    ),
    Param(
        name="arms",
        type="list",
        default=list(ARMS),
        choices=(*ARMS, *MORE_ARMS),
        description="searches that run side by side; mle_star's pipelines, or the first one's, are combined",
    ),
    Param(
        name="top",
        type="int",
        default=3,
        low=1,
        high=20,
        description="pipelines that are combined in the end",
    ),
    Param(
        name="batch",
        type="int",
        default=3,
        low=1,
        high=64,
        description="candidates that a search proposes at a time",
    ),
    Param(
        name="recipes",
        type="bool",
        default=True,
        description="whether arms random and tpe start from the recipes, too, as mle_star and its control do",
    ),
    Param(
        name="extra_models",
        type="list",
        default=[],
        choices=tuple(pipelines.EXTRA_MODELS),
        description="types of model beside scikit-learn's that are searched",
    ),
    Param(
        name="iterations",
        type="int",
        default=1,
        low=1,
        high=100,
        description="how often all is done anew on another split; with 2 or more, arms are compared over splits",
    ),
    Param(
        name="folds",
        type="int",
        default=3,
        low=2,
        high=20,
        description="folds in which candidates are cross-validated",
    ),
    Param(
        name="test_share",
        type="float",
        default=0.2,
        low=0.05,
        high=0.5,
        description="share of rows held out until all searches have ended",
    ),
    TEST_FOLDS,
)

SCENARIOS: tuple[tuple[Scenario, Callable[[SoFar], Step | Finish]], ...] = (
    (
        Scenario(
            name="mle_star",
            description="Whole pipelines: recipes, ablation, refinement of the block that matters, combination; "
            "beside four other searches with the same budget",
            params=_PARAMS,
            targets=(Target(metric="leaks", op="==", target=0),),
            timeout_s=3600.0,
            timed_with={"arms": (LLM,)},
        ),
        plan,
    ),
)

__all__ = ["ARMS", "SCENARIOS", "plan"]
