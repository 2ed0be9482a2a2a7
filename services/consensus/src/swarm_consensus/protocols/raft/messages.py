"""What Raft's agents tell each other, and what they keep on disk."""

from __future__ import annotations

import msgspec

from swarm_consensus.protocols.core import Message, Record, Value


class Entry(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One place of the log (section 5.3)."""

    term: int
    """Of the leader that took it up."""
    slot: int
    """Values up to here, less one: a value's own slot; an entry without a value repeats the slot before it."""
    value: Value | None
    """``None``: the empty entry with which each leader begins its term (section 8). It is no decision."""


class RequestVote(Message, frozen=True):
    """A candidate asks for a vote (section 5.2), or whether it would get it (thesis, section 9.6)."""

    term: int
    """The candidate's; of a pre-vote the one it would have."""
    last_index: int
    last_term: int
    pre: bool


class Vote(Message, frozen=True):
    """The answer to a :class:`RequestVote`."""

    term: int
    """The term asked for where it is granted, else the voter's own."""
    granted: bool
    pre: bool


class Append(Message, frozen=True):
    """The leader's entries after ``prev_index`` (*AppendEntries*, section 5.3); without entries a heartbeat."""

    term: int
    prev_index: int
    prev_term: int
    entries: tuple[Entry, ...]
    commit: int
    """The leader's commit index."""
    round: int
    """Counts the leader's reads; the answer repeats it."""


class Appended(Message, frozen=True):
    """The follower's log is the leader's up to ``index``, and on its disk."""

    term: int
    index: int
    round: int


class Rejected(Message, frozen=True):
    """The follower's log differs at ``prev_index``; where to go on from (section 5.3, end)."""

    term: int
    prev_index: int
    conflict_term: int
    """Of the follower's entry there; 0: its log ends before."""
    conflict_index: int
    """The first entry of that term; without one the place after its log's last."""
    round: int


class Install(Message, frozen=True):
    """The state in place of entries that the leader has no more (*InstallSnapshot*, section 7), whole."""

    term: int
    index: int
    """The last entry that is in it."""
    index_term: int
    slot: int
    state: str
    round: int


class AskRead(Message, frozen=True):
    """A follower was asked for a linearizable read and wants to know how far it must have applied the log."""

    request: str


class ReadAt(Message, frozen=True):
    """The leader's answer to :class:`AskRead`."""

    request: str
    index: int
    slot: int


class Voted(Record, frozen=True):
    """The agent's term, and whom it voted for in it (*currentTerm*, *votedFor*)."""

    term: int
    vote: int | None


class Stored(Record, frozen=True):
    """The log from ``index`` on; whatever it had there and after is gone."""

    index: int
    entries: tuple[Entry, ...]


class Compacted(Record, frozen=True):
    """The state after ``index`` in place of the log up to there (section 7).

    Entries after it are kept if the log has the entry of ``term`` at ``index``; otherwise the whole log is gone.
    """

    index: int
    term: int
    slot: int
    state: str
