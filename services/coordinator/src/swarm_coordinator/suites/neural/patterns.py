"""Scenario ``patterns``: each pattern is learned several times, one task at a time, since they are timed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from swarm_common.events import Metric, Target, Task
from swarm_common.events.agent import PatternLearned
from swarm_common.patterns import PATTERNS
from swarm_coordinator.plans import Finish, Param, Scenario, SoFar, Step
from swarm_coordinator.suites.hive.params import count, once, results_of
from swarm_coordinator.suites.neural.measures import (
    FORMULA,
    RESAMPLES,
    TIMED,
    Measured,
    Overall,
    measured,
    overall,
    resampled,
)
from swarm_coordinator.suites.neural.params import KIND, common, task_of
from swarm_coordinator.suites.noop import seconds

_HOW = f"95 % bootstrap of tasks, then of questions, {RESAMPLES} resamples"
MEMORY_BYTES = 512_000_000


def plan(sofar: SoFar) -> Step | Finish:
    """Plan every repeat of every pattern, then what each came to."""
    if sofar.step == 0:
        return Step(tasks=tasks_of(sofar.params))
    rows, drawn = learned(sofar)
    whole = overall(rows, drawn)
    return Finish(
        result={"neural": result_of(rows, whole, sofar)},
        metrics=(
            *_whole(rows, whole),
            *(metric for row in rows for metric in _each(row)),
            seconds(sofar.elapsed_s),
        ),
    )


def tasks_of(params: Mapping[str, Any]) -> tuple[Task, ...]:
    """Return every repeat of every pattern."""
    return tuple(
        task_of(f"{pattern}-{repeat}", pattern, repeat, params)
        for repeat in range(params["repeats"])
        for pattern in once(params["patterns"])
    )


def learned(sofar: SoFar) -> tuple[list[Measured], dict[str, list[float]]]:
    """Return what each pattern came to, and by pattern the scores of its resamples."""
    found = sorted(results_of(sofar, PatternLearned), key=lambda pair: pair[1].repeat)
    by_pattern = {
        name: tasks for name in PATTERNS if (tasks := [pair for pair in found if pair[1].pattern == name])
    }
    drawn = {name: resampled([data for _, data in tasks], sofar.seed) for name, tasks in by_pattern.items()}
    return [measured(tasks, sofar.seed, drawn[name]) for name, tasks in by_pattern.items()], drawn


def result_of(rows: Sequence[Measured], whole: Overall, sofar: SoFar) -> dict[str, Any]:
    """Return what the tables show."""
    return {
        "patterns": [msgspec.to_builtins(row) for row in rows],
        "overall": msgspec.to_builtins(whole),
        "formula": FORMULA,
        "shuffled": sofar.params["shuffled"],
    }


def _whole(rows: Sequence[Measured], whole: Overall) -> tuple[Metric, ...]:
    """Return what the targets are about."""
    source = tuple(event for row in rows for event in row.source)
    return (
        Metric(
            name="overall",
            value=whole.value,
            unit="ratio",
            n=len(rows),
            low=whole.low,
            high=whole.high,
            estimator=f"{FORMULA}; {_HOW}",
            source=source,
        ),
        not_above_chance(rows),
        count(
            "not_learned",
            sum(not row.learned for row in rows),
            len(rows),
            "those, and patterns whose gain by training has an interval that is not wholly above 0",
            source,
        ),
        *(_slowest(rows, name) for name in TIMED),
        _memory(rows),
    )


def not_above_chance(rows: Sequence[Measured]) -> Metric:
    """Return how many patterns show nothing that guessing would not."""
    return count(
        "not_above_chance",
        sum(not row.above_chance for row in rows),
        len(rows),
        "patterns whose score's interval is not wholly above chance",
        tuple(event for row in rows for event in row.source),
    )


def _slowest(rows: Sequence[Measured], name: str) -> Metric:
    slowest = max(rows, key=lambda row: getattr(row, name).p99_us)
    times = getattr(slowest, name)
    return Metric(
        name=f"{name}_p99",
        value=times.p99_us,
        unit="us",
        better="lower",
        n=times.n,
        timing=True,
        estimator=f"99th percentile of the pattern with the largest, {slowest.pattern}",
        source=slowest.source,
    )


def _memory(rows: Sequence[Measured]) -> Metric:
    peaks = [row.rss_bytes for row in rows if row.rss_bytes is not None]
    known = len(peaks) == len(rows)
    return Metric(
        name="memory",
        value=max(peaks) if known else None,
        unit="bytes",
        better="lower",
        n=sum(row.repeats for row in rows),
        timing=True,
        estimator="most resident memory of a worker at a task, its libraries included; the largest of all tasks",
        source=tuple(event for row in rows for event in row.source),
        reason="" if known else next(row.rss_reason for row in rows if row.rss_bytes is None),
    )


def score_of(row: Measured) -> Metric:
    """Return a pattern's score beside chance and a baseline."""
    return Metric(
        name=f"score.{row.pattern}",
        value=row.score,
        unit="ratio",
        n=row.questions,
        low=row.low,
        high=row.high,
        estimator=f"mean over questions; {_HOW}; chance {row.chance:.3g}, baseline {row.baseline:.3g}",
        source=row.source,
    )


def _each(row: Measured) -> tuple[Metric, ...]:
    """Return what was measured of one pattern."""
    return (
        score_of(row),
        *(
            Metric(
                name=f"{name}_{label}.{row.pattern}",
                value=value,
                unit="us",
                better="lower",
                n=times.n,
                timing=True,
                estimator=f"{which} of {times.n} timings"
                + (f", each the mean of up to {times.loops} calls" if times.loops > 1 else ""),
                source=row.source,
            )
            for name in TIMED
            for times in (getattr(row, name),)
            for label, which, value in (
                ("p50", "median", times.p50_us),
                ("p99", "99th percentile", times.p99_us),
            )
        ),
        Metric(
            name=f"allocated.{row.pattern}",
            value=row.allocated_bytes,
            unit="bytes",
            better="lower",
            n=row.repeats,
            timing=True,
            estimator="most that a task had allocated at once, traced in a pass of its own; the largest of all tasks",
            source=row.source,
        ),
    )


SCENARIO = Scenario(
    name="patterns",
    description="Each pattern learned from nothing: its score beside chance and a baseline, its latency and memory",
    params=(
        *common(5, "tasks a pattern, each with random numbers of its own"),
        Param(
            name="shuffled",
            type="bool",
            default=False,
            description="a control: take away what there is to be learned, so that scores fall to chance",
        ),
    ),
    targets=(
        Target(metric="not_above_chance", op="==", target=0),
        Target(metric="not_learned", op="==", target=0),
        Target(metric="recognition_p99", op="<=", target=100_000),
        Target(metric="inference_p99", op="<=", target=50_000),
        Target(metric="iteration_p99", op="<=", target=500_000),
        Target(metric="memory", op="<=", target=MEMORY_BYTES),
    ),
    timeout_s=1800.0,
    parallel={KIND: 1},
)
"""One task at a time: a task beside another would be timed as slower than it is."""
