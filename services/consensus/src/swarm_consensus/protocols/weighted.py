"""Weighted voting: as plain voting, but who was right more often counts more.

Votes are counted by weights, and weights follow the track record by the weighted majority algorithm (Littlestone and
Warmuth 1994, section 2): every agent begins with its weight of the setup (1 where none is given), and each time the
truth of a decided question becomes known, the weight of who had voted otherwise is multiplied by ``beta``. With the
best agent wrong ``m`` times, the swarm is wrong at most ``2.41 (m + log2 n)`` times for ``beta`` one half and two
answers (theorem 2.1: ``(log n + m log (1 / beta)) / log (2 / (1 + beta))``).

The truth comes from outside: whoever learns it tells any agent by :meth:`WeightedVoter.reveal`, which tells the others.
Each keeps the record of all. What a truth takes from a weight does not depend on the order in which truths come, so
agents that know the same count the same; one that missed some counts by what it knows, and the result is still the one
the collector announces: weights do no harm to agreement. A majority that is waited for is one of agents, not of
weight, so that a crashed expert does not stop the swarm.

Everything else, and what it withstands, is as in :mod:`~swarm_consensus.protocols.voting`.

Options: those of voting; ``beta`` (what remains of the weight of who was wrong, between 0 and 1, one half).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from swarm_consensus.checking.agreement import Agreement, Integrity
from swarm_consensus.checking.voting import Accuracy
from swarm_consensus.protocols.core import Effects, Mechanism, Message, Record, Setup, Value, on
from swarm_consensus.protocols.quorum import majority
from swarm_consensus.protocols.voting import LIES, Announced, Ask, Ballot, Cast, Opened, Result, Voter


class Truth(Message, frozen=True):
    """What the right answer was, as somebody learned from outside."""

    slot: int
    answer: Value


class Judged(Record, frozen=True):
    """Who was wrong in a slot: the track record, one line a question."""

    slot: int
    wrong: tuple[int, ...]


class WeightedVoter(Voter):
    """A voter that keeps everybody's track record, and counts by it."""

    TRANSITIONS = Voter.TRANSITIONS

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._beta: float = setup.options.get("beta", 0.5)
        self._mistakes = dict.fromkeys(setup.members, 0)
        self._ballots: dict[int, Mapping[int, Value]] = {}  # of decided slots that wait for their truth
        self._truths: dict[int, Value] = {}  # of slots that wait for their result
        self._judged: set[int] = set()

    @property
    def weights(self) -> dict[int, float]:
        """What each agent's vote counts now, in the mean 1."""
        weights = {member: self._weight(member) for member in self.members}
        whole = sum(weights.values())
        return {member: weight * len(weights) / whole for member, weight in weights.items()}

    def reveal(self, slot: int, truth: Value) -> Effects:
        """Take note of what the right answer in a slot was, and tell the others."""
        self._broadcast(Truth(slot, truth))
        self._know(slot, truth)
        return self._take()

    @on(Truth)
    def _truth(self, sender: int, message: Truth) -> None:  # noqa: ARG002 - whoever knows may tell
        self._know(message.slot, message.answer)

    def _know(self, slot: int, truth: Value) -> None:
        if slot not in self._judged:
            self._truths.setdefault(slot, truth)
            self._judge(slot)

    def _learn(self, result: Result) -> None:
        super()._learn(result)
        if result.slot not in self._judged:
            self._ballots.setdefault(result.slot, result.ballots)
            self._judge(result.slot)

    def _judge(self, slot: int) -> None:
        """Note who was wrong, once both the votes and the truth are known."""
        if slot not in self._ballots or slot not in self._truths:
            return
        ballots, truth = self._ballots.pop(slot), self._truths.pop(slot)
        judged = Judged(slot, tuple(voter for voter in sorted(ballots) if ballots[voter] != truth))
        self._persist(judged)
        self._enter(judged)

    def _enter(self, judged: Judged) -> None:
        self._judged.add(judged.slot)
        for voter in judged.wrong:
            self._mistakes[voter] += 1

    def _weight(self, voter: int) -> float:
        # Less the mistakes that even the best has made: the ratios stay, and weights never all become too small.
        mistakes = self._mistakes[voter] - min(self._mistakes.values())
        return float(self._setup.weights.get(voter, 1.0)) * self._beta**mistakes

    def _on_restore(self, persisted: Sequence[Record]) -> None:
        for record in persisted:
            if isinstance(record, Judged):
                self._enter(record)
        super()._on_restore(persisted)


MECHANISM = Mechanism(
    name="weighted",
    title="Weighted voting",
    description="One agent asks all and counts; who was right more often counts more",
    paper="Littlestone and Warmuth 1994, The Weighted Majority Algorithm, section 2",
    node=WeightedVoter,
    messages=(Ask, Ballot, Result, Truth),
    records=(Opened, Cast, Announced, Judged),
    phases=("ask", "tell"),
    crashes=lambda n: n - majority(n),
    liars=lambda n: 0,  # noqa: ARG005 - as in voting
    fault_free=lambda n: 3 * (n - 1),
    counted_until="quiet",
    checks=(Agreement, Integrity, Accuracy),
    lies=LIES,
    variations={"patience": (1, 4)},
    votes=True,
)
