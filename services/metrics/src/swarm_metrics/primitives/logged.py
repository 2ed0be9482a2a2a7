"""Times that are in the log already: how long parts of a run took, from request to result.

A part ends where the coordinator schedules a task that comes after it, and it does so when all results of the part
are in the log. Begin and end are thus read from one clock, the coordinator's, wherever the work is done; what lies
between is scheduling, routing, doing, recording and deciding: end to end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from swarm_common import clock
from swarm_common.errors import TaskFailed
from swarm_common.events import Event, Samples, digest_view
from swarm_common.events.benchmark import TaskScheduled
from swarm_common.events.measuring import Clock
from swarm_common.events.metrics import CaseMeasured
from swarm_common.hosts import this_host
from swarm_common.timing import timing_of

_US_RESOLUTION_NS = 1000.0
"""Times of events are written with microseconds."""


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the run."""

    tasks: tuple[str, ...]
    """Its tasks; the part begins when the first of these is scheduled."""
    until: str = ""
    """The task at whose scheduling it ends, one that comes next; empty: the task that asks."""


class LogParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which parts of the run are timed, and what must have come of them: those of a task of kind ``time_log``."""

    scenario: str
    variant: str = ""
    size: int
    operation: str
    growth: str = ""
    parts: tuple[Part, ...]
    skip: int = 0
    """Parts that come first and are not timed: they warm up."""
    same: tuple[tuple[str, str], ...] = ()
    """Pairs of tasks that must have found the same but for their names and times."""


def time_log(task: str, params: LogParams, events: Sequence[Event]) -> CaseMeasured:
    """Return how long each part took, and that all its tasks have a result.

    Raises:
        TaskFailed: A task of a part has no result, was not scheduled, or a pair differs.
    """
    scheduled: dict[str, int] = {}
    results: dict[str, Event] = {}
    for event in events:
        data = event.data
        if isinstance(data, TaskScheduled):
            scheduled.setdefault(data.task, clock.parse_ns(event.time))
        elif data is not None and data.concludes:
            results.setdefault(getattr(data, "task", ""), event)
    tasks = {each for part in params.parts for each in part.tasks}
    if missing := sorted(tasks - (results.keys() & scheduled.keys())):
        raise TaskFailed(f"the log has no result of {', '.join(missing[:5])}; nothing can be timed")
    for one, other in params.same:
        if _found(results[one]) != _found(results[other]):
            raise TaskFailed(f"{one} and {other} did the same work and found different things")
    lasted = [scheduled[part.until or task] - scheduled[part.tasks[0]] for part in params.parts]
    values = [round(each / 1e3, 3) for each in lasted[params.skip :]]
    if not values or min(values) < 0.0:
        raise TaskFailed(
            f"parts of {params.scenario} take {values} us: the clock was set back, or no part is timed"
        )
    name = ".".join(part for part in (params.scenario, params.variant, str(params.size)) if part)
    return CaseMeasured(
        task=task,
        scenario=params.scenario,
        variant=params.variant,
        size=params.size,
        operation=params.operation,
        growth=params.growth,
        checked={"parts": len(params.parts), "tasks": len(tasks), "same": len(params.same)},
        samples=(Samples(name=name, unit="us", values=tuple(values), clock="time_ns"),),
        timings=(timing_of(name, values, warm_up=params.skip),),
        host=this_host(),
        clock=Clock(cost_ns=0.0, resolution_ns=_US_RESOLUTION_NS),
        elapsed_s=sum(values) / 1e6,
    )


def _found(event: Event) -> Any:
    """Return what a task found, without its name and what is volatile."""
    assert event.data is not None  # noqa: S101 - only events with data are results
    view = dict(digest_view(event.data))
    view.pop("task", None)
    return view
