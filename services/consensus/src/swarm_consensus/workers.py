"""Processes for pure work that takes long: the loop keeps its heartbeats, and all cores are used.

They are forked from a server that is started for it, never from the service with its threads. A worker that is killed
breaks Python's pool; a new one is made then and the work done again, which does no harm as it is pure.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from swarm_common.errors import TaskFailed
from swarm_common.hosts import usable_cores

T = TypeVar("T")
_ATTEMPTS = 3
_pool: ProcessPoolExecutor | None = None


def _the_pool() -> ProcessPoolExecutor:
    global _pool  # noqa: PLW0603 - made when first needed: a service that simulates nothing has no workers
    if _pool is None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["swarm_consensus.workers", "swarm_consensus.simulator.run"])
        _pool = ProcessPoolExecutor(usable_cores(), mp_context=context)
    return _pool


async def in_a_process(function: Callable[..., T], *arguments: Any) -> T:
    """Return ``function(*arguments)``, worked out in another process; both ways things are pickled.

    ``function`` stands at the top of a module, and does the same when it is done again.

    Raises:
        TaskFailed: Three workers ended at it, one after the other.
    """
    for _ in range(_ATTEMPTS):
        pool = _the_pool()
        try:
            # In a thread: the first work starts the workers, and waits until they have.
            work = await asyncio.to_thread(pool.submit, function, *arguments)
            return await asyncio.wrap_future(work)
        except BrokenProcessPool:
            _forget(pool)
    raise TaskFailed(
        f"{_ATTEMPTS} workers ended at this task, one after the other; is there memory enough?",
        retryable=True,
    )


def _forget(pool: ProcessPoolExecutor) -> None:
    global _pool  # noqa: PLW0603
    if _pool is pool:
        _pool = None
    # Killed, for a worker in the middle of something would keep this process from ending until it is done.
    for process in list((pool._processes or {}).values()):  # noqa: SLF001 - Python 3.14 has kill_workers()
        process.kill()
    pool.shutdown(wait=False, cancel_futures=True)


async def end_workers() -> None:
    """End all workers; work that nobody waits for any more is not finished."""
    pool = _pool
    if pool is not None:
        _forget(pool)
