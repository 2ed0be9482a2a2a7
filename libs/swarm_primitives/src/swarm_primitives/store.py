"""A map that many read while somebody writes: readers have a snapshot, and a writer's changes appear all at once."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterable, Mapping
from typing import Generic, TypeVar, overload

from swarm_primitives.proposals import Merged, Proposal, merge
from swarm_primitives.snapshots import GONE, Gone, Snapshot

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
D = TypeVar("D")


class Outdated(Exception):
    """What a change was based on has changed since: read again, and decide again."""

    def __init__(self, keys: Iterable[object]) -> None:
        self.keys = tuple(keys)
        """Those that were read and have changed."""
        super().__init__(f"changed since they were read: {', '.join(map(str, self.keys))}")


class Staged(Generic[K, V]):
    """Changes that nobody else sees yet, and what was read for them. For one thread or task."""

    __slots__ = ("base", "read", "writes")

    def __init__(self, base: Snapshot[K, V]) -> None:
        self.base = base
        self.read: dict[K, int] = {}
        """By key that was read: the version that had written it; -1 where it was not there."""
        self.writes: dict[K, V | Gone] = {}

    @overload
    def get(self, key: K) -> V | None: ...
    @overload
    def get(self, key: K, default: V | D) -> V | D: ...
    def get(self, key: K, default: V | D | None = None) -> V | D | None:
        """Return what this change would leave of a key; what it has not written itself counts as read."""
        if key in self.writes:
            value = self.writes[key]
            return default if value is GONE else value
        self.read[key] = self.base.written(key)
        return self.base.get(key, default)

    def __contains__(self, key: K) -> bool:
        return self.get(key, GONE) is not GONE

    def __setitem__(self, key: K, value: V) -> None:
        self.writes[key] = value

    def __delitem__(self, key: K) -> None:
        self.writes[key] = GONE


class Store(Generic[K, V]):
    """The present snapshot of a map. Reading takes no lock; committing holds one for as long as a change takes."""

    def __init__(self, start: Mapping[K, V] | None = None) -> None:
        self.now: Snapshot[K, V] = Snapshot(start)
        """The present version: O(1), from any thread or task."""
        self._lock = threading.Lock()

    def begin(self) -> Staged[K, V]:
        """Return an empty change, based on the present version."""
        return Staged(self.now)

    def commit(self, staged: Staged[K, V]) -> Snapshot[K, V]:
        """Make a change, all of it at once, and return the version after it.

        O(keys + sqrt n), amortised. Raises :class:`Outdated`, and changes nothing, where a key that was read has been
        written since.
        """
        merged = self.merge([Proposal(id="", writes=staged.writes, expects=staged.read)])
        if merged.refused:
            raise Outdated(merged.refused[""])
        return merged.snapshot

    def merge(self, proposals: Iterable[Proposal[K, V]]) -> Merged[K, V]:
        """Make all changes that go together, at once; see :func:`swarm_primitives.proposals.merge`."""
        with self._lock:
            merged = merge(self.now, proposals)
            self.now = merged.snapshot
        return merged
