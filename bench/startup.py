"""``swarm up`` until all six services take work, as a user types it.

The floor beside it: a broker and six Python processes that only import what every service needs, all at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from kit.cli import alone
from kit.measure import Bench, Row, pair
from kit.servers import nats_server, scratch

_IMPORTS = "import asyncio, msgspec, nats, structlog, uvloop"


def _ours() -> float:
    """Return the seconds of the command; the stack is stopped again."""
    with scratch() as home:
        environ = {**os.environ, "SWARM_HOME": str(home), "SWARM_NATS_PORT": "0"}
        swarm = str(Path(sys.executable).parent / "swarm")
        began = time.perf_counter()
        up = subprocess.run([swarm, "up", "--json"], env=environ, check=True, capture_output=True, timeout=90)
        seconds = time.perf_counter() - began
        said = json.loads(up.stdout)
        subprocess.run([swarm, "down"], env=environ, check=True, capture_output=True, timeout=60)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(said["pid"], 0)
    if len(said["services"]) != 6:
        raise RuntimeError(f"six services were expected: {said}")
    return seconds


def _floor() -> float:
    with scratch() as home:
        began = time.perf_counter()
        with nats_server(home):
            six = [subprocess.Popen([sys.executable, "-c", _IMPORTS]) for _ in range(6)]
            for process in six:
                process.wait(60)
            return time.perf_counter() - began


def run(quick: bool) -> tuple[list[Row], list[str]]:
    ours, floor = [], []
    _floor()  # files are in the page cache for both
    for _ in range(2 if quick else 7):
        ours.append(_ours())
        floor.append(_floor())
    names = (
        "swarm up, until it returns",
        "a broker, and six Pythons that import nats, msgspec, uvloop, structlog",
    )
    rows = pair(ours, floor, names=names, unit="s", target="", peer="floor")
    rows[0] = Row(name="ours", what=names[0], unit="s", samples=tuple(ours), target="< 3")
    return rows, []


BENCH = Bench("startup", "swarm up until all six services are ready", run)

if __name__ == "__main__":
    alone(BENCH)
