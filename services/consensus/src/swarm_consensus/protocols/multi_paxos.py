"""Multi-Paxos: a leader prepares once for all slots to come; then a decision takes one round.

Lamport 2001, "Paxos Made Simple", section 3. Whoever hears of no leader for a while prepares a ballot of its own, from
the first slot that it does not know to be decided. A majority's promises make it the leader. What they had accepted it
proposes again, the value of the highest ballot in each slot, and a no-op where there is none: an empty value, which
whoever applies decisions skips. Then it gives clients' values the next slots, many at a time. A slot is decided when a
majority has accepted it: 2(n - 1) messages. Decisions are told in the order of slots; followers hear with the leader's
next message (or at its next tick) how far it has come. Who does not lead takes no values: ``leader`` says whom to ask.

*The leader stays* as long as a majority answers its heartbeats: it gives up when they do not, and an agent that hears
it answers nobody else's prepare. That is no lease: safety needs no clock. *Who lags* says so in its answer to a
heartbeat, and is told what it lacks. *Candidates* that overtake one another wait longer each time. A leader measures
how long answers take and says so: all waits grow with it.

*Reads* are linearizable: the leader answers when all it took over is decided and a majority has answered a heartbeat
sent after the read was asked for, so that nobody else led when it was.

*Disk.* Promises and votes are written before they are sent, and its own ballot a leader promises, too. A decision is on
the disks of a majority, as votes, before anybody knows of it: how far it knows an agent notes later, now and then.

Options, all in ticks but the last: ``heartbeat`` (between two of the leader, 4), ``patience`` (without hearing a
leader, or as a leader from a majority, 16), ``retry`` (until those who have not answered are asked again, 5),
``pipeline`` (undecided slots at a time, 256).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence

from swarm_consensus.checking.agreement import Agreement, Integrity
from swarm_consensus.checking.paxos import InOrder, LeaderBallots
from swarm_consensus.protocols.ballots import (
    ALL,
    NO_BALLOT,
    NO_OP,
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
    Read,
    Record,
    Setup,
    Transition,
    Value,
    on,
)
from swarm_consensus.protocols.paxos import LIES
from swarm_consensus.protocols.quorum import majority

_BATCH = 256
"""Decisions told at once to an agent that lacks some."""
_SLOWEST, _LONGER = 32, 8
"""What waits are multiplied by at most: where answers are slow, and where candidates were overtaken."""


class Heartbeat(Message, frozen=True):
    """The leader is there, and has decided all slots below ``known``."""

    ballot: int
    known: int
    round: int = 0
    """To be answered with this number; 0: not to be answered."""
    slow: int = 1
    """By what waits are to be multiplied, for the time that answers take."""


class Alive(Message, frozen=True):
    """A follower has heard the leader."""

    ballot: int
    round: int
    missing: int = -1
    """The first slot of those the leader spoke of that it lacks; -1: it lacks none."""


class Known(Record, frozen=True):
    """All slots below ``frontier`` are decided, with the value last voted for, or chosen."""

    frontier: int


class Pending:
    """A slot that the leader has proposed in and that is not decided."""

    __slots__ = ("accepted", "proposal", "ticks")

    def __init__(self, proposal: Proposal, by: int) -> None:
        self.proposal = proposal
        self.accepted = {by}
        self.ticks = 0


class MultiPaxos(Node):
    """A follower, a candidate or the leader; an acceptor and learner throughout.

    Attributes:
        asked: The values that clients asked for here and that are not known to be decided, in their order.
        chosen: What is decided, by slot, without a gap.
    """

    TRANSITIONS = (
        Transition("follower", "hears no leader", "candidate"),
        Transition("candidate", "promised by a majority", "leader"),
        Transition("candidate", "overtaken", "follower"),
        Transition("candidate", "hears a leader", "follower"),
        Transition("leader", "overtaken", "follower"),
        Transition("leader", "not heard by a majority", "follower"),
    )

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        options = setup.options
        n = len(setup.members)
        self._heartbeat: int = options.get("heartbeat", 4)
        self._patience: int = options.get("patience", 16)
        self._retry: int = options.get("retry", 5)
        self._pipeline: int = options.get("pipeline", 256)
        self._n = n
        self._place = setup.members.index(setup.id)
        self._quorum = majority(n)
        self._window = max(self._patience, n)  # of time-outs: with many agents, few should be first
        self.asked: dict[Value, None] = {}
        self.chosen: list[Proposal] = []
        # The acceptor's.
        self._promised = NO_BALLOT
        self._votes: dict[int, Proposal] = {}  # in slots not known to be decided
        # The learner's: known to be chosen, after a gap, and by whose votes.
        self._ahead: dict[int, tuple[Proposal, Collection[int]]] = {}
        self._told = 0  # how far the leader said it has decided
        self._noted = 0  # how far the disk knows
        # The follower's.
        self._leader: int | None = None
        self._highest = NO_BALLOT  # of the ballots heard of
        self._quiet = 0
        self._slow = 1  # by what all waits are multiplied
        self._limit = self._patience + self._draw(self._window)
        self._ticks = 0
        # The candidate's and the leader's.
        self._ballot = NO_BALLOT
        self._from = 0
        self._reports: dict[int, tuple[Proposal, ...]] = {}
        self._pending: dict[int, Pending] = {}
        self._queue: deque[Value] = deque()
        self._next = 0
        self._inherited = 0  # below it stand the slots that were begun by others
        self._heard: set[int] = set()
        self._round = 0
        self._rounds: dict[int, int] = {}  # the last that each has answered
        self._timed, self._timed_at, self._timed_by = (
            0,
            0,
            0,
        )  # the one that is timed, since when, and who has answered
        self._pace = 0.0  # ticks until a majority has answered, the slowest lately
        self._reads: list[tuple[str, int, int]] = []  # request, slots to be decided, round to be answered

    @property
    def frontier(self) -> int:
        """The lowest slot that is not known to be decided."""
        return len(self.chosen)

    @property
    def leader(self) -> int | None:
        """The leader that this agent follows, or itself."""
        return self._leader

    # --- what a client, the clock and the disk say -----------------------------------------------------------

    def _on_propose(self, value: Value) -> None:
        if self.state == "follower" or value in self.asked:
            return
        self.asked[value] = None
        if self.state == "leader":
            self._queue.append(value)
            self._fill()

    def _on_read(self, request: str) -> None:
        if self.state == "leader":
            self._round += 1
            self._reads.append((request, max(len(self.chosen), self._inherited), self._round))
            self._broadcast(Heartbeat(self._ballot, len(self.chosen), self._round, self._slow))
            self._serve()

    def _on_tick(self) -> None:
        self._ticks += 1
        if self._noted < len(self.chosen) and self._ticks % self._heartbeat == 0:
            self._noted = len(self.chosen)
            self._persist(Known(self._noted))
        if self.state == "leader":
            self._lead_on()
        elif self.state == "candidate":
            if self._ticks % (self._retry * self._slow) == 0:
                self._ask_others(Prepare(self._from, self._ballot), self._reports)
        else:
            self._quiet += 1
            if self._quiet >= self._limit:
                self._campaign()

    def _ask_others(self, message: Message, answered: Collection[int]) -> None:
        for peer in self.peers:
            if peer not in answered:
                self._send(peer, message)

    def _on_restore(self, persisted: Sequence[Record]) -> None:
        known = 0
        for record in persisted:
            if isinstance(record, Promised):
                self._promised = record.ballot
            elif isinstance(record, Voted):
                self._promised = record.ballot
                self._votes[record.slot] = Proposal(record.slot, record.ballot, record.value)
            elif isinstance(record, Chosen):
                self._ahead[record.slot] = Proposal(record.slot, record.ballot, record.value), ()
            elif isinstance(record, Known):
                known = record.frontier
        for number, vote in self._votes.items():
            if number < known:
                self._ahead.setdefault(number, (vote, ()))
        self._settle()
        self._noted = len(self.chosen)

    # --- the candidate --------------------------------------------------------------------------------------

    def _campaign(self) -> None:
        """Phase 1a, for all slots not known to be decided."""
        self._become("candidate", "hears no leader")
        self._leader = None
        self._ballot = self._new_ballot(max(self._promised, self._highest))
        self._from = len(self.chosen)
        self._ticks = 0
        self._promise(self._ballot)
        self._reports = {self.id: self._report(self._from)}
        self._phase(self._from, "prepare")
        self._broadcast(Prepare(self._from, self._ballot))
        self._lead_if_promised()

    def _new_ballot(self, above: int) -> int:
        return next_ballot(above, self._place, self._n)

    @on(Promise)
    def _was_promised(self, sender: int, message: Promise) -> None:
        if self.state != "candidate" or message.ballot != self._ballot:
            return
        self._reports[sender] = message.accepted
        self._learn([proposal for proposal in message.accepted if proposal.slot < message.known])
        self._lead_if_promised()

    def _lead_if_promised(self) -> None:
        """Phase 2a for what others had begun, once a majority has promised."""
        if self.state != "candidate" or not self._enough(self._reports):
            return
        self._become("leader", "promised by a majority")
        self._leader = self.id
        self._pace = 0.0
        self._answered(self._ticks)
        self._ticks = 0
        self._heard.clear()
        self._rounds.clear()
        self._timed = 0
        begun: dict[int, list[Proposal]] = {}
        for report in self._reports.values():
            for proposal in report:
                begun.setdefault(proposal.slot, []).append(proposal)
        first = self._next = len(self.chosen)
        self._inherited = max([first - 1, *begun, *self._ahead]) + 1
        held = {proposal.value for proposal, _ in self._ahead.values()}
        while self._next < self._inherited:
            adopted = self._adopt(begun.get(self._next, ()))
            held.add(NO_OP if adopted is None else adopted.value)
            self._propose(NO_OP if adopted is None else adopted.value)
        self._queue = deque(value for value in self.asked if value not in held)
        self._fill()
        self._beat()

    def _enough(self, heard: Collection[int]) -> bool:
        return len(heard) >= self._quorum

    def _adopt(self, reports: Iterable[Proposal]) -> Proposal | None:
        """Return what must be proposed: what was accepted in the highest ballot (P2c); ``None``: anything may be."""
        return max(reports, key=lambda proposal: proposal.ballot, default=None)

    # --- the leader -----------------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Give waiting values the next slots, as many as may be undecided at a time."""
        while self._queue and len(self._pending) < self._pipeline:
            value = self._queue.popleft()
            if value in self.asked:  # not decided meanwhile, in another slot
                self._propose(value)

    def _propose(self, value: Value) -> None:
        """Phase 2a, in the next slot."""
        number = self._next
        self._next += 1
        if number in self._ahead:
            return
        proposal = Proposal(number, self._ballot, value)
        self._vote(proposal)
        self._pending[number] = pending = Pending(proposal, self.id)
        self._phase(number, "accept")
        self._told = len(self.chosen)
        self._broadcast(Accept(number, self._ballot, value, self._told))
        self._choose_if_accepted(pending)

    @on(Accepted)
    def _was_accepted(self, sender: int, message: Accepted) -> None:
        if message.ballot != self._ballot or self.state != "leader":
            return
        self._heard.add(sender)
        pending = self._pending.get(message.slot)
        if pending is not None:
            pending.accepted.add(sender)
            self._choose_if_accepted(pending)

    def _choose_if_accepted(self, pending: Pending) -> None:
        if not self._enough(pending.accepted):
            return
        number = pending.proposal.slot
        del self._pending[number]
        self._phase(number, "learn")
        self._ahead[number] = pending.proposal, pending.accepted
        self._settle()
        if self._reads:
            self._serve()
        if self._queue:
            self._fill()

    def _lead_on(self) -> None:
        """One tick in office."""
        if self._ticks % (self._patience * self._slow) == 0:
            if not self._enough((*self._heard, self.id)):
                self._step_down("not heard by a majority")
                return
            self._heard.clear()
        if self._ticks % self._heartbeat == 0:
            self._beat()
        elif self._told < len(self.chosen):
            self._told = len(self.chosen)
            self._broadcast(Heartbeat(self._ballot, self._told, 0, self._slow))
        for number, pending in self._pending.items():
            pending.ticks += 1
            if pending.ticks % (self._retry * self._slow) == 0:
                again = Accept(number, self._ballot, pending.proposal.value, len(self.chosen))
                self._ask_others(again, pending.accepted)

    def _beat(self) -> None:
        self._round += 1
        if not self._timed:
            self._timed, self._timed_at, self._timed_by = self._round, self._ticks, 1
        self._told = len(self.chosen)
        self._broadcast(Heartbeat(self._ballot, self._told, self._round, self._slow))

    def _answered(self, ticks: int) -> None:
        """Take note of how long a majority takes to answer."""
        self._pace = max(ticks, self._pace * 7 / 8)
        self._slow = min(_SLOWEST, 1 + int(3 * self._pace) // self._patience)

    @on(Alive)
    def _is_alive(self, sender: int, message: Alive) -> None:
        if message.ballot != self._ballot or self.state != "leader":
            return
        self._heard.add(sender)
        before = self._rounds.get(sender, 0)
        if message.round > before:
            self._rounds[sender] = message.round
            if before < self._timed <= message.round:
                self._timed_by += 1
                if self._timed_by >= self._quorum:
                    self._answered(self._ticks - self._timed_at)
                    self._timed = 0
        if self._reads:
            self._serve()
        if message.missing >= 0:
            missing = self.chosen[message.missing : message.missing + _BATCH]
            if missing:
                self._send(sender, Learn(tuple(missing)))

    def _serve(self) -> None:
        """Answer the reads that may be answered."""
        waiting = []
        for request, slots, number in self._reads:
            answered = [peer for peer, heard in self._rounds.items() if heard >= number]
            if len(self.chosen) >= slots and self._enough((*answered, self.id)):
                self._out.reads.append(Read(request, slots - 1))
            else:
                waiting.append((request, slots, number))
        self._reads = waiting

    @on(Refuse)
    def _was_refused(self, sender: int, message: Refuse) -> None:  # noqa: ARG002 - one is enough
        if message.ballot == self._ballot and self.state != "follower":
            self._highest = max(self._highest, message.promised)
            self._overtaken()

    def _overtaken(self) -> None:
        """Give way to a higher ballot; a candidate for longer each time."""
        if self.state == "candidate":
            self._slow = max(self._slow, min(_LONGER, 2 * self._slow))
            self._step_down("overtaken")
        else:
            self._step_down("overtaken")
            # Maybe no leader overtook it, only one who was away and had prepared in vain: it will know soon.
            self._limit = self._slow * (2 * self._heartbeat + self._draw(self._heartbeat))

    def _step_down(self, trigger: str) -> None:
        self._become("follower", trigger)
        self._leader = None
        self._pending.clear()
        self._queue.clear()
        self._reads.clear()
        self._rest()

    # --- the follower ---------------------------------------------------------------------------------------

    def _rest(self) -> None:
        """Leave others time."""
        self._quiet = 0
        self._limit = self._slow * (self._patience + self._draw(self._window))

    def _follow(self, sender: int, ballot: int) -> None:
        """Take the sender for the leader; its ballot is not below the promise."""
        if ballot > self._promised:
            self._promise(ballot)
        if self.state == "candidate":
            self._step_down("hears a leader")
        elif self.state == "leader":
            self._step_down("overtaken")
        self._leader = sender

    @on(Heartbeat)
    def _hears(self, sender: int, message: Heartbeat) -> None:
        ballot = message.ballot
        if ballot < self._promised:
            self._send(sender, Refuse(ALL, ballot, self._promised))
            return
        if self._leader != sender or ballot != self._promised:
            self._follow(sender, ballot)
        self._quiet = 0
        if message.slow != self._slow:
            self._slow = message.slow
            self._rest()
        if message.known > len(self.chosen):
            self._told = message.known
            self._settle(message.known, ballot)
        if message.round:
            missing = len(self.chosen) if message.known > len(self.chosen) else -1
            self._send(sender, Alive(ballot, message.round, missing))

    def _draw(self, ticks: int) -> int:
        """Return a random number of ticks below ``ticks``."""
        return int(self._random.random() * ticks)

    # --- the acceptor ---------------------------------------------------------------------------------------

    @on(Prepare)
    def _asked_to_promise(self, sender: int, message: Prepare) -> None:
        """Phase 1b."""
        ballot = message.ballot
        if not self._may_promise(ballot):
            self._send(sender, Refuse(message.slot, ballot, self._promised))
            return
        if ballot > self._promised:
            if self._is_led(sender):
                return
            self._promise(ballot)
            if self.state != "follower":
                self._overtaken()
            self._leader = None
            self._rest()
        self._send(sender, Promise(message.slot, ballot, self._report(message.slot), len(self.chosen)))

    def _is_led(self, sender: int) -> bool:
        """Return whether there is another leader, as far as this agent can tell: then nobody else is needed."""
        if self.state == "leader":
            return True
        return (
            self._leader is not None and self._leader != sender and self._quiet < self._slow * self._patience
        )

    @on(Accept)
    def _asked_to_accept(self, sender: int, message: Accept) -> None:
        """Phase 2b."""
        number, ballot = message.slot, message.ballot
        if not self._may_accept(ballot):
            self._send(sender, Refuse(number, ballot, self._promised))
            return
        if self._leader != sender or ballot != self._promised:
            self._follow(sender, ballot)
        self._quiet = 0
        if number < len(self.chosen):
            self._send(sender, Learn((self.chosen[number],)))
            return
        vote = self._votes.get(number)
        if vote is None or vote.ballot != ballot:
            self._vote(Proposal(number, ballot, message.value))
        self._send(sender, Accepted(number, ballot))
        if message.known > len(self.chosen):
            self._settle(message.known, ballot)

    def _may_promise(self, ballot: int) -> bool:
        """The same ballot again is a question asked again."""
        return ballot >= self._promised

    def _may_accept(self, ballot: int) -> bool:
        return ballot >= self._promised

    def _report(self, first: int) -> tuple[Proposal, ...]:
        """Return what was accepted, or is chosen, from slot ``first`` on."""
        votes = [self._votes[number] for number in sorted(self._votes) if number >= first]
        return (*self.chosen[first:], *votes)

    def _promise(self, ballot: int) -> None:
        self._promised = ballot
        self._persist(Promised(ALL, ballot))

    def _vote(self, proposal: Proposal) -> None:
        self._promised = proposal.ballot
        self._votes[proposal.slot] = proposal
        self._persist(Voted(proposal.slot, proposal.ballot, proposal.value))

    # --- the learner ----------------------------------------------------------------------------------------

    @on(Learn)
    def _is_told(self, sender: int, message: Learn) -> None:  # noqa: ARG002 - who tells does not matter
        before = len(self.chosen)
        self._learn(message.chosen)
        if self.state == "leader":
            self._serve()
            self._fill()
        elif before < len(self.chosen) < self._told and self._leader is not None:
            self._send(self._leader, Alive(self._promised, 0, len(self.chosen)))

    def _learn(self, chosen: Iterable[Proposal]) -> None:
        for proposal in chosen:
            number = proposal.slot
            if number < len(self.chosen) or number in self._ahead:
                continue
            if proposal.ballot > self._ballot and self.state != "follower":
                # Its followers hold other votes of this ballot: it must not say now how far it knows.
                self._highest = max(self._highest, proposal.ballot)
                self._overtaken()
            self._pending.pop(number, None)
            self._persist(Chosen(number, proposal.ballot, proposal.value))
            self._ahead[number] = proposal, ()
        self._settle()

    def _settle(self, known: int = 0, ballot: int = NO_BALLOT) -> None:
        """Decide what is chosen, in order; below ``known`` that are votes in ``ballot``, as its leader says."""
        chosen, ahead, votes = self.chosen, self._ahead, self._votes
        while True:
            number = len(chosen)
            vote = votes.get(number)
            ready = ahead.pop(number, None)
            if ready is not None:
                proposal, voters = ready
            elif number < known and vote is not None and vote.ballot == ballot:
                proposal, voters = vote, ()
            else:
                return
            votes.pop(number, None)
            chosen.append(proposal)
            self.asked.pop(proposal.value, None)
            certificate: dict[str, object] = {"ballot": proposal.ballot}
            if voters:
                certificate["accepted_by"] = sorted(voters)
            self._decide(number, proposal.value, certificate)


MECHANISM = Mechanism(
    name="multi_paxos",
    title="Multi-Paxos",
    description="A leader with the promises of a majority for all slots to come wins its votes for each",
    paper='Lamport 2001, "Paxos Made Simple", section 3',
    node=MultiPaxos,
    messages=(Prepare, Promise, Accept, Accepted, Refuse, Learn, Heartbeat, Alive),
    records=(Promised, Voted, Chosen, Known),
    phases=("prepare", "accept", "learn"),
    crashes=lambda n: n - majority(n),
    liars=lambda n: 0,  # noqa: ARG005 - a leader is believed, whatever the size
    fault_free=lambda n: 2 * (n - 1),
    counted_until="decided",
    checks=(Agreement, Integrity, InOrder, LeaderBallots),
    lies=LIES,
    variations={"pipeline": (1, 2)},
)
