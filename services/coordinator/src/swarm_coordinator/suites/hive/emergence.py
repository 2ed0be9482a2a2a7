"""Scenario ``emergence``: what agents that follow local rules do together, beside a null model."""

from __future__ import annotations

import statistics
from typing import Any

from swarm_common.events import Metric, Task
from swarm_common.events.consensus import EmergenceMeasured
from swarm_coordinator.plans import Finish, Scenario, SoFar, Step
from swarm_coordinator.suites.hive.params import (
    float_param,
    int_param,
    list_param,
    once,
    results_of,
    sizes_param,
)
from swarm_coordinator.suites.noop import seconds

OWN = {"specialisation": ("learning", "jobs"), "cascades": ("accuracy",)}
"""By phenomenon, the parameters that it alone has."""


def plan(sofar: SoFar) -> Step | Finish:
    """Plan every phenomenon with every size, then the effect of each, whichever way it goes."""
    params = sofar.params
    if sofar.step == 0:
        return Step(
            tasks=tuple(
                Task(
                    id=f"emerge-{phenomenon}-{agents}",
                    kind="emerge",
                    service="consensus",
                    lane="cpu",
                    params={
                        "phenomenon": phenomenon,
                        "agents": agents,
                        "repetitions": params["repetitions"],
                        **{name: params[name] for name in OWN[phenomenon]},
                    },
                )
                for agents in sorted(once(params["agents"]), reverse=True)
                for phenomenon in once(params["phenomena"])
            )
        )
    found = sorted(
        results_of(sofar, EmergenceMeasured), key=lambda pair: (pair[1].phenomenon, pair[1].agents)
    )
    rows: list[dict[str, Any]] = []
    metrics: list[Metric] = []
    for fact, data in found:
        shown = shown_text(data)
        metrics.append(
            Metric(
                name=f"effect.{data.phenomenon}.{data.agents}",
                value=data.effect,
                unit="ratio",
                better="neither",
                n=len(data.observed),
                low=data.low,
                high=data.high,
                estimator=f"{shown} (Cliff's delta beside the null model; 95 % bootstrap; permutation test, "
                f"p {data.p_value:.2g})",
                source=(fact.event,),
            )
        )
        rows.append(
            {
                "phenomenon": data.phenomenon,
                "agents": data.agents,
                "measure": data.measure,
                "null_model": data.null_model,
                "repetitions": len(data.observed),
                "observed": statistics.fmean(data.observed),
                "null": statistics.fmean(data.null),
                "effect": data.effect,
                "low": data.low,
                "high": data.high,
                "p_value": data.p_value,
                "verdict": shown,
                "shares": data.shares,
            }
        )
    return Finish(result={"emergence": rows}, metrics=(*metrics, seconds(sofar.elapsed_s)))


def shown_text(data: EmergenceMeasured) -> str:
    """Return ``more``, ``less`` or ``no effect shown``: the interval and the test must both say so."""
    if data.p_value < 0.05 and data.low > 0:
        return "more than by chance"
    if data.p_value < 0.05 and data.high < 0:
        return "less than by chance"
    return "no effect shown"


SCENARIO = Scenario(
    name="emergence",
    description="Specialisation and cascades among agents with local rules, beside a null model",
    params=(
        list_param("phenomena", tuple(OWN), "what is looked for"),
        sizes_param((10, 50), low=2, high=1000),
        int_param("repetitions", 200, 2, 2000, "how often, beside as many of the null model"),
        float_param(
            "learning", 1.0, 0.0, 100.0, "of specialisation: how fast thresholds follow what is done"
        ),
        int_param("jobs", 2, 2, 20, "of specialisation: kinds of work"),
        float_param("accuracy", 0.7, 0.51, 0.99, "of cascades: how often a private signal is right"),
    ),
    timeout_s=1800.0,
)
