"""What must hold of Raft: the five properties of its paper (Ongaro and Ousterhout 2014, figure 3), and what is below.

They are judged by what is on the disks and what is sent and decided, not by what nodes believe. ``one vote a term``
(section 5.2) is why elections are safe, ``stable storage`` (figure 2: updated before responding) why crashes do no
harm; ``commit durability`` is the *CommittedIsDurable* of the TLA+ specification of etcd's raft. Leader completeness is
judged before there is such a leader: of who lacks a decided entry nobody may have a log with which it would be elected
(section 5.4.1), which is what committing an old term's entry by counting leads to (figure 8).
"""

from __future__ import annotations

from typing import ClassVar

from swarm_consensus.protocols.core import Decision, Effects, Node, Record, Value, Violated
from swarm_consensus.protocols.quorum import majority
from swarm_consensus.protocols.raft.messages import (
    Append,
    Appended,
    Compacted,
    RequestVote,
    Stored,
    Vote,
    Voted,
)


class _Disk:
    """What an agent's records amount to: its term, its vote in it, and the terms of its log."""

    __slots__ = ("base", "base_term", "term", "terms", "vote")

    def __init__(self) -> None:
        self.term = self.base = self.base_term = 0
        self.vote: int | None = None
        self.terms: list[int] = []
        """Of the entries after ``base``, the last one that a snapshot has replaced."""

    def end(self) -> tuple[int, int]:
        """Return what candidates compare: the last entry's term, and its index."""
        return (self.terms[-1] if self.terms else self.base_term, self.base + len(self.terms))

    def has(self, index: int, term: int) -> bool:
        """Return whether it has this entry, or a snapshot in its place."""
        at = index - self.base - 1
        return at < 0 or (at < len(self.terms) and self.terms[at] == term)


