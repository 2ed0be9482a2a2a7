"""Warm worker processes: forked from a server that has scikit-learn in memory, and asked over socket pairs.

Not ``ProcessPoolExecutor``: there a killed worker takes down everyone's tasks, a job that ran out of time goes on, and
what crosses is pickled. Here each worker has its own socket, so its end is seen at once and concerns one job.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import time
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess

import msgspec
import structlog

from swarm_common.errors import SwarmError, TaskFailed
from swarm_model_agent.worker import serve

log = structlog.get_logger(__name__)

_ATTEMPTS = 3
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_context = multiprocessing.get_context("forkserver")


class Replied(msgspec.Struct, frozen=True):
    """A worker's answer."""

    frame: bytes
    waited_s: float
    """From asking to a free worker that took the job."""


class WorkerGone(SwarmError):
    """A worker ended before it answered: killed, or out of memory."""


class Worker:
    """One worker process and our end of its socket."""

    def __init__(self, process: ForkServerProcess, connection: Connection) -> None:
        self.process = process
        self._connection = connection

    async def ask(self, frame: bytes) -> bytes:
        """Send a job and return the answer; raises :class:`WorkerGone`."""
        loop = asyncio.get_running_loop()
        readable = loop.create_future()
        number = self._connection.fileno()
        try:
            self._connection.send_bytes(frame)
            loop.add_reader(number, _resolve, readable)
            try:
                await readable
            finally:
                loop.remove_reader(number)
            # uvloop leaves the socket non-blocking, and an answer may still be on its way in parts.
            os.set_blocking(number, True)
            return self._connection.recv_bytes()
        except (EOFError, ConnectionError) as error:
            raise WorkerGone(f"worker {self.process.pid} ended at work") from error

    def kill(self) -> None:
        """End the process, whatever it is doing."""
        with contextlib.suppress(OSError):
            self._connection.close()
        self.process.kill()


class WarmPool:
    """At most ``size`` workers; each does one job at a time. Usable from one event loop."""

    def __init__(self, size: int = 1) -> None:
        self.size = size
        self._slots: asyncio.LifoQueue[Worker | None] = asyncio.LifoQueue()
        for _ in range(size):
            self._slots.put_nowait(None)
        self._starting = asyncio.Lock()
        self._workers: set[Worker] = set()

    def resize(self, size: int) -> None:
        """Set the number of workers; before the first job."""
        for _ in range(size - self.size):
            self._slots.put_nowait(None)
        for _ in range(self.size - size):
            self._slots.get_nowait()
        self.size = size

    async def warm(self) -> None:
        """Start every worker that is not there yet; jobs that come meanwhile wait for the first."""
        empty = [self._slots.get_nowait() for _ in range(self._slots.qsize())]
        began = time.perf_counter()
        for slot in empty:
            worker = None
            try:
                worker = slot or await self._start()
            finally:
                self._slots.put_nowait(worker)
        log.info("workers_warm", workers=self.size, seconds=round(time.perf_counter() - began, 3))

    async def run(self, frame: bytes) -> Replied:
        """Have a worker do a job. A worker that dies at it is replaced and the job done again, twice at most.

        Raises :class:`TaskFailed` where the third worker died, too. Cancelling ends the worker, so that a job nobody
        waits for does not keep a core.
        """
        asked = time.perf_counter_ns()
        for attempt in range(1, _ATTEMPTS + 1):
            worker = await self._slots.get()
            try:
                worker = worker or await self._start()
                waited_s = (time.perf_counter_ns() - asked) / 1e9
                reply = await worker.ask(frame)
            except BaseException as error:
                self._give_up(worker)
                if not isinstance(error, WorkerGone):
                    raise
                log.warning("worker_gone", reason=str(error), attempt=attempt)
            else:
                self._slots.put_nowait(worker)
                return Replied(reply, waited_s)
        raise TaskFailed(
            f"{_ATTEMPTS} workers ended at this task, one after the other; is there memory enough?",
            retryable=True,
        )

    async def close(self) -> None:
        """End all workers."""
        workers, self._workers = self._workers, set()
        for worker in workers:
            worker.kill()
        for worker in workers:
            await asyncio.to_thread(worker.process.join)

    def pids(self) -> list[int]:
        """Return the workers' process ids."""
        return [worker.process.pid for worker in self._workers if worker.process.pid is not None]

    def _give_up(self, worker: Worker | None) -> None:
        if worker is not None:
            worker.kill()
            self._workers.discard(worker)
        self._slots.put_nowait(None)

    async def _start(self) -> Worker:
        async with self._starting:
            # From this thread: the kernel ties the fork server's life to that of the thread which started it.
            _ensure_server()
            # Connecting waits until the server has imported everything, which takes a second the first time.
            worker = await asyncio.to_thread(_fork)
        self._workers.add(worker)
        return worker


def _ensure_server() -> None:
    for name in _THREADS:
        os.environ.setdefault(
            name, "1"
        )  # read when numpy is loaded, which the server does and this process does not
    _context.set_forkserver_preload(["swarm_model_agent.preload"])
    forkserver.ensure_running()


def _fork() -> Worker:
    ours, theirs = _context.Pipe()
    process = _context.Process(target=serve, args=(theirs,), name="swarm-worker", daemon=True)
    process.start()
    theirs.close()  # so that its end is the worker's end
    return Worker(process, ours)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
