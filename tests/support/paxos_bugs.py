"""Bugs planted into Paxos, with a leader and without: each leaves out, or gets wrong, one thing of the papers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from swarm_consensus.protocols.ballots import (
    NO_BALLOT,
    Accept,
    Accepted,
    Promised,
    Proposal,
    Refuse,
    Voted,
    next_ballot,
)
from swarm_consensus.protocols.core import Message, Node, Record, on
from swarm_consensus.protocols.multi_paxos import MultiPaxos
from swarm_consensus.protocols.paxos import Paxos, Slot

# --- both ways ------------------------------------------------------------------------------------------------


class _AcceptsBelowItsPromise:
    def _may_accept(self, *_: Any) -> bool:
        return True


class _PromisesBelowItsPromise:
    def _may_promise(self, *_: Any) -> bool:
        return True


class _AdoptsNothing:
    def _adopt(self, _reports: Any) -> None:
        return None


class _AdoptsTheLowest:
    def _adopt(self, reports: Iterable[Proposal | None]) -> Proposal | None:
        accepted = [proposal for proposal in reports if proposal is not None]
        return min(accepted, key=lambda proposal: proposal.ballot, default=None)


class _NeedsOneLess:
    def _enough(self, heard: Collection[int]) -> bool:
        return len(heard) >= max(1, self._quorum - 1)  # type: ignore[attr-defined]


class _ReportsNothing:
    def _report(self, _what: Any) -> tuple[Proposal, ...]:
        return ()


class _CountsBallotsInMemory:
    """The first ballot of each life is the same."""

    _last = NO_BALLOT

    def _new_ballot(self, above: int) -> int:  # noqa: ARG002
        place, n = self._place, self._n  # type: ignore[attr-defined]
        self._last = max(next_ballot(self._last, place, n), next_ballot(self._highest, place, n))  # type: ignore[attr-defined]
        return self._last


class _TakesAnyBallot:
    def _new_ballot(self, above: int) -> int:
        return above + 1


class _ForgetsVotes:
    def _on_restore(self, persisted: Sequence[Record]) -> None:
        super()._on_restore([record for record in persisted if not isinstance(record, Voted)])  # type: ignore[misc]


class _ForgetsPromises:
    def _on_restore(self, persisted: Sequence[Record]) -> None:
        super()._on_restore([record for record in persisted if not isinstance(record, Promised)])  # type: ignore[misc]


class _CountsRefusalsAsVotes:
    @on(Refuse)
    def _counts(self, sender: int, message: Refuse) -> None:
        self._was_accepted(sender, Accepted(message.slot, message.ballot))  # type: ignore[attr-defined]


class _KeepsNoRecord:
    """What it says it has written, it has not."""

    kind: type[Record]

    def _persist(self, record: Record) -> None:
        if not isinstance(record, self.kind):
            super()._persist(record)  # type: ignore[misc]


class _KeepsNoPromise(_KeepsNoRecord):
    kind = Promised


class _KeepsNoVote(_KeepsNoRecord):
    kind = Voted


class _ProposesSomethingElse:
    def _broadcast(self, message: Message) -> None:
        if isinstance(message, Accept):
            message = Accept(message.slot, message.ballot, f"{message.value}!", message.known)
        super()._broadcast(message)  # type: ignore[misc]


def _with(bug: type, kind: type[Node]) -> type[Node]:
    handlers = {name: method for name, method in vars(bug).items() if hasattr(method, "handles")}
    return type(bug.__name__.strip("_"), (bug, kind), handlers)


_BOTH: Mapping[str, type] = {
    "accepts below its promise": _AcceptsBelowItsPromise,
    "promises below its promise": _PromisesBelowItsPromise,
    "adopts nothing": _AdoptsNothing,
    "adopts the lowest ballot": _AdoptsTheLowest,
    "quorum off by one": _NeedsOneLess,
    "reports nothing": _ReportsNothing,
    "ballot used again after a crash": _CountsBallotsInMemory,
    "ballot of another": _TakesAnyBallot,
    "forgets its votes in a crash": _ForgetsVotes,
    "forgets its promises in a crash": _ForgetsPromises,
    "refusals count as votes": _CountsRefusalsAsVotes,
    "promise not on disk": _KeepsNoPromise,
    "vote not on disk": _KeepsNoVote,
    "proposes what nobody asked for": _ProposesSomethingElse,
}


# --- one slot after the other ---------------------------------------------------------------------------------


class SkipsPrepare(Paxos):
    """Asks for votes at once."""

    def _prepare(self, trigger: str) -> None:
        quorum, self._quorum = self._quorum, 1
        super()._prepare(trigger)
        self._quorum = quorum


class DecidesOnItsVote(Paxos):
    """Takes what it has accepted for decided."""

    def _vote(self, slot: Slot, proposal: Proposal) -> None:
        super()._vote(slot, proposal)
        if proposal.ballot % self._n != self._place:
            self._know(proposal)


class CountsOldVotes(Paxos):
    """Takes an answer to an earlier ballot for one to this."""

    @on(Accepted)
    def _counts(self, sender: int, message: Accepted) -> None:
        self._was_accepted(sender, Accepted(message.slot, self._ballot))


# --- with a leader --------------------------------------------------------------------------------------------


class LeadsUnasked(MultiPaxos):
    """Skips prepare: hears no leader, and is one."""

    def _campaign(self) -> None:
        quorum, self._quorum = self._quorum, 1
        super()._campaign()
        self._quorum = quorum


class TakesAnyVoteForKnown(MultiPaxos):
    """Decides what it has voted for in whatever ballot, as soon as the leader knows the slot."""

    def _settle(self, known: int = 0, ballot: int = NO_BALLOT) -> None:
        vote = self._votes.get(len(self.chosen))
        while vote is not None and vote.slot < known:
            before = len(self.chosen)
            super()._settle(known, vote.ballot)
            if len(self.chosen) == before:
                break
            vote = self._votes.get(len(self.chosen))
        super()._settle(known, ballot)


class FillsWithNoOps(MultiPaxos):
    """Puts a no-op wherever it has not voted itself."""

    def _lead_if_promised(self) -> None:
        if self._enough(self._reports):
            mine = self._reports[self.id]
            highest = max((one.slot for report in self._reports.values() for one in report), default=-1)
            self._reports = dict.fromkeys(self._reports, mine)
            if highest >= 0 and all(one.slot != highest for one in mine):
                self._reports[self.id] = (*mine, Proposal(highest, 0, ""))
        super()._lead_if_promised()


class DecidesOutOfOrder(MultiPaxos):
    """Tells a decision as soon as it has it."""

    def _choose_if_accepted(self, pending: Any) -> None:
        if self._enough(pending.accepted) and pending.proposal.slot > len(self.chosen):
            self._decide(pending.proposal.slot, pending.proposal.value)
        super()._choose_if_accepted(pending)


class AnswersReadsAtOnce(MultiPaxos):
    """Does not ask whether it still leads."""

    def _serve(self) -> None:
        for peer in self.peers:
            self._rounds[peer] = self._round
        super()._serve()


class PromisesOneSlot(MultiPaxos):
    """Keeps the promise for the slots it knew of alone: votes below it in others."""

    def _may_accept(self, ballot: int) -> bool:
        return ballot >= self._promised or not self._votes


# CountsOldVotes and AnswersReadsAtOnce do harm too seldom for some hundred worlds: tests of their own lead them there.
PAXOS: Mapping[str, type[Node]] = {
    **{name: _with(bug, Paxos) for name, bug in _BOTH.items()},
    "skips prepare": SkipsPrepare,
    "decides on its own vote": DecidesOnItsVote,
}
MULTI_PAXOS: Mapping[str, type[Node]] = {
    **{name: _with(bug, MultiPaxos) for name, bug in _BOTH.items()},
    "skips prepare": LeadsUnasked,
    "takes any vote for chosen": TakesAnyVoteForKnown,
    "fills with no-ops what others have voted for": FillsWithNoOps,
    "decides out of order": DecidesOutOfOrder,
    "promise not kept in new slots": PromisesOneSlot,
}
