"""How the end of a run looks to people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from swarm_cli import output, render
from swarm_cli.coordination import coordination_of, show_coordination
from swarm_cli.hive import hive_of, show_hive, tells
from swarm_cli.leaderboard import board_of, show_board
from swarm_cli.neural import neural_of, show_neural
from swarm_cli.primitives import is_told, primitives_of, show_primitives
from swarm_cli.render import Cell
from swarm_common.events import JudgedTarget, Metric
from swarm_common.runs import RunView


def show_result(view: RunView) -> None:
    """Print a run: what it was, what it measured, what follows from it."""
    output.line(headline(view))
    if view.reason and view.status != "completed":
        output.line(
            render.styled(f"reason: {view.reason}", "red" if view.status != "cancelled" else "yellow")
        )
    if view.stopped:
        output.line(render.styled(f"only a part was done: {view.reason}", "yellow"))
    if view.rejected is not None and view.rejected.allowed:
        output.line(f"allowed: {view.rejected.allowed}")
    _show_measured(view)
    for text in _failed_tasks(view):
        output.line(render.styled(text, "red"))
    if (best := view.summary()["best_known"]) is not None:
        output.line(best_text(best, view))
    if view.suggestions:
        output.line("suggestions:")
        for suggestion in view.suggestions:
            output.line(f"  - {suggestion.text}")
    if view.digest:
        output.line(
            render.styled(
                f"digest {view.digest}" + ("" if view.deterministic else " (not deterministic)"), "dim"
            )
        )


def _show_measured(view: RunView) -> None:
    """Print the metrics, and the tables of the suite."""
    hive, coordination, neural = hive_of(view), coordination_of(view), neural_of(view)
    primitives = primitives_of(view)
    tables = any(one is not None for one in (hive, coordination, neural))
    shown = [one for one in view.metrics if not (tables and tells(one.name)) or _tasted(view, one.name)]
    if primitives is not None:
        shown = [one for one in view.metrics if not is_told(view, one.name)]
    if view.metrics:
        render.table(
            ["metric", "value", "interval", "n", "target", "how"],
            _metric_rows(view, shown),
            title="",
            right=(1, 3),
        )
    if (board := board_of(view)) is not None:
        show_board(board)
    if coordination is not None:
        show_coordination(coordination)
    if hive is not None:
        show_hive(hive, example=view.suite == "hive")
    if neural is not None:
        show_neural(neural)
    if primitives is not None:
        show_primitives(primitives, view)


def _tasted(view: RunView, metric: str) -> bool:
    """Say whether a metric stands in no table although its suite has one: `quick` shows scores and not how fast."""
    return view.suite == "quick" and metric.startswith("score.")


def headline(view: RunView) -> str:
    """Return one line: run, what, how it ended, how long it took."""
    what = f"{view.suite}/{view.scenario}" if view.suite else "?"
    took = "" if view.duration_s is None else f" in {render.seconds(view.duration_s)}"
    colour = render.COLOURS.get(view.status, "")
    status = render.styled("stopped" if view.stopped else view.status, colour)
    tasks = f", {view.count('done')} of {len(view.tasks)} tasks" if view.tasks else ""
    return f"run {render.styled(view.run, 'bold')}  {what}  {status}{took}{tasks}, {view.events} events"


def _metric_rows(view: RunView, metrics: Sequence[Metric]) -> list[list[Cell]]:
    targets: dict[str, list[JudgedTarget]] = {}
    for target in view.targets:
        targets.setdefault(target.metric, []).append(target)
    rows = [_metric_row(metric, targets.pop(metric.name, [])) for metric in metrics]
    rows += [
        [one.metric, render.number(one.value), "", "", _target_cell([one], ""), "no such metric was measured"]
        for left in targets.values()
        for one in left
    ]
    return rows


def _metric_row(metric: Metric, targets: list[JudgedTarget]) -> list[Cell]:
    how = metric.estimator if metric.value is not None else f"not measured: {metric.reason}"
    return [
        metric.name,
        render.number(metric.value, metric.unit),
        render.interval(metric.low, metric.high, metric.unit),
        "" if metric.n is None else str(metric.n),
        _target_cell(targets, metric.unit),
        how,
    ]


def _target_cell(targets: list[JudgedTarget], unit: str) -> Cell:
    if not targets:
        return ""
    texts = [
        f"{one.op} {render.number(one.target, unit)} {'met' if one.met else 'MISSED'}" for one in targets
    ]
    return ", ".join(texts), "green" if all(one.met for one in targets) else "red"


def _failed_tasks(view: RunView) -> list[str]:
    return [f"task {task.id} failed: {task.error}" for task in view.tasks.values() if task.status == "failed"]


def best_text(best: dict[str, Any], view: RunView) -> str:
    """Return the best value known before beside this run's own."""
    own = next((metric for metric in view.metrics if metric.name == best["metric"]), None)
    unit = own.unit if own else ""
    improved = {True: "; this run is better", False: "; this run is not better", None: ""}[best["improved"]]
    mine = "" if own is None else f", this run {render.number(own.value, unit)}"
    return (
        f"best known {best['metric']} {render.number(best['value'], unit)} (run {best['run']}, of {best['runs']} runs)"
        f"{mine}{improved}"
    )
