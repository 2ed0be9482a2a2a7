"""What must hold of a vote: everybody has one, and the count is that of what was cast.

The names are those of electronic voting: *uniqueness* (nobody votes twice) and *accuracy* (votes are counted as cast)
(Fujioka, Okamoto, Ohta 1992, section 2). The records and certificates are those of
:mod:`~swarm_consensus.protocols.voting`, looked at by the names of their fields.
"""

from __future__ import annotations

from typing import ClassVar

from swarm_consensus.protocols.core import Decision, Effects, Node, Value, Violated
from swarm_consensus.protocols.quorum import majority
from swarm_primitives.aggregation import tally


class Accuracy:
    """An honest collector announces the answer with the most votes of a majority, each vote as it was cast."""

    INVARIANTS: ClassVar = ("accuracy", "quorum", "uniqueness")

    def __init__(self, honest: tuple[int, ...]) -> None:
        self._honest = frozenset(honest)
        self._cast: dict[tuple[int, int], Value] = {}

    def after(self, node: Node, effects: Effects) -> None:
        """Take note of votes, which are on disk before they are sent, and hold each count against them."""
        for record in effects.persist:
            collector = getattr(record, "collector", None)
            if collector is None:
                continue
            slot, answer = record.slot, record.answer  # type: ignore[attr-defined]
            if self._cast.setdefault((slot, node.id), answer) != answer:
                raise Violated("uniqueness", f"agent {node.id} votes again in slot {slot}, now {answer!r}")
        for decision in effects.decisions:
            if _counts(node, decision):
                self._count(node, decision)

    def restarted(self, node: Node) -> None:
        """Forget nothing: a vote outlives its voter."""

    def _count(self, node: Node, decision: Decision) -> None:
        votes, ballots = decision.certificate["votes"], decision.certificate["ballots"]
        slot = decision.slot
        if len(ballots) < majority(len(node.members)):
            raise Violated("quorum", f"agent {node.id} announces slot {slot} after {len(ballots)} votes")
        if not set(ballots) <= set(node.members):
            raise Violated("uniqueness", f"agent {node.id} counts votes of nobody in slot {slot}: {ballots}")
        for voter, answer in ballots.items():
            cast = self._cast.get((slot, voter), answer if voter == node.id else None)
            if voter in self._honest and cast != answer:
                raise Violated(
                    "accuracy", f"in slot {slot} agent {voter} voted {cast!r}; it is counted as {answer!r}"
                )
        best = min(votes, key=lambda option: (-votes[option], option))
        if best != decision.value or set(votes) != set(ballots.values()):
            raise Violated(
                "accuracy", f"agent {node.id} announces {decision.value!r} in slot {slot}; {best!r} has most"
            )


class OneVoteEach:
    """Where all count the same, as many votes are counted as were heard."""

    INVARIANTS: ClassVar = ("uniqueness",)
    decisions_only: ClassVar = True

    def __init__(self, honest: tuple[int, ...]) -> None:
        """Need to know nothing of them."""

    def after(self, node: Node, effects: Effects) -> None:
        """Count again."""
        for decision in effects.decisions:
            if not _counts(node, decision):
                continue
            votes, ballots = decision.certificate["votes"], decision.certificate["ballots"]
            if votes != tally(ballots.values()):
                raise Violated(
                    "uniqueness",
                    f"agent {node.id} counts {votes} in slot {decision.slot}; heard were {ballots}",
                )

    def restarted(self, node: Node) -> None:
        """Nothing is remembered here."""


def _counts(node: Node, decision: Decision) -> bool:
    """Return whether this node collected the votes of a slot, rather than was told of them."""
    return decision.slot % len(node.members) == node.members.index(node.id)
