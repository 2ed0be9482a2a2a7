"""Model-agent: does the work. Wiring only; :mod:`~swarm_model_agent.jobs` names who does the work itself."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from swarm_common import datafiles
from swarm_common.errors import SwarmError, TaskFailed, UsageError
from swarm_common.events import Data
from swarm_common.events.agent import Acted, AgentsMeasured, Graded, PartTrained, TaskDone, TasksPosed
from swarm_common.hosts import usable_cores
from swarm_common.runtime.context import Context
from swarm_common.runtime.service import Service, Work
from swarm_model_agent.fetching import Files
from swarm_model_agent.params import FILES, JOB_PARAMS, AssembleParams, read
from swarm_model_agent.pool import WarmPool
from swarm_model_agent.wire import decode_answer, events_of, job

if TYPE_CHECKING:
    from swarm_model_agent.executors.choosing import Executors
    from swarm_model_agent.families.posing import GradeParams, PoseParams

service = Service("model_agent", "agent", description="Does the work: trains and predicts with models.")
pool = WarmPool()
_instance = "offline"
_store = ""
_scratch: tempfile.TemporaryDirectory[str] | None = None
_files: Files | None = None
_context: Context | None = None
_executors: Executors | None = None

#: Kinds of task whose events depend on their parameters alone, so that doing them again is cheap and tells something.
#: Not `prepare_file`: its file lies in the object store, and a log is decided again without one.
_PURE = ("prepare",)


@service.on_start
async def warm_up(context: Context) -> None:
    """Start the workers beside, so that the service is ready at once; the first tasks wait for them."""
    global _instance, _store, _scratch, _files, _context  # noqa: PLW0603 - known only when the service has started
    _context = context
    _instance = context.instance
    if context.settings.data_dir:
        _store = str(Path(context.settings.data_dir) / "datasets")
    else:
        _scratch = tempfile.TemporaryDirectory(prefix="swarm-datasets-")
        _store = _scratch.name
    _files = Files(Path(_store) / FILES, context.log.blobs)
    pool.resize(context.settings.cpu_workers or usable_cores())
    context.spawn(pool.warm(), "warm-up")


@service.on_stop
async def stop_workers(_context: Context) -> None:
    """End the workers, and the embedded model."""
    global _executors  # noqa: PLW0603
    await pool.close()
    if _executors is not None:
        await _executors.close()
        _executors = None
    if _scratch is not None:
        _scratch.cleanup()


@service.task("noop", lane="io", pure=True)
async def noop(work: Work) -> TaskDone:
    """Do nothing, so that what is measured is the platform; fail on purpose as often as the task asks for."""
    began = time.perf_counter_ns()
    task = work.task
    failing = task.params.get("fail_attempts", 0)
    if task.attempt <= failing:
        raise TaskFailed(
            f"attempt {task.attempt} fails on purpose; fail_attempts is {failing}", retryable=True
        )
    index = task.params.get("index", 0)
    return TaskDone(task=task.task, index=index, elapsed_us=(time.perf_counter_ns() - began) / 1e3)


@service.task("assemble", lane="io", pure=True)
async def assemble(work: Work) -> Sequence[Data]:
    """Put the parts of a training together."""
    from swarm_model_agent import assembling  # noqa: PLC0415 - loads numpy

    params = read(work.task.params, AssembleParams)
    parts = [data for _, data in await work.inputs_of(PartTrained)]
    return assembling.assemble(work.task.task, params.model, parts)


@service.task("act", lane="io", pure=False)
async def act(work: Work) -> Acted:
    """Take an agent's turn: ask its model, run its tools, and say what it said."""
    global _executors  # noqa: PLW0603 - made at the first turn: most runs ask no model
    from swarm_model_agent.acting import acting  # noqa: PLC0415
    from swarm_model_agent.executors.choosing import Executors  # noqa: PLC0415

    if _context is None:
        raise SwarmError("a model is asked by a service that runs, and none does")
    if _executors is None:
        _executors = Executors(_context.settings)
    return await acting.act(work, _executors, _context.tracer, Path(_store) / "sandboxes", _instance)


@service.query("outline")
async def outline(context: Context, given: dict[str, Any]) -> Any:
    """Return what a run's endpoint (`executor`, `model`) may cost and how long its questions (`pose`) are."""
    from swarm_model_agent.acting import outline as outlining  # noqa: PLC0415 - most runs ask no model
    from swarm_model_agent.executors.choosing import Executors  # noqa: PLC0415
    from swarm_model_agent.families import posing  # noqa: PLC0415

    found = outlining.endpoint(
        Executors(context.settings), given.get("executor", "default"), str(given.get("model", ""))
    )
    if found["paid"] and "pose" in given:
        params = read(given["pose"], posing.PoseParams)
        params = msgspec.structs.replace(params, count=min(params.count, outlining.MOST_ITEMS))
        if params.file:
            posed = await _posed_of_file("outline", params)
        else:
            posed = await asyncio.to_thread(posing.pose, "outline", params)
        found |= outlining.questions(posed)
    return found


