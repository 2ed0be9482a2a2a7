"""What the tasks of a pattern come to together, and all patterns as one score. Pure, and without numpy."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from swarm_common.events.agent import PatternLearned
from swarm_coordinator.plans import Fact
from swarm_coordinator.suites.hive.params import floats, percentile

RESAMPLES = 1000
_Z = 1.959964
FORMULA = "mean over patterns of (score - chance) / (1 - chance), each held between 0 and 1"
TIMED = ("recognition", "inference", "iteration")


class Timed(msgspec.Struct, frozen=True, kw_only=True):
    """Microseconds of one step, over all tasks of a pattern."""

    n: int
    p50_us: float
    p99_us: float
    loops: int
    """Most calls that one value is the mean of."""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """The mean score after so many iterations, over the tasks of a pattern."""

    iterations: int
    score: float


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One pattern's figures."""

    pattern: str
    repeats: int
    questions: int
    """Of all tasks together."""
    score: float
    low: float
    high: float
    corrected: float
    """0 at chance, 1 where all is right."""
    chance: float
    baseline: float
    untrained: float
    """Before the first iteration."""
    above_chance: bool
    """Whether the whole interval is."""
    gain: float
    """Over ``untrained``, on the same questions."""
    gain_low: float
    gain_high: float
    learned: bool
    """Whether that is so and the whole interval of the gain is above 0. A gain alone may come of guessing better."""
    above_baseline: bool
    measures: dict[str, float]
    curve: tuple[Point, ...]
    recognition: Timed
    inference: Timed
    iteration: Timed
    rss_bytes: int | None
    """Most that a worker held, its libraries included."""
    rss_reason: str
    allocated_bytes: int
    """Most that one task allocated."""
    source: tuple[str, ...]


class Overall(msgspec.Struct, frozen=True, kw_only=True):
    """All patterns as one number."""

    value: float
    low: float
    high: float


def measured(facts: Sequence[tuple[Fact, PatternLearned]], seed: int, drawn: Sequence[float]) -> Measured:
    """Return what the tasks of one pattern came to; ``drawn`` are scores of resamples of them (:func:`resampled`)."""
    tasks = [data for _, data in facts]
    questions = sum(data.questions for data in tasks)
    score = statistics.fmean(data.score for data in tasks)
    low, high = ends(drawn, score, questions)
    gain_low, gain_high = percentiles(resampled(tasks, seed, gains=True))
    chance, baseline, untrained = (
        statistics.fmean(values)
        for values in (
            [data.chance for data in tasks],
            [data.baseline for data in tasks],
            [data.curve[0].score for data in tasks],
        )
    )
    peaks = [data.rss_bytes for data in tasks if data.rss_bytes is not None]
    return Measured(
        pattern=tasks[0].pattern,
        repeats=len(tasks),
        questions=questions,
        score=score,
        low=low,
        high=high,
        corrected=corrected(score, chance),
        chance=chance,
        baseline=baseline,
        untrained=untrained,
        above_chance=low > chance,
        gain=score - untrained,
        gain_low=gain_low,
        gain_high=gain_high,
        learned=low > chance and gain_low > 0,
        above_baseline=low > baseline,
        measures={
            name: statistics.fmean(data.measures[name] for data in tasks)
            for name in sorted(tasks[0].measures)
        },
        curve=tuple(
            Point(
                iterations=point.iterations,
                score=statistics.fmean(data.curve[at].score for data in tasks),
            )
            for at, point in enumerate(tasks[0].curve)
        ),
        recognition=timed(tasks, "recognition"),
        inference=timed(tasks, "inference"),
        iteration=timed(tasks, "iteration"),
        rss_bytes=max(peaks) if len(peaks) == len(tasks) else None,
        rss_reason=next((data.rss_reason for data in tasks if data.rss_bytes is None), ""),
        allocated_bytes=max(data.allocated_bytes for data in tasks),
        source=tuple(fact.event for fact, _ in facts),
    )


def resampled(tasks: Sequence[PatternLearned], seed: int, *, gains: bool = False) -> list[float]:
    """Return mean scores (or gains by training) of resamples: tasks are drawn with replacement, then questions of each.

    So the interval covers which task, which first weights and which questions it happened to be (the hierarchical
    bootstrap, Davison and Hinkley 1997, section 3.8). Draws of so few tasks scatter too little, by the root of
    ``(n - 1) / n``; they are spread by that much about the mean. Of one task it covers the questions alone.
    """
    rng = random.Random(f"{seed}/{tasks[0].pattern}/resampled")  # noqa: S311 - seeded, nothing secret
    means = [floats(data.gained if gains else data.resampled) for data in tasks]
    count = len(means)
    centre = math.fsum(math.fsum(of) / len(of) for of in means) / count
    spread = math.sqrt(count / (count - 1)) if count > 1 else 1.0
    drawn = (math.fsum(rng.choice(rng.choice(means)) for _ in means) / count for _ in range(RESAMPLES))
    return [min(1.0, centre + spread * (one - centre)) for one in drawn]


def ends(drawn: Sequence[float], score: float, questions: int) -> tuple[float, float]:
    """Return the 95 % percentile interval of resamples; where they do not differ at all, Wilson's (1927)."""
    low, high = percentiles(drawn)
    if low < high:
        return low, high
    middle = (score + _Z**2 / (2 * questions)) / (1 + _Z**2 / questions)
    root = math.sqrt(max(0.0, score * (1 - score)) / questions + _Z**2 / (4 * questions**2))
    half = _Z / (1 + _Z**2 / questions) * root
    return min(score, middle - half), max(score, min(1.0, middle + half))


def percentiles(drawn: Sequence[float]) -> tuple[float, float]:
    """Return the ends of the 95 % percentile interval."""
    ordered = sorted(drawn)
    return ordered[round(0.025 * (len(ordered) - 1))], ordered[round(0.975 * (len(ordered) - 1))]


def corrected(score: float, chance: float) -> float:
    """Return a score that is 0 at chance or below it, and 1 where all is right."""
    return min(1.0, max(0.0, (score - chance) / (1 - chance)))


def overall(rows: Sequence[Measured], drawn: Mapping[str, Sequence[float]]) -> Overall:
    """Return all patterns as one number, equally weighted, with the interval of their resamples."""
    value = statistics.fmean(row.corrected for row in rows)
    whole = [
        statistics.fmean(corrected(drawn[row.pattern][at], row.chance) for row in rows)
        for at in range(RESAMPLES)
    ]
    low, high = ends(whole, value, sum(row.questions for row in rows))
    return Overall(value=value, low=low, high=high)


def timed(tasks: Iterable[PatternLearned], name: str) -> Timed:
    """Return the percentiles of one step's times over some tasks."""
    values, loops = [], 1
    for data in tasks:
        values += [value for samples in data.samples if samples.name == name for value in samples.values]
        loops = max(loops, data.loops.get(name, 1))
    p50, p99 = percentile(values, 0.5), percentile(values, 0.99)
    assert p50 is not None  # noqa: S101 - each task has timings of each step
    assert p99 is not None  # noqa: S101
    return Timed(n=len(values), p50_us=p50, p99_us=p99, loops=loops)
