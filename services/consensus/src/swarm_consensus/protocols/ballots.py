"""What both ways of Paxos share: ballots, what they say to one another, and what they keep.

A ballot is a number that belongs to one agent: ``ballot % n`` is its place among the members. So no two agents ever
propose in the same one (Lamport 2001, section 2.4: "different proposers choose their numbers from disjoint sets").
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from swarm_consensus.protocols.core import Message, Record, Value

NO_BALLOT = -1
"""Lower than every ballot."""
ALL = -1
"""In place of a slot: the promise holds for every slot."""
NO_OP: Value = ""
"""Fills a slot that nothing was asked for in. Whoever applies decisions skips it."""


def owner(ballot: int, members: Sequence[int]) -> int:
    """Return the one agent that may propose in ``ballot``."""
    return members[ballot % len(members)]


def next_ballot(above: int, place: int, n: int) -> int:
    """Return the lowest ballot over ``above`` of the agent at ``place`` among ``n``."""
    ballot = above - above % n + place
    return ballot if ballot > above else ballot + n


class Proposal(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A value, in the ballot it was proposed in: what an acceptor accepts, or what was chosen."""

    slot: int
    ballot: int
    value: Value


# --- messages -------------------------------------------------------------------------------------------------


class Prepare(Message, frozen=True):
    """Phase 1a: promise to accept nothing below ``ballot``, and say what you have accepted."""

    slot: int
    """The slot it is about; in Multi-Paxos the first of all those it is about."""
    ballot: int


class Promise(Message, frozen=True):
    """Phase 1b: what an acceptor has accepted last; it will accept nothing below ``ballot`` any more."""

    slot: int
    ballot: int
    accepted: tuple[Proposal, ...] = ()
    known: int = 0
    """In Multi-Paxos: those of ``accepted`` in slots below this one are chosen."""


class Accept(Message, frozen=True):
    """Phase 2a: accept ``value``."""

    slot: int
    ballot: int
    value: Value
    known: int = 0
    """In Multi-Paxos: all slots below this one are decided."""


class Accepted(Message, frozen=True):
    """Phase 2b: the acceptor has."""

    slot: int
    ballot: int


class Refuse(Message, frozen=True):
    """The acceptor has promised a higher ballot: the sender of ``ballot`` learns of it at once, and how high it is."""

    slot: int
    ballot: int
    promised: int


class Learn(Message, frozen=True):
    """What has been chosen."""

    chosen: tuple[Proposal, ...]


# --- records --------------------------------------------------------------------------------------------------


class Promised(Record, frozen=True):
    """Nothing below ``ballot`` may be accepted in ``slot`` (:data:`ALL`: in any)."""

    slot: int
    ballot: int


class Voted(Record, frozen=True):
    """The acceptor has accepted ``value`` in ``ballot``; this is a promise, too."""

    slot: int
    ballot: int
    value: Value


class Chosen(Record, frozen=True):
    """What the agent knows to be decided. Lost, it is learned again: the votes of a majority hold it."""

    slot: int
    ballot: int
    value: Value
