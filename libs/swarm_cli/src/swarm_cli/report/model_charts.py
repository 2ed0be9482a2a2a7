"""Charts of an ensemble: the workers' time by model, and whether probabilities mean what they say."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from swarm_cli import render
from swarm_cli.report.charts import KINDS, LEFT, RIGHT, ROW, WIDTH, axis, svg, text_at
from swarm_cli.report.workers import Piece, busy
from swarm_common.events.metrics import CalibrationBin

#: A bar of this many units of the drawing has room for a letter.
_LETTER = 7.0
_SIDE = 260
_MOST_BARS = 800


def models_of(pieces: Sequence[Piece]) -> list[tuple[str, int, float]]:
    """Return models with the number of their colour and their workers' wall time in seconds, the dearest first."""
    wall: dict[str, float] = {}
    for piece in pieces:
        wall[piece.model] = wall.get(piece.model, 0.0) + piece.wall_s
    ranked = sorted(wall, key=lambda model: (-wall[model], model))
    return [(model, at % KINDS, wall[model]) for at, model in enumerate(ranked)]


def workers(pieces: Sequence[Piece]) -> Markup:
    """Return a Gantt chart: a row a worker, a bar a piece of work in its model's colour, from the run's beginning on.

    Of very many pieces the longest are drawn.
    """
    drawn = sorted(pieces, key=lambda piece: -piece.wall_s)[:_MOST_BARS]
    if not drawn:
        return Markup()
    until_s = max(piece.end_s for piece in drawn) or 1e-6
    shares = busy(pieces)
    rows = {worker: at for at, worker in enumerate(shares)}
    colours = {model: colour for model, colour, _ in models_of(pieces)}
    parts = [axis(0.0, until_s, "s", len(rows))]
    for worker, row in rows.items():
        y = row * ROW + ROW / 2 + 4
        parts.append(text_at(LEFT - 10, y, worker[:34], "end"))
        parts.append(
            text_at(WIDTH - RIGHT + 12, y, f"{100 * shares[worker]:.0f} % busy", "start", quiet=True)
        )
    scale = (WIDTH - LEFT - RIGHT) / until_s
    parts += [
        _bar(piece, rows[piece.worker], colours[piece.model], scale)
        for piece in sorted(drawn, key=lambda piece: piece.start_s)
    ]
    return svg(
        parts,
        len(rows) * ROW + 34,
        "Time of the workers, by model",
        f"{len(pieces)} pieces of work on {len(rows)} worker processes,"
        f" done {render.seconds(until_s)} after the run began",
    )


def _bar(piece: Piece, row: int, colour: int, scale: float) -> Markup:
    x, width = LEFT + piece.start_s * scale, max(1.5, piece.wall_s * scale)
    label = f"{piece.model} {piece.what}".strip()
    cpu = "" if piece.cpu_s is None else f", {render.seconds(piece.cpu_s)} of CPU time"
    spoken = f"{label}: {render.seconds(piece.wall_s)} from {render.seconds(piece.start_s)} on{cpu}"
    bar = Markup(
        '<rect class="bar solid k{}" x="{:.2f}" y="{:.1f}" width="{:.2f}" height="{}" rx="2"/>'
    ).format(colour, x, row * ROW + 4, width, ROW - 8)
    room = int((width - 8) / _LETTER)
    name = next((text for text in (label, piece.model) if len(text) <= room), "")
    word = (
        Markup('<text class="inbar" x="{:.2f}" y="{:.1f}">{}</text>').format(
            x + 4, row * ROW + ROW / 2 + 4, name
        )
        if name
        else Markup()
    )
    return Markup("<g><title>{}</title>{}{}</g>").format(spoken, bar, word)


def calibration(bins: Sequence[CalibrationBin]) -> Markup:
    """Return the reliability diagram: a dot a bin, its area the share of rows; on the diagonal, probabilities hold."""
    if not bins:
        return Markup()
    top, left = 14.0, (WIDTH - _SIDE) / 2

    def place(confidence: float, accuracy: float) -> tuple[float, float]:
        return left + confidence * _SIDE, top + (1 - accuracy) * _SIDE

    parts = []
    for tick in range(6):
        x, y = place(tick / 5, tick / 5)
        parts.append(
            Markup('<path class="grid" d="M{0:.1f} {2:.1f}V{3:.1f}M{4:.1f} {1:.1f}H{5:.1f}"/>').format(
                x, y, top, top + _SIDE, left, left + _SIDE
            )
        )
        parts.append(text_at(x, top + _SIDE + 18, f"{tick / 5:.1f}", "middle", quiet=True))
        parts.append(text_at(left - 8, y + 4, f"{tick / 5:.1f}", "end", quiet=True))
    parts.append(
        Markup('<path class="target" d="M{:.1f} {:.1f}L{:.1f} {:.1f}"/>').format(*place(0, 0), *place(1, 1))
    )
    rows = sum(one.rows for one in bins)
    points = [place(one.confidence, one.accuracy) for one in bins]
    parts.append(
        Markup('<path class="whisker faint" d="M{}"/>').format(
            "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        )
    )
    parts += [
        Markup('<g><title>{}</title><circle class="dot" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"/></g>').format(
            _spoken(one), x, y, 3 + 9 * (one.rows / rows) ** 0.5
        )
        for one, (x, y) in zip(bins, points, strict=True)
    ]
    parts.append(
        text_at(left + _SIDE / 2, top + _SIDE + 38, "confidence: probability of the winning class", "middle")
    )
    parts.append(text_at(left - 40, top + _SIDE / 2, "share right", "end"))
    return svg(
        parts,
        top + _SIDE + 50,
        "Calibration of the ensemble",
        f"{len(bins)} bins of {rows} rows; on the dashed diagonal, a class that gets 80 % is right in 80 % of its rows",
    )


def _spoken(one: CalibrationBin) -> str:
    rows = "1 row" if one.rows == 1 else f"{one.rows} rows"
    return f"{rows}: {100 * one.confidence:.1f} % sure, {100 * one.accuracy:.1f} % right"
