"""Memory of six idle services: what would come free if they ended (unique set size), with their children.

The floor beside it: six Python processes that only import what every service needs. The broker is told apart.
"""

from __future__ import annotations

import subprocess
import sys
import time

import psutil
from kit.cli import alone
from kit.measure import Bench, Row
from kit.servers import stack

_IMPORTS = "import asyncio, msgspec, nats, structlog, uvloop; print(flush=True); import sys; sys.stdin.read()"
_MB = 1e6
#: Idle is: so long without another process, and less than this many MB more.
_CALM_S, _CALM_MB = 1.5, 1.0


def _unique(process: psutil.Process) -> float:
    return float(process.memory_full_info().uss) / _MB


def _tree(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def _settled(pids: list[int], patience_s: float) -> list[list[float]]:
    """Return MB by service and process, once nothing grows any more."""
    deadline, before = time.monotonic() + patience_s, [[0.0]]
    while True:
        time.sleep(_CALM_S)
        now = [[_unique(process) for process in _tree(pid)] for pid in pids]
        grown = sum(map(sum, now)) - sum(map(sum, before))
        if (grown < _CALM_MB and sum(map(len, now)) == sum(map(len, before))) or time.monotonic() > deadline:
            return now
        before = now


def _floor() -> float:
    six = [
        subprocess.Popen([sys.executable, "-c", _IMPORTS], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(6)
    ]
    for process in six:
        process.stdout.readline()  # type: ignore[union-attr]
    total = sum(_unique(psutil.Process(process.pid)) for process in six)
    for process in six:
        process.communicate()
    return total


def run(quick: bool) -> tuple[list[Row], list[str]]:
    totals, brokers, floors, services = [], [], [], []
    by_name: dict[str, list[float]] = {}
    for _ in range(1 if quick else 3):
        with stack() as (_, state):
            services = [one for one in state.services if one.pid is not None]
            found = _settled([one.pid for one in services if one.pid is not None], 15)
            totals.append(sum(map(sum, found)))
            brokers.append(_unique(psutil.Process(state.broker.pid)))
            for one, sizes in zip(services, found, strict=True):
                by_name.setdefault(one.name, []).append(sum(sizes))
                by_name.setdefault(f"{one.name} processes", []).append(len(sizes))
        floors.append(_floor())
    rows = [
        Row(
            name="ours",
            what="six idle services and their children",
            unit="MB",
            samples=tuple(totals),
            target="< 350",
        ),
        Row(
            name="floor",
            what="six Pythons that import nats, msgspec, uvloop, structlog",
            unit="MB",
            samples=tuple(floors),
        ),
        *[
            Row(
                name=one.name,
                what=f"in {by_name[f'{one.name} processes'][-1]:.0f} processes",
                unit="MB",
                samples=tuple(by_name[one.name]),
            )
            for one in services
        ],
        Row(name="broker", what="nats-server, not counted above", unit="MB", samples=tuple(brokers)),
    ]
    return rows, []


BENCH = Bench("memory", "unique set size of six idle services", run)

if __name__ == "__main__":
    alone(BENCH)
