"""Charts as inline SVG, drawn here: intervals, and who worked when. Colours come from the page's style sheet.

Each has a title and, where one look does not tell it, a description for those who cannot see it; the page has its
numbers as a table too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

from swarm_cli import render
from swarm_common.timeline import Timeline

ROW = 26
WIDTH = 760
LEFT = 200
RIGHT = 90
_TICKS = 5
KINDS = 8
"""Colours of the Gantt chart; further kinds share them."""


class Bar(NamedTuple):
    """A value with its interval."""

    label: str
    value: float
    low: float | None
    high: float | None
    unit: str
    targets: Sequence[float] = ()
    strong: bool = False


def intervals(bars: Sequence[Bar], title: str) -> Markup:
    """Return a chart of values with their intervals on one axis; targets are marked by a line."""
    if not bars:
        return Markup()
    numbers = [
        number
        for bar in bars
        for number in (bar.value, bar.low, bar.high, *bar.targets)
        if number is not None
    ]
    low, high = _padded(min(numbers), max(numbers), ratio=all(bar.unit == "ratio" for bar in bars))
    parts = [axis(low, high, bars[0].unit, len(bars))]
    parts += [_interval(bar, row, low, high) for row, bar in enumerate(bars)]
    return svg(parts, len(bars) * ROW + 34, title)


def _interval(bar: Bar, row: int, low: float, high: float) -> Markup:
    y = row * ROW + ROW / 2

    def x(value: float) -> float:
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    text = render.number(bar.value, bar.unit)
    spoken = f"{bar.label}: {text} {render.interval(bar.low, bar.high, bar.unit)}".strip()
    parts = [
        Markup("<title>{}</title>").format(spoken),
        text_at(LEFT - 10, y + 4, bar.label, "end", strong=bar.strong),
    ]
    if bar.low is not None and bar.high is not None:
        parts.append(
            Markup(
                '<path class="whisker" d="M{0:.1f} {2:.1f}H{1:.1f}M{0:.1f} {3:.1f}v10M{1:.1f} {3:.1f}v10"/>'
            ).format(x(bar.low), x(bar.high), y, y - 5)
        )
    mark = Markup('<path class="target" d="M{:.1f} {:.1f}v20"/>')
    parts += [mark.format(x(target), y - 10) for target in bar.targets]
    dot = Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{}"/>')
    parts.append(dot.format("dot strong" if bar.strong else "dot", x(bar.value), y, 6 if bar.strong else 5))
    parts.append(text_at(WIDTH - RIGHT + 12, y + 4, text, "start", strong=bar.strong))
    return Markup("<g>{}</g>").format(Markup().join(parts))


def _padded(low: float, high: float, *, ratio: bool) -> tuple[float, float]:
    """Return the ends of the axis: a little beyond the numbers, but not beyond 0, nor beyond 1 where all are ratios."""
    room = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    first, last = low - room, high + room
    # An r2 may lie below 0; a time may not.
    return max(first, 0.0) if low >= 0 else first, min(last, 1.0) if ratio and high <= 1 else last


def axis(low: float, high: float, unit: str, rows: int) -> Markup:
    """Return the grid and the numbers of a horizontal axis under ``rows`` rows."""
    parts = []
    for tick in range(_TICKS + 1):
        value = low + (high - low) * tick / _TICKS
        x = LEFT + (WIDTH - LEFT - RIGHT) * tick / _TICKS
        parts.append(Markup('<path class="grid" d="M{:.1f} 0V{}"/>').format(x, rows * ROW))
        label = f"{value:.3g}" if unit in {"ratio", ""} else render.number(value, unit)
        parts.append(text_at(x, rows * ROW + 20, label, "middle", quiet=True))
    return Markup().join(parts)


def gantt(found: Timeline, most: int = 400) -> Markup:
    """Return who worked when: a row a worker, a bar a piece of work, outlined where it is on the critical path."""
    works = sorted(found.works, key=lambda work: (not work.critical, -work.work_us))[:most]
    if not works or found.total_us <= 0:
        return Markup()
    until = max(found.total_us, *(work.end_us for work in works))
    workers = list(
        dict.fromkeys((work.service, work.worker) for work in sorted(works, key=lambda work: work.start_us))
    )
    kinds = list(dict.fromkeys(work.service for work in found.works))
    parts = [axis(0.0, float(until), "us", len(workers))]
    for row, (service, worker) in enumerate(workers):
        parts.append(text_at(LEFT - 10, row * ROW + ROW / 2 + 4, f"{service} {worker}"[:34], "end"))
    scale = (WIDTH - LEFT - RIGHT) / until
    for work in sorted(works, key=lambda work: work.start_us):
        row = workers.index((work.service, work.worker))
        spoken = (
            f"{work.task or work.what}: {work.work_us:,} µs of work from {work.start_us:,} µs on, "
            f"after a wait of {work.wait_us:,} µs"
        )
        kind = kinds.index(work.service) % KINDS
        style = f"bar k{kind} critical" if work.critical else f"bar k{kind}"
        parts.append(
            Markup(
                '<rect class="{}" x="{:.2f}" y="{:.1f}" width="{:.2f}" height="{}" rx="2"><title>{}</title></rect>'
            ).format(
                style,
                LEFT + work.start_us * scale,
                row * ROW + 4,
                max(1.5, work.work_us * scale),
                ROW - 8,
                spoken,
            )
        )
    return svg(parts, len(workers) * ROW + 34, "Who worked when")


def svg(parts: Sequence[Markup], height: float, title: str, about: str = "") -> Markup:
    """Return a drawing of the page's width; ``about`` says in a sentence what it shows."""
    head = Markup('<svg viewBox="0 0 {} {:.0f}" role="img" aria-label="{}">').format(WIDTH, height, title)
    said = Markup("<title>{}</title>").format(title)
    if about:
        said += Markup("<desc>{}</desc>").format(about)
    return head + said + Markup().join(parts) + Markup("</svg>")


def text_at(
    x: float, y: float, text: str, anchor: str, *, strong: bool = False, quiet: bool = False
) -> Markup:
    """Return a word at a place; ``anchor`` is ``start``, ``middle`` or ``end``."""
    style = "strong" if strong else "quiet" if quiet else "label"
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        style, x, y, anchor, escape(text)
    )
