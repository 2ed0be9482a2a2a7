"""Scenario ``decision_quality``: how often a swarm is right, where its agents have noisy signals of a known truth."""

from __future__ import annotations

from typing import Any

from swarm_common.events import Metric, Task
from swarm_common.events.consensus import QualityMeasured
from swarm_common.mechanisms import MECHANISMS
from swarm_coordinator.plans import Finish, Scenario, SoFar, Step
from swarm_coordinator.suites.hive.params import (
    float_param,
    int_param,
    list_param,
    mechanisms_param,
    once,
    results_of,
    sizes_param,
)
from swarm_coordinator.suites.noop import seconds

WORLDS = ("condorcet", "experts", "adversaries")


def plan(sofar: SoFar) -> Step | Finish:
    """Plan every mechanism in every world with every size, then how often each was right."""
    params = sofar.params
    if sofar.step == 0:
        return Step(
            tasks=tuple(
                Task(
                    id=f"judge-{mechanism}-{world}-{agents}",
                    kind="judge",
                    service="consensus",
                    lane="cpu",
                    params={
                        "mechanism": mechanism,
                        "agents": agents,
                        "world": world,
                        **{name: params[name] for name in ("trials", "competence", "earlier")},
                    },
                )
                for agents in sorted(once(params["agents"]), reverse=True)
                for mechanism in once(params["mechanisms"])
                for world in once(params["worlds"])
            )
        )
    names = list(MECHANISMS)
    found = sorted(
        results_of(sofar, QualityMeasured),
        key=lambda pair: (pair[1].world, pair[1].agents, names.index(pair[1].mechanism)),
    )
    rows: list[dict[str, Any]] = []
    metrics: list[Metric] = []
    for fact, data in found:
        share = data.right / data.trials
        metrics.append(
            Metric(
                name=f"quality.{data.mechanism}.{data.world}.{data.agents}",
                value=share,
                unit="ratio",
                n=data.trials,
                low=data.low,
                high=data.high,
                estimator="share of decisions that were right; 95 % Wilson interval",
                source=(fact.event,),
            )
        )
        rows.append(
            {
                "mechanism": data.mechanism,
                "world": data.world,
                "agents": data.agents,
                "trials": data.trials,
                "quality": share,
                "low": data.low,
                "high": data.high,
                "undecided": data.undecided,
                "made_of": data.made_of,
                "expected": data.expected,
                "expected_by": data.expected_by,
                "optimum": data.optimum,
                "weights": list(data.weights),
                "best_agent": data.best_agent,
                "mean_agent": data.mean_agent,
                "over_mean": share - data.mean_agent,
            }
        )
    return Finish(result={"quality": rows}, metrics=(*metrics, seconds(sofar.elapsed_s)))


SCENARIO = Scenario(
    name="decision_quality",
    description="How often each mechanism decides rightly, where agents have noisy signals of a known truth",
    params=(
        mechanisms_param(),
        list_param("worlds", WORLDS, "who knows how much, and who votes for the wrong"),
        sizes_param((5, 11, 31)),
        int_param("trials", 1000, 10, 1_000_000, "questions"),
        float_param("competence", 0.6, 0.0, 1.0, "how often an agent that means well is right"),
        int_param("earlier", 100, 1, 10_000, "questions before, that weights learn from"),
    ),
    timeout_s=1800.0,
)
