"""Collection: every service samples itself and publishes what it found, live. docs/collection.md has what it costs.

What happens often (a task ends, the collector of garbage stops the process, a timer is late) is one number appended to
an array. All else is read when a sample is due, from that array and from the operating system.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import time
from array import array
from collections.abc import Awaitable, Callable

import nats.errors

from swarm_common import clock, live
from swarm_common.histograms import EMPTY, Histogram, histogram, merge
from swarm_common.live import LiveMetrics
from swarm_common.runtime.processes import Descendants, OwnProcess

#: Each so many samples, memory is counted exactly, and new child processes are looked for: both take milliseconds.
EXACT_EVERY = 30
#: The first time, when what a service starts is there.
_EXACT_FIRST = 3
#: How often the event loop is asked how late it is; each time wakes an idle process.
LAG_S = 0.25
#: Numbers that wait to be put into a histogram, at most: 64 KiB.
_WAITING = 8192

Counts = Callable[[], tuple[int, int, int]]


class Stamps:
    """Durations as they come: appended in a tenth of a microsecond, put into a histogram when somebody asks."""

    __slots__ = ("_found", "_ns")

    def __init__(self) -> None:
        self._ns = array("q")
        self._found = EMPTY

    def add(self, began_ns: int, ended_ns: int) -> None:
        """Note one, by its two stamps of ``perf_counter_ns``."""
        self._ns.append(ended_ns - began_ns)
        if len(self._ns) >= _WAITING:
            self._fold()

    def take(self) -> Histogram:
        """Return all since it was last asked, in microseconds, and begin anew."""
        self._fold()
        found, self._found = self._found, EMPTY
        return found

    def _fold(self) -> None:
        if self._ns:
            # Swapped first: making the histogram may set off the collector of garbage, which adds what it took.
            waiting, self._ns = self._ns, array("q")
            more = histogram(max(0, ns) / 1000 for ns in waiting)
            self._found = merge(self._found, more)


class GcPauses:
    """How long the collector of garbage stops this process (``gc.callbacks``)."""

    def __init__(self) -> None:
        self.collections, self.total_us = 0, 0.0
        self.stamps = Stamps()
        self._began = 0

    def __call__(self, phase: str, _info: dict[str, int]) -> None:
        now = time.perf_counter_ns()
        if phase == "start":
            self._began = now
        elif self._began:
            self.collections += 1
            self.total_us += (now - self._began) / 1000
            self.stamps.add(self._began, now)
            self._began = 0

    def begin(self) -> None:
        gc.callbacks.append(self)

    def end(self) -> None:
        with contextlib.suppress(ValueError):
            gc.callbacks.remove(self)


class Collector:
    """Samples one service. With ``sample_s`` 0 it is off: nothing is noted, read or published."""

    def __init__(self, service: str, instance: str, sample_s: float) -> None:
        self.service, self.instance, self.sample_s = service, instance, sample_s
        self.tasks, self.lags, self.pauses = Stamps(), Stamps(), GcPauses()
        self._number = 0
        self._uss: int | None = None
        self._cost_ns = 0
        self._at_ns = self._cpu_ns = 0

    def task_ended(self, began_ns: int) -> None:
        """Note that a task ended that was taken up at ``began_ns`` of ``perf_counter_ns``."""
        if self.sample_s:
            self.tasks.add(began_ns, time.perf_counter_ns())

    async def run(self, publish: Callable[[str, bytes], Awaitable[None]], counts: Counts) -> None:
        """Sample and publish until cancelled. ``counts`` returns what was handled, what failed, what is at hand."""
        if not self.sample_s:
            return
        subject = live.subject_of(self.service, self.instance)
        self.begin()
        try:
            while True:
                await self._wait()
                began = time.thread_time_ns()
                with contextlib.suppress(
                    nats.errors.Error, OSError
                ):  # nobody waits for it; the next one comes
                    await publish(subject, live.encode(self.sample(*counts())))
                self._cost_ns = time.thread_time_ns() - began
        finally:
            self.end()

    def begin(self) -> None:
        """Begin the first interval; :meth:`end` lets go of what this takes."""
        self._process, self._below = OwnProcess(), Descendants()
        self._at_ns, self._cpu_ns = time.perf_counter_ns(), time.process_time_ns()
        self.pauses.begin()

    def end(self) -> None:
        """Let go of the open files, and be told of garbage collections no more."""
        self.pauses.end()
        self._process.close()

    async def _wait(self) -> None:
        """Wait until the next sample is due, and see how late the loop runs what it is to run."""
        ticks = max(1, round(self.sample_s / LAG_S))
        over = asyncio.get_running_loop().create_future()
        # Timers and no task that sleeps: that takes a third less of an idle process's time.
        self._set_timer(self.sample_s / ticks, ticks, over)
        try:
            await over
        finally:
            self._timer.cancel()

    def _set_timer(self, step_s: float, left: int, over: asyncio.Future[None]) -> None:
        due = time.perf_counter_ns() + int(step_s * 1e9)
        self._timer = asyncio.get_running_loop().call_later(step_s, self._tick, due, step_s, left - 1, over)

    def _tick(self, due: int, step_s: float, left: int, over: asyncio.Future[None]) -> None:
        self.lags.add(due, max(due, time.perf_counter_ns()))
        if left:
            self._set_timer(step_s, left, over)
        elif not over.done():
            over.set_result(None)

    def sample(self, handled: int, failures: int, in_flight: int) -> LiveMetrics:
        """Return what there is to say now, and begin a new interval."""
        now, cpu = time.perf_counter_ns(), time.process_time_ns()
        interval, used = now - self._at_ns, cpu - self._cpu_ns
        self._at_ns, self._cpu_ns = now, cpu
        if self._number % EXACT_EVERY == _EXACT_FIRST:
            self._uss = self._process.uss_bytes()
            self._below.look()
        self._number += 1
        status = self._process.status()
        return LiveMetrics(
            service=self.service,
            instance=self.instance,
            pid=os.getpid(),
            number=self._number,
            time=clock.format_ns(clock.now_ns()),
            interval_s=interval / 1e9,
            cpu_s=cpu / 1e9,
            cpu_share=used / interval if interval else 0.0,
            rss_bytes=self._process.rss_bytes(),
            rss_peak_bytes=status.peak_bytes,
            uss_bytes=self._uss,
            threads=status.threads,
            children=self._below.read(),
            gc_collections=self.pauses.collections,
            gc_pause_us=self.pauses.total_us,
            gc_pauses_us=self.pauses.stamps.take(),
            loop_lag_us=self.lags.take(),
            task_us=self.tasks.take(),
            handled=handled,
            failures=failures,
            in_flight=in_flight,
            sampling_us=self._cost_ns / 1000,
        )
