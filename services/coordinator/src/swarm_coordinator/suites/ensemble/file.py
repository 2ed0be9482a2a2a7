"""Scenario ``file``: the user's own table. What it holds is known only when it has been read: planned in two steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from swarm_common.events.agent import DataPrepared
from swarm_coordinator.plans import Finish, Param, Scenario, SoFar, Step
from swarm_coordinator.suites.ensemble.cases import (
    CLASSES,
    REAL_CLASSES,
    REAL_VALUES,
    any_member_params,
    members_of,
    split_params,
)
from swarm_coordinator.suites.ensemble.results import ensemble_metrics, ensemble_result, one
from swarm_coordinator.suites.ensemble.tasks import Plan, check_folds, ensemble_tasks, prepare_task, splits_of
from swarm_coordinator.suites.noop import seconds


def plan(sofar: SoFar) -> Step | Finish:
    """Plan to read the table, then an ensemble that fits it, then what that measured."""
    if sofar.step == 0:
        check_folds(sofar.params["folds"], (sofar.params["combination"],))
        return Step(tasks=(prepare_task("prepare", _data(sofar, 0)),))
    what = _plan(sofar)
    if sofar.step == 1:
        return Step(tasks=tuple(task for task in ensemble_tasks(what) if task.id not in sofar.results))
    strategy = sofar.params["combination"]
    return Finish(
        result=ensemble_result(sofar, what, strategy),
        metrics=(*ensemble_metrics(sofar, what, strategy), seconds(sofar.elapsed_s)),
    )


def _data(sofar: SoFar, split: int) -> dict[str, Any]:
    params: Mapping[str, Any] = sofar.params
    data = {
        "dataset": "file",
        "file": params["data"],
        "target": params["target"],
        **splits_of(params, sofar.seed)[split],
    }
    if params["problem"] != "auto":
        data["problem"] = params["problem"]
    if params["order"] != "shuffled":
        data["order"] = params["order"]
    return data


def _plan(sofar: SoFar) -> Plan:
    prepared = one(sofar, "prepare", DataPrepared).data
    assert isinstance(prepared, DataPrepared)  # noqa: S101 - one() has looked
    known = REAL_CLASSES if prepared.classes else REAL_VALUES
    params = dict(sofar.params)
    params["models"] = params["models"] or [model.name for model in known]
    return Plan(
        data=tuple(_data(sofar, split) for split in range(len(splits_of(params, sofar.seed)))),
        models=tuple(members_of(known, params)),
        strategies=(params["combination"],),
        folds=params["folds"],
        device=params["device"],
        rows=prepared.n_train,
        features=prepared.n_features,
        classes=len(prepared.classes),
    )


SCENARIOS: tuple[tuple[Scenario, Callable[[SoFar], Step | Finish]], ...] = (
    (
        Scenario(
            name="file",
            description="Your own table: CSV or Parquet, one row a case, one column to predict",
            params=(
                Param(
                    name="data",
                    type="file",
                    default="",
                    required=True,
                    description="the file, CSV or Parquet",
                ),
                Param(
                    name="target", type="str", default="", required=True, description="the column to predict"
                ),
                Param(
                    name="problem",
                    type="str",
                    default="auto",
                    choices=("auto", "classification", "regression"),
                    description="what to predict; auto goes by the kind of column",
                ),
                Param(
                    name="order",
                    type="str",
                    default="shuffled",
                    choices=("shuffled", "time"),
                    description="time holds out the last rows in place of drawn ones",
                ),
                Param(
                    name="combination",
                    type="str",
                    default="weighted",
                    choices=CLASSES,
                    description="how the members become one answer",
                ),
                *split_params(iterations=1, folds=3),
                *any_member_params(),
            ),
            timeout_s=3600.0,
        ),
        plan,
    ),
)

__all__ = ["SCENARIOS", "plan"]
