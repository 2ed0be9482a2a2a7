"""The cases, in modules that each have ``CASES``; :data:`MODULES` says which scenario is where.

They are loaded where they are measured, in a process of its own, and not when the service starts.
"""

from __future__ import annotations

from importlib import import_module

from swarm_common.errors import UsageError
from swarm_metrics.primitives.case import Case

MODULES: dict[str, str] = {
    "artifact_conversion": "artifacts",
    "commutative_aggregation": "aggregation",
    "conditional_aggregation": "aggregation",
    "configuration_analysis": "configuration",
    "conflict_detection": "packs",
    "dependency_resolution": "dependencies",
    "priority_scheduling": "scheduling",
    "proposal_conflicts": "proposals",
    "proposal_merging": "proposals",
    "scheduler_queue_depth": "scheduling",
    "scheduling_hint_sorting": "scheduling",
    "semaphore_coordination": "semaphore",
    "snapshot_reads": "snapshots",
    "snapshot_writes": "snapshots",
    "swarm_memory_allocation": "memory",
    "timeout_overhead": "timeouts",
}
"""By scenario: the module of this package that has its cases."""


def cases_of(scenario: str) -> tuple[Case, ...]:
    """Return the cases of a scenario; raises :class:`UsageError` with those there are."""
    if scenario not in MODULES:
        allowed = ", ".join(sorted(MODULES))
        raise UsageError(
            f"no case measures {scenario!r}; there are {allowed}",
            field="params.scenario",
            given=scenario,
            allowed=allowed,
        )
    module = import_module(f"{__name__}.{MODULES[scenario]}")
    return tuple(case for case in module.CASES if case.scenario == scenario)
