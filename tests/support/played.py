"""A whole run in one process, without a broker: the coordinator decides, and the services' own code does the work.

Tasks that are in flight are done in an order drawn from a seed, one after the other, and the coordinator decides after
each: whatever number of workers does them, and whichever is done first, is one of these orders.
"""

from __future__ import annotations

import importlib
import random
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Raw
from msgspec.structs import replace

from swarm_common.events import Data, Event, encode
from swarm_common.events.benchmark import Completed, TaskScheduled
from swarm_common.events.envelope import new_event
from swarm_common.runtime import Work
from swarm_common.runtime.history import RecordedHistory
from swarm_coordinator.decider import decide
from swarm_coordinator.moment import Moment
from swarm_coordinator.requests import Request, begin
from swarm_coordinator.state import RunState, evolve
from swarm_coordinator.suites import SUITES

RUN = "run-1"
NOW = Moment(1_800_000_000_000_000_000, 1.0)


async def play(
    scenario: str,
    params: Mapping[str, Any],
    *,
    suite: str = "ensemble",
    seed: int = 42,
    order: int = 0,
    run: str = RUN,
    made: Mapping[str, Sequence[Data]] | None = None,
) -> list[Event]:
    """Return the events of a run, from its start to its end; ``order`` draws which task in flight is done next.

    ``made`` are facts of earlier plays by task: those tasks are not done again.
    """
    body = {"suite": suite, "scenario": scenario, "params": dict(params), "seed": seed}
    log: list[Event] = []

    def record(data: Data, cause: str) -> Event:
        new = new_event(
            data,
            run=run,
            source="/swarm/test/1",
            cause=cause,
            handler="test",
            index=len(log),
            time_ns=NOW.now_ns,
        )
        log.append(replace(new, raw=encode(new), seq=len(log) + 1))
        return log[-1]

    started = begin(Request(id="request-1", body=body), SUITES, NOW, "test")
    state = evolve(RunState(run=run), record(started, "request-1"))
    drawn = random.Random(order)  # noqa: S311 - a simulation
    open_: list[Event] = []
    while not state.over and state.started is not None:
        decided = decide(state, NOW, SUITES)
        assert decided or open_, "nothing is left to do and the run is not over"
        for data in decided:
            event = record(data, state.last_id)
            state = evolve(state, event)
            if isinstance(event.data, TaskScheduled):
                open_.append(event)
        if not open_:
            continue
        event = open_.pop(drawn.randrange(len(open_)))
        task = Work(event, RecordedHistory(log))
        found = made[task.task.task] if made and task.task.task in made else await do(task)
        for data in found:
            state = evolve(state, record(data, event.id))
    return log


async def do(work: Work) -> Sequence[Data]:
    """Return what the service of a task makes of it; what a worker process would do is done here."""
    task = work.task
    if task.service == "model_agent" and task.kind != "assemble":
        # Only here: whoever plays no models needs no scikit-learn.
        from swarm_model_agent import jobs, params  # noqa: PLC0415
        from swarm_model_agent.wire import Job  # noqa: PLC0415

        given = params.read(task.params, params.JOB_PARAMS[task.kind])
        job = Job(task.kind, task.task, Raw(), task.seed, "test")
        return jobs.JOBS[task.kind](job, given)
    service = importlib.import_module(f"swarm_{task.service}.service").service
    found = await service.tasks[task.kind].handle(work)
    return [found] if isinstance(found, Data) else found


def facts_of(log: Sequence[Event]) -> dict[str, list[Data]]:
    """Return what was recorded of each task, to be given to another play as ``made``."""
    found: dict[str, list[Data]] = {}
    for event in log:
        task = getattr(event.data, "task", "")
        if event.data is not None and task and not event.type.startswith("benchmark."):
            found.setdefault(task, []).append(event.data)
    return found


def completed(log: Sequence[Event]) -> Completed:
    """Return how a run ended; fails where it did not complete."""
    last = log[-1].data
    assert isinstance(last, Completed), last
    return last


def metrics(log: Sequence[Event]) -> dict[str, float | None]:
    """Return what a run measured, by name."""
    return {metric.name: metric.value for metric in completed(log).metrics}
