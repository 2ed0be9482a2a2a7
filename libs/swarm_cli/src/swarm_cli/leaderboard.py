"""The leaderboard of an ensemble run, read from its result: models, the ensemble in its place, and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from swarm_cli import output, render
from swarm_cli.render import Cell
from swarm_common.events.metrics import Comparison
from swarm_common.runs import RunView

T = TypeVar("T")

#: Differences of these read best in points, hundredths of what there is to reach.
_SHARES = frozenset({"accuracy", "precision", "recall", "f1"})


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One model, or the ensemble of them all. What the run does not tell is ``None``."""

    model: str
    model_type: str = ""
    together: bool = False
    """Whether this is the ensemble."""
    rank: int | None = None
    """From 1, best first; equal scores share the better rank. ``None`` without a score."""
    score: float | None = None
    accuracy: float | None = None
    """What older runs have in place of ``score``."""
    low: float | None = None
    high: float | None = None
    out_of_fold: float | None = None
    weight: float | None = None
    gain: float | None = None
    fit_s: float | None = None
    cpu_s: float | None = None
    device: str = ""
    best_single: bool = False


class Strategy(msgspec.Struct, frozen=True, kw_only=True):
    """One way of combining the same models."""

    strategy: str
    score: float | None = None
    low: float | None = None
    high: float | None = None
    out_of_fold: float | None = None
    consensus_s: float | None = None
    verdict: Comparison | str | None = None
    """Beside the best single model: the whole comparison, or what it came to, with its ``p_value``."""
    p_value: float | None = None


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a language model's proposals."""

    proposed: int
    valid: int
    evaluated: int


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """One way of searching, with what it found."""

    arm: str
    score: float | None = None
    low: float | None = None
    high: float | None = None
    evaluations: int | None = None
    cpu_s: float | None = None
    chosen: Any = None
    llm: Asked | None = None


class _Ensemble(msgspec.Struct, frozen=True, kw_only=True):
    score: float | None = None
    low: float | None = None
    high: float | None = None
    out_of_fold: float | None = None


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """What a run says about its models."""

    metric: str
    """``accuracy``, ``r2``: what ``score`` is."""
    strategy: str
    rows: tuple[Row, ...]
    """Best first, those without a score last."""
    verdict: Comparison | None
    strategies: tuple[Strategy, ...]
    arms: tuple[Arm, ...]
    told: bool
    """Whether the run told all this itself; results of older runs have models without intervals, and no more."""


def board_of(view: RunView) -> Board | None:
    """Return the leaderboard of a run; ``None`` where its result has none, as in other suites."""
    result = view.result
    models = _part(result, "models", tuple[Row, ...]) or ()
    strategies = _part(result, "strategies", tuple[Strategy, ...]) or ()
    arms = _part(result, "arms", tuple[Arm, ...]) or ()
    if not (models or strategies or arms):
        return None
    metric = _part(result, "main", str) or "accuracy"
    strategy = _part(result, "strategy", str) or ""
    measured = next((one for one in view.metrics if one.name == metric), None)
    whole = _part(result, "ensemble", _Ensemble)
    if whole is None and measured is not None:
        whole = _Ensemble(score=measured.value, low=measured.low, high=measured.high)
    rows = [
        msgspec.structs.replace(row, score=row.accuracy if row.score is None else row.score) for row in models
    ]
    if rows and whole is not None:
        rows.append(Row(model=strategy or "ensemble", together=True, **msgspec.structs.asdict(whole)))
    return Board(
        metric=metric,
        strategy=strategy,
        rows=_ranked(rows, lower=measured is not None and measured.better == "lower"),
        verdict=_part(result, "verdict", Comparison),
        strategies=strategies,
        arms=arms,
        told=bool(strategies or arms) or any(row.score is not None for row in models),
    )


def _part(result: dict[str, Any], name: str, kind: type[T]) -> T | None:
    """Return a part of a result; ``None`` where it is missing or something else: results are their suites' own."""
    try:
        return msgspec.convert(result.get(name), kind)
    except msgspec.ValidationError:
        return None


def _ranked(rows: Sequence[Row], *, lower: bool) -> tuple[Row, ...]:
    scored = [row.score for row in rows if row.score is not None]
    ordered = sorted(
        rows,
        key=lambda row: (
            row.score is None,
            0.0 if row.score is None else row.score if lower else -row.score,
            not row.together,
            row.model,
        ),
    )
    return tuple(
        row
        if row.score is None
        else msgspec.structs.replace(
            row,
            rank=1 + sum(other < row.score if lower else other > row.score for other in scored),
        )
        for row in ordered
    )


def verdict_text(board: Board) -> str:
    """Return one sentence: how the ensemble stands beside the best single model, and whether that is chance."""
    if board.verdict is None:
        return ""
    return sentence(board.strategy or "the ensemble", board.verdict, [row.model for row in board.rows])


