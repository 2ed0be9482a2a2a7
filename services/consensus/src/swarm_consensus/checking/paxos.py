"""What must hold of Paxos, with a leader and without, seen from outside: records on disks, messages sent, decisions.

The checks know nothing of how a node works. They keep their own picture of each honest disk and of every proposal, and
hold what is observed against Lamport 2001, "Paxos Made Simple", section 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NoReturn

from swarm_consensus.protocols.ballots import (
    ALL,
    NO_BALLOT,
    NO_OP,
    Accept,
    Accepted,
    Chosen,
    Prepare,
    Promise,
    Promised,
    Voted,
    owner,
)
from swarm_consensus.protocols.core import Effects, Message, Node, Value, Violated
from swarm_consensus.protocols.quorum import majority

INVARIANTS: Mapping[str, str] = {
    "ballot monotonicity": "On a disk the promised ballot never decreases, and no vote is below the promise (P1a)",
    "durability": "A promise, a vote and what it reports are on the acceptor's disk before they are sent",
    "unique proposer": "In a ballot only the agent it belongs to proposes, and in none it used before a crash",
    "one value a ballot": "In a slot and ballot at most one value is proposed, and only proposals are accepted",
    "P2b": "Once a value is chosen, every proposal in a higher ballot has that value: what is chosen stays chosen",
    "P2c": "A majority has promised a proposal's ballot, and its value is that of the highest ballot they had accepted",
    "nontriviality": "Only a value that a client asked for is proposed (or a no-op)",
    "learning": "An agent decides only what has been chosen: what a majority has accepted in one ballot",
    "total order": "Decisions come in the order of slots, without a gap",
}
"""What :class:`Violated` names, and what it says. P1a, P2b and P2c are Lamport's names."""


class _Slot:
    """All that was seen of one slot, at all agents."""

    __slots__ = ("chosen", "values", "votes")

    def __init__(self) -> None:
        self.values: dict[int, Value] = {}  # proposed, by ballot
        self.votes: dict[tuple[int, Value], set[int]] = {}
        self.chosen: tuple[int, Value] | None = None


class _Disk:
    """What one agent has written."""

    __slots__ = ("promised", "used", "used_up", "votes")

    def __init__(self) -> None:
        self.promised: dict[int, int] = {}  # by slot, or under ALL
        self.votes: dict[int, tuple[int, Value]] = {}
        self.used: dict[int, int] = {}  # highest ballot it has prepared, by slot or ALL: no record, but seen
        self.used_up: dict[int, int] = {}  # the same, of its former lives


