"""What coordinates a swarm, beside what it was chosen over: maps with versions, queues with versions, levels.

Maps of many sizes: one write at a time and reads, of ours, of a dict copied whole and of immutables' hash array mapped
trie. Queues: ours, which can be read in every version, beside a heap that is changed in place. And what the coordinator
itself takes for a task: its decisions and its fold, without a log.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from graphlib import TopologicalSorter
from typing import Any

from immutables import Map
from kit.cli import alone
from kit.measure import Bench, Row

from swarm_common.errors import SwarmError
from swarm_common.events import Data
from swarm_common.events.agent import TaskDone
from swarm_common.events.benchmark import TaskScheduled
from swarm_common.events.envelope import decode, encode, new_event
from swarm_coordinator.decider import decide
from swarm_coordinator.moment import Moment
from swarm_coordinator.requests import Request, begin
from swarm_coordinator.state import RunState, evolve
from swarm_coordinator.suites import SUITES
from swarm_primitives.graphs import levels
from swarm_primitives.queues import PriorityQueue
from swarm_primitives.snapshots import Snapshot

SIZES = (100, 1_000, 10_000, 100_000)
WRITES = 1_000
"""More than the root of the largest size: what is put off until later is in the figure."""


def _us(work: Callable[[], Any], operations: int, repeats: int) -> tuple[float, ...]:
    """Return microseconds of CPU an operation, of so many repeats."""
    found = []
    for _ in range(repeats):
        began = time.thread_time_ns()
        work()
        found.append((time.thread_time_ns() - began) / 1e3 / operations)
    return tuple(found)


def _maps(size: int, repeats: int) -> list[Row]:
    start = {f"key-{number}": number for number in range(size)}
    keys = [f"key-{number * 7919 % size}" for number in range(WRITES)]
    few = keys[: max(10, min(WRITES, 1_000_000 // size))]  # a dict copied whole takes its time

    held_by_us, held_by_trie = Snapshot(start), Map(start)

    def ours() -> None:
        snapshot = held_by_us
        for key in keys:
            snapshot = snapshot.changed({key: 1})

    def copied(held: dict[str, int] = start) -> None:
        for key in few:
            held = {**held, key: 1}

    def trie() -> None:
        held = held_by_trie
        for key in keys:
            held = held.set(key, 1)

    rows = [
        Row(name=f"write, {size:,} keys", what=what, unit="us", samples=_us(work, count, repeats))
        for what, work, count in (
            ("ours", ours, WRITES),
            ("dict, copied", copied, len(few)),
            ("immutables.Map", trie, WRITES),
        )
    ]
    maps = (("ours", Snapshot(start).changed({keys[0]: 1})), ("dict", start), ("immutables.Map", Map(start)))
    for what, held in maps:

        def read(get: Callable[[str], Any] = held.get) -> None:
            for key in keys:
                get(key)

        rows.append(
            Row(name=f"read, {size:,} keys", what=what, unit="us", samples=_us(read, len(keys), repeats))
        )
    return rows


def _queues(size: int, repeats: int) -> list[Row]:
    entries = [(-(number * 7919 % 10), number) for number in range(size)]

    def batch() -> None:
        queue = PriorityQueue().extend(entries)
        for _ in range(size):
            _, queue = queue.pop()

    def singly() -> None:
        queue = PriorityQueue()
        for entry in entries:
            queue = queue.add(entry)
        for _ in range(size):
            _, queue = queue.pop()

    def heap() -> None:
        held: list[tuple[int, int]] = []
        for entry in entries:
            heapq.heappush(held, entry)
        for _ in range(size):
            heapq.heappop(held)

    return [
        Row(name=f"in and out, {size:,} entries", what=what, unit="us", samples=_us(work, size, repeats))
        for what, work in (("ours, as a batch", batch), ("ours, one by one", singly), ("heapq", heap))
    ]


def _graphs(size: int, repeats: int) -> list[Row]:
    graph = {node: [node // 2, node // 3] if node else [] for node in range(size)}
    return [
        Row(name=f"order, {size:,} nodes", what=what, unit="us/node", samples=_us(work, size, repeats))
        for what, work in (
            ("ours", lambda: levels(graph)),
            ("graphlib", lambda: list(TopologicalSorter(graph).static_order())),
        )
    ]


def _run(tasks: int) -> tuple[float, float]:
    """Return microseconds of CPU that decisions and the fold take for a task of an empty run."""
    moment = Moment(1_700_000_000_000_000_000, 0.5)
    state, seq = RunState(run="r"), 0
    spent = {"decide": 0, "evolve": 0}

    def add(data: Data) -> None:
        nonlocal state, seq
        seq += 1
        event = new_event(
            data, run="r", source="/bench", cause=state.last_id or "q", handler="bench", index=seq
        )
        event = decode(encode(event), seq)
        began = time.thread_time_ns()
        state = evolve(state, event)
        spent["evolve"] += time.thread_time_ns() - began

    add(begin(Request(id="q", body={"suite": "noop", "params": {"tasks": tasks}}), SUITES, moment, "bench"))
    while not state.over:
        began = time.thread_time_ns()
        decided = decide(state, moment, SUITES)
        spent["decide"] += time.thread_time_ns() - began
        if not decided:
            raise SwarmError("the coordinator has nothing to decide, and the run is not over")
        for data in decided:
            add(data)
        for data in decided:
            if isinstance(data, TaskScheduled):
                add(TaskDone(task=data.task))
    return spent["decide"] / 1e3 / tasks, spent["evolve"] / 1e3 / tasks


def run(quick: bool) -> tuple[list[Row], list[str]]:
    repeats = 3 if quick else 15
    rows: list[Row] = []
    for size in SIZES:
        rows += _maps(size, repeats)
    for size in (100, 1_000, 10_000):
        rows += _queues(size, repeats)
    rows += _graphs(1_000, repeats)
    for tasks in (1_000, 10_000):
        decided, folded = zip(*(_run(tasks) for _ in range(min(repeats, 5))), strict=True)
        rows += [
            Row(name=f"coordinator, {tasks:,} tasks", what="decide, a task", unit="us", samples=decided),
            Row(name=f"coordinator, {tasks:,} tasks", what="fold, a task", unit="us", samples=folded),
        ]
    return rows, ["CPU time of this thread, the clock's own time included"]


BENCH = Bench("structures", "data structures beside what they were chosen over", run)

if __name__ == "__main__":
    alone(BENCH)
