"""The tables of a primitives run, read from its result: a row a scenario and size, and the cost curves."""

from __future__ import annotations

from typing import Any

import msgspec

from swarm_cli import output, render
from swarm_cli.render import Cell
from swarm_common.events import JudgedTarget
from swarm_common.runs import RunView


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario's variant at a size; see the coordinator's ``rows.Row``."""

    scenario: str
    variant: str = ""
    size: int
    counts: str = ""
    operation: str = ""
    p50_us: float | None = None
    p99_us: float | None = None
    n: int = 0
    unstable: bool = False
    bytes: float | None = None
    loops: int = 1

    @property
    def name(self) -> str:
        """What its metrics are called after."""
        return ".".join(part for part in (self.scenario, self.variant, str(self.size)) if part)


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """How time grows with the size."""

    scenario: str
    variant: str = ""
    growth: str = ""
    exponent: float | None = None
    low: float | None = None
    high: float | None = None
    model: str = ""
    verdict: str = ""
    sizes: tuple[int, ...] = ()
    times_us: tuple[float, ...] = ()

    @property
    def title(self) -> str:
        """Scenario and variant, for people."""
        return " ".join(part for part in (self.scenario, self.variant) if part)


class Primitives(msgspec.Struct, frozen=True, kw_only=True):
    """What a primitives run has to show."""

    rows: tuple[Row, ...] = ()
    curves: tuple[Curve, ...] = ()


COLUMNS = ("scenario", "way", "size", "p50", "p99", "bytes", "n", "", "target")
RIGHT = (2, 3, 4, 5, 6)
CURVE_COLUMNS = ("cost curve", "way", "promised", "exponent", "interval", "fits best", "verdict")
_VERDICTS = {"kept": "green", "steeper": "red", "undecided": "yellow"}


def primitives_of(view: RunView) -> Primitives | None:
    """Return the tables of a run; ``None`` where its result has none, as in other suites."""
    found: Any = view.result.get("primitives") if view.suite == "primitives" else None
    if found is None:
        return None
    try:
        return msgspec.convert(found, Primitives)
    except msgspec.ValidationError:
        return None


def is_told(view: RunView, metric: str) -> bool:
    """Say whether a metric of such a run stands in its tables: those of one row, without a target of its own."""
    return "." in metric and all(target.metric != metric for target in view.targets)


def show_primitives(found: Primitives, view: RunView) -> None:
    """Print the rows, and the curves."""
    if found.rows:
        rows, before = [], ("", "")
        for row in found.rows:
            cells = row_cells(row, view)
            # Named once: a scenario has several sizes below one another.
            same = before == (row.scenario, row.variant)
            rows.append(["", "", *cells[2:]] if same else cells)
            before = (row.scenario, row.variant)
        render.table(list(COLUMNS), rows, title="one operation, by size", right=RIGHT)
        if any(row.unstable for row in found.rows):
            output.line(render.styled(UNSTABLE, "dim"))
    if found.curves:
        render.table(
            list(CURVE_COLUMNS),
            [curve_cells(one) for one in found.curves],
            title="how time grows",
            right=(3,),
        )


UNSTABLE = "unstable: the samples' standard deviation is over 10 % of their mean, as on a machine in use"


def row_cells(row: Row, view: RunView) -> list[Cell]:
    """Return a row of :data:`COLUMNS`."""
    return [
        row.scenario,
        row.variant.replace("_", " "),
        f"{row.size} {row.counts}",
        duration(row.p50_us),
        duration(row.p99_us),
        "" if row.bytes is None else render.size(row.bytes),
        "" if not row.n else str(row.n),
        ("unstable", "yellow") if row.unstable else "",
        target_cell([target for target in view.targets if target.metric.partition(".")[2] == row.name]),
    ]


def target_cell(targets: list[JudgedTarget]) -> Cell:
    """Return ``p50 < 50 ms met``, in its colour."""
    if not targets:
        return ""
    texts = []
    for one in targets:
        what = one.metric.partition(".")[0]
        promised = render.size(one.target) if what == "bytes" else duration(one.target)
        texts.append(f"{what} {one.op} {promised} {'met' if one.met else 'MISSED'}")
    return ", ".join(texts), "green" if all(one.met for one in targets) else "red"


def curve_cells(one: Curve) -> list[Cell]:
    """Return a row of :data:`CURVE_COLUMNS`."""
    return [
        one.scenario,
        one.variant.replace("_", " "),
        one.growth or "nothing",
        "" if one.exponent is None else f"{one.exponent:.2f}",
        "" if one.low is None or one.high is None else f"[{one.low:.2f}, {one.high:.2f}]",
        one.model,
        (one.verdict, _VERDICTS.get(one.verdict, "")),
    ]


def duration(us: float | None) -> str:
    """Return a time given in microseconds; nanoseconds for less than one."""
    if us is None:
        return ""
    return f"{us * 1e3:.0f} ns" if 0 <= us < 1 else render.microseconds(us)
