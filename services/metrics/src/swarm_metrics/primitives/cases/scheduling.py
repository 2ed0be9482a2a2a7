"""``priority_scheduling``, ``scheduler_queue_depth``, ``scheduling_hint_sorting``: what the coordinator picks from."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from swarm_metrics.primitives.case import Case, Fact, Prepared, require
from swarm_primitives.queues import Entry, PriorityQueue
from swarm_primitives.scheduling import Hint, Scheduler, ordered

_PRIORITIES = 10
_KINDS = ("train", "combine", "score", "act")
_AT_ONCE = 16
"""How many of a kind may run at once, and about as many are handed out at a time."""


def entries_of(size: int, seed: int) -> list[Entry]:
    """Return entries of several priorities, in the order of arrival."""
    draw = Random(f"{seed}/queue/{size}")  # noqa: S311 - seeded, nothing secret
    return [(-draw.randrange(_PRIORITIES), arrival) for arrival in range(size)]


def prepare_queue(size: int, seed: int) -> Prepared:
    """Return a queue of ``size``, a tenth of which came singly behind the others; an operation is a dequeue."""
    entries = entries_of(size, seed)
    start = PriorityQueue().extend(entries[size // 10 :])
    for entry in entries[: size // 10]:
        start = start.add(entry)
    left: list[Entry] = []

    def run(loops: int) -> None:
        for _ in range(loops):
            queue = start
            left.clear()
            for _ in range(size):
                entry, queue = queue.pop()
                left.append(entry)

    def check() -> dict[str, Fact]:
        # Sorting is stable: of equals, whoever came first is first.
        require(left == sorted(entries, key=lambda entry: entry[0]), "they left in another order")
        require(len(start) == size, "the old version has changed")
        return {"queued": size, "first": left[0][1], "last": left[-1][1]}

    return Prepared(run=run, operations=size, once=start.pop, check=check)


def prepare_depth(size: int, seed: int) -> Prepared:
    """Return a scheduler with ``size`` entries of four kinds; an operation is one entry picked, started and ended."""
    entries = entries_of(size, seed)
    kinds = {entry: _KINDS[entry[1] % len(_KINDS)] for entry in entries}
    full = Scheduler()
    for kind in _KINDS:
        full = full.extend(kind, [entry for entry in entries if kinds[entry] == kind])
    started: list[Entry] = []
    most = {"running": 0}

    def run(loops: int) -> None:
        for _ in range(loops):
            schedule = full
            started.clear()
            while due := schedule.due(lambda _kind, _first: _AT_ONCE, len(_KINDS) * _AT_ONCE):
                for entry in due:
                    schedule = schedule.start(kinds[entry], entry)
                most["running"] = max(most["running"], *schedule.running.values())
                for entry in due:
                    schedule = schedule.stop(kinds[entry])
                started.extend(due)

    def check() -> dict[str, Fact]:
        require(sorted(started) == sorted(entries), "not every entry was started once")
        for kind in _KINDS:
            mine = [entry for entry in started if kinds[entry] == kind]
            require(mine == sorted(mine), f"{kind} was not started in order")
        require(most["running"] == _AT_ONCE, f"{most['running']} of a kind ran at once")
        require(len(full) == size, "the old version has changed")
        return {"queued": size, "kinds": len(_KINDS), "most_running": most["running"]}

    return Prepared(run=run, operations=size, check=check)


def hints_of(size: int, seed: int) -> list[Hint]:
    """Return hints of all kinds: half of the work is due at some time, half of it has an affinity."""
    draw = Random(f"{seed}/hints/{size}")  # noqa: S311 - seeded, nothing secret
    return [
        Hint(
            priority=draw.randrange(_PRIORITIES),
            deadline_s=draw.choice((60.0, 600.0, float("inf"), float("inf"))),
            cost=round(draw.expovariate(0.1), 3),
            affinity=draw.choice(("", "", "digits", "wine")),
        )
        for _ in range(size)
    ]


def prepare_hints(size: int, seed: int) -> Prepared:
    """Return ``size`` pieces of work with hints; an operation is to put them in order."""
    hints = hints_of(size, seed)
    work = list(range(size))
    found: list[int] = []

    def run(loops: int) -> None:
        for _ in range(loops):
            found[:] = ordered(work, hints)

    def check() -> dict[str, Fact]:
        require(sorted(found) == work, "not every piece is there once")
        urgency = [(-hints[at].priority, hints[at].deadline_s) for at in found]
        require(urgency == sorted(urgency), "the more urgent do not stand in front")
        alone = [at for at in found if not hints[at].affinity]
        dear = [(-hints[at].priority, hints[at].deadline_s, -hints[at].cost) for at in alone]
        require(dear == sorted(dear), "of equals, the dearer do not stand in front")
        groups = [(*where, hints[at].affinity or at) for where, at in zip(urgency, found, strict=True)]
        changes = sum(one != other for one, other in pairwise(groups))
        require(changes + 1 == len(set(groups)), "what has the same affinity does not stand side by side")
        return {"hints": size, "groups": len(set(groups)), "first": found[0], "last": found[-1]}

    return Prepared(run=run, check=check)


CASES = (
    Case(
        scenario="priority_scheduling",
        sizes=(10, 50, 100, 500, 1000),
        operation="one dequeue from a queue that began with n",
        growth="log n",
        prepare=prepare_queue,
    ),
    Case(
        scenario="scheduler_queue_depth",
        sizes=(100, 500, 1000, 5000),
        operation="one entry picked, started and ended, from a scheduler that began with n of four kinds",
        growth="log n",
        prepare=prepare_depth,
    ),
    Case(
        scenario="scheduling_hint_sorting",
        sizes=(100, 500, 1000, 5000),
        operation="n pieces of work put in the order of their hints",
        growth="n log n",
        prepare=prepare_hints,
    ),
)
