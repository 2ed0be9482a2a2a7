"""Suite ``primitives``: the cost of what swarms are made of, by size, from a hash index to the whole end to end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from swarm_common.events import Target
from swarm_coordinator.plans import Finish, Param, Scenario, SoFar, Step
from swarm_coordinator.suites.noop import seconds
from swarm_coordinator.suites.primitives.catalogue import BY_NAME, ENTRIES, Entry, chosen
from swarm_coordinator.suites.primitives.rows import builtins, curves_of, metrics_of, rows_of
from swarm_coordinator.suites.primitives.steps import steps_of
from swarm_coordinator.suites.primitives.whole import whole_metrics

ALL = "all"
_STEEPER = Target(metric="steeper_than_promised", op="==", target=0)


def _int(name: str, default: int, low: int, high: int, description: str) -> Param:
    return Param(name=name, type="int", default=default, low=low, high=high, description=description)


_PARAMS = (
    _int("samples", 200, 20, 100_000, "of each case and size that metrics times in a process"),
    _int("repeats", 5, 1, 1000, "of what takes longer: agents, batches, swarms, the whole"),
    _int("decisions", 200, 20, 10_000, "of each live swarm"),
)


def _sizes(entry: Entry | None) -> Param:
    usual = "those of the catalogue" if entry is None else ", ".join(map(str, entry.sizes))
    return Param(
        name="sizes",
        type="ints",
        default=None,
        low=1,
        high=100_000,
        description=f"where they are not given: {usual}",
    )


def _scenario(entry: Entry) -> Scenario:
    return Scenario(
        name=entry.name,
        description=f"{entry.description}; sizes are {entry.size}",
        params=(_sizes(entry), *_PARAMS),
        targets=(*entry.targets, _STEEPER) if entry.curve else entry.targets,
        timeout_s=1800.0,
        parallel={"measure": 1, "measure_agents": 1, "agree_live": 1},
    )


class Primitives:
    """24 scenarios, each measured at several sizes, one thing at a time."""

    name = "primitives"
    description = (
        "What swarms are made of, timed by size: conflicts, snapshots, queues, agents, decisions, the log"
    )
    scenarios = (
        Scenario(
            name=ALL,
            description="Every scenario at its sizes",
            params=(
                Param(
                    name="scenarios",
                    type="list",
                    default=list(BY_NAME),
                    choices=tuple(BY_NAME),
                    description="which of them",
                ),
                _sizes(None),
                *_PARAMS,
            ),
            targets=(*(target for entry in ENTRIES for target in entry.targets), _STEEPER),
            timeout_s=3600.0,
            parallel={"measure": 1, "measure_agents": 1, "agree_live": 1},
        ),
        *(_scenario(entry) for entry in ENTRIES),
    )

    def plan(self, sofar: SoFar) -> Step | Finish:
        """Return the next thing to measure, then all rows."""
        steps = steps_of(chosen(_names(sofar), sofar.params["sizes"]), sofar.params, sofar.seed)
        if sofar.step < len(steps):
            return Step(tasks=steps[sofar.step]())
        rows, curves = rows_of(sofar), curves_of(sofar)
        return Finish(
            result={"primitives": {"rows": builtins(rows), "curves": builtins(curves)}},
            metrics=(
                *whole_metrics(sofar, rows, curves),
                *metrics_of(rows, curves),
                seconds(sofar.elapsed_s),
            ),
        )


def _names(sofar: SoFar) -> Sequence[str]:
    params: Mapping[str, Any] = sofar.params
    return tuple(dict.fromkeys(params["scenarios"])) if sofar.scenario == ALL else (sofar.scenario,)
