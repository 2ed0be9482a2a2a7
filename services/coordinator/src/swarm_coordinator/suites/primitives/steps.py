"""What is done for each scenario and size: steps of a run, one after the other, so that nothing timed has a neighbour.

A step is made when it is its turn: a run has hundreds of them, and the planner is asked between any two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from swarm_common.events import Task
from swarm_coordinator.suites.primitives.catalogue import Entry
from swarm_coordinator.suites.primitives.logged import MakeStep, Tasks, batches, stages, swarms, whole
from swarm_coordinator.suites.primitives.tasks import LONG_S, agreed, measured, weighed

_MEASURE_S = 120.0


def steps_of(
    chosen: Sequence[tuple[Entry, tuple[int, ...]]], params: Mapping[str, Any], seed: int
) -> list[MakeStep]:
    """Return what makes the steps of a run, in their order."""
    found: list[MakeStep] = []
    for entry, sizes in chosen:
        for size in sizes:
            found += _HOW[entry.how](entry, size, params, seed)
    curves = [
        task for entry, sizes in chosen if entry.curve and len(sizes) > 1 for task in _curves(entry, sizes)
    ]
    return [*found, lambda: tuple(curves)] if curves else found


def _curves(entry: Entry, sizes: Sequence[int]) -> Iterator[Task]:
    for variant in entry.variants:
        yield Task(
            id="-".join(part for part in ("curve", entry.name, variant) if part),
            kind="fit_curve",
            service="metrics",
            after=tuple(measured(entry, variant, size) for size in sizes),
        )


def _case(entry: Entry, size: int, params: Mapping[str, Any], _seed: int) -> Iterator[MakeStep]:
    for variant in entry.variants:
        yield partial(_one_case, entry, variant, size, params)


def _one_case(entry: Entry, variant: str, size: int, params: Mapping[str, Any]) -> Tasks:
    return (
        Task(
            id=measured(entry, variant, size),
            kind="measure",
            service="metrics",
            lane="cpu",
            timeout_s=_MEASURE_S,
            params={
                "scenario": entry.name,
                "variant": variant,
                "size": size,
                "settings": {"samples": params["samples"], "shots": params["samples"] * 5},
            },
        ),
    )


#: By variant: so many times the repeats of others. Warm agents answer in a millisecond, which scatters more than the
#: making of new ones; and of the pairs of one agent and several, whose cores neighbours share, it takes many.
_REPEATED = {"warm": 10, "work": 3}


def _agents(entry: Entry, size: int, params: Mapping[str, Any], _seed: int) -> Iterator[MakeStep]:
    for variant in entry.variants:
        task = Task(
            id=measured(entry, variant, size),
            kind="measure_agents",
            service="model_agent",
            lane="cpu",
            timeout_s=LONG_S,
            params={
                "scenario": entry.name,
                "variant": variant,
                "size": size,
                "repeats": params["repeats"] * _REPEATED.get(variant, 1),
            },
        )
        yield lambda task=task: (task,)  # type: ignore[misc]


def _weigh(entry: Entry, size: int, _params: Mapping[str, Any], _seed: int) -> Iterator[MakeStep]:
    yield lambda: (weighed(entry.name, measured(entry, "", size), size),)


def _live(entry: Entry, size: int, params: Mapping[str, Any], _seed: int) -> Iterator[MakeStep]:
    yield lambda: (agreed(measured(entry, "", size), size, params["decisions"]),)


_HOW: Mapping[str, Callable[[Entry, int, Mapping[str, Any], int], Iterator[MakeStep]]] = {
    "case": _case,
    "agents": _agents,
    "weigh": _weigh,
    "live": _live,
    "batches": batches,
    "stages": stages,
    "swarms": swarms,
    "whole": whole,
}
