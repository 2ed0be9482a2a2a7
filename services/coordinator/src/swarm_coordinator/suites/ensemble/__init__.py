"""Suite ``ensemble``: models as agents that train, vote, and are held against the truth (MLE-STAR)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from swarm_common.events import Task
from swarm_common.events.memory import Recalled
from swarm_common.memory_key import memory_key
from swarm_coordinator.plans import Finish, Scenario, SoFar, Step
from swarm_coordinator.suites.ensemble import (
    adaptive,
    exploration,
    file,
    mle_star,
    results,
    strategies,
    transfer,
)
from swarm_coordinator.suites.ensemble.cases import CASES, SCENARIOS, members_of
from swarm_coordinator.suites.ensemble.tasks import Plan, ensemble_tasks, plan_of
from swarm_coordinator.suites.noop import seconds

Planner = Callable[[SoFar], Step | Finish]


def case_plan(sofar: SoFar) -> Step | Finish:
    """Plan a scenario over one case: all tasks at once, then what they measured."""
    plan, strategy = one_way(sofar.scenario, sofar.params, sofar.seed)
    if sofar.step == 0:
        return Step(tasks=(*ensemble_tasks(plan), recall_task(sofar)))
    return Finish(
        result={**results.ensemble_result(sofar, plan, strategy), "best_known": best_known(sofar)},
        metrics=(*results.ensemble_metrics(sofar, plan, strategy), seconds(sofar.elapsed_s)),
    )


def one_way(case: str, params: Mapping[str, Any], seed: int) -> tuple[Plan, str]:
    """Return the plan of a case that is combined in one way, and that way."""
    strategy = params["combination"]
    what = CASES[case]
    return plan_of(what, params, seed, members_of(what.models, params), strategy), strategy


def recall_task(sofar: SoFar, suite: str = "ensemble") -> Task:
    """Return the task that asks what the swarm remembers of this scenario."""
    key = memory_key(suite, sofar.scenario, dict(sofar.params))
    return Task(id="recall", kind="recall", service="memory_sync", params={"key": key})


def best_known(sofar: SoFar) -> dict[str, Any] | None:
    """Return the best that was remembered of this scenario when the run began."""
    recalled = results.one(sofar, "recall", Recalled).data
    best = recalled.best if isinstance(recalled, Recalled) else None
    return None if best is None else msgspec.to_builtins(best)


#: Configurations: scenarios that are more than one case trained and combined.
CONFIGURATIONS: tuple[tuple[Scenario, Planner], ...] = (
    *file.SCENARIOS,
    *strategies.SCENARIOS,
    *adaptive.SCENARIOS,
    *mle_star.SCENARIOS,
    *exploration.SCENARIOS,
    *transfer.SCENARIOS,
)
_PLANNERS: dict[str, Planner] = {
    **{scenario.name: case_plan for scenario in SCENARIOS},
    **{scenario.name: planner for scenario, planner in CONFIGURATIONS},
}


class Ensemble:
    """Models as agents, one answer: prepare, train in parallel, combine, score."""

    name = "ensemble"
    description = (
        "Models as agents: trained in parallel, combined by out-of-fold skill, scored on held-out rows"
    )
    scenarios = (*SCENARIOS, *(scenario for scenario, _ in CONFIGURATIONS))

    def plan(self, sofar: SoFar) -> Step | Finish:
        """Return what the scenario's own planner says."""
        return _PLANNERS[sofar.scenario](sofar)


__all__ = ["CONFIGURATIONS", "Ensemble", "best_known", "case_plan", "one_way", "recall_task"]
