"""Changes under preconditions, merged into a snapshot: who proposes on what has changed since is refused.

Optimistic concurrency with backward validation (Kung and Robinson 1981, *On Optimistic Methods for Concurrency
Control*, section 4): nobody holds a lock while a change is worked out, and it is held against what was read when it is
merged.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Generic, TypeVar

import msgspec

from swarm_primitives.snapshots import Gone, Snapshot

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Proposal(msgspec.Struct, Generic[K, V], frozen=True, kw_only=True):
    """A change, and what must still be so for it to be made."""

    id: str
    """Unique among those that are merged together."""
    writes: Mapping[K, V | Gone]
    expects: Mapping[K, int] = {}
    """By key, the version that wrote what the proposal is based on; see :meth:`Snapshot.written`."""
    priority: int = 0
    """Of those that do not go together the highest is accepted; of equals, the one whose id sorts first."""


class Merged(msgspec.Struct, Generic[K, V], frozen=True):
    """What became of proposals."""

    snapshot: Snapshot[K, V]
    """One version further, with everything that was accepted; the one there was, where nothing was."""
    accepted: tuple[str, ...]
    """Ids, the winners first."""
    refused: dict[str, dict[K, str]]
    """By id: the keys it failed at, and the id of the winner that writes them; empty: they had changed before."""


def merge(snapshot: Snapshot[K, V], proposals: Iterable[Proposal[K, V]]) -> Merged[K, V]:
    """Merge proposals, all that go together at once; the result does not depend on their order.

    With p proposals O(p log p + keys), and what one change of the snapshot costs. Raises :class:`ValueError` for two
    proposals of one id.
    """
    writers: dict[K, str] = {}
    writes: dict[K, V | Gone] = {}
    accepted: dict[str, None] = {}
    refused: dict[str, dict[K, str]] = {}
    for proposal in sorted(proposals, key=lambda one: (-one.priority, one.id)):
        if proposal.id in accepted or proposal.id in refused:
            raise ValueError(f"two proposals have the id {proposal.id!r}; each has its own")
        failed = {
            key: writers.get(key, "")
            for key, version in proposal.expects.items()
            if key in writers or snapshot.written(key) != version
        }
        failed.update((key, writers[key]) for key in proposal.writes if key in writers)
        if failed:
            refused[proposal.id] = failed
            continue
        accepted[proposal.id] = None
        writes.update(proposal.writes)
        writers.update(dict.fromkeys(proposal.writes, proposal.id))
    return Merged(snapshot.changed(writes) if writes else snapshot, tuple(accepted), refused)
