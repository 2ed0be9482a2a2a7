"""The tasks of one kind that are ready, in the order of planning. Immutable; taking the first is O(1)."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from heapq import merge
from itertools import islice

import msgspec


class Ready(msgspec.Struct, frozen=True):
    """Indices of tasks, ascending.

    Nearly all of them become ready when they are planned and leave in that order: they stay in one tuple with a moving
    head. The others (released by what they waited for, or to be tried again) are few, and kept apart.
    """

    planned: tuple[int, ...] = ()
    head: int = 0
    loose: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.planned) - self.head + len(self.loose)

    def extend(self, indices: Iterable[int]) -> Ready:
        """Add newly planned tasks: ascending, and behind all that are there."""
        return Ready((*self.planned[self.head :], *indices), 0, self.loose)

    def add(self, index: int) -> Ready:
        """Add one task."""
        loose = list(self.loose)
        insort(loose, index)
        return Ready(self.planned, self.head, tuple(loose))

    def remove(self, index: int) -> Ready:
        """Take a task out; one that is not there changes nothing."""
        if self.head < len(self.planned) and self.planned[self.head] == index:
            return Ready(self.planned, self.head + 1, self.loose)
        if index in self.loose:
            return Ready(self.planned, self.head, tuple(other for other in self.loose if other != index))
        at = bisect_left(self.planned, index, self.head)
        if at < len(self.planned) and self.planned[at] == index:
            return Ready((*self.planned[self.head : at], *self.planned[at + 1 :]), 0, self.loose)
        return self

    def first(self, count: int) -> list[int]:
        """Return the first ``count`` tasks."""
        return list(islice(merge(islice(self.planned, self.head, self.head + count), self.loose), count))
