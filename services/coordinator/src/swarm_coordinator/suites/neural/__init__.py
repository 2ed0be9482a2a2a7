"""Suite ``neural``: six patterns of thinking, small tasks that are really learned: score, latency, memory, speed-up."""

from __future__ import annotations

from collections.abc import Callable

from swarm_coordinator.plans import Finish, Scenario, SoFar, Step
from swarm_coordinator.suites.neural import parallel, patterns

_PARTS = (patterns, parallel)
PLANNERS: dict[str, Callable[[SoFar], Step | Finish]] = {part.SCENARIO.name: part.plan for part in _PARTS}


class Neural:
    """Patterns of thinking, learned from nothing beside chance and a baseline: a planner for each scenario."""

    name = "neural"
    description = (
        "Six patterns of thinking, each really learned: scores beside chance, latency, memory, speed-up"
    )
    scenarios: tuple[Scenario, ...] = tuple(part.SCENARIO for part in _PARTS)

    def plan(self, sofar: SoFar) -> Step | Finish:
        """Return the next step of the scenario."""
        return PLANNERS[sofar.scenario](sofar)
