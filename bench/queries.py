"""Queries of metrics' view with a million samples in it: a mixture of them, straight and through the service.

The view is filled by the projection from events such as services write: of 1,000 runs, each with tasks, metrics and ten
sets of a hundred samples. Queries are drawn from a seed; each is timed by itself, from the call to the plain answer, or
over NATS from the request to the decoded reply. How long it takes to make the view anew is that very filling.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from kit.cli import alone, run_async
from kit.measure import Bench, Row, quantile
from kit.servers import scratch, stack

from swarm_common import Client, clock
from swarm_common.events import Data, Event, Host, Metric, Samples
from swarm_common.events.benchmark import Completed, Started, TaskScheduled
from swarm_common.events.envelope import encode, new_event
from swarm_common.events.measuring import Clock
from swarm_common.events.metrics import CaseMeasured
from swarm_metrics import asking, queries, summaries
from swarm_metrics.projection import Projection, rebuild
from swarm_metrics.view import Query, Reader

SAMPLES = 100
NAMES = tuple(f"step_{number}" for number in range(10))
SESSIONS, SUITES = 20, ("primitives", "neural", "ensemble", "noop")
TARGET = "< 100"
HOST = Host(cpu="", cores=2, system="", python="")
_EVERY_NS = 60_000_000_000
ASKED: dict[str, Query] = {
    "runs": queries.runs,
    "run": queries.run,
    "sessions": queries.sessions,
    "metrics": queries.metrics,
    "history": queries.history,
    "samples": queries.samples,
    "summary": summaries.summary,
}


def _run(number: int, draw: Random) -> Iterator[Data]:
    """Yield the data of a run: 10 tasks, 1,000 samples, 12 metrics."""
    suite = SUITES[number % len(SUITES)]
    yield Started(
        request_id=f"request-{number}",
        suite=suite,
        scenario=f"scenario_{number % 5}",
        params={"size": number % 7},
        session=f"session-{number % SESSIONS}",
        seed=number,
        timeout_s=60.0,
        deadline="2027-01-01T00:00:00Z",
        tasks=(),
    )
    for place, name in enumerate(NAMES):
        yield TaskScheduled(task=f"t{place}", kind="measure", service="metrics")
        values = tuple(draw.lognormvariate(3, 0.5) for _ in range(SAMPLES))
        yield CaseMeasured(
            task=f"t{place}",
            scenario=f"scenario_{number % 5}",
            size=100,
            checked={"good": True},
            samples=(Samples(name=name, unit="us", values=values, of=str(number % 3)),),
            timings=(),
            host=HOST,
            clock=Clock(cost_ns=40.0, resolution_ns=1.0),
            elapsed_s=0.1,
        )
    yield Completed(
        result={},
        metrics=tuple(
            Metric(name=f"metric_{place}", value=draw.random(), unit="ratio", n=100) for place in range(12)
        ),
        targets=(),
        digest="",
        duration_s=1.0,
        clock="perf_counter",
        tasks=10,
        attempts=10,
        events=22,
        log_sha256="",
    )


def log_of(runs: int) -> Iterator[Event]:
    """Yield the events of so many runs, a minute apart, as they would be read from a log."""
    draw, seq = Random(1), 0  # noqa: S311 - seeded, nothing secret
    for number in range(runs):
        for index, data in enumerate(_run(number, draw)):
            seq += 1
            event = new_event(
                data,
                run=f"{number:016x}",
                source="/swarm/bench/1",
                cause=f"cause-{number}",
                handler="bench",
                index=index,
                duration_us=draw.randrange(1, 10_000),
                time_ns=1_795_000_000_000_000_000 + number * _EVERY_NS + index * 1000,
            )
            yield msgspec.structs.replace(event, raw=encode(event), seq=seq)


def _time(draw: Random, runs: int) -> str:
    at = 1_795_000_000 + draw.randrange(runs) * 60
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def mixture(count: int, runs: int) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield queries by their kind, drawn from a seed: label, name, what is given."""
    draw = Random(2)  # noqa: S311 - seeded, nothing secret
    kinds = (
        "the latest runs", "runs of a session", "runs since", "a run", "sessions", "a run's metrics",
        "a metric of a session", "history", "history of a suite", "samples of a run", "samples of a name",
        "samples since", "a later page of samples", "a run's summary", "a session's summary", "summary since",
        "a name's summary", "summary of all",
    )  # fmt: skip
    for number in range(count):
        kind = kinds[number % len(kinds)]
        run, session = f"{draw.randrange(runs):016x}", f"session-{draw.randrange(SESSIONS)}"
        name, since = draw.choice(NAMES), _time(draw, runs)
        metric = f"metric_{draw.randrange(12)}"
        given: dict[str, tuple[str, dict[str, Any]]] = {
            "the latest runs": ("runs", {}),
            "runs of a session": ("runs", {"session": session}),
            "runs since": ("runs", {"since": since, "status": "completed"}),
            "a run": ("run", {"run": run}),
            "sessions": ("sessions", {}),
            "a run's metrics": ("metrics", {"run": run}),
            "a metric of a session": ("metrics", {"name": metric, "session": session}),
            "history": ("history", {"metric": metric}),
            "history of a suite": ("history", {"metric": metric, "suite": draw.choice(SUITES)}),
            "samples of a run": ("samples", {"run": run, "limit": 1000}),
            "samples of a name": ("samples", {"name": name, "limit": 1000}),
            "samples since": ("samples", {"name": name, "since": since, "limit": 1000}),
            "a later page of samples": ("samples", {"limit": 1000, "cursor": _cursor(draw, runs)}),
            "a run's summary": ("summary", {"run": run}),
            "a session's summary": ("summary", {"session": session}),
            "summary since": ("summary", {"since": since, "name": name}),
            "a name's summary": ("summary", {"name": name}),
            "summary of all": ("summary", {}),
        }
        yield (kind, *given[kind])


