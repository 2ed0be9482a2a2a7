"""Scenario ``parallel``: the same tasks by one worker and by several: how much faster, and what bounds it."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from swarm_common.events import Metric, Target, Task
from swarm_common.events.agent import PatternLearned
from swarm_coordinator.plans import Fact, Finish, Param, Scenario, SoFar, Step
from swarm_coordinator.suites.hive.params import count, int_param, once
from swarm_coordinator.suites.neural.params import KIND, common, task_of
from swarm_coordinator.suites.noop import seconds

Bound = Literal["workers", "cores", "the longest task"]


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """All tasks once, by so many workers. Times are in seconds, by the clocks of those who recorded."""

    round: int
    workers: int
    wall_s: float
    """From the first task's beginning to the last one's end."""
    work_s: float
    """Time of all tasks, added up."""
    longest_s: float


class Width(msgspec.Struct, frozen=True, kw_only=True):
    """What so many workers were worth, over the rounds."""

    workers: int
    tasks: int
    wall_s: float
    """Median of the rounds."""
    speedup: float
    """Median over rounds of one worker's time over theirs in the same round."""
    least: float
    most: float
    efficiency: float
    """Speed-up over workers."""
    bound: float
    """What the speed-up cannot exceed."""
    bound_by: Bound
    slowed: float
    """Time of all tasks over that by one worker: above 1 they hinder each other in caches, memory or cores."""
    idle: float
    """Share of the workers' time without a task."""


def plan(sofar: SoFar) -> Step | Finish:
    """Keep as many tasks open as there are to be workers, batch after batch, then what each width was worth.

    Batches alternate, so that a machine that grows slower does so for all widths.
    """
    for round_, workers in _batches(sofar.params):
        tasks = _tasks(round_, workers, sofar.params)
        if all(task.id in sofar.results for task in tasks):
            continue
        going = sum(task.id in sofar.planned and task.id not in sofar.results for task in tasks)
        waiting = [task for task in tasks if task.id not in sofar.planned]
        return Step(tasks=tuple(waiting[: max(0, workers - going)]))
    return _finish(sofar)


def _batches(params: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    for round_ in range(params["rounds"]):
        for workers in widths(params):
            yield round_, workers


def widths(params: Mapping[str, Any]) -> list[int]:
    """Return how many workers there are to be, ascending; one is always among them, to be compared with."""
    return sorted({1, *params["workers"]})


def _tasks(round_: int, workers: int, params: Mapping[str, Any]) -> tuple[Task, ...]:
    return tuple(
        task_of(f"r{round_}-w{workers}-{pattern}-{repeat}", pattern, repeat, params, decides=True)
        for repeat in range(params["repeats"])
        for pattern in once(params["patterns"])
    )


def _finish(sofar: SoFar) -> Finish:
    params = sofar.params
    facts = {
        (round_, workers): [sofar.results[task.id] for task in _tasks(round_, workers, params)]
        for round_, workers in _batches(params)
    }
    batches = [batch(round_, workers, found) for (round_, workers), found in facts.items()]
    cores = max(
        fact.data.cores for found in facts.values() for fact in found if isinstance(fact.data, PatternLearned)
    )
    tasks = len(facts[0, 1])
    rows = [width(batches, workers, tasks, cores) for workers in widths(params)]
    # The same work gives the same scores, whoever does it and whatever goes on beside.
    first = [_outcome(fact) for fact in facts[0, 1]]
    differing = sum(
        _outcome(fact) != expected
        for found in facts.values()
        for fact, expected in zip(found, first, strict=True)
    )
    source = tuple(fact.event for found in facts.values() for fact in found)
    return Finish(
        result={"neural": {"parallel": [msgspec.to_builtins(row) for row in rows], "cores": cores}},
        metrics=(
            count(
                "differing", differing, len(source), "tasks whose scores are not those by one worker", source
            ),
            *(
                metric
                for row in rows
                if row.workers > 1
                for metric in _metrics(row, params["rounds"], source)
            ),
            seconds(sofar.elapsed_s),
        ),
    )


def batch(round_: int, workers: int, facts: Sequence[Fact]) -> Batch:
    """Return what a batch took, from when its results were recorded and how long each task was at work."""
    took = [fact.data.elapsed_s for fact in facts if isinstance(fact.data, PatternLearned)]
    ends = [fact.at_ns / 1e9 for fact in facts]
    return Batch(
        round=round_,
        workers=workers,
        wall_s=max(ends) - min(end - elapsed for end, elapsed in zip(ends, took, strict=True)),
        work_s=sum(took),
        longest_s=max(took),
    )


def width(batches: Sequence[Batch], workers: int, tasks: int, cores: int) -> Width:
    """Return what ``workers`` were worth beside one.

    The bound is the least of the workers, the cores and the tasks' time over the longest task's (by one worker): no
    schedule ends before its longest task (Graham 1966).
    """
    alone = {one.round: one for one in batches if one.workers == 1}
    ours = [one for one in batches if one.workers == workers]
    gains = [alone[one.round].wall_s / one.wall_s for one in ours]
    by_task = statistics.median(one.work_s / one.longest_s for one in alone.values())
    bounds: list[tuple[float, Bound]] = [
        (workers, "workers"),
        (cores, "cores"),
        (by_task, "the longest task"),
    ]
    bound, by = min(bounds, key=lambda pair: pair[0])
    speedup = statistics.median(gains)
    return Width(
        workers=workers,
        tasks=tasks,
        wall_s=statistics.median(one.wall_s for one in ours),
        speedup=speedup,
        least=min(gains),
        most=max(gains),
        efficiency=speedup / workers,
        bound=bound,
        bound_by=by,
        slowed=statistics.median(one.work_s / alone[one.round].work_s for one in ours),
        idle=max(0.0, statistics.median(1 - one.work_s / (workers * one.wall_s) for one in ours)),
    )


def _outcome(fact: Fact) -> object:
    data = fact.data
    return (data.score, data.curve, data.measures) if isinstance(data, PatternLearned) else None


def _metrics(row: Width, rounds: int, source: tuple[str, ...]) -> tuple[Metric, ...]:
    return (
        Metric(
            name=f"speedup.{row.workers}",
            value=row.speedup,
            unit="ratio",
            n=rounds,
            low=row.least,
            high=row.most,
            timing=True,
            estimator=f"median of the rounds, and the least and most; at most {row.bound:.2f} by {row.bound_by}",
            source=source,
        ),
        Metric(
            name=f"efficiency.{row.workers}",
            value=row.efficiency,
            unit="ratio",
            n=rounds,
            timing=True,
            estimator="speed-up over workers",
            source=source,
        ),
    )


SCENARIO = Scenario(
    name="parallel",
    description="The same tasks by one worker and by several: speed-up, what bounds it, and that scores are the same",
    params=(
        *common(2, "tasks a pattern in each batch"),
        Param(
            name="workers",
            type="ints",
            default=[1, 2],
            low=1,
            high=64,
            description="how many tasks are at work at once; model-agent has a worker a core",
        ),
        int_param("rounds", 3, 1, 100, "how often each width is measured, in turn"),
    ),
    targets=(Target(metric="differing", op="==", target=0),),
    timeout_s=1800.0,
    parallel={KIND: 64},
)
