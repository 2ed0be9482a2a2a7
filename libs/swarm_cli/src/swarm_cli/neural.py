"""The tables of a neural run, read from its result: each pattern's score and cost, and what workers were worth."""

from __future__ import annotations

from typing import Any

import msgspec

from swarm_cli import output, render
from swarm_cli.render import Cell
from swarm_common.patterns import PATTERNS
from swarm_common.runs import RunView


class Timed(msgspec.Struct, frozen=True, kw_only=True):
    """Percentiles of one step's times, in microseconds."""

    n: int
    p50_us: float
    p99_us: float
    loops: int = 1


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A score after so many iterations."""

    iterations: int
    score: float


class Pattern(msgspec.Struct, frozen=True, kw_only=True):
    """One pattern's figures; see the coordinator's ``measures.Measured``."""

    pattern: str
    repeats: int
    questions: int
    score: float
    low: float
    high: float
    corrected: float
    chance: float
    baseline: float
    untrained: float
    above_chance: bool
    learned: bool
    above_baseline: bool
    measures: dict[str, float] = {}
    curve: tuple[Point, ...] = ()
    recognition: Timed
    inference: Timed
    iteration: Timed
    rss_bytes: int | None = None
    allocated_bytes: int = 0


class Width(msgspec.Struct, frozen=True, kw_only=True):
    """What so many workers were worth; see the coordinator's ``parallel.Width``."""

    workers: int
    tasks: int
    wall_s: float
    speedup: float
    least: float
    most: float
    efficiency: float
    bound: float
    bound_by: str
    slowed: float
    idle: float


class Overall(msgspec.Struct, frozen=True, kw_only=True):
    """All patterns as one number."""

    value: float
    low: float
    high: float


class Neural(msgspec.Struct, frozen=True, kw_only=True):
    """What a neural run has to show; each part is empty where the scenario has none."""

    patterns: tuple[Pattern, ...] = ()
    overall: Overall | None = None
    formula: str = ""
    shuffled: bool = False
    parallel: tuple[Width, ...] = ()
    cores: int = 0


def neural_of(view: RunView) -> Neural | None:
    """Return the tables of a run; ``None`` where its result has none, as in other suites."""
    found: Any = view.result.get("neural") if view.suite == "neural" else None
    if found is None:
        return None
    try:
        return msgspec.convert(found, Neural)
    except msgspec.ValidationError:
        return None


def show_neural(found: Neural) -> None:
    """Print the tables that a run has, and what follows from them."""
    if found.patterns:
        render.table(
            list(COLUMNS),
            [pattern_cells(one) for one in found.patterns],
            title="patterns: score on held-out questions; times and memory of a step",
            right=RIGHT,
        )
        for text in (*measure_texts(found), *verdicts(found)):
            output.line(text)
    if found.parallel:
        render.table(
            list(WORKERS),
            [width_cells(one) for one in found.parallel],
            title=f"the same tasks by several workers, on {found.cores} cores",
            right=(0, 1, 2, 3, 5, 6, 8, 9),
        )


COLUMNS = (
    "pattern", "score", "interval", "chance", "baseline", "untrained", "recognition p50", "p99", "inference p50",
    "p99", "iteration p50", "p99", "memory", "allocated",
)  # fmt: skip
RIGHT = (1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)


def pattern_cells(one: Pattern) -> list[Cell]:
    """Return a pattern as a row of :data:`COLUMNS`; a score that is not above chance, or not learned, is red."""
    score = f"{one.score:.3f}"
    return [
        one.pattern,
        score if one.above_chance and one.learned else (score, "red"),
        ends(one.low, one.high),
        f"{one.chance:.3f}",
        f"{one.baseline:.3f}",
        f"{one.untrained:.3f}",
        *(
            render.microseconds(value)
            for times in (one.recognition, one.inference, one.iteration)
            for value in (times.p50_us, times.p99_us)
        ),
        "" if one.rss_bytes is None else render.size(one.rss_bytes),
        render.size(one.allocated_bytes),
    ]


WORKERS = (
    "workers", "tasks", "time", "speed-up", "rounds", "efficiency", "at most", "bound by", "slowed", "idle",
)  # fmt: skip


def width_cells(one: Width) -> list[Cell]:
    """Return a number of workers as a row of :data:`WORKERS`."""
    return [
        str(one.workers),
        str(one.tasks),
        render.seconds(one.wall_s),
        f"{one.speedup:.2f}",
        ends(one.least, one.most) if one.workers > 1 else "",
        f"{one.efficiency:.0%}",
        f"{one.bound:.2f}",
        one.bound_by,
        f"{one.slowed:.2f}",
        f"{one.idle:.0%}",
    ]


def ends(low: float, high: float) -> str:
    """Return ``[0.834, 1.000]``."""
    return f"[{low:.3f}, {high:.3f}]"


def measure_texts(found: Neural) -> list[str]:
    """Return a line a pattern: what is asked, and what else was measured."""
    return [
        f"{one.pattern}: {PATTERNS.get(one.pattern, '')}"
        + "".join(f"; {name.replace('_', ' ')} {value:.3f}" for name, value in one.measures.items())
        for one in found.patterns
    ]


def verdicts(found: Neural) -> list[str]:
    """Return what follows: the overall score, and which patterns do not stand above chance or baseline."""
    said = []
    if found.overall is not None:
        said.append(
            f"overall {found.overall.value:.3f} {ends(found.overall.low, found.overall.high)}: {found.formula}"
        )
    if found.shuffled:
        said.append("a control: what there is to be learned was taken away, so scores should be chance")
    for what, names in (
        ("not shown to be above chance", [one.pattern for one in found.patterns if not one.above_chance]),
        ("not shown to have learned", [one.pattern for one in found.patterns if not one.learned]),
        (
            "not shown to be above the baseline",
            [one.pattern for one in found.patterns if not one.above_baseline],
        ),
    ):
        if names:
            said.append(f"{what}: {', '.join(names)}")
    return said
