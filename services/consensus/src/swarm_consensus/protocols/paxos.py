"""Single-decree Paxos, once a slot: Lamport 2001, "Paxos Made Simple", section 2.

Every agent is proposer, acceptor and learner. A client's value goes into the lowest slot that the asked agent does not
know to be decided: it prepares a ballot of its own, and once a majority has promised to accept nothing lower it asks
all to accept the value of the highest ballot that was accepted so far, or its own where there is none. What a majority
has accepted in one ballot is chosen, and the proposer tells the others. Was another's value chosen, it goes on to the
next slot with its own. Its own acceptor counts without messages: 4(n - 1) to the decision, n - 1 to tell.

*Liveness.* Proposers that overtake one another forever decide nothing, so one that hears of a higher ballot gives way:
it waits a round, and then a random time from a window that doubles each time it was overtaken, up to some ticks an
agent, and shrinks as slots are decided. All waits grow with the time that answers take, or rounds slower than patience
would be overtaken forever. An acceptor that refuses says how high it has promised. What was lost is sent again. Whoever
knows of a value that may have been chosen, and hears no more of it, finishes it as a proposer of its own. And every
agent asks another, now and then, for the decisions it lacks.

*Disk.* Promises and votes are written before they are sent. Its own ballot a proposer promises, too: after a crash it
finds there which ballots it has used. A decision is on the disks of a majority, as votes, before anybody knows of it:
the proposer's own note of it may come later (with the next tick), and what is lost is learned again.

Options, all in ticks: ``retry`` (until those who have not answered are asked again, 5), ``patience`` (until a round of
another is thought to have failed, 8), ``spread`` (the widest window, an agent, 4), ``gossip`` (between two questions
for missing decisions, 30).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from swarm_consensus.checking.agreement import Agreement, Integrity
from swarm_consensus.checking.paxos import Ballots
from swarm_consensus.protocols.ballots import (
    NO_BALLOT,
    Accept,
    Accepted,
    Chosen,
    Learn,
    Prepare,
    Promise,
    Promised,
    Proposal,
    Refuse,
    Voted,
    next_ballot,
)
from swarm_consensus.protocols.core import (
    Mechanism,
    Message,
    Node,
    Record,
    Setup,
    Transition,
    Value,
    on,
)
from swarm_consensus.protocols.quorum import majority

_BATCH = 64
"""Decisions told at once to an agent that lacks some."""
_WINDOW = 64
"""What a backoff window can grow to in the smallest swarm, in ticks."""


class Known(Message, frozen=True):
    """The sender knows what was decided in all slots below ``frontier``."""

    frontier: int


class Slot:
    """What an acceptor has promised and accepted in one slot that it does not know to be decided."""

    __slots__ = ("promised", "vote")

    def __init__(self) -> None:
        self.promised = NO_BALLOT
        self.vote: Proposal | None = None


class Paxos(Node):
    """A proposer, acceptor and learner; the state is the proposer's.

    Attributes:
        asked: The values that clients asked for here and that are not known to be decided, in their order.
        chosen: What is known to be decided, by slot.
        frontier: The lowest slot that is not.
    """

    TRANSITIONS = (
        Transition("idle", "asked by a client", "preparing"),
        Transition("idle", "knows of an undecided value", "waiting"),
        Transition("idle", "goes on to the next slot", "preparing"),
        Transition("idle", "goes on to the next slot", "waiting"),
        Transition("waiting", "has waited", "preparing"),
        Transition("waiting", "slot is decided", "idle"),
        Transition("preparing", "promised by a majority", "accepting"),
        Transition("preparing", "promised by a majority, with nothing to propose", "idle"),
        Transition("preparing", "overtaken", "waiting"),
        Transition("preparing", "slot is decided", "idle"),
        Transition("accepting", "accepted by a majority", "idle"),
        Transition("accepting", "overtaken", "waiting"),
        Transition("accepting", "slot is decided", "idle"),
    )

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        options = setup.options
        self._retry: int = options.get("retry", 5)
        self._patience: int = options.get("patience", 8)
        self._gossip: int = options.get("gossip", 30)
        n = len(setup.members)
        self._n = n
        self._place = setup.members.index(setup.id)
        self._quorum = majority(n)
        self._widest = max(_WINDOW, options.get("spread", 4) * n)
        self.asked: dict[Value, None] = {}
        self.chosen: dict[int, Proposal] = {}
        self.frontier = 0
        self._top = -1  # the highest slot that somebody is known to have proposed in
        self._slots: dict[int, Slot] = {}
        # The proposer's: what it is about, and how it stands.
        self._slot = 0
        self._ballot = NO_BALLOT
        self._value: Value = ""
        self._highest = NO_BALLOT  # of the ballots heard of in this slot
        self._reports: dict[int, Proposal | None] = {}  # by who has promised: what it had accepted
        self._accepted: set[int] = set()
        self._refused: set[int] = set()
        self._ticks = 0
        self._wait = 0
        self._window = 1
        self._pace = 0.0  # ticks until answers came, the slowest lately
        self._slow = 1  # by what all waits are multiplied
        self._unwritten: list[Record] = []
        self._until_gossip = self._gossip + self._draw(self._gossip)

    # --- what a client, the clock and the disk say -----------------------------------------------------------

    def _on_propose(self, value: Value) -> None:
        self.asked.setdefault(value)
        if self.state == "idle":
            self._prepare("asked by a client")

    def _on_tick(self) -> None:
        if self._unwritten:
            for record in self._unwritten:
                self._persist(record)
            self._unwritten.clear()
        self._until_gossip -= 1
        if not self._until_gossip:
            self._until_gossip = self._gossip
            if self._n > 1:
                self._send(self.peers[self._draw(self._n - 1)], Known(self.frontier))
        if self.state == "idle":
            return
        if self.state == "waiting":
            self._wait -= 1
            if self._wait <= 0:
                self._prepare("has waited")
            return
        self._ticks += 1
        if self._ticks % (self._retry * self._slow) == 0:
            self._ask_again()

    def _ask_again(self) -> None:
        if self.state == "preparing":
            self._ask_others(Prepare(self._slot, self._ballot), self._reports)
        elif self._refused:
            self._overtaken()
        else:
            self._ask_others(Accept(self._slot, self._ballot, self._value), self._accepted)

    def _ask_others(self, message: Message, answered: Collection[int]) -> None:
        for peer in self.peers:
            if peer not in answered:
                self._send(peer, message)

    def _on_restore(self, persisted: Sequence[Record]) -> None:
        for record in persisted:
            if isinstance(record, Chosen):
                self._know(Proposal(record.slot, record.ballot, record.value))
            elif isinstance(record, Promised):
                self._open(record.slot).promised = record.ballot
            elif isinstance(record, Voted):
                slot = self._open(record.slot)
                slot.promised = record.ballot
                slot.vote = Proposal(record.slot, record.ballot, record.value)
                self._top = max(self._top, record.slot)
        for number in sorted(self.chosen):
            self._slots.pop(number, None)
        if self.frontier <= self._top:
            self._watch()

    # --- the proposer ---------------------------------------------------------------------------------------

    def _prepare(self, trigger: str) -> None:
        """Phase 1a, in the lowest slot not known to be decided."""
        self._become("preparing", trigger)
        number = self.frontier
        if number != self._slot:
            self._slot = number
            self._highest = NO_BALLOT
        slot = self._open(number)
        self._ballot = self._new_ballot(max(slot.promised, self._highest))
        self._ticks = 0
        self._promise(number, slot, self._ballot)
        self._reports = {self.id: slot.vote}
        self._phase(number, "prepare")
        self._broadcast(Prepare(number, self._ballot))
        self._propose_if_promised()

    def _new_ballot(self, above: int) -> int:
        return next_ballot(above, self._place, self._n)

    @on(Promise)
    def _promised(self, sender: int, message: Promise) -> None:
        if self.state == "preparing" and message.ballot == self._ballot and message.slot == self._slot:
            self._reports[sender] = message.accepted[0] if message.accepted else None
            self._propose_if_promised()

    def _propose_if_promised(self) -> None:
        """Phase 2a, once a majority has promised."""
        if not self._enough(self._reports):
            return
        self._answered()
        adopted = self._adopt(self._reports.values())
        if adopted is not None:
            self._value = adopted.value
        elif self.asked:
            self._value = next(iter(self.asked))
        else:
            self._become("idle", "promised by a majority, with nothing to propose")
            return
        self._become("accepting", "promised by a majority")
        number, ballot = self._slot, self._ballot
        self._ticks = 0
        self._vote(self._open(number), Proposal(number, ballot, self._value))
        self._accepted = {self.id}
        self._refused = set()
        self._phase(number, "accept")
        self._broadcast(Accept(number, ballot, self._value))
        self._learn_if_accepted()

    def _enough(self, heard: Collection[int]) -> bool:
        return len(heard) >= self._quorum

    def _adopt(self, reports: Iterable[Proposal | None]) -> Proposal | None:
        """Return what must be proposed: what was accepted in the highest ballot (P2c); ``None``: anything may be."""
        accepted = [proposal for proposal in reports if proposal is not None]
        return max(accepted, key=lambda proposal: proposal.ballot, default=None)

    @on(Accepted)
    def _was_accepted(self, sender: int, message: Accepted) -> None:
        if self.state == "accepting" and message.ballot == self._ballot and message.slot == self._slot:
            self._accepted.add(sender)
            self._learn_if_accepted()

    def _learn_if_accepted(self) -> None:
        if not self._enough(self._accepted):
            return
        self._answered()
        proposal = Proposal(self._slot, self._ballot, self._value)
        self._become("idle", "accepted by a majority")
        self._window = max(1, self._window // 2)
        self._unwritten.append(Chosen(proposal.slot, proposal.ballot, proposal.value))
        self._phase(proposal.slot, "learn")
        self._know(proposal, self._accepted)
        self._broadcast(Learn((proposal,)))
        self._go_on()

    @on(Refuse)
    def _was_refused(self, sender: int, message: Refuse) -> None:
        if message.ballot != self._ballot or message.slot != self._slot:
            return
        self._highest = max(self._highest, message.promised)
        if self.state == "preparing":
            self._answered()
            self._overtaken()
        elif self.state == "accepting":
            self._refused.add(sender)
            # Those who refused may be few: as long as a majority can accept, it is worth waiting.
            if self._n - len(self._refused) < self._quorum:
                self._overtaken()

    def _overtaken(self) -> None:
        """Give way to a higher ballot, longer each time."""
        self._become("waiting", "overtaken")
        self._window = min(self._widest, max(2 * self._window, self._n // 4))
        self._give_way()

    def _give_way(self) -> None:
        """Leave another proposer time for its round."""
        # Without a value of its own it only finishes what others began: then one of all is enough.
        window = self._window if self.asked else max(self._window, self._n)
        self._wait = self._slow * self._patience + self._draw(self._slow * window)

    def _answered(self) -> None:
        """Take note of how long answers take."""
        self._pace = max(self._ticks, self._pace * 7 / 8)
        self._slow = 1 + int(2 * self._pace) // self._patience

    def _watch(self) -> None:
        """Finish what was begun, should nobody else do it."""
        self._slot = self.frontier
        self._highest = NO_BALLOT
        self._become("waiting", "knows of an undecided value")
        self._give_way()

    def _go_on(self) -> None:
        """See what is left to do, after a slot was decided."""
        if self.asked:
            wait = self._draw(self._slow * self._window) if self._window > 1 else 0
            if wait:
                self._slot = self.frontier
                self._highest = NO_BALLOT
                self._wait = wait
                self._become("waiting", "goes on to the next slot")
            else:
                self._prepare("goes on to the next slot")
        elif self.frontier <= self._top:
            self._watch()

    def _draw(self, ticks: int) -> int:
        """Return a random number of ticks below ``ticks``."""
        return int(self._random.random() * ticks)

    # --- the acceptor ---------------------------------------------------------------------------------------

    @on(Prepare)
    def _asked_to_promise(self, sender: int, message: Prepare) -> None:
        """Phase 1b."""
        number, ballot = message.slot, message.ballot
        if self._tell(sender, number):
            return
        slot = self._open(number)
        if not self._may_promise(slot, ballot):
            self._send(sender, Refuse(number, ballot, slot.promised))
            return
        if ballot > slot.promised:
            self._promise(number, slot, ballot)
            self._heard_of(number, ballot)
        self._send(sender, Promise(number, ballot, self._report(slot)))

    @on(Accept)
    def _asked_to_accept(self, sender: int, message: Accept) -> None:
        """Phase 2b."""
        number, ballot = message.slot, message.ballot
        if self._tell(sender, number):
            return
        slot = self._open(number)
        if not self._may_accept(slot, ballot):
            self._send(sender, Refuse(number, ballot, slot.promised))
            return
        if slot.vote is None or slot.vote.ballot != ballot:
            self._vote(slot, Proposal(number, ballot, message.value))
            self._heard_of(number, ballot)
        self._send(sender, Accepted(number, ballot))

    def _may_promise(self, slot: Slot, ballot: int) -> bool:
        """The same ballot again is a question asked again."""
        return ballot >= slot.promised

    def _may_accept(self, slot: Slot, ballot: int) -> bool:
        return ballot >= slot.promised

    def _report(self, slot: Slot) -> tuple[Proposal, ...]:
        return () if slot.vote is None else (slot.vote,)

    def _promise(self, number: int, slot: Slot, ballot: int) -> None:
        slot.promised = ballot
        self._persist(Promised(number, ballot))

    def _vote(self, slot: Slot, proposal: Proposal) -> None:
        slot.promised = proposal.ballot
        slot.vote = proposal
        self._top = max(self._top, proposal.slot)
        self._persist(Voted(proposal.slot, proposal.ballot, proposal.value))

    def _open(self, number: int) -> Slot:
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = Slot()
        return slot

    def _heard_of(self, number: int, ballot: int) -> None:
        """Give way to another proposer that is ahead, or keep an eye on what it has begun."""
        if self.state == "idle":
            if self.frontier <= self._top:
                self._watch()
        elif number == self._slot:
            if self.state == "waiting":
                self._give_way()
            elif self.state == "preparing" and ballot > self._ballot:
                self._overtaken()

    # --- the learner ----------------------------------------------------------------------------------------

    def _tell(self, sender: int, number: int) -> bool:
        """Tell a proposer what its slot was decided for; return whether it was."""
        proposal = self.chosen.get(number)
        if proposal is None:
            return False
        self._send(sender, Learn((proposal,)))
        return True

    @on(Learn)
    def _told(self, sender: int, message: Learn) -> None:  # noqa: ARG002 - who tells does not matter
        for proposal in message.chosen:
            if proposal.slot not in self.chosen:
                self._persist(Chosen(proposal.slot, proposal.ballot, proposal.value))
                self._know(proposal)
        if self.state == "idle":
            if self.frontier <= self._top:
                self._watch()
        elif self._slot < self.frontier:
            if self.state == "waiting":
                self._window = max(1, self._window - self._window // 8)
            self._become("idle", "slot is decided")
            self._go_on()

    @on(Known)
    def _compared(self, sender: int, message: Known) -> None:
        """Tell what the other lacks, or ask it for what is lacking here."""
        missing = [
            self.chosen[number]
            for number in range(message.frontier, max(self._top, self.frontier) + 1)
            if number in self.chosen
        ]
        if missing:
            self._send(sender, Learn(tuple(missing[:_BATCH])))
        if message.frontier > self.frontier:
            self._send(sender, Known(self.frontier))

    def _know(self, proposal: Proposal, voters: Iterable[int] = ()) -> None:
        """Take note of a decision, once."""
        number = proposal.slot
        if number in self.chosen:
            return
        self.chosen[number] = proposal
        self._slots.pop(number, None)
        self._top = max(self._top, number)
        self.asked.pop(proposal.value, None)
        certificate: dict[str, object] = {"ballot": proposal.ballot}
        if voters:
            certificate["accepted_by"] = sorted(voters)
        self._decide(number, proposal.value, certificate)
        while self.frontier in self.chosen:
            self.frontier += 1


def _equivocation(message: Message, to: int, setup: Setup) -> Message | None:
    """Propose, report and tell every other agent something else."""
    return _wrong_value(message, to, setup) if to % 2 else message


def _wrong_value(message: Message, to: int, setup: Setup) -> Message | None:  # noqa: ARG001 - the signature of a lie
    """Propose, report and tell what nobody asked for, and report it as accepted just now."""
    if isinstance(message, Accept):
        return Accept(message.slot, message.ballot, f"not {message.value}", message.known)
    if isinstance(message, Promise):
        last = message.accepted[-1] if message.accepted else None
        value = f"not {last.value}" if last else "nonsense"
        slot = last.slot if last else message.slot
        return Promise(
            message.slot,
            message.ballot,
            (*message.accepted[:-1], Proposal(slot, message.ballot - 1, value)),
            message.known,
        )
    if isinstance(message, Learn):
        wrong = [Proposal(one.slot, one.ballot, f"not {one.value}") for one in message.chosen]
        return Learn(tuple(wrong))
    return message


LIES = {"equivocation": _equivocation, "wrong_value": _wrong_value}

MECHANISM = Mechanism(
    name="paxos",
    title="Paxos",
    description="A proposer wins the promises of a majority, then its votes, anew for every decision",
    paper='Lamport 2001, "Paxos Made Simple", section 2',
    node=Paxos,
    messages=(Prepare, Promise, Accept, Accepted, Refuse, Learn, Known),
    records=(Promised, Voted, Chosen),
    phases=("prepare", "accept", "learn"),
    crashes=lambda n: n - majority(n),
    liars=lambda n: 0,  # noqa: ARG005 - what an acceptor reports is believed, whatever the size
    fault_free=lambda n: 4 * (n - 1),
    counted_until="decided",
    checks=(Agreement, Integrity, Ballots),
    lies=LIES,
)
