"""Charts as inline SVG, drawn here: intervals, and who worked when. Colours come from the page's style sheet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

from swarm_cli import render
from swarm_cli.timeline import Timeline

_ROW = 26
_WIDTH = 760
_LEFT = 200
_RIGHT = 90
_TICKS = 5
_KINDS = 8
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
    parts = [_axis(low, high, bars[0].unit, len(bars))]
    parts += [_interval(bar, row, low, high) for row, bar in enumerate(bars)]
    return _svg(parts, len(bars) * _ROW + 34, title)


def _interval(bar: Bar, row: int, low: float, high: float) -> Markup:
    y = row * _ROW + _ROW / 2

    def x(value: float) -> float:
        return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    text = render.number(bar.value, bar.unit)
    spoken = f"{bar.label}: {text} {render.interval(bar.low, bar.high, bar.unit)}".strip()
    parts = [
        Markup("<title>{}</title>").format(spoken),
        _text(_LEFT - 10, y + 4, bar.label, "end", strong=bar.strong),
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
    parts.append(_text(_WIDTH - _RIGHT + 12, y + 4, text, "start", strong=bar.strong))
    return Markup("<g>{}</g>").format(Markup().join(parts))


def _padded(low: float, high: float, *, ratio: bool) -> tuple[float, float]:
    """Return the ends of the axis: a little beyond the numbers; a ratio ends at 0 and 1."""
    room = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    low, high = low - room, high + room
    return (max(low, 0.0), min(high, 1.0)) if ratio and low < 1.0 and high > 0.0 else (low, high)


def _axis(low: float, high: float, unit: str, rows: int) -> Markup:
    parts = []
    for tick in range(_TICKS + 1):
        value = low + (high - low) * tick / _TICKS
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * tick / _TICKS
        parts.append(Markup('<path class="grid" d="M{:.1f} 0V{}"/>').format(x, rows * _ROW))
        label = f"{value:.3g}" if unit in {"ratio", ""} else render.number(value, unit)
        parts.append(_text(x, rows * _ROW + 20, label, "middle", quiet=True))
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
    parts = [_axis(0.0, float(until), "us", len(workers))]
    for row, (service, worker) in enumerate(workers):
        parts.append(_text(_LEFT - 10, row * _ROW + _ROW / 2 + 4, f"{service} {worker}"[:34], "end"))
    scale = (_WIDTH - _LEFT - _RIGHT) / until
    for work in sorted(works, key=lambda work: work.start_us):
        row = workers.index((work.service, work.worker))
        spoken = (
            f"{work.task or work.what}: {work.work_us:,} µs of work from {work.start_us:,} µs on, "
            f"after a wait of {work.wait_us:,} µs"
        )
        kind = kinds.index(work.service) % _KINDS
        style = f"bar k{kind} critical" if work.critical else f"bar k{kind}"
        parts.append(
            Markup(
                '<rect class="{}" x="{:.2f}" y="{:.1f}" width="{:.2f}" height="{}" rx="2"><title>{}</title></rect>'
            ).format(
                style,
                _LEFT + work.start_us * scale,
                row * _ROW + 4,
                max(1.5, work.work_us * scale),
                _ROW - 8,
                spoken,
            )
        )
    return _svg(parts, len(workers) * _ROW + 34, "Who worked when")


def _svg(parts: Sequence[Markup], height: float, title: str) -> Markup:
    head = Markup('<svg viewBox="0 0 {} {:.0f}" role="img" aria-label="{}">').format(_WIDTH, height, title)
    return head + Markup().join(parts) + Markup("</svg>")


def _text(x: float, y: float, text: str, anchor: str, *, strong: bool = False, quiet: bool = False) -> Markup:
    style = "strong" if strong else "quiet" if quiet else "label"
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        style, x, y, anchor, escape(text)
    )
