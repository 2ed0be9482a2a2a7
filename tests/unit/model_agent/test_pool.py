"""Workers are warm, do the same as anybody, and neither their end nor the service's leaves anything behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import psutil
import pytest
import uvloop

from swarm_common.errors import TaskFailed, UsageError
from swarm_common.events import digest_view
from swarm_common.events.agent import DataPrepared, ModelTrained, Predicted, TaskDone
from swarm_model_agent import service as agent
from swarm_model_agent.params import DataParams, TrainParams
from swarm_model_agent.pool import WarmPool
from swarm_model_agent.training import train
from swarm_model_agent.wire import Broke, decode_answer, events_of
from swarm_model_agent.wire import job as frame_of

QUICK = {
    "dataset": "wine",
    "model": "rf",
    "model_type": "random_forest",
    "hyperparameters": {"n_estimators": 5},
}
#: Minutes of work, for a worker to be at when it is killed.
LONG = TrainParams(
    dataset="digits", model="gb", model_type="gradient_boost", hyperparameters={"n_estimators": 5000}
)


def job(params: TrainParams | None = None) -> bytes:
    params = params or TrainParams(**QUICK, folds=2)
    return frame_of("train", "t", params, seed=7, instance="here", store="")


def ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture
async def pool() -> AsyncIterator[WarmPool]:
    pool = WarmPool(2)
    yield pool
    await pool.close()


async def test_a_worker_computes_what_this_process_computes(pool: WarmPool) -> None:
    trained, predicted = events_of(decode_answer((await pool.run(job())).frame))
    here = train("t", TrainParams(**QUICK, folds=2), seed=7)
    assert [digest_view(trained), digest_view(predicted)] == [digest_view(data) for data in here]
    assert isinstance(trained, ModelTrained)
    assert trained.worker == f"here/{pool.pids()[0]}"
    assert str(os.getpid()) not in trained.worker


def test_answers_of_many_parts_arrive_whole_on_the_loop_of_the_service() -> None:
    many = {"n_samples": 30_000, "n_features": 5}  # the answer is larger than a socket holds
    data = {"dataset": "synthetic_classification", "make": many}
    params = TrainParams(**data, model="lr", model_type="logistic_regression", folds=2)

    async def ask() -> list[int]:
        pool = WarmPool(1)
        _, predicted = events_of(decode_answer((await pool.run(job(params))).frame))
        await pool.close()
        assert isinstance(predicted, Predicted)
        assert predicted.out_of_fold is not None
        return list(predicted.out_of_fold.shape)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(ask()) == [24_000, 2]


async def test_every_worker_is_started_ahead(pool: WarmPool) -> None:
    await pool.warm()
    pids = pool.pids()
    assert len(set(pids)) == 2
    await asyncio.gather(*(pool.run(job()) for _ in range(4)))
    assert pool.pids() == pids


async def test_a_refusal_leaves_the_worker_warm(pool: WarmPool) -> None:
    frame = frame_of("prepare", "t", DataParams(dataset="iris"), seed=7, instance="here", store="")
    with pytest.raises(UsageError) as caught:
        events_of(decode_answer((await pool.run(frame)).frame))
    assert caught.value.field == "params.dataset"
    pids = pool.pids()
    await pool.run(job())
    assert pool.pids() == pids


async def test_a_killed_worker_is_replaced_and_its_job_done(pool: WarmPool) -> None:
    params = TrainParams(**{**QUICK, "hyperparameters": {"n_estimators": 300}}, folds=3)
    at_work = asyncio.create_task(pool.run(job(params)))
    await until(lambda: pool.pids() and psutil.Process(pool.pids()[0]).cpu_times().user > 0.1)
    [killed] = pool.pids()
    os.kill(killed, signal.SIGKILL)
    trained, _ = events_of(decode_answer((await at_work).frame))
    assert isinstance(trained, ModelTrained)
    assert trained.worker != f"here/{killed}"
    assert trained.fitted == train("t", params, seed=7)[0].fitted


async def test_a_fork_server_that_is_killed_is_started_again(pool: WarmPool) -> None:
    await pool.warm()
    server = psutil.Process(pool.pids()[0]).parent()
    assert server is not None
    workers = server.children()
    server.kill()
    assert psutil.wait_procs(workers, timeout=20)[1] == []  # the server itself is for multiprocessing to reap
    trained, _ = events_of(decode_answer((await pool.run(job())).frame))
    assert isinstance(trained, ModelTrained)


async def test_a_job_that_kills_every_worker_fails_in_the_end(pool: WarmPool) -> None:
    at_work = asyncio.create_task(pool.run(job(LONG)))
    killed: set[int] = set()
    for _ in range(3):
        await until(lambda: set(pool.pids()) - killed)
        [worker] = set(pool.pids()) - killed
        killed.add(worker)
        os.kill(worker, signal.SIGKILL)
    with pytest.raises(TaskFailed) as caught:
        await at_work
    assert caught.value.retryable


async def test_a_job_nobody_waits_for_does_not_keep_its_worker(pool: WarmPool) -> None:
    await pool.warm()
    before = set(pool.pids())
    at_work = asyncio.create_task(pool.run(job(LONG)))
    await until(lambda: pool._slots.qsize() == 1)
    at_work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await at_work
    [gone] = before - set(pool.pids())
    await until(lambda: ended(gone))
    await pool.run(job())


async def test_closing_ends_the_workers() -> None:
    pool = WarmPool(2)
    await pool.warm()
    workers = [psutil.Process(pid) for pid in pool.pids()]
    await pool.close()
    assert psutil.wait_procs(workers, timeout=10)[1] == []


async def test_what_a_library_raises_can_be_tried_again() -> None:
    with pytest.raises(TaskFailed, match="MemoryError: no room") as caught:
        events_of(Broke("MemoryError", "no room"))
    assert caught.value.retryable


ORPHANS = """
import asyncio, sys
from swarm_model_agent.pool import WarmPool

