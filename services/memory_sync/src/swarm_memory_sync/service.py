"""Memory-sync: what the swarm remembers across runs.

Wiring; rules are in :mod:`~swarm_memory_sync.decider` and :mod:`~swarm_memory_sync.lessons`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from swarm_common.errors import NotFound, UsageError
from swarm_common.events import Event
from swarm_common.events.agent import DataPrepared, PartTrained
from swarm_common.events.benchmark import Completed, Started
from swarm_common.events.memory import Advised, Learned, Recalled, Remembered
from swarm_common.memory_key import memory_key
from swarm_common.runtime.context import Context
from swarm_common.runtime.service import Service, Work
from swarm_memory_sync import lessons
from swarm_memory_sync.decider import main_value
from swarm_memory_sync.lessons import Lesson
from swarm_memory_sync.replica import Library, Replica

service = Service("memory_sync", "memory", description="The swarm's shared memory and its replicas.")
_replica: Replica | None = None
_library: Library | None = None


@service.on_start
async def open_memory(context: Context) -> None:
    """Take the log to read from; it is read when somebody asks."""
    global _replica, _library
    _replica, _library = Replica(context.log), Library(context.log)


@service.task("recall", lane="io", pure=False)
async def recall(work: Work) -> Recalled:
    """Return what is known of ``params.key``. Not pure: it depends on all runs before."""
    key = _text(work.task.params, "key", "memory_key(suite, scenario, params)")
    return await memory().recall(key, work.task.task)


@service.task("learn", lane="io", pure=True)
async def learn(work: Work) -> Learned:
    """Learn from the folds among the task's inputs; ``params.name`` says what their data are called."""
    name = _text(work.task.params, "name", "what the data are called")
    parts = [(event.id, data) for event, data in await work.inputs_of(PartTrained)]
    event, prepared = await _prepared(work)
    return lessons.learn(work.task.task, name, (event.id, prepared), parts)


@service.task("advise", lane="io", pure=True)
async def advise(work: Work) -> Advised:
    """Advise an order of ``params.candidates`` for the data among the inputs, from the lessons among them."""
    heard = [Lesson(event.run, event.id, data) for event, data in await work.inputs_of(Learned)]
    if not heard:
        raise UsageError("there is nothing to advise from: the task needs memory.learned", field="needs")
    target, candidates = _asked(work)
    _, about = await _prepared(work)
    return lessons.advise(work.task.task, target, about, candidates, heard, memory="run")


@service.task("advise_from_all", lane="io", pure=False)
async def advise_from_all(work: Work) -> Advised:
    """Advise as above, from the lessons of all runs so far. Not pure: it depends on them."""
    target, candidates = _asked(work)
    _, about = await _prepared(work)
    known = await library().lessons()
    return lessons.advise(work.task.task, target, about, candidates, known.values(), memory="all")


async def _prepared(work: Work) -> tuple[Event, DataPrepared]:
    prepared = await work.inputs_of(DataPrepared)
    if len(prepared) != 1:
        raise UsageError(f"the task needs one agent.data_prepared; it has {len(prepared)}", field="needs")
    return prepared[0]


def _asked(work: Work) -> tuple[str, Sequence[str]]:
    """Return the target's name and the candidates' that are asked for."""
    given = work.task.params.get("candidates")
    if not isinstance(given, list) or not given or not all(isinstance(name, str) for name in given):
        raise UsageError(
            f"params.candidates is {given!r}; it is a list of candidates' names",
            field="params.candidates",
            given=str(given),
        )
    return _text(work.task.params, "target", "what the target is called"), list(dict.fromkeys(given))


def _text(params: dict[str, Any], name: str, what: str) -> str:
    value = params.get(name)
    if not isinstance(value, str) or not value:
        raise UsageError(f"params.{name} is missing; it is {what}", field=f"params.{name}", given=str(value))
    return value


@service.reaction(Completed, pure=False)
async def remember(work: Work) -> Remembered:
    """Remember a completed run: its main metric, and whether it is the best so far."""
    completed = work.event.data
    started = next((event.data for event in await work.run_events() if isinstance(event.data, Started)), None)
    if started is None or not isinstance(completed, Completed):
        raise NotFound(f"run {work.event.run} has completed, and its benchmark.started is not in the log")
    value = main_value(completed.metrics, run=work.event.run, session=started.session, time=work.event.time)
    if completed.stopped:
        value = None  # of a part of the work: no run that did all of it is compared with that
    key = memory_key(started.suite, started.scenario, started.params)
    return await memory().remember(key, work.event.run, value)


def memory() -> Replica:
    """Return this process's replica."""
    if _replica is None:
        raise NotFound("memory-sync has not started: there is no log to read from")
    return _replica


def library() -> Library:
    """Return this process's lessons."""
    if _library is None:
        raise NotFound("memory-sync has not started: there is no log to read from")
    return _library
