"""The hive's part of the report: tables and charts of what a run found about its mechanisms."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from jinja2 import Environment
from markupsafe import Markup

from swarm_cli import hive as tables
from swarm_cli.hive import Emerged, Hive, Live, Quality, Spread
from swarm_cli.report import charts
from swarm_cli.report.charts import LEFT, RIGHT, WIDTH, svg, text_at

_TALL = 220
_DASHES = ("", "7 4", "2 3", "9 3 2 3")
"""So that lines are told apart without their colours."""


def section(hive: Hive, environment: Environment) -> Markup:
    """Return the part of the page; ``environment`` has the page's filters."""
    text = resources.files(__package__).joinpath("hive.html.j2").read_text(encoding="utf-8")
    found = environment.from_string(text).render(
        hive=hive,
        tables=tables,
        latencies=latencies(hive.live),
        quality=quality(hive.quality),
        gossip=[(size, gossip(hive.spread, size)) for size in sorted({one.agents for one in hive.spread})],
        emergence=emergence(hive.emergence),
        measured=[
            *filter(None, map(tables.shares_text, hive.emergence)),
            *dict.fromkeys(tables.measure_text(one) for one in hive.emergence),
        ],
    )
    return Markup(found)  # noqa: S704 - rendered with autoescape


def latencies(cells: Sequence[Live]) -> Markup:
    """Return the chart of fault-free decisions: the median, and a line to the 99th percentile."""
    bars = [
        charts.Bar(f"{one.mechanism}, {one.agents} agents", one.p50_us, one.p50_us, one.p99_us, "us")
        for one in cells
        if one.fault == "none" and one.p50_us is not None
    ]
    return charts.intervals(
        bars, "Time to decision without faults: median, and a line to the 99th percentile"
    )


def quality(found: Sequence[Quality]) -> Markup:
    """Return the chart of how often each was right; a mark is what theory expects."""
    bars = [
        charts.Bar(
            f"{one.mechanism}, {one.world}, {one.agents}",
            one.quality,
            one.low,
            one.high,
            "ratio",
            () if one.expected is None else (one.expected,),
        )
        for one in found
    ]
    return charts.intervals(bars, "Share of decisions that were right; a line marks what theory expects")


def emergence(found: Sequence[Emerged]) -> Markup:
    """Return the chart of effects; a mark at 0 is no effect."""
    bars = [
        charts.Bar(f"{one.phenomenon}, {one.agents} agents", one.effect, one.low, one.high, "ratio", (0.0,))
        for one in found
    ]
    return charts.intervals(bars, "Effect beside the null model (Cliff's delta); the line at 0 is no effect")


def gossip(found: Sequence[Spread], agents: int) -> Markup:
    """Return who knows by round, a line a way of telling; the dashed upright is log2 N."""
    lines = [one for one in found if one.agents == agents and one.curve]
    if not lines:
        return Markup()
    last = max(len(one.curve) for one in lines)
    bound = lines[0].bound
    until = max(float(last), bound)
    top = 14.0

    def place(at: float, share: float) -> tuple[float, float]:
        return LEFT + at / until * (WIDTH - LEFT - RIGHT), top + (1 - share) * _TALL

    parts = []
    for tick in range(5):
        _, y = place(0, tick / 4)
        parts.append(Markup('<path class="grid" d="M{} {:.1f}H{}"/>').format(LEFT, y, WIDTH - RIGHT))
        parts.append(text_at(LEFT - 8, y + 4, f"{25 * tick} %", "end", quiet=True))
    step = max(1, -(-last // 12))
    parts += [
        text_at(place(at, 0)[0], top + _TALL + 18, str(at), "middle", quiet=True)
        for at in range(0, last + 1, step)
    ]
    x, _ = place(bound, 0)
    parts.append(Markup('<path class="target" d="M{:.1f} {}V{}"/>').format(x, top, top + _TALL))
    parts.append(text_at(x + 6, top + _TALL - 6, f"log2 N = {bound:.2f}", "start", quiet=True))
    for row, one in enumerate(lines):
        known = [(0.0, 1 / agents), *((at + 1.0, share) for at, share in enumerate(one.curve))]
        points = "L".join(f"{x:.1f} {y:.1f}" for x, y in (place(*point) for point in known))
        spoken = f"{one.way}: all know after {one.rounds:.2f} rounds in the mean"
        parts.append(
            Markup('<g><title>{}</title><path class="curve c{}" stroke-dasharray="{}" d="M{}"/></g>').format(
                spoken, row % charts.KINDS, _DASHES[row % len(_DASHES)], points
            )
        )
        y = top + 16 + 20 * row
        parts.append(
            Markup('<path class="curve c{}" stroke-dasharray="{}" d="M{} {:.1f}h28"/>').format(
                row % charts.KINDS, _DASHES[row % len(_DASHES)], 14, y
            )
        )
        parts.append(text_at(50, y + 4, one.way, "start"))
    parts.append(text_at((LEFT + WIDTH - RIGHT) / 2, top + _TALL + 38, "rounds", "middle"))
    return svg(
        parts,
        top + _TALL + 50,
        f"Share of {agents} agents that know, by round",
        "one line a way of telling; the dashed upright is log2 N, before which push cannot have told all",
    )
