"""The primitives suite end to end: every target beside what was measured, run after run on one stack.

Each turn is a whole run of `swarm run primitives`: 24 scenarios at their sizes, through the log. A row is a target of
the suite (docs/primitives.md says what each is); its samples are the turns' figures. Exponents of the cost curves and
what several agents at once are worth stand in the notes.

Two targets tell of the machine as much as of the project: how much faster several workers are than one, and how much
ten rounds differ. So bare loops that share nothing are timed before each run and after it, alone and one a core at
once: no suite can be better than they are.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from kit.cli import alone, run_async
from kit.measure import Bench, Row
from kit.servers import Runs, stack

from swarm_common import Client
from swarm_common.events.benchmark import Completed, Requested
from swarm_common.hosts import usable_cores

TURNS = 2
_LIMIT_S = 1200.0
_QUICK = {"samples": 50, "repeats": 2, "decisions": 120}


def _loop(turns: int) -> int:
    return sum(number * number % 7 for number in range(turns))


def _machine(quick: bool) -> tuple[float, float]:
    """Return what bare loops reach: time alone over time of one a core at once, and how much ten of them differ."""
    turns, rounds, cores = 400_000 if quick else 4_000_000, 3 if quick else 10, usable_cores()
    alone_s, ratios = [], []
    with ProcessPoolExecutor(cores) as pool:
        list(pool.map(_loop, [turns] * cores))  # the processes are there
        for _ in range(rounds):
            began = time.perf_counter()
            list(pool.map(_loop, [turns]))
            alone_s.append(time.perf_counter() - began)
            began = time.perf_counter()
            list(pool.map(_loop, [turns] * cores))
            ratios.append(alone_s[-1] / (time.perf_counter() - began))
    return statistics.median(ratios), statistics.stdev(alone_s) / statistics.fmean(alone_s)


async def _runs(quick: bool) -> list[Completed]:
    found = []
    with stack() as (settings, _):
        async with Client(settings=settings) as client, Runs(client) as runs:
            request = Requested(suite="primitives", scenario="all", params=_QUICK if quick else {})
            for _ in range(1 if quick else TURNS):
                run, _ = await runs.run(request, patience_s=_LIMIT_S)
                events = await client.log.read_run(run)
                found += [event.data for event in events if isinstance(event.data, Completed)]
    return found


def _rows(runs: Sequence[Completed]) -> list[Row]:
    rows = []
    units = {metric.name: metric.unit for run in runs for metric in run.metrics}
    for at, target in enumerate(runs[0].targets):
        values = [run.targets[at].value for run in runs]
        # A count that must be 0 is at most that.
        bound = f"{'<=' if target.op == '==' else target.op} {target.target:.10g}"
        if all(value is not None for value in values):
            rows.append(
                Row(
                    name=target.metric,
                    what="",
                    unit=units[target.metric],
                    samples=tuple(float(value) for value in values if value is not None),
                    target=bound,
                )
            )
    return rows


def _notes(runs: Sequence[Completed]) -> list[str]:
    last = runs[-1]
    found = [f"{target.metric}: not measured" for target in last.targets if target.value is None]
    shown: dict[str, Any] = last.result["primitives"]
    found += [
        f"{curve['scenario']} {curve['variant']}: exponent {curve['exponent']:.2f} "
        f"[{curve['low']:.2f}, {curve['high']:.2f}], promised {curve['growth'] or 'nothing'}, {curve['verdict']}"
        for curve in shown["curves"]
        if curve["exponent"] is not None
    ]
    found += [
        f"{metric.name}: {metric.value:.2f}"
        for metric in last.metrics
        if metric.name.startswith("speed_up") and metric.value is not None
    ]
    unstable = [
        f"{row['scenario']} {row['variant']} {row['size']}" for row in shown["rows"] if row["unstable"]
    ]
    return [*found, f"unstable ({len(unstable)} of {len(shown['rows'])}): {', '.join(unstable) or 'none'}"]


def run(quick: bool) -> tuple[list[Row], list[str]]:
    before = _machine(quick)
    runs = run_async(_runs(quick), _LIMIT_S * TURNS)
    bare = [before, _machine(quick)]
    floor = [
        Row(
            name=f"the machine: {name}",
            what="bare loops, before the runs and after them",
            unit="ratio",
            samples=tuple(one[at] for one in bare),
        )
        for at, name in enumerate(("parallel_efficiency", "variation"))
    ]
    return [*_rows(runs), *floor], _notes(runs)


BENCH = Bench("primitives", "the 24 scenarios of the primitives suite, and their targets", run)

if __name__ == "__main__":
    alone(BENCH)
