"""Scenario ``knowledge``: a fact spreads through the swarm by gossip, beside the bound log2 N."""

from __future__ import annotations

from typing import Any

from swarm_common.events import Metric, Task
from swarm_common.events.consensus import KnowledgeSpread
from swarm_coordinator.plans import Finish, Scenario, SoFar, Step
from swarm_coordinator.suites.hive.params import (
    float_param,
    int_param,
    list_param,
    mean_interval,
    once,
    results_of,
    sizes_param,
)
from swarm_coordinator.suites.noop import seconds

WAYS = ("push", "pull", "push_pull")


def plan(sofar: SoFar) -> Step | Finish:
    """Plan every way with every size, then rounds and messages of each."""
    params = sofar.params
    if sofar.step == 0:
        return Step(
            tasks=tuple(
                Task(
                    id=f"spread-{way}-{agents}",
                    kind="spread",
                    service="consensus",
                    lane="cpu",
                    params={
                        "way": way,
                        "agents": agents,
                        "repetitions": params["repetitions"],
                        "loss": params["loss"],
                    },
                )
                for agents in sorted(once(params["agents"]), reverse=True)
                for way in once(params["ways"])
            )
        )
    found = sorted(results_of(sofar, KnowledgeSpread), key=lambda pair: (pair[1].agents, pair[1].way))
    rows: list[dict[str, Any]] = []
    metrics: list[Metric] = []
    for fact, data in found:
        rounds, low, high = mean_interval(data.rounds)
        messages, fewest, most = mean_interval(data.messages)
        name = f"{data.way}.{data.agents}"
        how = "mean over repetitions; 95 % normal interval"
        metrics += [
            Metric(
                name=f"rounds.{name}",
                value=rounds,
                unit="rounds",
                better="lower",
                n=len(data.rounds),
                low=low,
                high=high,
                estimator=how,
                source=(fact.event,),
            ),
            Metric(
                name=f"messages.{name}",
                value=messages,
                unit="messages",
                better="lower",
                n=len(data.messages),
                low=fewest,
                high=most,
                estimator=how,
                source=(fact.event,),
            ),
        ]
        rows.append(
            {
                "way": data.way,
                "agents": data.agents,
                "loss": data.loss,
                "repetitions": len(data.rounds),
                "rounds": rounds,
                "rounds_low": low,
                "rounds_high": high,
                "most_rounds": max(data.rounds),
                "bound": data.bound,
                "expected": data.expected,
                "messages": messages,
                "messages_an_agent": messages / data.agents,
                "curve": list(data.curve),
            }
        )
    return Finish(result={"spread": rows}, metrics=(*metrics, seconds(sofar.elapsed_s)))


SCENARIO = Scenario(
    name="knowledge",
    description="A fact that one agent knows spreads by gossip until all know it: rounds and messages",
    params=(
        list_param("ways", WAYS, "who tells whom"),
        sizes_param((10, 100, 1000), low=2, high=10_000),
        int_param("repetitions", 100, 1, 10_000, "how often it is done, with seeds of its own each time"),
        float_param("loss", 0.0, 0.0, 0.9, "share of messages that are lost"),
    ),
    timeout_s=1800.0,
)
