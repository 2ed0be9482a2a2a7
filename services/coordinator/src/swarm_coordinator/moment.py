"""The moment of a decision: deciders have no clock, so what they may know of time comes with the input."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from swarm_common import clock


class Moment(msgspec.Struct, frozen=True):
    """When a decision is made. A recorded moment gives the recorded decision, bit for bit."""

    now_ns: int
    """Wall clock, nanoseconds since 1970, to the microsecond."""
    elapsed_s: float | None = None
    """Since the run started, by this process's monotonic clock; ``None`` where another process started it."""


class Stopwatch:
    """Gives moments, and remembers which runs started in this process."""

    def __init__(
        self,
        wall_ns: Callable[[], int] = clock.now_ns,
        monotonic_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._started: dict[str, int] = {}

    def moment(self, run: str) -> Moment:
        """Return the present moment of a run."""
        began = self._started.get(run)
        elapsed = None if began is None else (self._monotonic_ns() - began) / 1e9
        return Moment(self._wall_ns() // 1000 * 1000, elapsed)

    def start(self, run: str) -> None:
        """Say that a run starts now."""
        self._started[run] = self._monotonic_ns()

    def forget(self, run: str) -> None:
        self._started.pop(run, None)
