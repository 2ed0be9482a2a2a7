"""Given a mechanism with one bug planted, when it is simulated, then it is found, and made small enough to read.

A suite of checks is worth what it finds. Each bug is a subclass with one rule changed, as somebody might get it wrong;
all of them pass when nothing fails, or nearly. Run with ``-rP`` to see the counterexamples.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import msgspec
import pytest

from swarm_consensus.protocols import MECHANISMS
from swarm_consensus.protocols.ballots import (
    Promised,
    Proposal,
    Voted,
    next_ballot,
)
from swarm_consensus.protocols.core import Mechanism, Node, Read, Record, Value, on
from swarm_consensus.protocols.multi_paxos import MultiPaxos
from swarm_consensus.protocols.paxos import Paxos
from swarm_consensus.protocols.pbft.messages import (
    NULL,
    Certificate,
    Decided,
    Left,
    NewView,
    Prepare,
    Prepared,
    PrePrepare,
    ViewChange,
)
from swarm_consensus.protocols.pbft.messages import Accepted as PbftAccepted
from swarm_consensus.protocols.pbft.node import Replica
from swarm_consensus.protocols.quorum import faulty
from swarm_consensus.protocols.raft.messages import Append, Entry, RequestVote
from swarm_consensus.protocols.raft.messages import Voted as RaftVoted
from swarm_consensus.protocols.raft.node import Raft
from swarm_consensus.protocols.voting import Announced, Ballot, Result, Voter
from swarm_consensus.protocols.weighted import WeightedVoter
from swarm_consensus.simulator.draw import draw, inside
from swarm_consensus.simulator.plan import Plan
from swarm_consensus.simulator.run import counterexample
from swarm_consensus.simulator.shrink import broken_by
from swarm_consensus.simulator.world import World

SEEDS = 1_000
"""Worlds within which a bug has to be found, over faults and sizes."""


class Planted(msgspec.Struct, frozen=True):
    """A bug, and where it shows."""

    mechanism: str
    what: str
    node: type[Node]
    faults: tuple[str, ...]
    agents: tuple[int, ...]
    values: int
    options: dict[str, int]
    early: tuple[str, ...]
    """Kinds of messages that are sent before the records beside them are on disk."""


PLANTED: list[Planted] = []


def bug(
    mechanism: str,
    what: str,
    *faults: str,
    agents: tuple[int, ...] = (3, 5),
    values: int = 3,
    options: dict[str, int] | None = None,
    early: tuple[str, ...] = (),
) -> Callable[[type[Node]], type[Node]]:
    def take(node: type[Node]) -> type[Node]:
        found = Planted(
            mechanism, what, node, faults or ("all_but_byzantine",), agents, values, options or {}, early
        )
        PLANTED.append(found)
        return node

    return take


# --- voting --------------------------------------------------------------------------------------------------


@bug("voting", "a vote that comes twice counts twice", "duplication", "loss")
class VoteTwice(Voter):
    @on(Ballot)
    def _ballot(self, sender: int, message: Ballot) -> None:
        count = self._counts.get(message.slot)
        if count is not None and count.result is None and sender in count.votes:
            count.votes[len(self.members) + len(count.votes)] = message.answer
        super()._ballot(sender, message)


@bug("voting", "a slot is used again after a crash", "crash")
class SlotForgotten(Voter):
    def _on_restore(self, persisted: Sequence[Record]) -> None:
        super()._on_restore(persisted)
        self._next = 0


@bug("voting", "the result is not written down, and votes are counted again", "crash")
class ResultForgotten(Voter):
    def _persist(self, record: Record) -> None:
        if not isinstance(record, Announced):
            super()._persist(record)


@bug("voting", "one vote less than a majority is enough", "partition", "loss")
class VotingQuorumOffByOne(Voter):
    def _enough(self, ticks: int) -> int:
        return super()._enough(ticks) - (ticks >= self._patience)


@bug("voting", "who voted and hears nothing does not ask again", "loss")
class VoterGivesUp(Voter):
    def _wait(self) -> None:
        pass


@bug("weighted", "the collector announces what it thinks itself", "none")
class CollectorKnowsBetter(WeightedVoter):
    def _winner(self, votes: Any) -> Value:
        return str(max(votes))


@bug("weighted", "the result is not written down, and votes are counted again", "crash")
class WeightedResultForgotten(WeightedVoter):
    def _persist(self, record: Record) -> None:
        if not isinstance(record, Announced):
            super()._persist(record)


@bug("weighted", "a result is taken for a new one each time it comes", "duplication")
class LearnsTwice(WeightedVoter):
    def _learn(self, result: Result) -> None:
        self._decided.discard(result.slot)
        super()._learn(result)


# --- Raft ----------------------------------------------------------------------------------------------------


@bug("raft", "votes twice in a term")
class RaftVotesTwice(Raft):
    def _may_vote(self, candidate: int, message: RequestVote) -> bool:  # noqa: ARG002
        return self._up_to_date(message)


@bug("raft", "votes for a log that lacks what is committed")
class RaftNotUpToDate(Raft):
    def _up_to_date(self, message: RequestVote) -> bool:  # noqa: ARG002
        return True


@bug("raft", "compares logs by their length alone", "partition", "crash", agents=(5,), values=8)
class RaftLengthOnly(Raft):
    def _up_to_date(self, message: RequestVote) -> bool:
        return message.last_index >= self.log.last


@bug(
    "raft", "commits an old term's entry by counting (figure 8)", agents=(3,), values=8, options={"batch": 1}
)
class RaftCommitsOldTerm(Raft):
    def _may_commit(self, index: int) -> bool:  # noqa: ARG002
        return True


@bug("raft", "does not write its vote down", "crash")
class RaftVoteForgotten(Raft):
    def _persist(self, record: Record) -> None:
        if not isinstance(record, RaftVoted) or record.vote is None:
            super()._persist(record)


@bug("raft", "does not write a higher term down", "crash")
class RaftTermForgotten(Raft):
    def _persist(self, record: Record) -> None:
        if not isinstance(record, RaftVoted) or record.vote is not None:
            super()._persist(record)


@bug("raft", "does not write entries down", "crash")
class RaftEntriesForgotten(Raft):
    def _store(self, index: int, entries: Sequence[Entry]) -> None:
        self.log.put(index, entries)


@bug("raft", "commits with one less than a majority")
class RaftQuorumOffByOne(Raft):
    def _agreed(self, acked: Any) -> int:
        have = sorted(acked.values(), reverse=True)
        need = len(self.members) // 2
        return have[need - 1] if len(have) >= need else 0


@bug("raft", "is elected by one less than a majority", "partition", "loss")
class RaftElectionOffByOne(Raft):
    def _count(self, votes: Any) -> Any:
        return "won" if sum(votes.values()) >= len(self.members) // 2 else super()._count(votes)


@bug(
    "raft", "replaces its log by an old message's entries though they do not conflict", "delay", "duplication"
)
class RaftAlwaysTruncates(Raft):
    def _merge(self, index: int, entries: Sequence[Entry]) -> bool:
        self._store(index, entries)
        return True


@bug("raft", "does not look at the entry before those it takes", "loss", "partition", "crash")
class RaftNoConsistencyCheck(Raft):
    @on(Append)
    def _append(self, sender: int, message: Append) -> None:
        term = self.log.term(message.prev_index)
        if term is not None:
            message = msgspec.structs.replace(message, prev_term=term)
        super()._append(sender, message)


@bug("raft", "follows a leader whose term is over", "delay", "all_but_byzantine", agents=(3,), values=8)
class RaftFollowsTheOld(Raft):
    def _stale(self, term: int) -> bool:  # noqa: ARG002
        return False


@bug("raft", "serves reads without asking whether it still leads", agents=(5,), values=8)
class RaftStaleReads(Raft):
    def _confirm(self, reader: int, request: str) -> None:
        if reader == self.id:
            self._out.reads.append(Read(request, self.log.slot(self.commit)))
        else:
            super()._confirm(reader, request)


@bug("raft", "says how it votes before it is on disk", "crash", early=("Vote", "RequestVote"))
class RaftVotesTooEarly(Raft):
    pass


# --- Paxos ---------------------------------------------------------------------------------------------------


@bug("paxos", "accepts a ballot lower than it has promised")
class PaxosAcceptsLower(Paxos):
    def _may_accept(self, slot: Any, ballot: int) -> bool:  # noqa: ARG002
        return True


@bug("paxos", "promises a ballot lower than it has promised", "delay", "duplication")
class PaxosPromisesLower(Paxos):
    @on(MECHANISMS["paxos"].messages[0])
    def _asked_to_promise(self, sender: int, message: Any) -> None:
        slot = self._open(message.slot)
        if message.slot not in self.chosen and message.ballot < slot.promised:
            self._promise(message.slot, slot, message.ballot)
        super()._asked_to_promise(sender, message)


@bug("paxos", "does not write promises down", "crash")
class PaxosPromiseForgotten(Paxos):
    def _persist(self, record: Record) -> None:
        if not isinstance(record, Promised):
            super()._persist(record)


@bug("paxos", "does not write votes down", "crash")
class PaxosVoteForgotten(Paxos):
    def _persist(self, record: Record) -> None:
        if not isinstance(record, Voted):
            super()._persist(record)


@bug("paxos", "one less than a majority is enough", "partition", "loss")
class PaxosQuorumOffByOne(Paxos):
    def _enough(self, heard: Collection[int]) -> bool:
        return len(heard) >= self._quorum - 1


@bug("paxos", "proposes its own value whatever was accepted")
class PaxosIgnoresReports(Paxos):
    def _adopt(self, reports: Iterable[Proposal | None]) -> Proposal | None:
        return None if self.asked else super()._adopt(reports)


@bug(
    "paxos", "takes over the value of the lowest ballot", "delay", "all_but_byzantine", agents=(5,), values=8
)
class PaxosAdoptsLowest(Paxos):
    def _adopt(self, reports: Iterable[Proposal | None]) -> Proposal | None:
        accepted = [proposal for proposal in reports if proposal is not None]
        return min(accepted, key=lambda proposal: proposal.ballot, default=None)


@bug("paxos", "does not say what it has accepted")
class PaxosReportsNothing(Paxos):
    def _report(self, slot: Any) -> tuple[Proposal, ...]:  # noqa: ARG002
        return ()


@bug("paxos", "skips the first phase", "none")
class PaxosSkipsPrepare(Paxos):
    def _enough(self, heard: Collection[int]) -> bool:
        return bool(self.state == "preparing" or len(heard) >= self._quorum)


@bug("paxos", "takes ballots that belong to nobody")
class PaxosSharedBallots(Paxos):
    def _new_ballot(self, above: int) -> int:
        return above + 1


@bug("paxos", "uses a ballot again after a crash", "crash")
class PaxosReusesBallots(Paxos):
    def _new_ballot(self, above: int) -> int:  # noqa: ARG002
        return next_ballot(max(self._ballot, self._highest), self._place, self._n)


@bug("paxos", "promises and accepts before it is on disk", "crash", early=("Promise", "Accepted"))
class PaxosPromisesTooEarly(Paxos):
    pass


# --- Multi-Paxos ---------------------------------------------------------------------------------------------


@bug("multi_paxos", "accepts a ballot lower than it has promised", "partition", "delay", "clock")
class MultiAcceptsLower(MultiPaxos):
    def _may_accept(self, ballot: int) -> bool:  # noqa: ARG002
        return True


@bug("multi_paxos", "does not write promises down", "crash")
class MultiPromiseForgotten(MultiPaxos):
    def _persist(self, record: Record) -> None:
        if not isinstance(record, Promised):
            super()._persist(record)


@bug("multi_paxos", "does not write votes down", "crash")
class MultiVoteForgotten(MultiPaxos):
    def _persist(self, record: Record) -> None:
        if not isinstance(record, Voted):
            super()._persist(record)


@bug("multi_paxos", "one less than a majority is enough", "partition", "loss")
class MultiQuorumOffByOne(MultiPaxos):
    def _enough(self, heard: Collection[int]) -> bool:
        return len(set(heard)) >= self._quorum - 1


@bug("multi_paxos", "fills what others had begun with nothing", "partition", "crash", "loss")
class MultiIgnoresReports(MultiPaxos):
    def _adopt(self, reports: Iterable[Proposal]) -> Proposal | None:  # noqa: ARG002
        return None


@bug("multi_paxos", "does not say what it has accepted", "partition", "crash", "loss")
class MultiReportsNothing(MultiPaxos):
    def _report(self, first: int) -> tuple[Proposal, ...]:  # noqa: ARG002
        return ()


@bug("multi_paxos", "takes ballots that belong to nobody")
class MultiSharedBallots(MultiPaxos):
    def _new_ballot(self, above: int) -> int:
        return above + 1


@bug(
    "multi_paxos",
    "decides its vote of another ballot when the leader says how far it is",
    "partition",
    values=8,
)
class MultiDecidesOldVotes(MultiPaxos):
    def _settle(self, known: int = 0, ballot: int = -1) -> None:
        vote = self._votes.get(len(self.chosen))
        super()._settle(known, vote.ballot if known and vote is not None else ballot)


@bug("multi_paxos", "serves reads without asking whether it still leads", agents=(3,))
class MultiStaleReads(MultiPaxos):
    def _on_read(self, request: str) -> None:
        if self.state == "leader":
            self._out.reads.append(Read(request, len(self.chosen) - 1))


# --- PBFT ----------------------------------------------------------------------------------------------------


@bug("pbft", "2f + 1 of five are a quorum", "byzantine", agents=(5,))
class PbftTwiceFAndOne(Replica):
    @staticmethod
    def _quorum_of(n: int) -> int:
        return 2 * faulty(n) + 1


@bug("pbft", "a majority is a quorum", "byzantine", agents=(4,))
class PbftMajority(Replica):
    @staticmethod
    def _quorum_of(n: int) -> int:
        return n // 2


@bug("pbft", "skips prepare", "none", agents=(4,))
class PbftSkipsPrepare(Replica):
    def _consider_prepared(self, number: int, slot: Any) -> None:
        if slot.prepared or slot.digest is None:
            return
        certificate = Certificate(self.view, number, slot.value, slot.signature, (), ())
        self._persist(Prepared(certificate))
        self._broadcast(self._agree(number, slot, certificate, slot.digest))
        self._consider_committed(number, slot)


@bug("pbft", "takes a second pre-prepare for a slot", "byzantine", agents=(4,))
class PbftTakesASecond(Replica):
    def _acceptable(self, sender: int, message: PrePrepare) -> bool:
        slot = self._slots.get(message.slot)
        if slot is not None and slot.digest is not None and slot.value != message.value and not slot.prepared:
            slot.begin()
        return super()._acceptable(sender, message)


@bug("pbft", "does not write down what it accepted", "crash", agents=(4,))
class PbftAcceptedForgotten(Replica):
    def _persist(self, record: Record) -> None:
        if not isinstance(record, PbftAccepted):
            super()._persist(record)


@bug("pbft", "does not write down what was prepared", "crash", "all_but_byzantine", agents=(4,))
class PbftPreparedForgotten(Replica):
    def _persist(self, record: Record) -> None:
        if not isinstance(record, Prepared):
            super()._persist(record)


@bug("pbft", "does not write down that it left a view", "crash", "all_but_byzantine", agents=(4,))
class PbftLeftForgotten(Replica):
    def _persist(self, record: Record) -> None:
        if not isinstance(record, Left):
            super()._persist(record)


@bug(
    "pbft", "shows nothing of what was prepared when it leaves", "partition", "all_but_byzantine", agents=(4,)
)
class PbftShowsNothing(Replica):
    def _certificates(self) -> tuple[Certificate, ...]:
        return ()


@bug("pbft", "begins a new view with null requests", "partition", "all_but_byzantine", agents=(4,))
class PbftBeginsEmpty(Replica):
    def _choose(self, changes: tuple[ViewChange, ...]) -> tuple[int, tuple[tuple[int, Value], ...]]:
        stable, values = super()._choose(changes)
        return stable, tuple((slot, NULL) for slot, _ in values)

    def _follows(self, new: NewView) -> bool:  # noqa: ARG002 - backups of the same kind
        return True


@bug("pbft", "believes a new primary what it begins with", "all", agents=(4,))
class PbftFollowsAnything(Replica):
    def _follows(self, new: NewView) -> bool:  # noqa: ARG002
        return True


@bug("pbft", "believes one who tells what was decided", "byzantine", agents=(4,))
class PbftBelievesOne(Replica):
    @on(Decided)
    def _on_decided(self, sender: int, message: Decided) -> None:
        self._weak, weak = 1, self._weak
        super()._on_decided(sender, message)
        self._weak = weak


@bug("pbft", "skips commit", "none", agents=(4,))
class PbftSkipsCommit(Replica):
    def _consider_committed(self, number: int, slot: Any) -> None:
        slot.agreeing += self._quorum
        super()._consider_committed(number, slot)


@bug("pbft", "counts prepares for whatever value, and verifies none", "byzantine", "all", agents=(4,))
class PbftCountsAnyPrepare(Replica):
    @on(Prepare)
    def _prepare(self, sender: int, message: Prepare) -> None:
        slot = self._slots.get(message.slot)
        if slot is not None and slot.digest is not None:
            message = msgspec.structs.replace(message, digest=slot.digest)
        super()._prepare(sender, message)

    def _certify(self, number: int, slot: Any, what: str) -> Certificate | None:
        del what
        signers = tuple(slot.prepares)[: self._quorum - 1]
        signatures = tuple(slot.prepares[signer].signature for signer in signers)
        return Certificate(self.view, number, slot.value, slot.signature, signers, signatures)


@bug("pbft", "votes before it is on disk", "crash", agents=(4,), early=("Prepare", "Commit"))
class PbftVotesTooEarly(Replica):
    pass


# --- the hunt ------------------------------------------------------------------------------------------------


def mutant(planted: Planted) -> Mechanism:
    original = MECHANISMS[planted.mechanism]
    early = tuple(kind for kind in original.messages if kind.__name__ in planted.early)
    return msgspec.structs.replace(original, node=planted.node, early=original.early + early)


def drawn(mechanism: Mechanism, planted: Planted, fault: str, agents: int, seed: int) -> Plan:
    plan = draw(mechanism, agents, fault, seed, values=planted.values)
    return msgspec.structs.replace(plan, options={**plan.options, **planted.options})


def hunt(mechanism: Mechanism, planted: Planted) -> tuple[int, str, int, int] | None:
    """Return how many worlds it took, and fault, agents and seed of the first in which something did not hold."""
    cells = [(fault, agents) for fault in planted.faults for agents in planted.agents]
    for number in range(SEEDS):
        fault, agents = cells[number % len(cells)]
        seed = number // len(cells)
        plan = drawn(mechanism, planted, fault, agents, seed)
        if broken_by(World(mechanism, plan).run()) is not None:
            return number + 1, fault, agents, seed
    return None


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.node.__name__)
def test_a_planted_bug_is_found_and_made_small(planted: Planted) -> None:
    original = MECHANISMS[planted.mechanism]
    mechanism = mutant(planted)
    found = hunt(mechanism, planted)
    assert found is not None, f"{planted.mechanism} that {planted.what} goes unnoticed in {SEEDS} worlds"
    worlds, fault, agents, seed = found
    assert inside(original, agents, fault)
    plan = drawn(mechanism, planted, fault, agents, seed)
    broken = broken_by(World(mechanism, plan).run())
    assert broken is not None
    small = counterexample(mechanism, plan, broken)
    shrunk = msgspec.json.decode(small.plan, type=Plan)
    print(  # noqa: T201 - the counterexample is what one wants to see
        f"{planted.mechanism}: {planted.what}\nfound in world {worlds} ({fault}, {agents} agents, seed {seed})\n"
        f"{small.what}\n{small.chart}\n"
    )
    assert small.invariant == broken
    assert "violated" in small.chart or broken == "progress"
    assert len(small.chart.splitlines()) <= 120
    # The bug is what breaks it: the mechanism as it is withstands both worlds (the small one may end too soon).
    assert broken_by(World(original, plan).run()) is None
    assert World(original, shrunk).run().invariant is None


def test_there_are_enough_bugs_of_each_mechanism() -> None:
    assert len(PLANTED) >= 25
    assert {planted.mechanism for planted in PLANTED} == set(MECHANISMS)
