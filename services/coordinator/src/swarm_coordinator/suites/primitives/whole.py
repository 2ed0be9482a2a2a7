"""Metrics of several rows together: throughput, speed-up, variation, and curves that are steeper than promised."""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator, Sequence

from swarm_common.events import Metric
from swarm_coordinator.plans import SoFar
from swarm_coordinator.suites.primitives.catalogue import BY_NAME
from swarm_coordinator.suites.primitives.rows import CurveRow, Row, of, spread
from swarm_coordinator.suites.primitives.tasks import measured

_RESAMPLES = 2000


def whole_metrics(sofar: SoFar, rows: Sequence[Row], curves: Sequence[CurveRow]) -> Iterator[Metric]:
    """Return what the targets are about beside the rows' own figures."""
    yield from _throughput(rows)
    yield from _speed_up(sofar, rows)
    yield from _variation(sofar, rows)
    promised = [curve for curve in curves if curve.growth]
    if promised:
        steeper = [curve for curve in promised if curve.verdict == "steeper"]
        yield Metric(
            name="steeper_than_promised",
            value=len(steeper),
            unit="count",
            better="lower",
            n=len(promised),
            estimator="cost curves whose exponent's whole interval lies above what is promised: "
            + (", ".join(f"{curve.scenario} {curve.variant}".strip() for curve in steeper) or "none"),
            timing=True,
            source=tuple(curve.source for curve in promised),
        )
    unstable = [row for row in rows if row.unstable]
    yield Metric(
        name="unstable",
        value=len(unstable),
        unit="count",
        better="lower",
        n=len(rows),
        estimator="rows whose samples' standard deviation is over 10 % of their mean",
        timing=True,
        source=tuple(row.source for row in rows),
    )


def _throughput(rows: Sequence[Row]) -> Iterator[Metric]:
    found = [row for row in rows if row.scenario == "orchestration_throughput" and row.p50_us]
    rates = [(row.size / row.p50_us * 1e6, row) for row in found if row.p50_us]
    for rate, row in rates:
        yield _rate(f"orchestration_throughput.{row.size}", rate, row)
    if rates:
        # The least of the sizes: a target is met where it is met at each.
        rate, row = min(rates, key=lambda pair: pair[0])
        yield _rate("orchestration_throughput", rate, row)


def _rate(name: str, rate: float, row: Row) -> Metric:
    return Metric(
        name=name,
        value=rate,
        unit="tasks/s",
        better="higher",
        n=row.n,
        estimator=f"{row.size} tasks over the median time of a batch, end to end",
        timing=True,
        source=(row.source,),
    )


def _speed_up(sofar: SoFar, rows: Sequence[Row]) -> Iterator[Metric]:
    entry = BY_NAME["parallel_agents"]
    least: tuple[float, str] | None = None
    for row in rows:
        if row.scenario == "parallel_agents":
            task = measured(entry, row.variant, row.size)
            samples, event = of(sofar, task)
            name = f"parallel_agents.{row.size}"
            ratios = [
                alone / together
                for alone, together in zip(samples[f"{name}.alone"].values, samples[name].values, strict=True)
            ]
            speed_up = statistics.median(ratios)
            cores = sofar.results[task].data.host.cores  # type: ignore[attr-defined]
            yield Metric(
                name=f"speed_up.{row.size}",
                value=speed_up,
                unit="ratio",
                n=len(ratios),
                low=min(ratios),
                high=max(ratios),
                estimator=f"median over pairs of one agent's time over {row.size} agents' for the same work, on "
                f"{cores} cores; least and greatest pair",
                timing=True,
                source=(event,),
            )
            efficiency = speed_up / min(row.size, cores)
            least = min(least, (efficiency, event)) if least else (efficiency, event)
    if least is not None:
        yield Metric(
            name="parallel_efficiency",
            value=least[0],
            unit="ratio",
            n=sum(row.scenario == "parallel_agents" for row in rows),
            estimator="least over the sizes of the speed-up, divided by the agents or the cores, whichever are fewer",
            timing=True,
            source=(least[1],),
        )
    yield from _at_once(rows)


def _at_once(rows: Sequence[Row]) -> Iterator[Metric]:
    found = {(row.variant, row.size): row for row in rows if row.scenario == "concurrent_execution"}
    for (variant, size), alone in found.items():
        together = found.get(("together", size))
        if variant == "alone" and together is not None and alone.p50_us and together.p50_us:
            yield Metric(
                name=f"speed_up.swarms.{size}",
                value=alone.p50_us / together.p50_us,
                unit="ratio",
                n=alone.n,
                estimator=f"median time of {size} swarms one after the other over that of all at once",
                timing=True,
                source=(alone.source, together.source),
            )


def _variation(sofar: SoFar, rows: Sequence[Row]) -> Iterator[Metric]:
    entry = BY_NAME["integrated"]
    for row in rows:
        if row.scenario != "integrated":
            continue
        samples, event = of(sofar, measured(entry, "", row.size))
        values = samples[f"integrated.{row.size}"].values
        found = spread(values)
        low, high = _ends(values, sofar.seed)
        yield Metric(
            name="variation",
            value=found,
            unit="ratio",
            better="lower",
            n=len(values),
            low=low,
            high=high,
            estimator=f"standard deviation over mean of the times of the whole; 95 % bootstrap, {_RESAMPLES} resamples",
            timing=True,
            source=(event,),
            reason="" if found is not None else "fewer than two rounds",
        )


def _ends(values: Sequence[float], seed: int) -> tuple[float | None, float | None]:
    """Return the 95 % percentile interval of the coefficient of variation (Efron 1979)."""
    if len(values) < 3:
        return None, None
    draw = random.Random(f"{seed}/variation")  # noqa: S311 - seeded, nothing secret
    found = sorted(spread(draw.choices(values, k=len(values))) or 0.0 for _ in range(_RESAMPLES))
    return found[int(0.025 * _RESAMPLES)], found[int(0.975 * _RESAMPLES)]
