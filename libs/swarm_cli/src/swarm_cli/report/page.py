"""The report as one HTML page that stands alone: no script, no font, no image from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, StrictUndefined

import swarm_common
from swarm_cli import render
from swarm_cli.coordination import coordination_of
from swarm_cli.hive import hive_of, tells
from swarm_cli.leaderboard import Arm, Board, Strategy, beside_text, board_of, mark, verdict_text
from swarm_cli.neural import neural_of
from swarm_cli.primitives import is_told, primitives_of
from swarm_cli.progress import describe
from swarm_cli.report import (
    charts,
    coordination_charts,
    hive_charts,
    model_charts,
    neural_charts,
    primitives_charts,
)
from swarm_cli.report.diagnosis import diagnose
from swarm_cli.report.facts import Ensemble, ensembles
from swarm_cli.report.workers import pieces
from swarm_cli.result import best_text
from swarm_common.events import Event, JudgedTarget, Metric
from swarm_common.runs import RunView
from swarm_common.timeline import service_of, timeline

#: Events listed on the page; the export holds them all.
MOST_EVENTS = 2000
_MOST_STEPS = 60
_MOST_PIECES = 500


def write_page(path: Path, view: RunView, events: Sequence[Event]) -> None:
    """Write the page."""
    path.write_text(page(view, events), encoding="utf-8")


def page(view: RunView, events: Sequence[Event]) -> str:
    """Return the page of a run with these events."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        number=render.number,
        us=render.microseconds,
        s=render.seconds,
        size=render.size,
        json=_pretty,
        day=render.day_time,
        share=_share,
        ends=_ends,
        words=render.value_text,
    )
    template = environment.from_string(
        resources.files(__package__).joinpath("page.html.j2").read_text(encoding="utf-8")
    )
    hive, coordination, neural = hive_of(view), coordination_of(view), neural_of(view)
    primitives = primitives_of(view)
    return template.render(
        _content(view, events),
        hive="" if hive is None else hive_charts.section(hive, environment),
        coordination="" if coordination is None else coordination_charts.section(coordination, environment),
        neural="" if neural is None else neural_charts.section(neural, environment),
        primitives="" if primitives is None else primitives_charts.section(primitives, view, environment),
    )


def _content(view: RunView, events: Sequence[Event]) -> dict[str, Any]:
    times = timeline(events)
    board = board_of(view)
    told = board is not None and board.told
    # What an older run's result leaves out stands in its events.
    found = [] if told else ensembles(events)
    work = pieces(events)
    best = view.summary()["best_known"]
    tables = any(of(view) is not None for of in (hive_of, coordination_of, neural_of))
    several = [one for one in view.metrics if tables and tells(one.name)]
    if primitives_of(view) is not None:
        several = [one for one in view.metrics if is_told(view, one.name)]
    metrics = [one for one in view.metrics if one not in several]
    return {
        "view": view,
        "version": swarm_common.__version__,
        "took": "" if view.duration_s is None else render.seconds(view.duration_s),
        "metrics": [_metric_row(metric, view.targets) for metric in metrics],
        "several": [_metric_row(metric, view.targets) for metric in several],
        "metric_chart": _metric_chart(view, metrics),
        "board": None if found else board,
        "verdict": "" if board is None else verdict_text(board),
        "board_chart": None if board is None else _board_chart(board),
        "devices": board is not None and any(row.device not in {"", "cpu"} for row in board.rows),
        "weighed": board is not None
        and any(row.weight is not None or row.gain is not None for row in board.rows),
        "mark": mark,
        "beside": beside_text,
        "ensembles": [(one, _leaderboard(one)) for one in found],
        "diagnosis": diagnose(events, "" if board is None else board.strategy),
        "work": work,
        "worked": model_charts.models_of(work),
        "most_pieces": _MOST_PIECES,
        "workers": model_charts.workers(work),
        "calibration": model_charts.calibration,
        "contest": _contest,
        "heat": _heat,
        "gantt": charts.gantt(times),
        "times": times,
        "path": times.path[-_MOST_STEPS:],
        "path_left_out": max(0, len(times.path) - _MOST_STEPS),
        "best": "" if best is None else best_text(best, view),
        "events": [_event_row(event) for event in events[:MOST_EVENTS]],
        "events_left_out": max(0, len(events) - MOST_EVENTS),
        "failed": [task for task in view.tasks.values() if task.status == "failed"],
    }


def _metric_row(metric: Metric, targets: Sequence[JudgedTarget]) -> dict[str, Any]:
    return {
        "metric": metric,
        "value": render.number(metric.value, metric.unit),
        "interval": render.interval(metric.low, metric.high, metric.unit),
        "targets": [
            (f"{one.op} {render.number(one.target, metric.unit)}", one.met)
            for one in targets
            if one.metric == metric.name
        ],
        "how": metric.estimator if metric.value is not None else f"not measured: {metric.reason}",
    }


def _metric_chart(view: RunView, metrics: Sequence[Metric]) -> Any:
    """Return the chart of those metrics that share an axis: the ratios of which more is better."""
    bars = [
        charts.Bar(
            metric.name,
            metric.value,
            metric.low,
            metric.high,
            metric.unit,
            [one.target for one in view.targets if one.metric == metric.name],
        )
        for metric in metrics
        if metric.unit == "ratio" and metric.value is not None and metric.better == "higher"
    ]
    return charts.intervals(bars, "Metrics between 0 and 1, with their intervals; a line marks a target")


def _leaderboard(ensemble: Ensemble) -> Any:
    bars = [
        charts.Bar(
            member.name,
            member.score.value,
            member.score.low,
            member.score.high,
            member.score.unit,
            (),
            member.together,
        )
        for member in ensemble.members
        if member.score is not None and member.score.value is not None
    ]
    return charts.intervals(bars, f"{ensemble.score_name} of each member and of all together")


def _board_chart(board: Board) -> Any:
    bars = [
        charts.Bar(row.model, row.score, row.low, row.high, "ratio", (), row.together)
        for row in board.rows
        if row.score is not None
    ]
    return charts.intervals(bars, f"{board.metric} of each model and of the ensemble, with intervals")


def _contest(sides: Sequence[Strategy] | Sequence[Arm], metric: str, what: str) -> Any:
    """Return the chart of strategies or arms beside each other."""
    bars = [
        charts.Bar(
            one.strategy if isinstance(one, Strategy) else one.arm, one.score, one.low, one.high, "ratio"
        )
        for one in sides
        if one.score is not None
    ]
    return charts.intervals(bars, f"{metric} of each {what}, with intervals")


def _heat(largest: float, value: float) -> str:
    """Return how strongly a cell is coloured: the fourth root keeps single errors visible beside hundreds of hits."""
    return f"{(value / largest) ** 0.25:.2f}" if largest and value else "0"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _ends(ends: tuple[float | None, float | None]) -> str:
    return render.interval(*ends, "ratio")


def _event_row(event: Event) -> dict[str, Any]:
    return {
        "seq": event.seq,
        "time": render.clock_time(event.time),
        "type": event.type,
        "who": f"{service_of(event)} {event.source.rpartition('/')[2]}",
        "what": describe(event).removeprefix(event.type).strip(),
        "id": event.id,
    }


def _pretty(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
