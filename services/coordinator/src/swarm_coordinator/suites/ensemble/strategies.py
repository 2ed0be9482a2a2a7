"""Configuration ``multi_model_consensus``: the same members, combined in every way there is."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from swarm_common.errors import UsageError
from swarm_common.events import Metric
from swarm_coordinator.plans import Finish, Param, Scenario, SoFar, Step
from swarm_coordinator.suites.ensemble.cases import (
    CASES,
    CLASSES,
    ROWS_OF_CASE,
    VALUES,
    any_member_params,
    case_param,
    members_of,
    split_params,
)
from swarm_coordinator.suites.ensemble.results import (
    ensemble_metrics,
    ensemble_result,
    measured,
    strategy_row,
)
from swarm_coordinator.suites.ensemble.tasks import Plan, ensemble_tasks, plan_of
from swarm_coordinator.suites.noop import seconds

#: The one that stands for the ensemble where a single number is wanted.
_FIRST = "weighted"
_OFFERED = tuple(name for name in CLASSES if name != "best")


def _plan(sofar: SoFar) -> Plan:
    case = CASES[sofar.params["case"]]
    fitting = [name for name in (_OFFERED if case.classes else VALUES) if name in _OFFERED]
    chosen = sofar.params["strategies"] or [name for name in fitting if name != "best_single"]
    wrong = [name for name in chosen if name not in fitting]
    if wrong:
        raise UsageError(
            f"params.strategies: {', '.join(wrong)} does not combine values; there are {', '.join(fitting)}",
            field="params.strategies",
            given=", ".join(chosen),
            allowed=", ".join(fitting),
        )
    params = dict(sofar.params)
    params["models"] = params["models"] or [model.name for model in case.models]
    return plan_of(case, params, sofar.seed, members_of(case.models, params), *dict.fromkeys(chosen))


def plan(sofar: SoFar) -> Step | Finish:
    """Plan one training of all members and every way to combine them, then hold those beside each other."""
    what = _plan(sofar)
    if sofar.step == 0:
        return Step(tasks=ensemble_tasks(what))
    first = _FIRST if _FIRST in what.strategies else what.strategies[0]
    rows = [strategy_row(what, measured(sofar, what, name), name) for name in what.strategies]
    rows.sort(key=lambda row: -row["score"])
    return Finish(
        result={**ensemble_result(sofar, what, first), "strategies": rows},
        metrics=(
            *ensemble_metrics(sofar, what, first),
            *(metric for name in what.strategies for metric in _metrics(sofar, what, name)),
            seconds(sofar.elapsed_s),
        ),
    )


def _metrics(sofar: SoFar, what: Plan, strategy: str) -> tuple[Metric, ...]:
    """Return score and time of one way to combine, named after it."""
    wanted = (what.main, "over_best_single", "consensus_time")
    return tuple(
        msgspec.structs.replace(metric, name=f"{metric.name}.{strategy}")
        for metric in ensemble_metrics(sofar, what, strategy)
        if metric.name in wanted
    )


_PARAMS = (
    case_param("scenario whose data and members are used"),
    Param(
        name="strategies",
        type="list",
        default=[],
        choices=_OFFERED,
        description="ways to combine; none means all that fit the problem",
    ),
    *split_params(iterations=5, folds=3),
    ROWS_OF_CASE,
    *any_member_params(),
)

SCENARIOS: tuple[tuple[Scenario, Callable[[SoFar], Step | Finish]], ...] = (
    (
        Scenario(
            name="multi_model_consensus",
            description="One set of members combined in every way, each beside the best single model, on 5 splits",
            params=_PARAMS,
            timeout_s=3600.0,
        ),
        plan,
    ),
)
