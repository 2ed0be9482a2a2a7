"""The coordination modes, by name. A new one is a module here and a line below."""

from __future__ import annotations

from collections.abc import Mapping

from swarm_coordinator.suites.coordination.modes import (
    centralized,
    distributed,
    hierarchical,
    hybrid,
    mesh,
)
from swarm_coordinator.suites.coordination.modes.alone import ALONE
from swarm_coordinator.suites.coordination.modes.core import Mode

MODES: Mapping[str, Mode] = {
    one.MODE.name: one.MODE for one in (centralized, distributed, hierarchical, mesh, hybrid)
}

__all__ = ["ALONE", "MODES", "Mode"]
