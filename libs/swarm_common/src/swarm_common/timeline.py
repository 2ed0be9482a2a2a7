"""A run as work on a time axis, and the critical path through it. From the log alone; pure.

Every event names its cause and how long its writer worked on it by its monotonic clock. So the writer took the cause
up at ``time - duration``, and what lies between the cause's time and that is waiting: in the broker, in a queue, for a
free worker. The critical path leads from the run's end back from cause to cause; its waits and works add up to the run.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from swarm_common import clock
from swarm_common.events import Event
from swarm_common.events.benchmark import TERMINAL, TaskScheduled


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What one handler made of one cause. Times are microseconds since the run's beginning."""

    task: str
    """Empty for what is no task: decisions, reactions."""
    what: str
    """The type of the last event that came of it."""
    service: str
    worker: str
    """Who did it: the instance, and the process in it where the event names one."""
    wait_us: int
    start_us: int
    end_us: int
    event: str
    """Id of that event."""
    critical: bool = False

    @property
    def work_us(self) -> int:
        """How long it took."""
        return self.end_us - self.start_us


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One event on the critical path: the wait for its writer to take up the cause, and its work."""

    event: str
    type: str
    task: str
    service: str
    worker: str
    wait_us: int
    work_us: int
    end_us: int
    """Since the run's beginning."""


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """A run's time, taken apart."""

    run: str
    trace_id: str
    began: str
    total_us: int
    """From the run's beginning to its end (or to its last event, while it is not over)."""
    works: tuple[Work, ...]
    """By the time they began."""
    path: tuple[Step, ...]
    """From the beginning to the end."""

    @property
    def path_wait_us(self) -> int:
        """All waits on the critical path."""
        return sum(step.wait_us for step in self.path)

    @property
    def path_work_us(self) -> int:
        """All work on the critical path."""
        return sum(step.work_us for step in self.path)


def timeline(events: Sequence[Event]) -> Timeline:
    """Return the timeline of a run's events, which are in the order of the log and at least one."""
    by_id = {event.id: event for event in events}
    origin_us = _started_us(events[0], by_id)
    end = next((event for event in events if event.type in TERMINAL), events[-1])
    path = critical_path(end, by_id, origin_us)
    critical = {step.event for step in path}
    return Timeline(
        run=events[0].run,
        trace_id=events[0].trace_id,
        began=events[0].time,
        total_us=_time_us(end) - origin_us,
        works=tuple(
            sorted(_works(events, by_id, origin_us, critical), key=lambda work: (work.start_us, work.end_us))
        ),
        path=path,
    )


def critical_path(end: Event, by_id: dict[str, Event], origin_us: int) -> tuple[Step, ...]:
    """Return the chain of causes that leads to ``end``, oldest first."""
    steps: list[Step] = []
    event: Event | None = end
    seen: set[str] = set()
    while event is not None and event.id not in seen:
        seen.add(event.id)
        time_us, started_us = _time_us(event), _started_us(event, by_id)
        cause = by_id.get(event.causation)
        steps.append(
            Step(
                event=event.id,
                type=event.type,
                task=getattr(event.data, "task", ""),
                service=service_of(event),
                worker=worker_of(event),
                wait_us=0 if cause is None else started_us - _time_us(cause),
                work_us=time_us - started_us,
                end_us=time_us - origin_us,
            )
        )
        event = cause
    return tuple(reversed(steps))


def service_of(event: Event) -> str:
    """Return the service that wrote an event: the third part of ``/swarm/<service>/<instance>``."""
    parts = event.source.split("/")
    return parts[2] if len(parts) > 2 else event.source


def worker_of(event: Event) -> str:
    """Return who did the work: the worker that the event names, else the instance that wrote it.

    An event that sums up parts names all their workers, and was put together by none of them.
    """
    worker = getattr(event.data, "worker", "") if getattr(event.data, "parts", 1) == 1 else ""
    return str(worker) if worker else event.source.rpartition("/")[2]


def _works(
    events: Sequence[Event], by_id: dict[str, Event], origin_us: int, critical: set[str]
) -> list[Work]:
    """Put together what belongs together: events of one writer that answer one cause."""
    groups: dict[tuple[str, str], list[Event]] = {}
    for event in events:
        if event.duration_us is not None and not isinstance(event.data, TaskScheduled):
            groups.setdefault((event.causation, event.source), []).append(event)
    found = []
    for group in groups.values():
        last = group[-1]
        start_us = min(_started_us(event, by_id) for event in group)
        cause = by_id.get(last.causation)
        found.append(
            Work(
                task=next((task for event in group if (task := getattr(event.data, "task", ""))), ""),
                what=last.type,
                service=service_of(last),
                worker=next(
                    (worker_of(event) for event in group if getattr(event.data, "worker", "")),
                    worker_of(last),
                ),
                wait_us=0 if cause is None else max(0, start_us - _time_us(cause)),
                start_us=start_us - origin_us,
                end_us=_time_us(last) - origin_us,
                event=last.id,
                critical=any(event.id in critical for event in group),
            )
        )
    return found


def _time_us(event: Event) -> int:
    return clock.parse_ns(event.time) // 1000


def _started_us(event: Event, by_id: dict[str, Event]) -> int:
    """Return when the writer took up the cause; never before the cause was there, whatever two hosts' clocks say."""
    time_us = _time_us(event)
    cause = by_id.get(event.causation)
    earliest = time_us - (event.duration_us or 0)
    return earliest if cause is None else min(time_us, max(earliest, _time_us(cause)))
