"""What collecting costs, at rest and on the hot path; what tracing costs; how often the detector of leaks is wrong.

Two stacks idle side by side, one that samples itself every second and one that does not; each window of time gives one
pair of figures. Processor time is what the scheduler counted for the services' threads, in nanoseconds. Leaks are
simulated with the series of tests/support/growing.py: the answer is known, and a single run is not the verdict yet.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from kit.cli import alone, run_async
from kit.measure import Bench, Row, Skipped, turns
from kit.servers import Runs, stack

from swarm_cli.stack.layout import State
from swarm_common import Client, live
from swarm_common.events.benchmark import Requested
from swarm_common.runs import fold
from swarm_common.runtime.collecting import Collector
from swarm_metrics.costs.sink import sink
from swarm_statistics.leaks import confirm, detect

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from support.growing import CLEAN, LEAKING, leak, pair

_SETTLE_S = 12.0
#: What may look like a leak without being one is held to less.
_HARD = {"random walk": "<= 5", "four one-way steps": "<= 5"}
_WEAK = (0.0002, 0.0001, 0.00005)


def _cpu_s(pids: Iterable[int]) -> float:
    """Return the processor time of all threads of processes; 0 on a system without ``/proc``."""
    found = 0
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            found += int(thread.read_text(encoding="ascii").split()[0])
    return found / 1e9


def _services(state: State) -> list[int]:
    return [process.pid for process in state.services if process.pid is not None]


def _at_rest(quick: bool) -> list[Row]:
    """Return the share of one core that the services of an idle stack use, with collection and without."""
    windows, window_s = (4, 4.0) if quick else (20, 5.0)
    with stack(sample_s=1.0) as (_, sampling), stack(sample_s=0) as (_, silent):
        sides = (_services(sampling), _services(silent))
        time.sleep(_SETTLE_S)  # what a start leaves behind is none of it
        shares: list[tuple[float, float]] = []
        for _ in range(windows):
            before, began = [_cpu_s(side) for side in sides], time.perf_counter()
            time.sleep(window_s)
            after, took = [_cpu_s(side) for side in sides], time.perf_counter() - began
            first, second = (100 * (b - a) / took for a, b in zip(before, after, strict=True))
            shares.append((first, second))
    what = "of one core, six services of an idle stack"
    with_it, without = zip(*shares, strict=True)
    costs = tuple(one - other for one, other in shares)
    return [
        Row(name="with", what=f"{what}, sampled each second", unit="%", samples=with_it),
        Row(name="without", what=f"{what}, sample_s = 0", unit="%", samples=without),
        Row(
            name="collection at rest",
            what="the difference, window by window",
            unit="%",
            samples=costs,
            target="< 1",
        ),
    ]


def _hot(quick: bool) -> list[Row]:
    """Return what noting one task, and taking one sample, takes of processor time."""
    collector = Collector("bench", "bench-1", 1.0)
    collector.begin()
    many = 20_000 if quick else 100_000

    def notes() -> float:
        began = time.thread_time_ns()
        for _ in range(many):
            collector.task_ended(0)
        collector.tasks.take()  # what was noted is put into a histogram, sooner or later
        return (time.thread_time_ns() - began) / many / 1000

    def sample() -> float:
        began = time.thread_time_ns()
        live.encode(collector.sample(1, 0, 0))
        return (time.thread_time_ns() - began) / 1000

    noted = tuple(notes() for _ in range(5 if quick else 20))
    sampled = tuple(sample() for _ in range(60 if quick else 600))
    collector.end()
    return [
        Row(
            name="note", what="a task that ended, histogram included", unit="us", samples=noted, target="< 2"
        ),
        Row(name="sample", what="of one service, encoded; median", unit="us", samples=sampled),
        Row(
            name="sample, mean",
            what="every thirtieth looks for new processes and counts memory exactly",
            unit="us",
            samples=(sum(sampled) / len(sampled),),
        ),
    ]


async def _tracing(quick: bool) -> list[Row]:
    """Return what a run of ``noop overhead`` found: processor time of a task with tracing less without, by rounds."""
    params = {"tasks": 300, "rounds": 8 if quick else 30}
    with stack() as (settings, _):
        async with Client(settings=settings) as client, Runs(client) as runs:
            run, _ = await runs.run(Requested(suite="noop", scenario="overhead", params=params), settle=True)
            (found,) = [
                event.data for event in await client.events(run) if event.type == "metrics.overhead_measured"
            ]
    values = {one.of: one.values for one in found.samples if one.name == "task_cpu"}  # type: ignore[union-attr]
    rows = [Row(name="empty task", what="at its worker, nothing measured", unit="us", samples=values["off"])]
    for of in ("tracing", "tracing_sampled", "collection"):
        less = tuple(one - off for one, off in zip(values[of], values["off"], strict=True))
        rows.append(Row(name=of.replace("_", ", "), what="more, round by round", unit="us", samples=less))
    return rows


async def _platform(quick: bool) -> list[Row]:
    """Return what an empty task costs all services of a stack without tracing, and of one that exports every span."""
    params = {"tasks": 500 if quick else 2000}
    request = Requested(suite="noop", scenario="usage", params=params)
    async with contextlib.AsyncExitStack() as opened:
        endpoint = await opened.enter_async_context(sink())
        sides = []
        for environ in ({}, {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}):
            os.environ.update(environ)
            settings, _ = opened.enter_context(stack())
            for name in environ:
                del os.environ[name]
            client = await opened.enter_async_context(Client(settings=settings))
            sides.append((client, await opened.enter_async_context(Runs(client))))

        async def cpu(side: tuple[Client, Runs]) -> float:
            client, runs = side
            run, _ = await runs.run(request, settle=True)
            events = await client.events(run)
            found = {metric.name: metric for metric in fold(run, events).metrics}["task_cpu_us"]
            if found.value is None:
                raise Skipped(found.reason)
            return found.value

        plain, traced = await turns(2 if quick else 6, *(lambda _, side=side: cpu(side) for side in sides))
    what = f"of all services for an empty task, {params['tasks']} of them"
    more = tuple(one - other for one, other in zip(traced, plain, strict=True))
    return [
        Row(name="stack", what=f"{what}, not traced", unit="us", samples=plain),
        Row(name="stack, traced", what="the same, every span exported", unit="us", samples=traced),
        Row(name="tracing a stack", what="the difference, turn by turn", unit="us", samples=more),
    ]


def _leaks(quick: bool) -> list[Row]:
    """Return how many of a hundred simulated processes are called a leak."""
    times = 40 if quick else 200
    rows = []
    for name, maker in CLEAN.items():
        single, both = _share(lambda turn, m=maker, n=name: pair(m, f"{n}/{turn}"), times)
        rows += _verdicts(name, single, both, _HARD.get(name, "<= 0"))
    for name, maker in LEAKING.items():
        single, both = _share(lambda turn, m=maker, n=name: pair(m, f"{n}/{turn}"), times)
        rows += _verdicts(name, single, both, ">= 98")
    for share in _WEAK:
        name = f"leak of {share:.3%} a sample"

        def weak(turn: int, share: float = share, name: str = name) -> tuple[list[float], list[float]]:
            return pair(lambda rng, length, work: leak(rng, length, work, share), f"{name}/{turn}")

        rows += _verdicts(name, *_share(weak, times), "")
    return rows


def _share(make: Callable[[int], tuple[list[float], list[float]]], times: int) -> tuple[float, float]:
    """Return, in percent, how often a single run is suspected, and how often both together are called a leak."""
    suspected = leaks = 0
    for turn in range(times):
        single, double = (detect(series) for series in make(turn))
        suspected += single.verdict == "suspected"
        leaks += confirm(single, double).verdict == "leak"
    return 100 * suspected / times, 100 * leaks / times


def _verdicts(name: str, single: float, both: float, target: str) -> list[Row]:
    return [
        Row(name=f"{name}: leak", what="single and doubled work", unit="%", samples=(both,), target=target),
        Row(name=f"{name}: suspected", what="by a single run", unit="%", samples=(single,)),
    ]


def run(quick: bool) -> tuple[list[Row], list[str]]:
    """Return all rows."""
    rows = [*_at_rest(quick), *_hot(quick)]
    rows += [*run_async(_tracing(quick)), *run_async(_platform(quick)), *_leaks(quick)]
    times = 40 if quick else 200
    return rows, [f"leaks: {times} simulated pairs of series of 480 samples each"]


BENCH = Bench("collection", "what collecting costs, and how often a leak is called one", run)

if __name__ == "__main__":
    alone(BENCH)
