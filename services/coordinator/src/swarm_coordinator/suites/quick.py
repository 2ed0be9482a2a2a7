"""Suite ``quick``: a taste of all, within a minute on two cores."""

from __future__ import annotations

from swarm_common.events import Target
from swarm_common.events.consensus import Simulated
from swarm_coordinator.plans import Finish, Param, Scenario, SoFar, Step, complete_params
from swarm_coordinator.suites.ensemble import Ensemble, best_known, one_way, recall_task
from swarm_coordinator.suites.ensemble.results import ensemble_metrics, ensemble_result
from swarm_coordinator.suites.ensemble.tasks import Plan, ensemble_tasks
from swarm_coordinator.suites.hive import simulate
from swarm_coordinator.suites.hive.params import results_of
from swarm_coordinator.suites.neural import patterns
from swarm_coordinator.suites.noop import noop_metrics, noop_tasks

_CASE = "breast_cancer"
_WORLDS = {"protocol": ["raft", "pbft"], "agents": [4], "faults": ["crash", "byzantine"], "seeds": 50}
"""Raft and PBFT at four agents: one of them bears a liar, the other never said so."""


_TOLD = ("unsafe_inside", "worlds")
"""Of what the worlds measure: the promise, and how often it was put to the test."""


_LEARNING = {"repeats": 1, "timings": 20}
"""Each pattern once. What a step of it takes is not told: other work goes on beside it."""


class Quick:
    """Empty tasks, an ensemble on real data, worlds of two protocols, six patterns: their own planners in one run."""

    name = "quick"
    description = (
        "A taste of all: the platform's own overhead, an ensemble on real data, protocols under faults, patterns "
        "learned from nothing"
    )
    scenarios = (
        Scenario(
            name="taste",
            description="200 empty tasks, the ensemble on breast_cancer, Raft and PBFT in 300 simulated worlds, six "
            "patterns of thinking learned once each",
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
                Target(metric="unsafe_inside", op="==", target=0),
                Target(metric="not_above_chance", op="==", target=0),
                Target(metric="seconds", op="<=", target=60),
            ),
            timeout_s=300.0,
        ),
    )

    def plan(self, sofar: SoFar) -> Step | Finish:
        """Return the empty tasks, then the ensemble's, the worlds and the patterns, then what all of them measured."""
        if sofar.step == 0:
            return Step(tasks=noop_tasks(int(sofar.params["tasks"])))
        plan, strategy = _ensemble(sofar)
        if sofar.step == 1:
            return Step(
                tasks=(
                    *ensemble_tasks(plan),
                    *_worlds(sofar).tasks,
                    *patterns.tasks_of(complete_params(patterns.SCENARIO, _LEARNING)),
                    recall_task(sofar, self.name),
                ),
            )
        empty = noop_metrics(sofar)
        ensemble = {**ensemble_result(sofar, plan, strategy), "best_known": best_known(sofar)}
        cells = simulate.cells_of(results_of(sofar, Simulated))
        rows, _ = patterns.learned(sofar)
        return Finish(
            result={
                "noop": {"tasks": empty[0].value},
                "ensemble": ensemble,
                "hive": simulate.result_of(cells),
            },
            metrics=(
                *ensemble_metrics(sofar, plan, strategy),
                *(metric for metric in simulate.metrics_of(cells) if metric.name in _TOLD),
                *(patterns.score_of(row) for row in rows),
                patterns.not_above_chance(rows),
                *(metric for metric in empty if metric.name != "throughput"),
            ),
        )


def _worlds(sofar: SoFar) -> Step:
    params = complete_params(simulate.SCENARIO, _WORLDS)
    return Step(tasks=simulate.tasks_of(params, sofar.seed))


def _ensemble(sofar: SoFar) -> tuple[Plan, str]:
    scenario = next(scenario for scenario in Ensemble.scenarios if scenario.name == _CASE)
    return one_way(_CASE, complete_params(scenario, {}), sofar.seed)
