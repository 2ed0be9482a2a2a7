"""Given long pure work, when another process does it, then the loop goes on, and no worker outlives the service."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest

from swarm_common.errors import TaskFailed
from swarm_consensus.simulator.run import SimulateParams, simulate
from swarm_consensus.workers import end_workers, in_a_process

LONG = SimulateParams(mechanism="voting", agents=10, fault="delay", seeds=1_000_000)


@pytest.fixture(autouse=True)
async def none_left() -> AsyncIterator[None]:
    yield
    await end_workers()


async def gone(pid: int) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return
            await asyncio.sleep(0.01)


async def test_work_is_done_elsewhere_while_the_loop_goes_on() -> None:
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0)

    heart = asyncio.create_task(beat())
    pid = await in_a_process(os.getpid)
    heart.cancel()
    assert pid != os.getpid()
    assert beats > 10


async def test_an_error_comes_back_as_it_was() -> None:
    with pytest.raises(ZeroDivisionError):
        await in_a_process(divmod, 1, 0)


async def test_a_worker_that_is_killed_is_replaced_and_its_work_done_again() -> None:
    pid = await in_a_process(os.getpid)
    os.kill(pid, signal.SIGKILL)
    assert await in_a_process(divmod, 7, 2) == (3, 1)


async def test_work_that_kills_every_worker_fails_and_may_be_tried_again() -> None:
    with pytest.raises(TaskFailed) as failed:
        await in_a_process(signal.raise_signal, signal.SIGKILL)
    assert failed.value.retryable


async def test_no_worker_goes_on_when_the_service_ends() -> None:
    pid = await in_a_process(os.getpid)
    work = asyncio.create_task(in_a_process(simulate, "long", LONG))
    await asyncio.sleep(0)
    work.cancel()
    await end_workers()
    await gone(pid)
