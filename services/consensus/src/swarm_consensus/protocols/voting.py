"""Plain voting: one agent asks all for their opinion, counts, and tells the result.

The agent that is asked by a client collects: it sends the question to all, counts its own vote among theirs, and
announces the answer with the most votes (plurality; equal counts go to the answer that sorts first). What has not come
is asked for again. When ``patience`` ticks are over, a majority of votes is enough; with fewer it goes on asking. Who
has voted and hears nothing sends its vote again, and is told the result: no acknowledgements, 3(n - 1) messages.

Voting tolerates lost messages, by asking again, and voters that crash. It has no defence against a collector that
crashes (its question stays undecided) or one that lies (it can tell everybody something else): that is a result, and
:mod:`~swarm_consensus.simulator` shows it.

Options: ``patience`` (ticks until a majority is enough, 10), ``retry`` (ticks until the missing are asked again, 3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from swarm_consensus.checking.agreement import Agreement, Integrity
from swarm_consensus.checking.voting import Accuracy, OneVoteEach
from swarm_consensus.protocols.core import (
    Lie,
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
from swarm_primitives.aggregation import plurality, weigh


class Ask(Message, frozen=True):
    """The collector wants to know what an agent thinks."""

    slot: int
    question: Value


class Ballot(Message, frozen=True):
    """An agent's opinion."""

    slot: int
    answer: Value


class Result(Message, frozen=True):
    """The answer with the most votes."""

    slot: int
    question: Value
    answer: Value
    votes: Mapping[Value, float]
    """By answer, what its votes count together."""
    ballots: Mapping[int, Value]
    """By agent, what it voted, so far as it was heard in time."""


class Opened(Record, frozen=True):
    """The collector has used this slot: no other question may have it."""

    slot: int
    question: Value


class Cast(Record, frozen=True):
    """An agent has voted, and votes the same if it is asked again."""

    slot: int
    collector: int
    answer: Value


class Announced(Record, frozen=True):
    """The collector has counted: whatever comes later, this is the result."""

    slot: int
    question: Value
    answer: Value
    votes: Mapping[Value, float]
    ballots: Mapping[int, Value]


class _Count:
    """One question while its votes come in, and after."""

    __slots__ = ("question", "result", "ticks", "votes")

    def __init__(self, question: Value) -> None:
        self.question = question
        self.votes: dict[int, Value] = {}
        self.result: Result | None = None
        self.ticks = 0


