"""A priority queue that never changes: every operation returns another one, and both go on.

Entries are sorted tuples: the smaller is the more urgent, and the last member, its place in the order of arrival, tells
equals apart, so that equals leave in the order in which they came. Nearly all entries come in batches and leave in
order; so they stay in one sorted run with a moving head, which all later versions share. What comes singly, and what is
taken out of the middle, is noted beside the run and merged into it when it has become more than about the root of its
length: the static-to-dynamic transformation of Bentley and Saxe 1980 with two levels. A binary heap (Cormen et al.,
*Introduction to Algorithms*, chapter 6) has O(log n) for both ends, but not for a copy that must live on.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import islice
from typing import Any, TypeAlias

import msgspec

Entry: TypeAlias = tuple[Any, ...]
_FEW = 32
"""So many entries beside the run are never too many."""


class PriorityQueue(msgspec.Struct, frozen=True):
    """A set of entries, the most urgent first. Immutable: old versions stay as they were.

    With n entries, :meth:`pop` and the length are O(1), amortised; :meth:`first` is O(count); :meth:`add`,
    :meth:`remove` and :meth:`move` compare O(log n) and copy O(sqrt n) references, amortised; :meth:`extend` is
    O(n + m log m) for m entries.
    """

    run: tuple[Entry, ...] = ()
    """Sorted. What lies before ``head`` has left."""
    head: int = 0
    late: tuple[Entry, ...] = ()
    """Sorted: what came singly."""
    late_head: int = 0
    gone: frozenset[Entry] = frozenset()
    """Of the run, behind its head: what was taken out of order. Never the entry at the head."""

    def __len__(self) -> int:
        return len(self.run) - self.head - len(self.gone) + len(self.late) - self.late_head

    def __iter__(self) -> Iterator[Entry]:
        return merge(self._rest(), self.late[self.late_head :])

    def __contains__(self, entry: Entry) -> bool:
        return (_has(self.run, self.head, entry) and entry not in self.gone) or _has(
            self.late, self.late_head, entry
        )

    def first(self, count: int = 1) -> list[Entry]:
        """Return the ``count`` most urgent entries, or all there are."""
        if not self.gone and self.late_head == len(self.late):
            return list(self.run[self.head : self.head + count])
        return list(islice(self, count))

    def pop(self) -> tuple[Entry, PriorityQueue]:
        """Return the most urgent entry, and the queue without it; raises :class:`IndexError` where there is none."""
        run, late = self.head < len(self.run), self.late_head < len(self.late)
        if not (run or late):
            raise IndexError("pop from an empty priority queue")
        if run and not (late and self.late[self.late_head] < self.run[self.head]):
            return self.run[self.head], self._behind()
        rest = PriorityQueue(self.run, self.head, self.late, self.late_head + 1, self.gone)
        return self.late[self.late_head], rest

    def extend(self, entries: Iterable[Entry]) -> PriorityQueue:
        """Add many entries, in any order; those that are there already change nothing."""
        new = sorted(entries)
        if len(new) * _FEW < len(self):
            queue = self
            for entry in new:
                queue = queue.add(entry)
            return queue
        return PriorityQueue(tuple(dict.fromkeys(sorted([*self._all(), *new]))))

    def add(self, entry: Entry) -> PriorityQueue:
        """Add one entry; one that is there already changes nothing."""
        if _has(self.run, self.head, entry):
            return PriorityQueue(self.run, self.head, self.late, self.late_head, self.gone - {entry})
        late = list(self.late[self.late_head :])
        at = bisect_left(late, entry)
        if at < len(late) and late[at] == entry:
            return self
        insort(late, entry, at)
        return _settled(PriorityQueue(self.run, self.head, tuple(late), 0, self.gone))

    def remove(self, entry: Entry) -> PriorityQueue:
        """Take an entry out; one that is not there changes nothing."""
        if self.head < len(self.run) and self.run[self.head] == entry:
            return self._behind()
        at = bisect_left(self.late, entry, self.late_head)
        if at < len(self.late) and self.late[at] == entry:
            if at == self.late_head:
                return PriorityQueue(self.run, self.head, self.late, at + 1, self.gone)
            late = (*self.late[self.late_head : at], *self.late[at + 1 :])
            return PriorityQueue(self.run, self.head, late, 0, self.gone)
        if not _has(self.run, self.head, entry):
            return self
        return _settled(PriorityQueue(self.run, self.head, self.late, self.late_head, self.gone | {entry}))

    def move(self, entry: Entry, to: Entry) -> PriorityQueue:
        """Give an entry another place; raises :class:`KeyError` for one that is not there."""
        if entry not in self:
            raise KeyError(entry)
        return self.remove(entry).add(to)

    def _rest(self) -> Iterator[Entry]:
        run, gone = self.run, self.gone
        return (run[at] for at in range(self.head, len(run)) if run[at] not in gone)

    def _all(self) -> list[Entry]:
        """Return all entries, the run's before the late ones: two sorted runs, which timsort merges in C."""
        run = self.run[self.head :]
        left = [entry for entry in run if entry not in self.gone] if self.gone else run
        return [*left, *self.late[self.late_head :]]

    def _behind(self) -> PriorityQueue:
        """Return the queue without the entry at the run's head."""
        head, gone = self.head + 1, self.gone
        if gone:
            while head < len(self.run) and self.run[head] in gone:
                head += 1
            gone -= set(self.run[self.head + 1 : head])
        return PriorityQueue(self.run, head, self.late, self.late_head, gone)


def _has(entries: tuple[Entry, ...], head: int, entry: Entry) -> bool:
    at = bisect_left(entries, entry, head)
    return at < len(entries) and entries[at] == entry


def _settled(queue: PriorityQueue) -> PriorityQueue:
    """Return the queue, merged into one run where too much lies beside it."""
    beside = len(queue.late) + len(queue.gone)
    if beside > _FEW and beside**2 > len(queue.run) - queue.head:
        return PriorityQueue(tuple(sorted(queue._all())))  # noqa: SLF001 - ours
    return queue
