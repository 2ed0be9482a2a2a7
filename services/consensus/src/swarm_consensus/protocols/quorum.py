"""Quorum arithmetic, pure: who has enough votes, and how far a log is on enough disks.

A :class:`Majority` or :class:`Joint` configuration says who counts. With a joint one, both halves must agree, as
while a swarm's members change (Ongaro and Ousterhout 2014, section 6). An empty half agrees with everything, which lets
a joint configuration with one empty half mean the other half alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

Vote = Literal["won", "lost", "pending"]


class Majority(msgspec.Struct, frozen=True):
    """More than half of ``members``."""

    members: frozenset[int]


class Joint(msgspec.Struct, frozen=True):
    """A majority of ``old`` and a majority of ``new``."""

    old: Majority
    new: Majority


def majority(n: int) -> int:
    """Return how many of ``n`` are more than half."""
    return n // 2 + 1


def faulty(n: int) -> int:
    """Return how many of ``n`` agents may lie without harm: ``floor((n - 1) / 3)`` (Pease, Shostak, Lamport 1980)."""
    return (n - 1) // 3


def byzantine(n: int) -> int:
    """Return the size of a quorum any two of which share an honest agent: ``ceil((n + f + 1) / 2)``.

    For ``n = 3f + 1`` this is the ``2f + 1`` of Castro and Liskov (1999). For other ``n`` it is not: of five agents two
    quorums of three can meet in one agent alone, which may be the liar.
    """
    return -(-(n + faulty(n) + 1) // 2)


def committed_index(config: Majority | Joint, acked: Mapping[int, int]) -> int | None:
    """Return the highest index that a quorum has acknowledged; ``None``: no quorum has acknowledged any.

    An empty configuration holds nothing back; as a configuration of its own it has ``None``, too.
    """
    if isinstance(config, Joint):
        halves = [half for half in (config.old, config.new) if half.members]
        found = [committed_index(half, acked) for half in halves]
        return None if not found or None in found else min(index for index in found if index is not None)
    n = len(config.members)
    indexes = sorted((acked[member] for member in config.members if member in acked), reverse=True)
    need = majority(n)
    return indexes[need - 1] if n and len(indexes) >= need else None


def vote_result(config: Majority | Joint, votes: Mapping[int, bool]) -> Vote:
    """Return whether an election is won, lost or pending, after ``votes`` (who has not voted is not among them).

    An empty half is won: it plays well with joint quorums.
    """
    if isinstance(config, Joint):
        halves = {vote_result(config.old, votes), vote_result(config.new, votes)}
        if "lost" in halves:
            return "lost"
        return "pending" if "pending" in halves else "won"
    n = len(config.members)
    if not n:
        return "won"
    yes = sum(votes.get(member, False) for member in config.members)
    no = sum(not votes.get(member, True) for member in config.members)
    if yes >= majority(n):
        return "won"
    return "lost" if n - no < majority(n) else "pending"
