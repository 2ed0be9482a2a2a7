"""The primitives suite's part of the report: a row a scenario and size, and cost curves on logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import resources

from jinja2 import Environment
from markupsafe import Markup

from swarm_cli import primitives as tables
from swarm_cli.primitives import Curve, Primitives
from swarm_cli.report import charts
from swarm_cli.report.charts import LEFT, WIDTH, svg, text_at
from swarm_common.runs import RunView

_TALL = 260
_NAMES = 230
"""Room for the names at the right."""
_TOP = 14.0
_TOGETHER = 6
"""Lines of one chart; more could not be told apart."""
_DASHES = ("", "7 4", "2 3", "9 3 2 3")


def section(found: Primitives, view: RunView, environment: Environment) -> Markup:
    """Return the part of the page; ``environment`` has the page's filters."""
    text = resources.files(__package__).joinpath("primitives.html.j2").read_text(encoding="utf-8")
    drawn = [one for one in found.curves if len(one.times_us) > 1 and min(one.times_us) > 0]
    # Beside one another stand those whose times are alike.
    drawn.sort(key=lambda one: one.times_us[-1])
    page = environment.from_string(text).render(
        found=found,
        tables=tables,
        view=view,
        charts=[curves(drawn[at : at + _TOGETHER]) for at in range(0, len(drawn), _TOGETHER)],
    )
    return Markup(page)  # noqa: S704 - rendered with autoescape


def curves(found: Sequence[Curve]) -> Markup:
    """Return a chart of cost curves: both axes logarithmic, so that a power of the size is a straight line."""
    if not found:
        return Markup()
    sizes = [size for one in found for size in one.sizes]
    times = [time for one in found for time in one.times_us]
    low_x, high_x = math.log10(min(sizes)), math.log10(max(sizes))
    low_y, high_y = math.floor(math.log10(min(times))), math.ceil(math.log10(max(times)))
    high_x, high_y = max(high_x, low_x + 0.1), max(high_y, low_y + 1)
    right = WIDTH - _NAMES

    def place(size: float, time: float) -> tuple[float, float]:
        x = LEFT / 2 + (math.log10(size) - low_x) / (high_x - low_x) * (right - LEFT / 2)
        return x, _TOP + (high_y - math.log10(time)) / (high_y - low_y) * _TALL

    parts = []
    for power in range(low_y, high_y + 1):
        _, y = place(min(sizes), 10.0**power)
        parts.append(Markup('<path class="grid" d="M{} {:.1f}H{}"/>').format(LEFT / 2, y, right))
        parts.append(text_at(LEFT / 2 - 8, y + 4, tables.duration(10.0**power), "end", quiet=True))
    for power in range(math.ceil(low_x), math.floor(high_x) + 1):
        x, _ = place(10.0**power, times[0])
        parts.append(Markup('<path class="grid" d="M{:.1f} {}V{}"/>').format(x, _TOP, _TOP + _TALL))
        parts.append(text_at(x, _TOP + _TALL + 18, f"{10**power:,}", "middle", quiet=True))
    for row, one in enumerate(found):
        points = "L".join(
            f"{x:.1f} {y:.1f}"
            for x, y in (place(*each) for each in zip(one.sizes, one.times_us, strict=True))
        )
        exponent = "" if one.exponent is None else f", exponent {one.exponent:.2f}"
        parts.append(
            Markup('<g><title>{}</title><path class="curve c{}" stroke-dasharray="{}" d="M{}"/></g>').format(
                f"{one.title}{exponent}", row % charts.KINDS, _DASHES[row % len(_DASHES)], points
            )
        )
        y = _TOP + 16 + 22 * row
        parts.append(
            Markup('<path class="curve c{}" stroke-dasharray="{}" d="M{} {:.1f}h24"/>').format(
                row % charts.KINDS, _DASHES[row % len(_DASHES)], right + 12, y
            )
        )
        parts.append(text_at(right + 42, y + 4, one.title.replace("_", " "), "start"))
    parts.append(text_at((LEFT / 2 + right) / 2, _TOP + _TALL + 38, "size", "middle"))
    return svg(
        parts,
        _TOP + _TALL + 50,
        "Time of one operation, by size",
        "the 10th percentile of the samples, to which the curve is fitted; both axes are logarithmic: a straight line "
        "is a power of the size, and its slope the exponent",
    )
