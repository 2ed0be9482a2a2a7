"""Suite ``coordination``: agents that ask language models, in five topologies, with strategies and roles."""

from __future__ import annotations

from collections.abc import Callable

from swarm_coordinator.plans import Finish, Scenario, SoFar, Step
from swarm_coordinator.suites.coordination.scenarios import grid, modes, roles, strategies, votes

_PARTS = (modes, strategies, roles, grid, votes)
PLANNERS: dict[str, Callable[[SoFar], Step | Finish]] = {part.SCENARIO.name: part.plan for part in _PARTS}


class Coordination:
    """Modes are pure message graphs over one engine; strategies and roles are data."""

    name = "coordination"
    description = "Agents that ask language models: topologies, strategies and roles, what they cost and buy"
    scenarios: tuple[Scenario, ...] = tuple(part.SCENARIO for part in _PARTS)

    def plan(self, sofar: SoFar) -> Step | Finish:
        """Return the next step of the scenario."""
        return PLANNERS[sofar.scenario](sofar)