class RaftInvariants:
    """All of them, over one picture of the disks."""

    INVARIANTS: ClassVar[tuple[str, ...]] = (
        "stable storage",
        "one vote a term",
        "election safety",
        "leader append-only",
        "log matching",
        "leader completeness",
        "state machine safety",
        "commit durability",
    )

    def __init__(self, honest: tuple[int, ...]) -> None:
        self._disks = {agent: _Disk() for agent in honest}
        self._votes: dict[tuple[int, int], int] = {}  # by term and voter
        self._leaders: dict[int, int] = {}  # by term
        self._newest = 0  # the highest term that had a leader
        self._entries: dict[tuple[int, int], tuple[Value | None, int]] = {}
        # By index and term of each entry ever stored: its value, and the term of the one before it.
        self._applied: dict[int, tuple[int, int, Value]] = {}  # by slot: index, term, value
        self._next = dict.fromkeys(honest, 0)  # by agent, the slot it has to apply next
        self._committed = (0, 0)  # the last entry known to be: index, term

    def after(self, node: Node, effects: Effects) -> None:
        """Write what a node persisted into the picture, then judge what it says and decides."""
        if effects.persist:
            disk = self._disks[node.id]
            for record in effects.persist:
                self._write(node.id, disk, record)
        if effects.messages:
            self._said(node.id, effects)
        if effects.snapshot is not None:
            self._next[node.id] = effects.snapshot.slot + 1
        if effects.decisions:
            self._decided(node, effects.decisions)

    def restarted(self, node: Node) -> None:
        """Expect it to apply from the first slot again; what was on its disk still is."""
        self._next[node.id] = 0

    def _said(self, agent: int, effects: Effects) -> None:
        message = effects.messages[0][1]  # what is said at once is of one kind, but for answers to reads
        kind = type(message)
        if kind is Appended:
            disk = self._disks[agent]
            if message.term > disk.term or message.index > disk.base + len(disk.terms):  # type: ignore[attr-defined]
                raise Violated("stable storage", f"agent {agent} says {message}, which is not on its disk")
        elif kind is Append:
            if self._leaders.get(message.term) != agent:  # type: ignore[attr-defined]
                self._elected(agent, message.term)  # type: ignore[attr-defined]
        elif kind is Vote or kind is RequestVote:
            self._voted(agent, effects)

    def _write(self, agent: int, disk: _Disk, record: Record) -> None:
        kind = type(record)
        if kind is Stored:
            self._store(agent, disk, record)  # type: ignore[arg-type]  # asked above, fast
        elif kind is Voted:
            disk.term, disk.vote = record.term, record.vote  # type: ignore[attr-defined]
        elif kind is Compacted:
            self._compact(disk, record)  # type: ignore[arg-type]

    def _store(self, agent: int, disk: _Disk, record: Stored) -> None:
        """Log matching: entries of one index and term are one entry, with one before it, and so on to the first."""
        terms, at, known = disk.terms, record.index - disk.base - 1, self._entries
        if at < len(terms):
            if self._leaders.get(disk.term) == agent:
                raise Violated(
                    "leader append-only",
                    f"agent {agent} leads in term {disk.term} and has replaced entry {record.index} of its own log",
                )
            del terms[max(at, 0) :]
        before = terms[-1] if terms else disk.base_term
        for index, entry in enumerate(record.entries, record.index):
            key = (index, entry.term)
            this = (entry.value, before)
            if known.setdefault(key, this) != this:
                raise Violated(
                    "log matching",
                    f"entry {index} of term {entry.term} is {this[0]!r} after one of term {before} at agent {agent}, "
                    f"elsewhere {known[key][0]!r} after one of term {known[key][1]}",
                )
            before = entry.term
            terms.append(before)

    @staticmethod
    def _compact(disk: _Disk, record: Compacted) -> None:
        at = record.index - disk.base
        keeps = 0 < at <= len(disk.terms) and disk.terms[at - 1] == record.term
        disk.terms = disk.terms[at:] if keeps else []
        disk.base, disk.base_term = record.index, record.term

    def _voted(self, agent: int, effects: Effects) -> None:
        """One vote a term, by who is told of it, and on the disk before; a candidate's own goes to itself."""
        disk = self._disks[agent]
        for to, message in effects.messages:
            if isinstance(message, Vote) and message.granted and not message.pre:
                candidate = to
            elif isinstance(message, RequestVote) and not message.pre:
                candidate = agent
            else:
                continue
            first = self._votes.setdefault((message.term, agent), candidate)
            if first != candidate:
                raise Violated(
                    "one vote a term",
                    f"agent {agent} votes for {candidate} in term {message.term}, and has for {first}",
                )
            if (disk.term, disk.vote) != (message.term, candidate):
                raise Violated(
                    "stable storage",
                    f"agent {agent} votes for {candidate} in term {message.term}; its disk has term {disk.term} and "
                    f"a vote for {disk.vote}",
                )

    def _elected(self, agent: int, term: int) -> None:
        """Election safety: one leader a term, by who sends entries in it. Leader completeness: it has all committed."""
        first = self._leaders.setdefault(term, agent)
        if first != agent:
            raise Violated("election safety", f"agents {first} and {agent} both lead in term {term}")
        if term > self._newest:
            self._newest = term
            self._complete(agent, term)

    def _complete(self, agent: int, term: int) -> None:
        index, of = self._committed
        if not self._disks[agent].has(index, of):
            raise Violated(
                "leader completeness",
                f"agent {agent} leads in term {term} without entry {index} of term {of}, which is committed",
            )

    def _decided(self, node: Node, decisions: list[Decision]) -> None:
        """State machine safety: all apply the same entries in the same order, none left out."""
        for decision in decisions:
            expected = self._next[node.id]
            if decision.slot != expected:
                raise Violated(
                    "state machine safety",
                    f"agent {node.id} applied slot {decision.slot} in place of {expected}",
                )
            self._next[node.id] = expected + 1
            index, term = decision.certificate["index"], decision.certificate["term"]
            this = (index, term, decision.value)
            first = self._applied.setdefault(decision.slot, this)
            if first != this:
                raise Violated(
                    "state machine safety",
                    f"in slot {decision.slot} agent {node.id} applied entry {index} of term {term}, "
                    f"{decision.value!r}; another agent entry {first[0]} of term {first[1]}, {first[2]!r}",
                )
            if index > self._committed[0]:
                self._committed = (index, term)
                self._durable(node, index, term)
                self._kept(node, index, term)
                if self._newest > self._disks[node.id].term:
                    self._complete(self._leaders[self._newest], self._newest)

    def _kept(self, node: Node, index: int, term: int) -> None:
        """Leader completeness, looking ahead: whoever lacks the entry would not be elected."""
        disks = self._disks
        without = [agent for agent, disk in disks.items() if not disk.has(index, term)]
        if not without:
            return
        best = max(without, key=lambda agent: disks[agent].end())
        end = disks[best].end()
        voters = sum(disk.end() <= end for disk in disks.values())
        if voters >= majority(len(node.members)):
            raise Violated(
                "leader completeness",
                f"agent {node.id} decided entry {index} of term {term}, and agent {best}, which lacks it and ends with "
                f"entry {end[1]} of term {end[0]}, would get {voters} votes",
            )

    def _durable(self, node: Node, index: int, term: int) -> None:
        """Commit durability: what is decided is on the disks of a majority."""
        disks = self._disks
        have = sum(disk.has(index, term) for disk in disks.values())
        liars = len(node.members) - len(disks)  # nobody knows what they have
        if have + liars < majority(len(node.members)):
            raise Violated(
                "commit durability",
                f"agent {node.id} decided entry {index} of term {term}, which {have} of {len(node.members)} have",
            )
