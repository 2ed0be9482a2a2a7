"""The coordination suite's part of the report: quality with intervals, and each mode's message graph as it was."""

from __future__ import annotations

import math
from importlib import resources

from jinja2 import Environment
from markupsafe import Markup

from swarm_cli import coordination as tables
from swarm_cli.coordination import Arm, Coordination, Effect
from swarm_cli.report import charts
from swarm_cli.report.charts import WIDTH, svg, text_at

_TALL = 300
_RADIUS = 108
_MOST_GRAPHS = 10
#: Who sits in the middle.
_HEADS = ("hub", "root")


def section(found: Coordination, environment: Environment) -> Markup:
    """Return the part of the page; ``environment`` has the page's filters."""
    text = resources.files(__package__).joinpath("coordination.html.j2").read_text(encoding="utf-8")
    drawn = [one for one in found.arms if one.edges][:_MOST_GRAPHS]
    rendered = environment.from_string(text).render(
        found=found,
        tables=tables,
        chart=quality(found),
        graphs=[(one, graph(one)) for one in drawn],
    )
    return Markup(rendered)  # noqa: S704 - rendered with autoescape


def quality(found: Coordination) -> Markup:
    """Return the chart of how often each was right; a mark is what guessing comes to."""
    named: list[tuple[str, Arm | Effect]] = [(f"{one.factor} {one.value}", one) for one in found.effects]
    named = named or [(one.name, one) for one in found.arms]
    bars = [
        charts.Bar(label, one.quality, one.low, one.high, "ratio", (found.chance,), label == "alone")
        for label, one in named
    ]
    return charts.intervals(bars, "Share of right answers, with intervals; a line marks guessing")


def graph(one: Arm) -> Markup:
    """Return who was heard by whom: a line from speaker to hearer, the thicker the more often."""
    places = _places(one)
    largest = max(count for _, _, count in one.edges)
    parts = []
    for speaker, hearer, count in one.edges:
        begin, end = places[speaker], places[hearer]
        parts.append(
            Markup(
                '<g><title>{}</title><path class="said k{}" style="stroke-width:{:.1f}" d="{}"/>{}</g>'
            ).format(
                f"{hearer} heard {speaker} {count} times",
                0,
                1 + 3 * count / largest,
                _curve(begin, end),
                _head(begin, end),
            )
        )
    for agent, (x, y) in places.items():
        parts.append(Markup('<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="7"/>').format(x, y))
        out = x >= WIDTH / 2
        parts.append(text_at(x + (12 if out else -12), y + 4, agent, "start" if out else "end"))
    total = sum(count for _, _, count in one.edges)
    return svg(
        parts,
        _TALL,
        f"{one.name}: {total} messages",
        "a line from who spoke to who heard, the thicker the more often",
    )


def _places(one: Arm) -> dict[str, tuple[float, float]]:
    """Return where agents stand: leads and workers on a circle, their head in its middle."""
    centre = (WIDTH / 2, _TALL / 2)
    heads = [agent for agent in one.seats if agent in _HEADS]
    around = [agent for agent in one.seats if agent not in _HEADS]
    found = dict.fromkeys(heads, centre)
    for at, agent in enumerate(around):
        angle = 2 * math.pi * at / len(around) - math.pi / 2
        found[agent] = (centre[0] + 1.9 * _RADIUS * math.cos(angle), centre[1] + _RADIUS * math.sin(angle))
    return found


def _middle(begin: tuple[float, float], end: tuple[float, float]) -> tuple[float, float]:
    """Return where a line bends: to its right, so that there and back are two lines."""
    across, down = end[0] - begin[0], end[1] - begin[1]
    return (begin[0] + end[0]) / 2 - 0.08 * down, (begin[1] + end[1]) / 2 + 0.08 * across


def _curve(begin: tuple[float, float], end: tuple[float, float]) -> str:
    bend = _middle(begin, end)
    return f"M{begin[0]:.1f} {begin[1]:.1f}Q{bend[0]:.1f} {bend[1]:.1f} {end[0]:.1f} {end[1]:.1f}"


def _head(begin: tuple[float, float], end: tuple[float, float]) -> Markup:
    """Return an arrow's head just before the hearer."""
    bend = _middle(begin, end)
    across, down = end[0] - bend[0], end[1] - bend[1]
    length = math.hypot(across, down) or 1.0
    across, down = across / length, down / length
    tip = (end[0] - 9 * across, end[1] - 9 * down)
    foot = (tip[0] - 8 * across, tip[1] - 8 * down)
    return Markup('<path class="k0" d="M{:.1f} {:.1f}L{:.1f} {:.1f}L{:.1f} {:.1f}Z"/>').format(
        *tip, foot[0] - 3.5 * down, foot[1] + 3.5 * across, foot[0] + 3.5 * down, foot[1] - 3.5 * across
    )
