"""How numbers, times and tables look to people: colours and frames on a terminal, plain columns elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from swarm_cli import output

Cell = str | tuple[str, str]
"""Text, or text with a style such as ``green``."""

_SCALED = frozenset({"s", "us", "bytes"})
"""Units that are shown in whichever of their multiples reads best: both ends of an interval name theirs."""
_BARS = "▁▂▃▄▅▆▇█"
_BYTES = ("B", "KiB", "MiB", "GiB", "TiB")
COLOURS = {
    "completed": "green",
    "running": "cyan",
    "cancelling": "yellow",
    "cancelled": "yellow",
    "failed": "red",
    "rejected": "red",
}


def sparkline(values: Sequence[float | None], top: float | None = None, *, bottom: float = 0.0) -> str:
    """Return a character for each value, from ``bottom`` to the greatest or to ``top``; a space where there is none."""
    most = max((value for value in values if value is not None), default=bottom) if top is None else top
    room = most - bottom
    return "".join(
        " " if value is None else _BARS[max(0, min(7, int((value - bottom) / room * 8))) if room > 0 else 0]
        for value in values
    )


def status_cell(status: str) -> Cell:
    """Return a run's status in its colour."""
    return status, COLOURS.get(status, "")


def number(value: float | None, unit: str = "") -> str:
    """Return a number with as many digits as a person reads, in the unit it is best read in."""
    if value is None:
        return "-"
    match unit:
        case "s":
            return seconds(value)
        case "us":
            return microseconds(value)
        case "bytes":
            return size(value)
        case "count":
            return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"
        case "ratio" | "":
            return f"{value:.4f}".rstrip("0").rstrip(".") if abs(value) < 1e6 else f"{value:.4g}"
        case _:
            return f"{value:,.4g} {unit}" if abs(value) < 10_000 else f"{value:,.0f} {unit}"


def seconds(value: float) -> str:
    """Return a duration given in seconds."""
    if abs(value) < 1.0:
        return microseconds(value * 1e6)
    if abs(value) < 120.0:
        return f"{value:.0f} s" if value == int(value) and value >= 10 else f"{value:.2f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def microseconds(value: float) -> str:
    """Return a duration given in microseconds."""
    if abs(value) < 1000:
        return f"{value:.0f} µs" if abs(value) >= 10 or value == int(value) else f"{value:.2f} µs"
    if abs(value) < 1_000_000:
        return f"{value / 1000:.2f} ms"
    return f"{value / 1_000_000:.2f} s"


def size(value: float) -> str:
    """Return a number of bytes."""
    step = 0
    while abs(value) >= 1024 and step < len(_BYTES) - 1:
        value, step = value / 1024, step + 1
    return f"{value:.0f} {_BYTES[step]}" if step == 0 else f"{value:.1f} {_BYTES[step]}"


def interval(low: float | None, high: float | None, unit: str) -> str:
    """Return an interval, or nothing where there is none."""
    if low is None or high is None:
        return ""
    first = number(low, unit)
    return f"[{first.removesuffix(f' {unit}') if unit not in _SCALED else first}, {number(high, unit)}]"


def clock_time(time: str) -> str:
    """Return an RFC 3339 time without date and with milliseconds."""
    return time[11:23] if len(time) > 23 else time


def day_time(time: str) -> str:
    """Return an RFC 3339 time as ``2026-11-21 10:00:00``."""
    return time[:19].replace("T", " ")


def value_text(value: Any, longest: int = 100) -> str:
    """Return a value of JSON on one line, cut where it is long."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= longest else text[: longest - 1] + "…"


def table(
    columns: Sequence[str], rows: Sequence[Sequence[Cell]], *, title: str = "", right: Sequence[int] = ()
) -> None:
    """Print a table; ``right`` are the columns whose cells end at the right. Columns empty in all rows are left out."""
    used = [at for at in range(len(columns)) if any(_text(row[at]) for row in rows)]
    shown = [[row[at] for at in used] for row in rows]
    names = [columns[at] for at in used]
    ends = [at in right for at in used]
    if sys.stdout.isatty():
        _rich_table(names, shown, title, ends)
    else:
        for text in plain_table(names, shown, title, ends):
            output.line(text)


def plain_table(
    columns: Sequence[str], rows: Sequence[Sequence[Cell]], title: str, right: Sequence[bool]
) -> list[str]:
    """Return a table as lines of aligned columns."""
    texts = [list(columns), *([_text(cell) for cell in row] for row in rows)]
    widths = [max(len(row[at]) for row in texts) for at in range(len(columns))]
    lines = [title] if title else []
    for row in texts:
        cells = (
            cell.rjust(width) if end else cell.ljust(width)
            for cell, width, end in zip(row, widths, right, strict=True)
        )
        lines.append("  ".join(cells).rstrip())
    return lines


def _text(cell: Cell) -> str:
    return cell if isinstance(cell, str) else cell[0]


def _rich_table(
    columns: Sequence[str], rows: Sequence[Sequence[Cell]], title: str, right: Sequence[bool]
) -> None:
    from rich import box  # noqa: PLC0415 - only a terminal needs it
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    found = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, title_style="bold")
    for name, end in zip(columns, right, strict=True):
        found.add_column(name, justify="right" if end else "left", overflow="fold")
    for row in rows:
        found.add_row(*(Text(cell) if isinstance(cell, str) else Text(*cell) for cell in row))
    Console().print(found)


def styled(text: str, style: str) -> str:
    """Return text in a colour where standard output is a terminal."""
    codes = {"green": "32", "red": "31", "yellow": "33", "cyan": "36", "bold": "1", "dim": "2"}
    if not sys.stdout.isatty() or style not in codes:
        return text
    return f"\x1b[{codes[style]}m{text}\x1b[0m"