class Voter(Node):
    """An agent that votes, and collects the votes on what its clients ask."""

    TRANSITIONS = (
        Transition("idle", "asked by a client", "collecting"),
        Transition("collecting", "asked by a client", "collecting"),
        Transition("idle", "found open after a crash", "collecting"),
        Transition("collecting", "heard all", "idle"),
    )

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._patience: int = setup.options.get("patience", 10)
        self._retry: int = setup.options.get("retry", 3)
        self._counts: dict[int, _Count] = {}
        self._open: set[int] = (
            set()
        )  # slots of those counts that somebody has not answered; gone through in order
        self._cast: dict[int, Cast] = {}
        self._waiting: dict[int, int] = {}  # ticks since this agent voted, by slot, until it hears the result
        self._next = 0
        self._decided: set[int] = set()

    def _on_propose(self, value: Value) -> None:
        slot = self._next * len(self.members) + self.members.index(self.id)
        self._next += 1
        self._persist(Opened(slot, value))
        self._become("collecting", "asked by a client")
        self._collect(slot, value)
        self._phase(slot, "ask")
        self._broadcast(Ask(slot, value))
        self._settle(slot, self._counts[slot])

    def _collect(self, slot: int, question: Value) -> None:
        count = self._counts[slot] = _Count(question)
        count.votes[self.id] = self._setup.opinion(question)
        self._open.add(slot)

    @on(Ask)
    def _ask(self, sender: int, message: Ask) -> None:
        cast = self._cast.get(message.slot)
        if cast is None:
            cast = Cast(message.slot, sender, self._setup.opinion(message.question))
            self._cast[message.slot] = cast
            self._persist(cast)
            self._waiting[message.slot] = 0
        self._send(cast.collector, Ballot(cast.slot, cast.answer))

    @on(Ballot)
    def _ballot(self, sender: int, message: Ballot) -> None:
        count = self._counts.get(message.slot)
        if count is None:
            return
        count.votes.setdefault(sender, message.answer)
        if count.result is None:
            self._settle(message.slot, count)
        else:
            self._send(sender, count.result)  # asked late, or the result was lost on its way
        self._close(message.slot, count)

    @on(Result)
    def _result(self, sender: int, message: Result) -> None:
        if message.slot % len(self.members) == self.members.index(sender):
            self._waiting.pop(message.slot, None)
            self._learn(message)

    def _on_tick(self) -> None:
        for slot in sorted(self._open) if self._open else ():
            count = self._counts[slot]
            count.ticks += 1
            if count.ticks % self._retry == 0:
                for peer in self.peers:
                    if peer not in count.votes:
                        self._send(peer, Ask(slot, count.question))
            self._settle(slot, count)
        if self._waiting:
            self._wait()

    def _wait(self) -> None:
        """Tell the collector again what it was told, in case that or its result was lost."""
        for slot, ticks in self._waiting.items():
            self._waiting[slot] = ticks + 1
            if self._waiting[slot] % (self._retry + self._patience) == 0:
                cast = self._cast[slot]
                self._send(cast.collector, Ballot(slot, cast.answer))

    def _close(self, slot: int, count: _Count) -> None:
        """Ask no more, once all have voted and been told."""
        if count.result is not None and len(count.votes) == len(self.members):
            self._open.discard(slot)
            if not self._open and self.state == "collecting":
                self._become("idle", "heard all")

    def _settle(self, slot: int, count: _Count) -> None:
        """Announce, once all have voted or patience is over and a majority has."""
        if count.result is not None or len(count.votes) < self._enough(count.ticks):
            return
        ballots = {voter: count.votes[voter] for voter in sorted(count.votes)}
        votes = self._tally(ballots)
        answer = self._winner(votes)
        count.result = Result(slot, count.question, answer, votes, ballots)
        self._persist(Announced(slot, count.question, answer, votes, ballots))
        self._phase(slot, "tell")
        self._learn(count.result)
        self._broadcast(count.result)
        self._close(slot, count)

    def _enough(self, ticks: int) -> int:
        """Return how many votes are waited for, ``ticks`` after the question."""
        n = len(self.members)
        return n if ticks < self._patience else majority(n)

    def _winner(self, votes: Mapping[Value, float]) -> Value:
        return plurality(votes)

    def _tally(self, ballots: Mapping[int, Value]) -> dict[Value, float]:
        return weigh((answer, self._weight(voter)) for voter, answer in ballots.items())

    def _weight(self, voter: int) -> float:  # noqa: ARG002 - here all count the same
        """Return what an agent's vote counts."""
        return 1.0

    def _learn(self, result: Result) -> None:
        if result.slot not in self._decided:
            self._decided.add(result.slot)
            certificate = {"votes": dict(result.votes), "ballots": dict(result.ballots)}
            self._decide(result.slot, result.answer, certificate, result.question)

    def _on_restore(self, persisted: Sequence[Record]) -> None:
        for record in persisted:
            if isinstance(record, Opened):
                self._next = record.slot // len(self.members) + 1
                self._collect(record.slot, record.question)
            elif isinstance(record, Cast):
                self._cast[record.slot] = record
                self._waiting[record.slot] = 0
            elif isinstance(record, Announced):
                result = Result(record.slot, record.question, record.answer, record.votes, record.ballots)
                self._counts[record.slot].result = result
                self._learn(result)
        if self._open:
            self._become("collecting", "found open after a crash")


def _equivocation(message: Message, to: int, setup: Setup) -> Message | None:
    """Tell every other agent another result; vote for a nonsense answer."""
    if isinstance(message, Result) and (to + (to > setup.id)) % 2:
        return message
    return _wrong_value(message, to, setup)


def _wrong_value(message: Message, to: int, setup: Setup) -> Message | None:  # noqa: ARG001 - the signature of a lie
    """Vote for, and announce, what nobody thinks."""
    if isinstance(message, Ballot | Result):
        return msgspec.structs.replace(message, answer=f"not {message.answer}")
    return message


LIES: Mapping[str, Lie] = {"equivocation": _equivocation, "wrong_value": _wrong_value}
"""What a voter can do that lies."""

MECHANISM = Mechanism(
    name="voting",
    title="Plain voting",
    description="One agent asks all, counts, and tells the answer with the most votes",
    paper="Condorcet 1785, Essai sur l'application de l'analyse à la probabilité des décisions",
    node=Voter,
    messages=(Ask, Ballot, Result),
    records=(Opened, Cast, Announced),
    phases=("ask", "tell"),
    crashes=lambda n: n - majority(n),
    liars=lambda n: 0,  # noqa: ARG005 - a lying collector tells what it likes, whatever the size
    fault_free=lambda n: 3 * (n - 1),
    counted_until="quiet",
    checks=(Agreement, Integrity, OneVoteEach, Accuracy),
    lies=LIES,
    variations={"patience": (1, 4)},
    votes=True,
)