def _cursor(draw: Random, runs: int) -> str:
    number = draw.randrange(runs)
    began = clock.format_ns(1_795_000_000_000_000_000 + number * _EVERY_NS)
    return asking.after(began, f"{number:016x}", draw.choice(NAMES), 0, 0, 0)


def rows_of(found: Mapping[str, list[float]], how: str) -> list[Row]:
    """Return p50 and p99 of each kind of query in milliseconds."""
    rows = []
    for kind, times in found.items():
        rows.append(Row(name=f"{how}: {kind}", what="p50", unit="ms", samples=(statistics.median(times),)))
        rows.append(Row(name="", what="p99", unit="ms", samples=(quantile(times, 0.99),), target=TARGET))
    every = [one for times in found.values() for one in times]
    rows.append(Row(name=f"{how}: all", what="p50", unit="ms", samples=(statistics.median(every),)))
    rows.append(Row(name="", what="p99", unit="ms", samples=(quantile(every, 0.99),), target=TARGET))
    return rows


async def _straight(path: Path, count: int, runs: int) -> list[Row]:
    found: dict[str, list[float]] = {}
    reader = Reader(path)
    try:
        for kind, name, given in [
            *mixture(18, runs),
            *mixture(count, runs),
        ]:  # the first of each loads and warms up
            began = time.perf_counter_ns()
            await reader.ask(ASKED[name], given)
            found.setdefault(kind, []).append((time.perf_counter_ns() - began) / 1e6)
    finally:
        reader.close()
    return rows_of({kind: times[1:] for kind, times in found.items()}, "view")


async def _view(client: Client, good: Callable[[dict[str, Any]], bool]) -> None:
    """Wait until the view stands as it should; asking counts its rows, so it is not asked without a pause."""
    while not good(await client.query("metrics", "view", timeout_s=30.0)):  # noqa: ASYNC110 - another process's state
        await asyncio.sleep(0.1)


async def _over_nats(count: int, runs: int) -> tuple[list[Row], list[str]]:
    with stack() as (settings, _):
        async with Client(settings=settings) as client:
            began = time.perf_counter()
            batch: list[Event] = []
            for event in log_of(runs):
                batch.append(event)
                if len(batch) == 500:
                    await client.log.import_events(batch)
                    batch = []
            if batch:
                await client.log.import_events(batch)
            await _view(client, lambda told: not told["behind"])
            stored = time.perf_counter() - began
            began = time.perf_counter()
            await client.query("metrics", "rebuild", timeout_s=30.0)
            await _view(client, lambda told: told["rebuilding"] is None)
            again = time.perf_counter() - began
            found: dict[str, list[float]] = {}
            for kind, name, given in [*mixture(18, runs), *mixture(count, runs)]:
                began_ns = time.perf_counter_ns()
                await client.query("metrics", name, given, timeout_s=30.0)
                found.setdefault(kind, []).append((time.perf_counter_ns() - began_ns) / 1e6)
    rows = rows_of({kind: times[1:] for kind, times in found.items()}, "nats")
    rows.append(Row(name="rebuild", what="by the service, from the log", unit="s", samples=(again,)))
    return rows, [f"importing {runs:,} runs and having them in the view took {stored:.1f} s"]


def run(quick: bool) -> tuple[list[Row], list[str]]:
    runs, count = (100, 180) if quick else (1000, 2000)
    with scratch() as home:
        path = home / "view.sqlite"
        events = list(log_of(runs))
        Projection(path).close()
        gc.collect()
        began = time.perf_counter()
        rebuild(path, events, "bench")
        seconds = time.perf_counter() - began
        values = runs * len(NAMES) * (SAMPLES + 1)
        notes = [
            f"{runs:,} runs, {len(events):,} events, {values:,} samples, {path.stat().st_size / 1e6:.0f} MB"
        ]
        rows = run_async(_straight(path, count, runs))
        rows.append(Row(name="rebuild", what="from events in memory", unit="s", samples=(seconds,)))
        rows.append(Row(name="rebuild", what="the same", unit="samples/s", samples=(values / seconds,)))
    more, said = run_async(_over_nats(count, runs))
    return rows + more, notes + said


BENCH = Bench("queries", "queries of a view with a million samples", run)

if __name__ == "__main__":
    alone(BENCH)
