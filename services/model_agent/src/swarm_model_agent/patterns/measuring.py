"""What a pattern costs: single times of short calls, and memory. Raw values are kept; nothing is made of them here."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

_LONG_NS = 100_000
"""A value is timed over at least so long: the clock's own cost, some 50 ns, is then below a thousandth of it."""
_MOST_LOOPS = 1 << 16
_WARM_UP = 10
_PROC = Path("/proc/self")


class Timed(NamedTuple):
    """Microseconds of a call, value by value, in the order in which they were taken."""

    values: tuple[float, ...]
    loops: int
    """Calls that each value is the mean of."""


def timed(call: Callable[[int], Any], values: int, different: int) -> Timed:
    """Return ``values`` timings of ``call``, which is given 0, 1, ... and from ``different`` on 0 again.

    Calls that take long are timed one by one; short ones in loops, doubled until the fastest of three takes 0.1 ms (as
    pyperf calibrates, Stinner 2016). A mean over a loop hides the slowest single call: the loops are told with the
    values. The first ten values are warm-up and left out.
    """
    loops = 1
    while loops < _MOST_LOOPS and min(_loop_ns(call, 0, loops, different) for _ in range(3)) < _LONG_NS:
        loops *= 2
    found = [
        _loop_ns(call, index * loops, loops, different) / (1000 * loops) for index in range(_WARM_UP + values)
    ]
    return Timed(tuple(found[_WARM_UP:]), loops)


def _loop_ns(call: Callable[[int], Any], first: int, loops: int, different: int) -> int:
    which = [at % different for at in range(first, first + loops)]
    began = time.perf_counter_ns()
    for at in which:
        call(at)
    return time.perf_counter_ns() - began


def forget_peak_rss() -> str:
    """Have the kernel count this process's peak of resident memory anew; return why it cannot, or nothing.

    Writing 5 to ``/proc/self/clear_refs`` resets ``VmHWM`` (Linux, ``proc_pid_clear_refs(5)``): a worker has done other
    things before.
    """
    try:
        (_PROC / "clear_refs").write_text("5", encoding="ascii")
    except OSError as error:
        return f"the peak of earlier work cannot be forgotten: {error.strerror}"
    return ""


def peak_rss_bytes() -> int | None:
    """Return the most resident memory since :func:`forget_peak_rss`, in bytes; ``None`` where no kernel tells."""
    try:
        status = (_PROC / "status").read_text(encoding="ascii")
    except OSError:
        return None
    found = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(found[0]) * 1024 if found else None


def allocated_bytes(work: Callable[[], Any]) -> int:
    """Return the most that Python and numpy had allocated at once during some work, beyond what there was before.

    By ``tracemalloc``, which slows what it traces several times over: what is timed must not run here.
    """
    gc.collect()
    traced = tracemalloc.is_tracing()
    if not traced:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        work()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        if not traced:
            tracemalloc.stop()
    return max(0, peak - before)