async def main():
    pool = WarmPool(2)
    await pool.warm()
    busy = asyncio.create_task(pool.run(bytes.fromhex(sys.argv[1])))
    while pool._slots.qsize() > 1:
        await asyncio.sleep(0)
    print("pids", *pool.pids(), flush=True)
    await busy

asyncio.run(main())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prctl is Linux's")
def test_no_worker_outlives_a_service_that_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ORPHANS, job(LONG).hex()], stdout=subprocess.PIPE, text=True
    ) as service:
        assert service.stdout is not None
        line = next(text for text in service.stdout if text.startswith("pids"))
        family = psutil.Process(service.pid).children(recursive=True)
        assert {int(pid) for pid in line.split()[1:]} <= {process.pid for process in family}
        service.send_signal(signal.SIGKILL)
        assert psutil.wait_procs(family, timeout=20)[1] == []


def test_the_service_itself_loads_no_numerical_library() -> None:
    code = "import swarm_model_agent.service, sys; print({'numpy', 'scipy', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


@pytest.fixture
async def handlers() -> AsyncIterator[Any]:
    yield agent
    await agent.pool.close()
    agent.pool = WarmPool()


async def test_an_empty_task_is_done(log: Any, handlers: Any) -> None:
    done = await handlers.noop(log.task("noop", params={"index": 3}))
    assert isinstance(done, TaskDone)
    assert (done.task, done.index) == ("t", 3)
    assert done.elapsed_us > 0


async def test_an_empty_task_fails_as_often_as_it_should(log: Any, handlers: Any) -> None:
    for attempt in (1, 2):
        with pytest.raises(TaskFailed) as caught:
            await handlers.noop(log.task("noop", params={"fail_attempts": 2}, attempt=attempt))
        assert caught.value.retryable
    assert await handlers.noop(log.task("noop", params={"fail_attempts": 2}, attempt=3))


async def test_tasks_become_events(log: Any, handlers: Any) -> None:
    [prepared] = await handlers.service.tasks["prepare"].handle(
        log.task("prepare", task="p", params={"dataset": "wine"})
    )
    trained, predicted = await handlers.service.tasks["train"].handle(
        log.task("train", task="m", params={**QUICK, "folds": 2}, seed=7)
    )
    assert isinstance(prepared, DataPrepared)
    assert isinstance(trained, ModelTrained)
    assert isinstance(predicted, Predicted)
    assert (prepared.task, trained.task, predicted.task, trained.model) == ("p", "m", "m", "rf")
    assert len(predicted.held_out.numpy()) == prepared.n_test
    assert trained.waited_s >= 0
    direct = train("m", TrainParams(**QUICK, folds=2), seed=7)
    assert msgspec.to_builtins(digest_view(trained)) == msgspec.to_builtins(digest_view(direct[0]))


async def test_bad_parameters_are_refused_before_a_worker_hears_of_them(log: Any, handlers: Any) -> None:
    with pytest.raises(UsageError) as caught:
        await handlers.service.tasks["train"].handle(
            log.task("train", params={"dataset": "wine", "model_type": "svm"})
        )
    assert caught.value.field == "params.model"
    assert handlers.pool.pids() == []
