"""What is done next: a scheduler over priority queues, and the order that hints give."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

from swarm_primitives.queues import Entry, PriorityQueue

T = TypeVar("T")


class Scheduler(msgspec.Struct, frozen=True):
    """Entries that wait, and how many run, by kind. Immutable.

    Kinds are few: a step copies a reference for each, and costs in a queue what :class:`PriorityQueue` says.
    """

    waiting: Mapping[str, PriorityQueue] = {}
    running: Mapping[str, int] = {}

    def __len__(self) -> int:
        """Return the depth: how many entries wait."""
        return sum(map(len, self.waiting.values()))

    def extend(self, kind: str, entries: Iterable[Entry]) -> Scheduler:
        """Let many entries wait."""
        return self._with(kind, self.waiting.get(kind, _NOBODY).extend(entries))

    def add(self, kind: str, entry: Entry) -> Scheduler:
        """Let an entry wait."""
        return self._with(kind, self.waiting.get(kind, _NOBODY).add(entry))

    def withdraw(self, kind: str, entry: Entry) -> Scheduler:
        """Let an entry wait no more; it does not run."""
        return self._with(kind, self.waiting.get(kind, _NOBODY).remove(entry))

    def start(self, kind: str, entry: Entry) -> Scheduler:
        """Take an entry out of those that wait: it runs."""
        waiting = {**self.waiting, kind: self.waiting.get(kind, _NOBODY).remove(entry)}
        return Scheduler(waiting, {**self.running, kind: self.running.get(kind, 0) + 1})

    def stop(self, kind: str) -> Scheduler:
        """One that ran runs no more; raises :class:`KeyError` where none of the kind does."""
        if not (running := self.running.get(kind, 0)):
            raise KeyError(kind)
        return Scheduler(self.waiting, {**self.running, kind: running - 1})

    def due(self, limit: Callable[[str, Entry], int], most: int) -> list[Entry]:
        """Return the entries to start, the most urgent first and at most ``most``.

        ``limit`` says of a kind, given its first entry, how many may run at once. O(most) for each kind.
        """
        found: list[Entry] = []
        for kind, queue in self.waiting.items():
            if len(queue):
                room = limit(kind, queue.first(1)[0]) - self.running.get(kind, 0)
                found += queue.first(min(room, most)) if room > 0 else []
        found.sort()
        return found[:most]

    def _with(self, kind: str, queue: PriorityQueue) -> Scheduler:
        return Scheduler({**self.waiting, kind: queue}, self.running)


_NOBODY = PriorityQueue()


class Hint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What is known of a piece of work that helps to order it."""

    priority: int = 0
    """The higher first."""
    deadline_s: float = math.inf
    """Of equals, what is due first (Jackson 1955: no order has a smaller largest lateness on one machine)."""
    cost: float = 0.0
    """Of equals, the dearest first: the makespan is at most 4/3 - 1/(3m) of the best (Graham 1969)."""
    affinity: str = ""
    """Of equals, what has the same affinity side by side, where the dearest of them stands; empty: none."""


def ordered(items: Sequence[T], hints: Sequence[Hint]) -> list[T]:
    """Return items in the order that their hints give, equals in the order in which they stand: O(n log n).

    Raises :class:`ValueError` where there are not as many hints as items.
    """
    if len(items) != len(hints):
        raise ValueError(f"{len(items)} items have {len(hints)} hints; each has one")
    groups: dict[tuple[int, float, str], tuple[float, int]] = {}
    for at, hint in enumerate(hints):
        if hint.affinity:
            group = (hint.priority, hint.deadline_s, hint.affinity)
            groups[group] = min(groups.get(group, (math.inf, at)), (-hint.cost, at))
    keys = []
    for at, hint in enumerate(hints):
        lead = (-hint.cost, at)
        if hint.affinity:
            lead = groups[hint.priority, hint.deadline_s, hint.affinity]
        keys.append((-hint.priority, hint.deadline_s, *lead, -hint.cost, at))
    keys.sort()
    return [items[key[-1]] for key in keys]
