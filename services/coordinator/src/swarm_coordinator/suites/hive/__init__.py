"""Suite ``hive``: ways to agree, simulated, checked and live; what a swarm knows, and what emerges from it."""

from __future__ import annotations

from collections.abc import Callable

from swarm_coordinator.plans import Finish, Scenario, SoFar, Step
from swarm_coordinator.suites.hive import emergence, knowledge, live, quality, simulate

_PARTS = (live, simulate, quality, knowledge, emergence)
PLANNERS: dict[str, Callable[[SoFar], Step | Finish]] = {part.SCENARIO.name: part.plan for part in _PARTS}


class Hive:
    """Voting, weighted votes, Raft, Paxos and PBFT, beside gossip and emergence: a planner for each scenario."""

    name = "hive"
    description = "Ways to agree, simulated, checked and live; how knowledge spreads, and what emerges"
    scenarios: tuple[Scenario, ...] = tuple(part.SCENARIO for part in _PARTS)

    def plan(self, sofar: SoFar) -> Step | Finish:
        """Return the next step of the scenario."""
        return PLANNERS[sofar.scenario](sofar)
