"""An agent's log in memory: what a snapshot has replaced, and the entries after it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from swarm_consensus.protocols.raft.messages import Entry


def _term(entry: Entry) -> int:
    return entry.term


def _slot(entry: Entry) -> int:
    return entry.slot


class Log:
    """Entries by index, the first at 1. Terms never fall from one entry to the next, nor do slots."""

    __slots__ = ("base", "base_slot", "base_term", "entries", "last", "last_term")

    def __init__(self) -> None:
        self.base = self.base_term = 0
        """The last entry that a snapshot has replaced, and its term; 0: none."""
        self.base_slot = -1
        self.entries: list[Entry] = []
        self.last = self.last_term = 0
        """The last entry and its term, be it here or in the snapshot."""

    def term(self, index: int) -> int | None:
        """Return an entry's term; ``None``: the log ends before it, or only the snapshot has it. 0 has term 0."""
        at = index - self.base - 1
        if at >= 0:
            return self.entries[at].term if index <= self.last else None
        return self.base_term if at == -1 else None

    def slot(self, index: int) -> int:
        """Return the slot of the last value up to ``index``; -1: there is none."""
        return self.entries[index - self.base - 1].slot if index > self.base else self.base_slot

    def put(self, index: int, entries: Sequence[Entry]) -> None:
        """Let the log go on from ``index`` with ``entries`` and end there."""
        del self.entries[index - self.base - 1 :]
        self.entries.extend(entries)
        self._end()

    def since(self, index: int, most: int) -> tuple[Entry, ...]:
        """Return the entries after ``index``, ``most`` at most."""
        at = index - self.base
        return tuple(self.entries[at : at + most])

    def first_of(self, term: int) -> int:
        """Return the index of the first entry here of ``term`` or a later one."""
        return self.base + 1 + bisect_left(self.entries, term, key=_term)

    def last_of(self, term: int) -> int | None:
        """Return the index of the last entry of ``term``; ``None``: there is none here."""
        at = bisect_right(self.entries, term, key=_term)
        return self.base + at if at and self.entries[at - 1].term == term else None

    def index_of(self, slot: int) -> int | None:
        """Return the index of the value in ``slot``; ``None``: it is not here."""
        at = bisect_left(self.entries, slot, key=_slot)
        if at == len(self.entries) or self.entries[at].slot != slot or self.entries[at].value is None:
            return None
        return self.base + 1 + at

    def cut(self, index: int, term: int, slot: int) -> None:
        """Let a snapshot replace all up to ``index``, and all after it too if the log has another entry there."""
        self.entries = self.entries[index - self.base :] if self.term(index) == term else []
        self.base, self.base_term, self.base_slot = index, term, slot
        self._end()

    def _end(self) -> None:
        self.last = self.base + len(self.entries)
        self.last_term = self.entries[-1].term if self.entries else self.base_term
