"""What rules look at: a run's events, its timeline, and its tasks as jobs for a model of the schedule."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from swarm_common.events import Event
from swarm_common.events.benchmark import Started, TaskScheduled
from swarm_common.timeline import Timeline, Work, timeline
from swarm_optimizer.rules.schedule import Job

#: A shorter run tells more of the platform than of what was asked: no suggestion is about its time.
SHORTEST_US = 1_000_000


class Run(msgspec.Struct, frozen=True):
    """A run that is over."""

    events: Sequence[Event]
    started: Started | None
    times: Timeline | None
    """``None`` where there are no events."""
    jobs: tuple[Job, ...] = ()
    """Tasks that have a result, in the order of their results."""
    works: dict[str, Work] = {}
    """By task: the work that led to its result."""
    workers: tuple[str, ...] = ()
    """Processes that did work of lane ``cpu``."""

    @property
    def total_us(self) -> int:
        """How long it took."""
        return 0 if self.times is None else self.times.total_us

    @property
    def parallel(self) -> dict[str, int]:
        """Most tasks at once, by kind."""
        return {} if self.started is None else self.started.parallel


def read(events: Sequence[Event]) -> Run:
    """Return what there is to look at in a run's events, which are in the order of the log."""
    started = next((event.data for event in events if isinstance(event.data, Started)), None)
    if not events:
        return Run(events, started, None)
    times = timeline(events)
    scheduled = {event.data.task: event.data for event in events if isinstance(event.data, TaskScheduled)}
    works = {work.event: work for work in times.works}
    jobs, by_task = [], {}
    for event in events:
        data = event.data
        if data is None or not data.concludes or event.id not in works:
            continue
        task = scheduled.get(data.task)  # type: ignore[attr-defined]  # what concludes has a task
        if task is None:
            continue
        by_task[task.task] = works[event.id]
        jobs.append(
            Job(
                task=task.task,
                kind=task.kind,
                needs=task.needs,
                us=works[event.id].work_us,
                pooled=task.lane == "cpu",
            )
        )
    workers = processes(by_task[job.task] for job in jobs if job.pooled)
    return Run(events, started, times, tuple(jobs), by_task, workers)


def processes(works: Iterable[Work]) -> tuple[str, ...]:
    """Return who did the works; of a service with a pool its workers, ``instance/pid``, and not the service itself."""
    found = {work.worker for work in works}
    pools = {worker.partition("/")[0] for worker in found if "/" in worker}
    return tuple(sorted(found - pools))
