"""What was measured, row by row: a scenario's variant at a size, and its cost curve."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from swarm_common.events import Metric, Samples
from swarm_common.events.consensus import Decided, Measured
from swarm_common.events.measuring import MeasuredData, Timing
from swarm_common.events.metrics import CurveFitted
from swarm_common.timing import timing_of
from swarm_coordinator.plans import Fact, SoFar
from swarm_coordinator.suites.primitives.catalogue import BY_NAME
from swarm_coordinator.suites.primitives.tasks import measured

_PROMISED = frozenset(target.metric for entry in BY_NAME.values() for target in entry.targets)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario's variant at a size. Times are of one operation, in microseconds; ``None``: not measured."""

    scenario: str
    variant: str
    size: int
    counts: str
    """What the size counts."""
    operation: str
    p50_us: float | None
    p99_us: float | None
    n: int
    unstable: bool
    bytes: float | None
    loops: int
    source: str


class CurveRow(msgspec.Struct, frozen=True, kw_only=True):
    """How the time of an operation grows with the size."""

    scenario: str
    variant: str
    growth: str
    """What is promised; empty: nothing."""
    exponent: float | None
    low: float | None
    high: float | None
    model: str
    verdict: str
    sizes: tuple[int, ...]
    times_us: tuple[float, ...]
    source: str


def rows_of(sofar: SoFar) -> list[Row]:
    """Return a row for each measurement, by the order of the catalogue and by size."""
    found = []
    for task in sorted(sofar.results):
        fact = sofar.results[task]
        if isinstance(fact.data, MeasuredData) and task == _task_of(fact.data):
            found.append(_row(fact.event, fact.data))
        elif isinstance(fact.data, Measured) and task.startswith("consensus_latency-"):
            found.append(_decided(fact, fact.data, sofar.facts[task]))
    order = {name: place for place, name in enumerate(BY_NAME)}
    return sorted(found, key=lambda row: (order.get(row.scenario, len(order)), row.variant, row.size))


def curves_of(sofar: SoFar) -> list[CurveRow]:
    """Return a row for each cost curve."""
    found = []
    for task in sorted(sofar.results):
        fact = sofar.results[task]
        data = fact.data
        if isinstance(data, CurveFitted):
            found.append(
                CurveRow(
                    scenario=data.scenario,
                    variant=data.variant,
                    growth=data.growth,
                    exponent=data.exponent,
                    low=data.low,
                    high=data.high,
                    model=data.model,
                    verdict=data.verdict,
                    sizes=data.sizes,
                    times_us=data.times_us,
                    source=fact.event,
                )
            )
    order = {name: place for place, name in enumerate(BY_NAME)}
    return sorted(found, key=lambda row: (order.get(row.scenario, len(order)), row.variant))


def _task_of(data: MeasuredData) -> str:
    """Return the task that measures this for its own sake, and not as a part of the whole."""
    entry = BY_NAME.get(data.scenario)
    return "" if entry is None else measured(entry, data.variant, data.size)


def _row(event: str, data: MeasuredData) -> Row:
    timing = data.timings[0] if data.timings else None
    single = next((one for one in data.timings if one.name.endswith(".single")), timing)
    weight = next((one for one in data.samples if one.unit == "bytes"), None)
    return Row(
        scenario=data.scenario,
        variant=data.variant,
        size=data.size,
        counts=_counts(data.scenario),
        operation=data.operation,
        p50_us=None if timing is None else timing.p50_us,
        p99_us=None if single is None else single.p99_us,
        n=0 if timing is None else timing.n,
        unstable=any(one.unstable for one in data.timings[:1]),
        bytes=None if weight is None else statistics.median(weight.values),
        loops=1 if timing is None else timing.loops * timing.operations,
        source=event,
    )


def _decided(fact: Fact, data: Measured, told: Sequence[Fact]) -> Row:
    """Return the row of a live swarm: of those decisions in which its agents were not of one mind."""
    decisions = [one.data for one in told if isinstance(one.data, Decided)]
    divided = [
        one.latency_us for one in decisions if data.agents == 1 or len(one.certificate.get("votes", ())) > 1
    ]
    timing: Timing | None = timing_of("consensus_latency", divided) if divided else None
    return Row(
        scenario="consensus_latency",
        variant="",
        size=data.agents,
        counts=_counts("consensus_latency"),
        operation=f"a decision of {data.agents} agents by vote, from asking to knowing"
        + (
            ""
            if data.agents == 1
            else f"; {len(divided)} of {len(decisions)} divided them, and these are timed"
        ),
        p50_us=None if timing is None else timing.p50_us,
        p99_us=None if timing is None else timing.p99_us,
        n=len(divided),
        unstable=timing is not None and timing.unstable,
        bytes=None,
        loops=1,
        source=fact.event,
    )


def _counts(scenario: str) -> str:
    entry = BY_NAME.get(scenario)
    return "" if entry is None else entry.size


def name_of(row: Row | CurveRow) -> str:
    """Return what a row's metrics are called after: ``agent_spawning.warm.8``."""
    size = str(row.size) if isinstance(row, Row) else ""
    return ".".join(part for part in (row.scenario, row.variant, size) if part)


def metrics_of(rows: Sequence[Row], curves: Sequence[CurveRow]) -> Iterator[Metric]:
    """Return p50, p99 and bytes of each row, and the exponent of each curve."""
    for row in rows:
        name = name_of(row)
        if row.bytes is not None:
            yield _metric(row, f"bytes.{name}", row.bytes, "bytes", "median", "nothing was weighed")
        if row.p50_us is None and row.bytes is not None:
            continue
        yield _metric(row, f"p50.{name}", row.p50_us, "us", f"median of {row.operation}", "nothing was timed")
        # A few samples of something long have no 99th percentile, and a line for each that says so says nothing.
        if row.p99_us is not None or f"p99.{name}" in _PROMISED:
            yield _metric(
                row, f"p99.{name}", row.p99_us, "us", "99th percentile", "fewer than a hundred samples"
            )
    for curve in curves:
        yield Metric(
            name=f"exponent.{name_of(curve)}",
            value=curve.exponent,
            unit="ratio",
            better="lower",
            n=len(curve.sizes),
            low=curve.low,
            high=curve.high,
            estimator="slope of log time over log size, Theil-Sen; 95 % bootstrap over samples",
            timing=True,
            source=(curve.source,),
            reason="" if curve.exponent is not None else "fewer than three sizes",
        )


def _metric(row: Row, name: str, value: float | None, unit: str, how: str, reason: str) -> Metric:
    return Metric(
        name=name,
        value=value,
        unit=unit,
        better="lower",
        n=row.n or None,
        estimator=how,
        timing=True,
        source=(row.source,),
        reason="" if value is not None else reason,
    )


def of(sofar: SoFar, task: str) -> tuple[Mapping[str, Samples], str]:
    """Return the samples of a measurement by name, and the id of its event; none where it was not made."""
    fact = sofar.results.get(task)
    if fact is None or not isinstance(fact.data, MeasuredData):
        return {}, ""
    return {one.name: one for one in fact.data.samples}, fact.event


def spread(values: Sequence[float]) -> float | None:
    """Return the coefficient of variation: standard deviation over mean; ``None`` for fewer than two values."""
    if len(values) < 2:
        return None
    mean = math.fsum(values) / len(values)
    return statistics.stdev(values) / mean if mean > 0 else None


def builtins(rows: Sequence[Any]) -> list[Any]:
    """Return rows as plain objects, for the result."""
    return [msgspec.to_builtins(row) for row in rows]