@service.task("pose", lane="io", pure=True)
async def pose(work: Work) -> TasksPosed:
    """Draw questions of a task family."""
    from swarm_model_agent.families import posing  # noqa: PLC0415 - most runs ask no questions

    # In a thread: a library of puzzles may take seconds to load and to make some.
    return await asyncio.to_thread(posing.pose, work.task.task, read(work.task.params, posing.PoseParams))


@service.task("pose_file", lane="io", pure=False)
async def pose_file(work: Work) -> TasksPosed:
    """Draw questions of a user's file."""
    from swarm_model_agent.families import posing  # noqa: PLC0415

    return await _posed_of_file(work.task.task, read(work.task.params, posing.PoseParams))


async def _posed_of_file(task: str, params: PoseParams) -> TasksPosed:
    from swarm_model_agent.families import posing  # noqa: PLC0415

    file = datafiles.parse(params.file, "params.file")
    if _files is None:
        raise SwarmError(f"{file} lies in the object store, and no broker is there to fetch it from")
    async with _files.holding(params.file):
        return posing.pose_file(task, params, Path(_store) / FILES / file.sha256, file.name)


@service.task("grade", lane="io", pure=True)
async def grade(work: Work) -> Graded:
    """Hold answers against the right ones."""
    from swarm_model_agent.families import posing  # noqa: PLC0415

    return posing.graded(work.task.task, *await _to_grade(work))


@service.task("grade_apart", lane="io", pure=False)
async def grade_apart(work: Work) -> Graded:
    """Hold answers against the right ones that are graded by running them, each in a process shut in."""
    from swarm_model_agent.families import posing  # noqa: PLC0415

    return await asyncio.to_thread(posing.graded_apart, work.task.task, *await _to_grade(work))


async def _to_grade(work: Work) -> tuple[GradeParams, TasksPosed, dict[str, Acted]]:
    from swarm_model_agent.families import posing  # noqa: PLC0415

    params = read(work.task.params, posing.GradeParams)
    posed = await work.inputs_of(TasksPosed)
    if len(posed) != 1:
        raise UsageError(f"the task needs one agent.tasks_posed; it has {len(posed)}", field="needs")
    return params, posed[0][1], {data.task: data for _, data in await work.inputs_of(Acted)}


@service.task("measure_agents", lane="cpu", pure=False)
async def measure_agents(work: Work) -> AgentsMeasured:
    """Time how fast agents are ready, or what several at once are worth."""
    from swarm_model_agent import measuring  # noqa: PLC0415 - only where it is used

    params = read(work.task.params, measuring.AgentParams)
    return await measuring.measure_agents(work.task.task, params, seed=work.task.seed, store=_store)


def _in_a_worker(kind: str) -> Callable[[Work], Awaitable[Sequence[Data]]]:
    """Return the handler of a kind of task that a worker process does: check, hand over, take the answer."""

    async def handle(work: Work) -> Sequence[Data]:
        task = work.task
        params = read(task.params, JOB_PARAMS[kind])
        frame = job(kind, task.task, params, seed=task.seed, instance=_instance, store=_store)
        async with _beside(kind, getattr(params, "file", "")):
            reply = await pool.run(frame)
        return [
            msgspec.structs.replace(data, waited_s=reply.waited_s) if hasattr(data, "waited_s") else data
            for data in events_of(decode_answer(reply.frame))
        ]

    return handle


def _beside(kind: str, file: str) -> AbstractAsyncContextManager[None]:
    """Have a user's file beside the workers while a task is done that needs it."""
    if not file:
        return nullcontext()
    if kind in _PURE:
        raise UsageError(
            f"a task of kind {kind} makes its data itself; data of a file are prepared by kind prepare_file",
            field="kind",
            given=kind,
            allowed="prepare_file",
        )
    if _files is None:
        raise SwarmError(f"{file} lies in the object store, and no broker is there to fetch it from")
    return _files.holding(file)


for _kind in JOB_PARAMS:
    # Training is not pure: doing it again is work, and what it cost is in its events.
    service.task(_kind, lane="cpu", pure=_kind in _PURE)(_in_a_worker(_kind))
