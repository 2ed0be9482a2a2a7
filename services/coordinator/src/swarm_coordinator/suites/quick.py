"""Suite ``quick``: a taste of all, within a minute on two cores."""

from __future__ import annotations

from swarm_common.events import Target
from swarm_coordinator.plans import Finish, Param, Scenario, SoFar, Step, complete_params
from swarm_coordinator.suites.ensemble import Ensemble, best_known, one_way, recall_task
from swarm_coordinator.suites.ensemble.results import ensemble_metrics, ensemble_result
from swarm_coordinator.suites.ensemble.tasks import Plan, ensemble_tasks
from swarm_coordinator.suites.noop import noop_metrics, noop_tasks

_CASE = "breast_cancer"


class Quick:
    """Empty tasks for the platform, an ensemble on real data for the rest: the same planners, side by side."""

    name = "quick"
    description = "A taste of all: the platform's own overhead, then an ensemble on real data"
    scenarios = (
        Scenario(
            name="taste",
            description="200 empty tasks and the ensemble on breast_cancer",
            params=(
                Param(
                    name="tasks",
                    type="int",
                    default=200,
                    low=1,
                    high=10_000,
                    description="how many empty tasks",
                ),
            ),
            targets=(
                Target(metric="accuracy", op=">=", target=0.92),
                Target(metric="seconds", op="<=", target=60),
            ),
            timeout_s=300.0,
        ),
    )

    def plan(self, sofar: SoFar) -> Step | Finish:
        """Return the empty tasks, then the ensemble's, then what both measured."""
        if sofar.step == 0:
            return Step(tasks=noop_tasks(int(sofar.params["tasks"])))
        plan, strategy = _ensemble(sofar)
        if sofar.step == 1:
            return Step(tasks=(*ensemble_tasks(plan), recall_task(sofar, self.name)))
        empty = noop_metrics(sofar)
        ensemble = {**ensemble_result(sofar, plan, strategy), "best_known": best_known(sofar)}
        return Finish(
            result={"noop": {"tasks": empty[0].value}, "ensemble": ensemble},
            metrics=(
                *ensemble_metrics(sofar, plan, strategy),
                *(metric for metric in empty if metric.name != "throughput"),
            ),
        )


def _ensemble(sofar: SoFar) -> tuple[Plan, str]:
    scenario = next(scenario for scenario in Ensemble.scenarios if scenario.name == _CASE)
    return one_way(_CASE, complete_params(scenario, {}), sofar.seed)
