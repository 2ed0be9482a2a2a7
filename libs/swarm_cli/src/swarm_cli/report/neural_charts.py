"""The neural suite's part of the report: scores beside chance and baseline, and how they came with training."""

from __future__ import annotations

from importlib import resources

from jinja2 import Environment
from markupsafe import Markup

from swarm_cli import neural as tables
from swarm_cli.neural import Neural, Pattern
from swarm_cli.report import charts
from swarm_cli.report.charts import LEFT, RIGHT, WIDTH, svg, text_at

_TALL = 240
_TOP = 14.0
_DASHES = ("", "7 4", "2 3", "9 3 2 3", "14 4", "1 5")
"""So that lines are told apart without their colours."""


def section(found: Neural, environment: Environment) -> Markup:
    """Return the part of the page; ``environment`` has the page's filters."""
    text = resources.files(__package__).joinpath("neural.html.j2").read_text(encoding="utf-8")
    rendered = environment.from_string(text).render(
        found=found, tables=tables, scores=scores(found), curves=curves(found)
    )
    return Markup(rendered)  # noqa: S704 - rendered with autoescape


def scores(found: Neural) -> Markup:
    """Return the chart of scores with their intervals; lines mark chance and baseline."""
    bars = [
        charts.Bar(one.pattern, one.score, one.low, one.high, "ratio", (one.chance, one.baseline))
        for one in found.patterns
    ]
    return charts.intervals(
        bars, "Scores on held-out questions, with intervals; lines mark chance and baseline"
    )


def curves(found: Neural) -> Markup:
    """Return how scores came with training, a line a pattern: 0 is chance, 1 is all right."""
    lines = [one for one in found.patterns if len(one.curve) > 1]
    if not lines:
        return Markup()
    looked = [point.iterations for point in lines[0].curve]
    parts = _grid(looked)
    for row, one in enumerate(lines):
        dashes, colour = _DASHES[row % len(_DASHES)], row % charts.KINDS
        spoken = f"{one.pattern}: {one.untrained:.3f} before training, {one.curve[-1].score:.3f} after"
        line = Markup('<g><title>{}</title><path class="curve c{}" stroke-dasharray="{}" d="M{}"/></g>')
        parts.append(line.format(spoken, colour, dashes, _points(one, len(looked))))
        y = _TOP + 16 + 20 * row
        mark = Markup('<path class="curve c{}" stroke-dasharray="{}" d="M{} {:.1f}h28"/>')
        parts.append(mark.format(colour, dashes, 14, y))
        parts.append(text_at(50, y + 4, one.pattern, "start"))
    parts.append(text_at((LEFT + WIDTH - RIGHT) / 2, _TOP + _TALL + 38, "iterations of training", "middle"))
    return svg(
        parts,
        _TOP + _TALL + 50,
        "Score by iterations of training: 0 is chance, 1 is all right",
        "one line a pattern; before the first iteration each is about 0, which shows that what follows was learned",
    )


def _place(at: int, share: float, last: int) -> tuple[float, float]:
    return LEFT + at / max(1, last) * (WIDTH - LEFT - RIGHT), _TOP + (1 - share) * _TALL


def _points(one: Pattern, looks: int) -> str:
    """Return the line's places: looks lie equally far apart, for each is after about half as much again."""
    shares = [
        min(1.0, max(0.0, (point.score - one.chance) / (1 - one.chance))) for point in one.curve[:looks]
    ]
    places = (_place(at, share, looks - 1) for at, share in enumerate(shares))
    return "L".join(f"{x:.1f} {y:.1f}" for x, y in places)


def _grid(looked: list[int]) -> list[Markup]:
    parts = []
    for tick in range(5):
        _, y = _place(0, tick / 4, 1)
        parts.append(Markup('<path class="grid" d="M{} {:.1f}H{}"/>').format(LEFT, y, WIDTH - RIGHT))
        parts.append(text_at(LEFT - 8, y + 4, f"{tick / 4:g}", "end", quiet=True))
    for at, iterations in enumerate(looked):
        x, _ = _place(at, 0, len(looked) - 1)
        parts.append(text_at(x, _TOP + _TALL + 18, str(iterations), "middle", quiet=True))
    return parts
