"""How a comparison looks to people, and as a document."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import msgspec

from swarm_cli import output, render
from swarm_cli.comparing import Comparison
from swarm_cli.comparing_groups import many, what
from swarm_cli.comparing_rows import Row
from swarm_cli.render import Cell

COLOURS = {"regression": "red", "improvement": "green", "equal": "", "inconclusive": "yellow"}


def show(comparison: Comparison) -> None:
    """Print a table a group, the reasons below it, and the verdict over all."""
    for title, rows in groupby(comparison.rows, key=lambda row: what(row.suite, row.scenario, row.params)):
        _show_group(title, list(rows))
    for note in comparison.notes:
        output.line(f"note: {note}")
    counts = [
        many(sum(row.verdict == verdict for row in comparison.rows), verdict)
        if verdict in {"regression", "improvement"}
        else f"{sum(row.verdict == verdict for row in comparison.rows)} {verdict}"
        for verdict in COLOURS
        if any(row.verdict == verdict for row in comparison.rows)
    ]
    looks = f" over {comparison.looks} looks" if comparison.looks > 1 else ""
    what_for = f"shifts of {comparison.threshold * 100:.3g} % or more, at {comparison.alpha:.3g}{looks}"
    output.line(
        render.styled(comparison.verdict, COLOURS[comparison.verdict])
        + f": {', '.join(counts) or 'nothing could be compared'} ({what_for})"
    )


def _show_group(title: str, rows: list[Row]) -> None:
    cells: list[list[Cell]] = [
        [
            row.metric,
            _side(row.base, row.base_low, row.base_high, row.unit),
            _side(row.head, row.head_low, row.head_high, row.unit),
            percent(row.shift),
            _interval(row),
            "" if row.p_adjusted is None else f"{row.p_adjusted:.2g}",
            _n(row),
            (row.verdict, COLOURS[row.verdict]),
        ]
        for row in rows
    ]
    render.table(
        ["metric", "base", "head", "shift", "interval", "p", "n", "verdict"],
        cells,
        title=title.removeprefix("/"),
        right=(1, 2, 3, 5),
    )
    reasons: dict[str, list[str]] = {}
    for row in rows:
        reasons.setdefault(f"{row.reason}{_needs(row)}", []).append(row.metric)
    for reason, metrics in reasons.items():
        output.line(f"  {', '.join(metrics)}: {reason}")


def _side(value: float | None, low: float | None, high: float | None, unit: str) -> str:
    own = render.interval(low, high, unit)
    return render.number(value, unit) + (f" {own}" if own else "")


def _interval(row: Row) -> str:
    if row.p is None or row.shift is None:
        return ""
    return f"[{percent(row.low) or '?'}, {percent(row.high) or '?'}]"


def _n(row: Row) -> str:
    if row.per in {"pair", "seed"}:
        return many(row.n_base, row.per)
    return f"{row.n_base}+{row.n_head} {row.per}s"


def _needs(row: Row) -> str:
    if row.needs is None or row.needs <= min(row.n_base, row.n_head):
        return ""
    each = "pairs" if row.per == "pair" else f"{row.per}s a side"
    return f"; about {row.needs} {each} would decide"


def percent(part: float | None) -> str:
    """Return a shift in per cent with its sign; nothing for none."""
    return "" if part is None else f"{part * 100:+.1f} %"


def document(comparison: Comparison, **beside: Any) -> dict[str, Any]:
    """Return the comparison as plain JSON."""
    plain: dict[str, Any] = msgspec.to_builtins(comparison)
    return {**beside, **plain, "exit_code": comparison.exit_code}
