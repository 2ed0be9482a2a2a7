"""Scenarios that are timed from the log: batches of tasks, pipelines, swarms at once, and the whole.

Each yields what makes its steps, the last of which is the task that reads from the log how long the parts took.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from swarm_common.events import Task
from swarm_coordinator.suites.primitives.catalogue import Entry
from swarm_coordinator.suites.primitives.tasks import (
    AGENTS,
    LONG_S,
    WORLDS,
    agreed,
    empty,
    measured,
    swarm_of,
    weighed,
)

Tasks = tuple[Task, ...]
MakeStep = Callable[[], Tasks]

WARM_UP = 1
"""Parts that come first and are not timed."""
_EXERCISED: tuple[tuple[tuple[str, str, int, int], ...], ...] = (
    (
        ("conflict_detection", "", 50, 20),
        ("configuration_analysis", "", 10, 20),
        ("dependency_resolution", "", 4, 20),
        ("artifact_conversion", "", 100, 20),
        ("snapshot_writes", "", 100, 20),
        ("semaphore_coordination", "", 10, 20),
        ("swarm_memory_allocation", "", 50, 5),
    ),
    (
        ("snapshot_reads", "", 50, 20),
        ("commutative_aggregation", "weigh", 100, 100),
        ("conditional_aggregation", "", 100, 20),
        ("priority_scheduling", "", 500, 100),
        ("scheduler_queue_depth", "", 1000, 5),
        ("proposal_conflicts", "hash", 100, 20),
        ("proposal_merging", "", 10, 50),
        ("scheduling_hint_sorting", "", 1000, 20),
        ("timeout_overhead", "kept", 10, 20),
    ),
)
"""The work of the scenarios without agents, in two halves for two cores: scenario, variant, size, loops."""


def _timed(entry: Entry, variant: str, size: int, parts: list[dict[str, Any]], **more: Any) -> Tasks:
    return (
        Task(
            id=measured(entry, variant, size),
            kind="time_log",
            service="metrics",
            params={
                "scenario": entry.name,
                "variant": variant,
                "size": size,
                "skip": WARM_UP,
                "parts": parts,
                **more,
            },
        ),
    )


def _in_turn(steps: Sequence[Tasks]) -> list[dict[str, Any]]:
    """Return steps as parts of the log, each of which ends where the next begins, and the last with who asks."""
    ends = [*(step[0].id for step in steps[1:]), ""]
    return [
        {"tasks": [task.id for task in step], "until": end} for step, end in zip(steps, ends, strict=True)
    ]


def batches(entry: Entry, size: int, params: Mapping[str, Any], _seed: int) -> Iterator[MakeStep]:
    """Plan batches of empty tasks, each when the one before has gone through."""
    numbers = range(WARM_UP + params["repeats"] * 2)

    def batch(number: int) -> Tasks:
        return tuple(empty(f"batch-{size}-{number}-{index}", index) for index in range(size))

    for number in numbers:
        yield partial(batch, number)
    yield lambda: _timed(
        entry,
        "",
        size,
        _in_turn([batch(number) for number in numbers]),
        operation=f"a batch of {size} empty tasks, from planning to the last result",
    )


def stages(entry: Entry, size: int, params: Mapping[str, Any], _seed: int) -> Iterator[MakeStep]:
    """Plan pipelines one after the other, all at once: the first stage of each waits for the last of the one before."""

    def pipeline(number: int) -> Tasks:
        before: tuple[str, ...] = (f"stage-{size}-{number - 1}-{size - 1}",) if number else ()
        tasks = []
        for index in range(size):
            tasks.append(empty(f"stage-{size}-{number}-{index}", index, before))
            before = (tasks[-1].id,)
        return tuple(tasks)

    pipelines = range(WARM_UP + params["repeats"] * 4)
    yield lambda: tuple(task for number in pipelines for task in pipeline(number))
    yield lambda: _timed(
        entry,
        "",
        size,
        _in_turn([pipeline(number) for number in pipelines]),
        operation=f"{size} empty stages, each with the result of the one before",
        growth="linear",
    )


def swarms(entry: Entry, size: int, params: Mapping[str, Any], seed: int) -> Iterator[MakeStep]:
    """Plan swarms one after the other, and then the same ones at once, again and again."""
    repeats = range(WARM_UP + params["repeats"])

    def alone(number: int) -> Tasks:
        names = [f"alone-{size}-{number}-{swarm}" for swarm in range(size)]
        return tuple(
            swarm_of(name, seed, swarm, (names[swarm - 1],) if swarm else ())
            for swarm, name in enumerate(names)
        )

    def together(number: int) -> Tasks:
        return tuple(swarm_of(f"together-{size}-{number}-{swarm}", seed, swarm) for swarm in range(size))

    for number in repeats:
        yield partial(alone, number)
        yield partial(together, number)
    last = repeats[-1]

    def timed(variant: str) -> Tasks:
        ways, other = (alone, together) if variant == "alone" else (together, alone)
        # Alone ends where together begins; together where the next round begins, or with the first who asks.
        parts = []
        for number in repeats:
            later = number if variant == "alone" else number + 1
            ended = later > last
            parts.append(
                {
                    "tasks": [task.id for task in ways(number)],
                    "until": measured(entry, "alone", size) if ended else other(later)[0].id,
                }
            )
        same = [
            [ours.id, theirs.id]
            for number in repeats
            for ours, theirs in zip(ways(number), alone(0), strict=True)
        ]
        return _timed(
            entry,
            variant,
            size,
            parts,
            operation=f"{size} simulated swarms of {AGENTS} agents, {WORLDS} worlds each, "
            + ("one after the other" if variant == "alone" else "at once"),
            same=same,
        )

    for variant in entry.variants:
        yield partial(timed, variant)


def whole(entry: Entry, size: int, params: Mapping[str, Any], seed: int) -> Iterator[MakeStep]:
    """Plan rounds of a swarm that does all there is, one after the other."""
    rounds = range(WARM_UP + params["repeats"] * 2)
    for number in rounds:
        yield partial(_round, number, size, seed)
    yield lambda: _timed(
        entry,
        "",
        size,
        _in_turn([_round(number, size, seed) for number in rounds]),
        operation="all of the above as one swarm, from its first task to its last result",
    )


def _round(number: int, size: int, seed: int) -> Tasks:
    """Return the graph of a swarm that does all there is: its work, a decision, agents made ready, a pipeline."""
    name = f"whole-{number}"
    batch = tuple(empty(f"{name}-batch-{index}", index) for index in range(10 * size))
    begun = tuple(task.id for task in batch)
    work = (
        *(
            Task(
                id=f"{name}-exercise-{half}",
                kind="exercise",
                service="metrics",
                lane="cpu",
                timeout_s=LONG_S,
                params={"cases": cases},
                after=begun,
            )
            for half, cases in enumerate(_EXERCISED)
        ),
        *(swarm_of(f"{name}-swarm-{swarm}", seed, swarm, begun) for swarm in range(2 * size)),
        weighed("memory_overhead", f"{name}-weigh", 10, begun),
    )
    decided = agreed(f"{name}-agree", AGENTS, 20, tuple(task.id for task in work))
    agents = Task(
        id=f"{name}-agents",
        kind="measure_agents",
        service="model_agent",
        lane="cpu",
        timeout_s=LONG_S,
        params={"scenario": "parallel_agents", "variant": "work", "size": 2, "repeats": 1},
        after=(decided.id,),
    )
    stages = [agents.id, *(f"{name}-stage-{index}" for index in range(6))]
    pipeline = tuple(empty(stage, index, (before,)) for index, (before, stage) in enumerate(pairwise(stages)))
    return (*batch, *work, decided, agents, *pipeline)
