"""`swarm history`: a metric over many runs, and where its level changed. Needs numpy and scipy: import it late."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from swarm_cli import output, render
from swarm_cli.comparing_groups import by_start, many, values_of, what
from swarm_cli.comparing_runs import Facts
from swarm_cli.comparing_show import percent
from swarm_common.errors import NotFound
from swarm_statistics.changes import change_points

_WIDTH = 60


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One value of a series: a run, or all runs of one start of the services."""

    run: str
    """The first of them."""
    session: str
    time: str
    value: float
    runs: int


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """The level of a series changed."""

    time: str
    run: str
    session: str
    before: float
    after: float
    shift: float | None
    """After over before, as a part of before; ``None`` from zero."""
    p: float
    verdict: str
    """``regression`` or ``improvement``; ``changed`` where the metric has no better direction."""


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """A metric of like runs, oldest first."""

    suite: str
    scenario: str
    params: dict[str, Any]
    unit: str
    better: str
    points: tuple[Point, ...]
    changes: tuple[Moved, ...]


def series_of(
    runs: Sequence[Facts],
    metric: str,
    *,
    suite: str | None = None,
    scenario: str | None = None,
    session: str | None = None,
    last: int | None = None,
    threshold: float = 0.05,
) -> list[Series]:
    """Return a series for each kind of run that measured the metric.

    Raises :class:`NotFound` where none did, naming the metrics that there are.
    """
    chosen = [
        run
        for run in sorted(runs, key=lambda run: run.started)
        if (suite is None or run.suite == suite)
        and (scenario is None or run.scenario == scenario)
        and (session is None or fnmatchcase(run.session, session))
    ]
    groups: dict[bytes, list[Facts]] = {}
    for run in chosen:
        if values_of([run], metric):
            key = msgspec.json.encode([run.suite, run.scenario, run.params], order="deterministic")
            groups.setdefault(key, []).append(run)
    if not groups:
        there = sorted({one.name for run in chosen for one in run.metrics})
        words = f"; they have {', '.join(there)}" if there else ""
        raise NotFound(f"{many(len(chosen), 'run')}, and none measured {metric!r}{words}")
    return [_series(group[-last:] if last else group, metric, threshold) for group in groups.values()]


def _series(runs: Sequence[Facts], metric: str, threshold: float) -> Series:
    """Return the series of like runs; many runs of one start are one value, unless there is one start only."""
    starts = by_start(runs)
    units = list(starts.values()) if len(starts) > 1 else [[run] for run in runs]
    measure = next(one for one in runs[-1].metrics if one.name == metric)
    points = tuple(
        Point(
            run=unit[0].run,
            session=unit[0].session,
            time=unit[0].started,
            value=statistics.median(values_of(unit, metric)),
            runs=len(unit),
        )
        for unit in units
    )
    return Series(
        suite=runs[0].suite,
        scenario=runs[0].scenario,
        params=runs[0].params,
        unit=measure.unit,
        better=measure.better,
        points=points,
        changes=tuple(_moves(points, measure.better, threshold)),
    )


def _moves(points: Sequence[Point], better: str, threshold: float) -> list[Moved]:
    found = []
    for change in change_points([point.value for point in points], min_magnitude=threshold):
        point = points[change.index]
        worse = (change.after > change.before) == (better == "lower")
        verdict = "changed" if better == "neither" else "regression" if worse else "improvement"
        found.append(
            Moved(
                time=point.time,
                run=point.run,
                session=point.session,
                before=change.before,
                after=change.after,
                shift=(change.after - change.before) / abs(change.before) if change.before else None,
                p=change.p,
                verdict=verdict,
            )
        )
    return found


def show(metric: str, found: Sequence[Series]) -> None:
    """Print each series as a line of bars, with its changes below."""
    for series in found:
        values = [point.value for point in series.points]
        title = what(series.suite, series.scenario, series.params).removeprefix("/")
        output.line(f"{metric} of {title}: {many(len(values), 'value')}, {series.better} is better")
        low, high = render.number(min(values), series.unit), render.number(max(values), series.unit)
        last = values[-_WIDTH:]
        output.line(f"  {render.sparkline(last, bottom=min(last))}  {low} to {high}")
        first, end = series.points[0], series.points[-1]
        output.line(f"  {render.day_time(first.time)} to {render.day_time(end.time)}")
        rows: list[list[render.Cell]] = [
            [
                render.day_time(move.time),
                move.run,
                move.session,
                render.number(move.before, series.unit),
                render.number(move.after, series.unit),
                percent(move.shift),
                f"{move.p:.2g}",
                (move.verdict, {"regression": "red", "improvement": "green"}.get(move.verdict, "yellow")),
            ]
            for move in series.changes
        ]
        if rows:
            columns = ["since", "run", "session", "before", "after", "shift", "p", ""]
            render.table(columns, rows, right=(3, 4, 5, 6))
        else:
            output.line("  its level did not change")


def document(metric: str, found: Sequence[Series]) -> dict[str, Any]:
    """Return the series as plain JSON."""
    return {"metric": metric, "series": msgspec.to_builtins(found)}
