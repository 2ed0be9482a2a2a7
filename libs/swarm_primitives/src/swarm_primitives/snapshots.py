"""Maps that never change: a change makes another version, and whoever holds the old one goes on reading it.

A snapshot is a large dict, shared by many versions, and a small one of what was written since, copied at each change
and merged into the large one when it has become more than about the root of its length (two levels of the method of
Bentley and Saxe 1980). What it was chosen over, in microseconds of CPU (``python bench/structures.py``, two cores
in use, Python 3.11; the trie is ``immutables.Map``, a hash array mapped one in C):

=======  ==========================================  ==========================================
keys     a write: this, a dict copied, a trie        a read: this, a dict, a trie
=======  ==========================================  ==========================================
100      1.0, 0.4, 0.2                               0.11, 0.02, 0.05
1,000    1.0, 2.8, 0.3                               0.09, 0.03, 0.05
10,000   1.8, 26, 0.7                                0.11, 0.04, 0.06
100,000  10, 1200, 1.9                               0.14, 0.03, 0.06
=======  ==========================================  ==========================================

A copied dict is no way for many keys; the trie is faster where writes come one by one, but reads are what there is most
of, both read well below a microsecond, and this needs nothing to be installed.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable, Iterator, Mapping
from typing import Final, Generic, Literal, TypeAlias, TypeVar, overload

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
D = TypeVar("D")
_FEW = 32
"""So many changes beside the large dict are never too many."""


class _Gone(enum.Enum):
    GONE = "gone"


Gone: TypeAlias = Literal[_Gone.GONE]
GONE: Final[Gone] = _Gone.GONE
"""In place of a value that is written: the key is deleted."""


class Snapshot(Mapping[K, V], Generic[K, V]):
    """One version of a map, which threads and tasks may read at once; iterates in the order of last writing.

    Reads are O(1); :meth:`changed` is O(changes + sqrt n), amortised.
    """

    __slots__ = ("_base", "_recent", "_size", "version")

    def __init__(self, start: Mapping[K, V] | None = None) -> None:
        self.version = 0
        """0 of what it was made with, and one more with every change."""
        self._base: dict[K, tuple[V | Gone, int]] = {key: (value, 0) for key, value in (start or {}).items()}
        self._recent: dict[K, tuple[V | Gone, int]] = {}
        self._size = len(self._base)

    def __getitem__(self, key: K) -> V:
        cell = self._recent.get(key) or self._base[key]
        if cell[0] is GONE:
            raise KeyError(key)
        return cell[0]

    @overload
    def get(self, key: K, /) -> V | None: ...
    @overload
    def get(self, key: K, /, default: V | D) -> V | D: ...
    def get(self, key: K, /, default: V | D | None = None) -> V | D | None:
        """Return the value of a key, or ``default``."""
        cell = self._recent.get(key) or self._base.get(key)
        return default if cell is None or cell[0] is GONE else cell[0]

    def __contains__(self, key: object) -> bool:
        cell = self._recent.get(key) or self._base.get(key)  # type: ignore[arg-type]
        return cell is not None and cell[0] is not GONE

    def __iter__(self) -> Iterator[K]:
        recent = self._recent
        yield from (key for key in self._base if key not in recent)
        yield from (key for key, cell in recent.items() if cell[0] is not GONE)

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return f"Snapshot({dict(self)!r}, version={self.version})"

    def written(self, key: K) -> int:
        """Return the version that wrote a key last; -1 for a key that is not there."""
        cell = self._recent.get(key) or self._base.get(key)
        return -1 if cell is None or cell[0] is GONE else cell[1]

    def changed(self, writes: Mapping[K, V | Gone]) -> Snapshot[K, V]:
        """Return the next version: with these values, and without the keys that are :data:`GONE`."""
        then: Snapshot[K, V] = Snapshot.__new__(Snapshot)
        then.version = version = self.version + 1
        then._base, then._recent, then._size = self._base, self._recent.copy(), self._size
        recent = then._recent
        for key, value in writes.items():
            then._size += (value is not GONE) - (key in self)
            recent.pop(key, None)  # so that it stands last
            recent[key] = (value, version)
        if len(recent) > _FEW and len(recent) ** 2 > len(self._base):
            then._settle()
        return then

    def _settle(self) -> None:
        """Merge what was written since into the large dict, before anybody else has this snapshot."""
        base = self._base.copy()
        for key in self._recent:
            base.pop(key, None)
        base.update((key, cell) for key, cell in self._recent.items() if cell[0] is not GONE)
        self._base, self._recent = base, {}