class Ballots:
    """All of :data:`INVARIANTS` but the last, for Paxos in which every slot has its own ballots.

    With liars among the agents only what honest disks and decisions show is checked: a proposal of a liar is not seen.
    """

    INVARIANTS: ClassVar = tuple(name for name in INVARIANTS if name != "total order")
    every_slot: ClassVar = False
    """Whether a promise holds for every slot."""

    def __init__(self, honest: tuple[int, ...]) -> None:
        self._honest = honest
        self._disks = {agent: _Disk() for agent in honest}
        self._slots: dict[int, _Slot] = {}
        # By slot (or ALL) and ballot, then by agent: what those who promised it had accepted.
        self._promises: dict[tuple[int, int], dict[int, Mapping[int, tuple[int, Value]]]] = {}
        self._asked: set[Value] = {NO_OP}
        self._members: tuple[int, ...] = ()
        self._majority = 0
        self._least = 0
        self._all_honest = True

    def after(self, node: Node, effects: Effects) -> None:
        """Hold what a node wrote, sent and decided against all that was seen before."""
        if not self._majority:
            self._begin(node.members)
        if effects.persist:
            self._written(node, effects)
        last: Message | None = None
        for _, message in effects.messages:
            if message is not last:  # a broadcast is one message many times
                last = message
                self._sent(node, message, effects)
        for decision in effects.decisions:
            if not self._is_chosen(decision.slot, decision.value):
                self._not_chosen(node, decision.slot, decision.value)

    def restarted(self, node: Node) -> None:
        """Hold the ballots of former lives against the new one."""
        disk = self._disks[node.id]
        disk.used_up = dict(disk.used)

    def _begin(self, members: tuple[int, ...]) -> None:
        self._members = members
        self._majority = majority(len(members))
        liars = len(members) - len(self._honest)
        self._least = self._majority - liars  # honest votes in a majority, at least
        self._all_honest = not liars

    def _written(self, node: Node, effects: Effects) -> None:
        for record in effects.persist:
            kind = type(record)
            if kind is Voted:
                self._voted(node, record, effects)  # type: ignore[arg-type]
            elif kind is Promised:
                self._promised(node, record)  # type: ignore[arg-type]
            elif kind is Chosen and not self._is_chosen(record.slot, record.value):  # type: ignore[attr-defined]
                self._not_chosen(node, record.slot, record.value)  # type: ignore[attr-defined]

    def _sent(self, node: Node, message: Message, effects: Effects) -> None:
        kind = type(message)
        if kind is Accepted:
            self._says_accepted(node, message)  # type: ignore[arg-type]
        elif kind is Promise:
            self._says_promised(node, message)  # type: ignore[arg-type]
        elif kind is Accept:
            self._owns(node, message.slot, message.ballot)  # type: ignore[attr-defined]
            self._proposed(node, message, effects)  # type: ignore[arg-type]
        elif kind is Prepare:
            self._prepared(node, message)  # type: ignore[arg-type]

    # --- acceptors ------------------------------------------------------------------------------------------

    def _promised(self, node: Node, record: Promised) -> None:
        disk, agent = self._disks[node.id], node.id
        before = disk.promised.get(record.slot, NO_BALLOT)
        if record.ballot < before:
            self._no(
                "ballot monotonicity", f"agent {agent} promises {record.ballot} after {before}", record.slot
            )
        disk.promised[record.slot] = record.ballot
        if owner(record.ballot, self._members) == agent:
            # A proposer is an acceptor, too, and needs no messages to promise.
            self._keep_promise(agent, record.slot, record.ballot, dict(disk.votes))

    def _voted(self, node: Node, record: Voted, effects: Effects) -> None:
        disk, agent, number, ballot = self._disks[node.id], node.id, record.slot, record.ballot
        if self._all_honest and owner(ballot, self._members) == agent:
            self._proposed(node, record, effects)
        scope = ALL if self.every_slot else number
        before = disk.promised.get(scope, NO_BALLOT)
        if ballot < before:
            self._no(
                "ballot monotonicity", f"agent {agent} accepts in {ballot} and had promised {before}", number
            )
        disk.promised[scope] = ballot
        slot = self._slot(number)
        if self._all_honest and slot.values.get(ballot) != record.value:
            self._no(
                "one value a ballot",
                f"agent {agent} accepts {record.value!r} in {ballot}, where {slot.values.get(ballot)!r} was proposed",
                number,
            )
        disk.votes[number] = (ballot, record.value)
        votes = slot.votes.get((ballot, record.value))
        if votes is None:
            votes = slot.votes[ballot, record.value] = set()
        votes.add(agent)
        if len(votes) == self._majority:
            self._choose(number, slot, ballot, record.value)

    def _says_promised(self, node: Node, message: Promise) -> None:
        disk, agent, number = self._disks[node.id], node.id, message.slot
        scope = ALL if self.every_slot else number
        promised = disk.promised.get(scope, NO_BALLOT)
        if promised != message.ballot:
            self._no(
                "durability", f"agent {agent} says {message.ballot}; on its disk stands {promised}", number
            )
        told = {one.slot: (one.ballot, one.value) for one in message.accepted}
        for slot in range(number, max(disk.votes, default=-1) + 1) if self.every_slot else (number,):
            vote, said = disk.votes.get(slot), told.get(slot)
            # Of what it knows to be chosen it may have voted for the value in a higher ballot.
            if vote is not None and (said is None or (said[0] < vote[0] and said[1] != vote[1])):
                self._no(
                    "durability", f"agent {agent} says {said} was accepted; on its disk stands {vote}", slot
                )
        self._keep_promise(agent, scope, message.ballot, told)

    def _says_accepted(self, node: Node, message: Accepted) -> None:
        vote = self._disks[node.id].votes.get(message.slot)
        if vote is None or vote[0] != message.ballot:
            self._no(
                "durability",
                f"agent {node.id} says it accepted in {message.ballot}; on its disk stands {vote}",
                message.slot,
            )

    def _keep_promise(
        self, agent: int, scope: int, ballot: int, told: Mapping[int, tuple[int, Value]]
    ) -> None:
        self._promises.setdefault((scope, ballot), {}).setdefault(agent, told)

    # --- proposers ------------------------------------------------------------------------------------------

    def _prepared(self, node: Node, message: Prepare) -> None:
        scope = ALL if self.every_slot else message.slot
        self._owns(node, message.slot, message.ballot)
        used = self._disks[node.id].used
        used[scope] = max(used.get(scope, NO_BALLOT), message.ballot)

    def _owns(self, node: Node, number: int, ballot: int) -> None:
        if owner(ballot, self._members) != node.id:
            self._no("unique proposer", f"agent {node.id} proposes in ballot {ballot} of another", number)
        scope = ALL if self.every_slot else number
        if ballot <= self._disks[node.id].used_up.get(scope, NO_BALLOT):
            self._no("unique proposer", f"agent {node.id} used ballot {ballot} before its crash", number)

    def _proposed(self, node: Node, what: Accept | Voted, effects: Effects) -> None:
        """Take note of a proposal: the message, or the proposer's own vote."""
        number, ballot, value = what.slot, what.ballot, what.value
        slot = self._slot(number)
        first = slot.values.setdefault(ballot, value)
        if first is not value and first != value:
            self._no("one value a ballot", f"in ballot {ballot} {first!r} and {value!r} are proposed", number)
        if (ballot, value) in slot.votes:
            return  # looked at: once is enough
        if slot.chosen is not None and ballot > slot.chosen[0] and slot.chosen[1] != value:
            self._no("P2b", f"{value!r} is proposed in {ballot} after {slot.chosen[1]!r} was chosen", number)
        if self._all_honest:
            slot.votes[ballot, value] = set()
            self._wanted(node, number, value, effects)
            self._justified(number, ballot, value)

    def _wanted(self, node: Node, number: int, value: Value, effects: Effects) -> None:
        if value in self._asked:
            return
        asked = value in node.__dict__["asked"] or any(value == one.value for one in effects.decisions)
        if not asked:
            self._no("nontriviality", f"agent {node.id} proposes {value!r}, which nobody asked for", number)
        self._asked.add(value)

    def _justified(self, number: int, ballot: int, value: Value) -> None:
        """P2c, for some majority of those who promised: which of them the proposer has heard is not seen."""
        told = self._promises.get((ALL if self.every_slot else number, ballot), {})
        if len(told) < self._majority:
            self._no("P2c", f"{len(told)} agents have promised {ballot} when {value!r} is proposed", number)
        accepted = [report[number] for report in told.values() if number in report]
        free = len(told) - len(accepted)
        if free >= self._majority:
            return
        for highest, its_value in accepted:
            below = sum(report[0] <= highest for report in accepted)
            if its_value == value and free + below >= self._majority:
                return
        self._no(
            "P2c", f"{value!r} is proposed in {ballot}; those who promised had accepted {accepted}", number
        )

    # --- what is chosen -------------------------------------------------------------------------------------

    def _choose(self, number: int, slot: _Slot, ballot: int, value: Value) -> None:
        if slot.chosen is None:
            slot.chosen = (ballot, value)
        elif slot.chosen[1] != value:
            self._no("P2b", f"{slot.chosen[1]!r} was chosen, and now {value!r}, in {ballot}", number)
        for higher, other in slot.values.items():
            if higher > ballot and other != value:
                self._no("P2b", f"{value!r} is chosen in {ballot}; in {higher} stands {other!r}", number)

    def _is_chosen(self, number: int, value: Value) -> bool:
        slot = self._slots.get(number)
        if slot is None:
            return False
        if slot.chosen is not None and slot.chosen[1] == value:
            return True
        if self._all_honest:
            return False
        return any(voted == value and len(votes) >= self._least for (_, voted), votes in slot.votes.items())

    def _not_chosen(self, node: Node, number: int, value: Value) -> NoReturn:
        self._no("learning", f"agent {node.id} decides {value!r}, which is not chosen", number)

    def _slot(self, number: int) -> _Slot:
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = _Slot()
        return slot

    def _no(self, invariant: str, what: str, number: int) -> NoReturn:
        raise Violated(invariant, what if number == ALL else f"slot {number}: {what}")


class LeaderBallots(Ballots):
    """The same for Multi-Paxos: one promise holds for every slot."""

    every_slot: ClassVar = True


class InOrder:
    """The last of :data:`INVARIANTS`."""

    INVARIANTS: ClassVar = ("total order",)
    decisions_only: ClassVar = True

    def __init__(self, honest: tuple[int, ...]) -> None:
        self._next = dict.fromkeys(honest, 0)

    def after(self, node: Node, effects: Effects) -> None:
        """Count the decisions of each agent."""
        for decision in effects.decisions:
            if decision.slot != self._next[node.id]:
                raise Violated(
                    "total order",
                    f"agent {node.id} decides slot {decision.slot} where {self._next[node.id]} was due",
                )
            self._next[node.id] += 1

    def restarted(self, node: Node) -> None:
        """A new life tells all its decisions again, from the first."""
        self._next[node.id] = 0