def sentence(name: str, found: Comparison, models: Sequence[str] = ()) -> str:
    """Return what a comparison says of ``name`` beside its baseline, which is one of ``models`` or something else."""
    other = found.baseline
    if other in {"best single", ""}:
        other = "the best single model"
    elif other in models:
        other = f"the best single model ({other})"
    difference = found.difference if found.better == "higher" else -found.difference
    if found.difference == 0:
        stands = f"{name} is as good as {other}"
    else:
        how = "better" if difference > 0 else "worse"
        stands = f"{name} is {_difference(abs(difference), found.metric)} {how} than {other}"
    if found.method.startswith("corrected") and found.n > 1:
        stands += f" over {found.n} splits"
    return f"{stands}: {evidence(found)}"


def evidence(found: Comparison) -> str:
    """Return what backs a comparison: the verdict, interval, p value and test, or why there is none."""
    shown = "difference shown" if found.verdict != "no difference shown" else found.verdict
    parts: list[str] = [shown]
    if found.low is not None and found.high is not None:
        parts.append(f"95 % interval [{_plain(found.low, found.metric)}, {_plain(found.high, found.metric)}]")
    if found.p_value is not None:
        parts.append(f"{p_text(found.p_value)} ({found.method.partition(',')[0]})")
    elif found.reason:
        parts.append(found.reason)
    return ", ".join(parts)


def p_text(value: float) -> str:
    """Return a p value with two digits; the smallest are only said to be small."""
    return "p < 0.001" if value < 0.001 else f"p {value:.2g}"


def _difference(value: float, metric: str) -> str:
    return f"{_plain(value, metric)} points" if metric in _SHARES else f"{_plain(value, metric)} ({metric})"


def _plain(value: float, metric: str) -> str:
    """Return a difference: of a share in points, else as it is."""
    text = f"{100 * value:.1f}" if metric in _SHARES else f"{value:.4f}"
    return text.removeprefix("-") if float(text) == 0 else text


def show_board(board: Board) -> None:
    """Print the leaderboard, the verdict, and the tables of strategies and arms that the run has."""
    if board.rows:
        render.table(
            ["rank", "model", "type", board.metric, "interval", "out of fold", "weight", "gain", "fit", "CPU",
             "device", ""],
            [_row_cells(row) for row in board.rows],
            title="leaderboard",
            right=(0, 3, 5, 6, 7, 8, 9),
        )  # fmt: skip
    if board.verdict is not None:
        colours = {"better": "green", "worse": "red"}
        output.line(render.styled(verdict_text(board), colours.get(board.verdict.verdict, "")))
    if board.strategies:
        render.table(
            [
                "strategy",
                board.metric,
                "interval",
                "out of fold",
                "consensus",
                "beside the best single model",
            ],
            [_strategy_cells(one) for one in board.strategies],
            title="strategies",
            right=(1, 3, 4),
        )
    if board.arms:
        asked = any(one.llm is not None for one in board.arms)
        render.table(
            [
                "arm",
                board.metric,
                "interval",
                "evaluations",
                "CPU",
                *(["language model"] if asked else []),
                "chosen",
            ],
            [_arm_cells(one, asked=asked) for one in board.arms],
            title="arms",
            right=(1, 3, 4),
        )


def _row_cells(row: Row) -> list[Cell]:
    return [
        "" if row.rank is None else str(row.rank),
        (row.model, "bold") if row.together else row.model,
        "" if row.model_type == row.model else row.model_type,
        _score(row.score),
        render.interval(row.low, row.high, "ratio"),
        _score(row.out_of_fold),
        "" if row.weight is None else f"{row.weight:.3f}",
        "" if row.gain is None else f"{row.gain:+.4f}",
        "" if row.fit_s is None else render.seconds(row.fit_s),
        "" if row.cpu_s is None else render.seconds(row.cpu_s),
        row.device,
        mark(row),
    ]


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def mark(row: Row) -> str:
    """Return what a row is, where it is more than one of the models."""
    return "ensemble" if row.together else "best single" if row.best_single else ""


def _strategy_cells(one: Strategy) -> list[Cell]:
    return [
        one.strategy,
        _score(one.score),
        render.interval(one.low, one.high, "ratio"),
        _score(one.out_of_fold),
        "" if one.consensus_s is None else render.seconds(one.consensus_s),
        beside_text(one),
    ]


def beside_text(one: Strategy) -> str:
    """Return how a strategy stands beside the best single model: the signed difference, and what backs it."""
    found = one.verdict
    if found is None:
        return ""
    if isinstance(found, str):
        return found if one.p_value is None else f"{found}, {p_text(one.p_value)}"
    sign = "+" if found.difference > 0 else ""
    unit = " points" if found.metric in _SHARES else ""
    return f"{sign}{_plain(found.difference, found.metric)}{unit}: {evidence(found)}"


def _arm_cells(one: Arm, *, asked: bool) -> list[Cell]:
    told = one.llm and f"{one.llm.proposed} proposed, {one.llm.valid} valid, {one.llm.evaluated} evaluated"
    return [
        one.arm,
        _score(one.score),
        render.interval(one.low, one.high, "ratio"),
        "" if one.evaluations is None else str(one.evaluations),
        "" if one.cpu_s is None else render.seconds(one.cpu_s),
        *([told or ""] if asked else []),
        "" if one.chosen is None else render.value_text(one.chosen),
    ]
