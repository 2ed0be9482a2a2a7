"""Model-agent: does the work. Wiring only; the work itself is in :mod:`~swarm_model_agent.training`."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from swarm_common.errors import TaskFailed
from swarm_common.events import Data
from swarm_common.events.agent import ModelTrained, TaskDone
from swarm_common.runtime.host import Context, usable_cores
from swarm_common.runtime.service import Service, Work
from swarm_model_agent.params import DataParams, TrainParams, read
from swarm_model_agent.pool import WarmPool
from swarm_model_agent.wire import Prepare, Train, decode_answer, encode, events_of

service = Service("model_agent", "agent", description="Does the work: trains and predicts with models.")
pool = WarmPool()
_instance = "offline"


@service.on_start
async def warm_up(context: Context) -> None:
    """Start the workers beside, so that the service is ready at once; the first tasks wait for them."""
    global _instance  # noqa: PLW0603 - known only when the service has started
    _instance = context.instance
    pool.resize(context.settings.cpu_workers or usable_cores())
    context.spawn(pool.warm(), "warm-up")


@service.on_stop
async def stop_workers(_context: Context) -> None:
    """End the workers."""
    await pool.close()


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


@service.task("prepare", lane="cpu", pure=True)
async def prepare(work: Work) -> Sequence[Data]:
    """Load or make data and split them."""
    task = work.task
    reply = await pool.run(encode(Prepare(task.task, read(task.params, DataParams))))
    return events_of(decode_answer(reply.frame))


@service.task("train", lane="cpu", pure=False)
async def train(work: Work) -> Sequence[Data]:
    """Fit a model and predict. Not pure: doing it again is work, and what it cost is in its events."""
    task = work.task
    reply = await pool.run(encode(Train(task.task, read(task.params, TrainParams), task.seed, _instance)))
    return [
        msgspec.structs.replace(data, waited_s=reply.waited_s) if isinstance(data, ModelTrained) else data
        for data in events_of(decode_answer(reply.frame))
    ]
