"""The suites, by name. A new one is a module with a planner and a line here."""

from __future__ import annotations

from collections.abc import Mapping

from swarm_coordinator.plans import Suite
from swarm_coordinator.suites.coordination import Coordination
from swarm_coordinator.suites.ensemble import Ensemble
from swarm_coordinator.suites.hive import Hive
from swarm_coordinator.suites.neural import Neural
from swarm_coordinator.suites.noop import Noop
from swarm_coordinator.suites.primitives import Primitives
from swarm_coordinator.suites.quick import Quick

SUITES: Mapping[str, Suite] = {
    suite.name: suite
    for suite in (Quick(), Noop(), Ensemble(), Hive(), Coordination(), Neural(), Primitives())
}

__all__ = ["SUITES"]
