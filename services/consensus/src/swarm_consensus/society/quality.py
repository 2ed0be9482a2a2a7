"""How often a swarm is right, beside what theory says: questions whose answer is known, and agents that have a signal.

Each question has the answer yes or no, as a fair coin fell. Each agent has a signal of it that is right with the
agent's own competence, independently of others' (Condorcet's assumption). Then the protocol runs, all of it, in a
simulated world without faults:

- Where agents vote, each votes as its signal says, and the protocol makes one answer of it.
- Where they do not (Raft, Paxos, PBFT), the agent that is asked proposes what *its* signal says. A consensus protocol
  makes all agree on what one proposed. How often that is right is how often that agent is, and no bit more.

Worlds: ``condorcet``, in which all are alike; ``experts``, in which one in five is right with 0.9 and the others with
0.55; ``adversaries``, in which one in five knows the truth and votes for, or proposes, the other (and keeps to the
protocol otherwise).

Weights are learned: of earlier questions the truth has come out, and an agent that was right ``r`` times of ``k``
counts the log-odds of ``(r + 1) / (k + 2)`` (Laplace's rule of succession), the optimum if competences were known and
signals independent (Nitzan and Paroush 1982). No vote counts against who cast it: who was wrong more often
than right counts 0, for it could tell the truth at any time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from swarm_common.errors import SwarmError
from swarm_common.resampling import Floats, stream_of
from swarm_consensus.protocols import MECHANISMS
from swarm_consensus.scoring import settled
from swarm_consensus.simulator.plan import Plan, Submit
from swarm_consensus.simulator.world import World
from swarm_consensus.society.params import JudgeParams

#: Questions that one simulated world is asked. Worlds are small so that they can be run side by side, and so that it
#: is not always the same agent that leads.
QUESTIONS = 20
#: From one question to the next. Longer than a fault-free decision takes: proposers do not get in each other's way.
_BETWEEN_MS = 100
_FEW = 5  # one in five
_EXPERT, _OTHER = 0.9, 0.55
_WEIGHED = "weighted"
_Z = 1.959963984540054  # the normal distribution's 97.5 % point


class Block(msgspec.Struct, frozen=True):
    """What became of the questions of one world."""

    right: int
    undecided: int
    agents_right: tuple[int, ...]
    """By agent: of how many questions its signal was right."""
    authors: tuple[int, ...]
    """By agent: how many decisions it proposed; zeros where decisions are made of votes."""
    messages: int


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of right decisions; see :class:`swarm_common.events.consensus.QualityMeasured`."""

    right: int
    undecided: int
    low: float
    high: float
    best_agent: float
    mean_agent: float
    expected: float | None
    expected_by: str
    optimum: float
    weights: tuple[float, ...]
    messages: int


def competences(params: JudgeParams) -> Floats:
    """Return how often each agent's vote or proposal is right, ``(agents,)``."""
    few = max(1, params.agents // _FEW)
    if params.world == "experts":
        return np.where(np.arange(params.agents) < few, _EXPERT, _OTHER)
    found = np.full(params.agents, params.competence)
    if params.world == "adversaries":
        found[:few] = 0.0
    return found


def track_record(params: JudgeParams, seed: int, task: str) -> tuple[float, ...]:
    """Return what each agent's vote counts, learned from ``params.earlier`` questions; empty without weights."""
    if params.mechanism != _WEIGHED:
        return ()
    rng = np.random.default_rng(stream_of(seed, f"{task}/earlier"))
    # One draw a question and agent, as in the trials, not one binomial number: these are questions.
    right = (rng.random((params.earlier, params.agents)) < competences(params)).sum(axis=0)
    return tuple(log_odds((int(count) + 1) / (params.earlier + 2)) for count in right)


def log_odds(competence: float) -> float:
    """Return the weight of a vote that is right with this probability, 0 where it is wrong more often than right."""
    if competence <= 0.5:
        return 0.0
    return settled(math.log(competence / (1 - competence))) if competence < 1 else math.inf


def blocks(params: JudgeParams) -> range:
    """Return the numbers of the worlds that all trials need."""
    return range(-(-params.trials // QUESTIONS))


def block(params: JudgeParams, seed: int, task: str, number: int, weights: Sequence[float]) -> Block:
    """Ask the questions of world ``number``; the same arguments give the same.

    Raises:
        SwarmError: An invariant of the protocol did not hold, though nothing failed.
    """
    mechanism = MECHANISMS[params.mechanism]
    n, first = params.agents, number * QUESTIONS
    asked = min(QUESTIONS, params.trials - first)
    rng = np.random.default_rng(stream_of(seed, f"{task}/{number}"))
    truths = ["yes" if drawn else "no" for drawn in rng.integers(0, 2, asked).tolist()]
    signals = rng.random((asked, n)) < competences(params)
    rows = signals.tolist()
    # Who leads may hang on a number alone (the primary of PBFT's first view is number 0): seats are drawn anew.
    seats = rng.permutation(n).tolist()

    def opinion(seat: int, question: str) -> str:
        agent, index = seats[seat], int(question[1:])
        answer = truths[index] if rows[index][agent] else _other(truths[index])
        return (
            answer if mechanism.votes else f"{answer}@{agent}"
        )  # signed, so that a decision names its author

    questions = [f"q{index}" for index in range(asked)]
    plan = Plan(
        mechanism=mechanism.name,
        n=n,
        seed=int(rng.integers(2**62)),
        actions=tuple(
            Submit(_BETWEEN_MS * index, question, (first + index) % n)
            for index, question in enumerate(questions)
        ),
    )
    heard = {seat: weights[agent] for seat, agent in enumerate(seats)} if weights else {}
    outcome = World(mechanism, plan, opinion=opinion, weights=heard).run()
    if outcome.violation is not None:
        raise SwarmError(f"{mechanism.name} of {n} agents without faults: {outcome.violation}")
    right, authors = 0, [0] * n
    for question, truth in zip(questions, truths, strict=True):
        decided = outcome.answers.get(question)
        if decided is None:
            continue
        answer, _, author = decided.rpartition("=")[2].partition("@")
        right += answer == truth
        if author:
            authors[int(author)] += 1
    return Block(
        right=right,
        undecided=sum(question not in outcome.answers for question in questions),
        agents_right=tuple(signals.sum(axis=0).tolist()),
        authors=tuple(authors),
        messages=outcome.messages,
    )


def judged(params: JudgeParams, found: Iterable[Block], weights: Sequence[float]) -> Judged:
    """Add up what the worlds gave, and put theory beside it."""
    right = undecided = messages = 0
    agents_right, authors = np.zeros(params.agents), np.zeros(params.agents)
    for each in found:
        right, undecided = right + each.right, undecided + each.undecided
        messages += each.messages
        agents_right += each.agents_right
        authors += each.authors
    low, high = wilson(right, params.trials)
    shares = agents_right / params.trials
    expected, expected_by = _expected(params, authors)
    return Judged(
        right=right,
        undecided=undecided,
        low=low,
        high=high,
        best_agent=settled(float(shares.max())),
        mean_agent=settled(float(shares.mean())),
        expected=expected,
        expected_by=expected_by,
        optimum=_optimum(params),
        weights=tuple(weights),
        messages=messages,
    )


def share_right(groups: Sequence[tuple[int, float, float]]) -> float:
    """Return how often weighted votes are right: groups of alike agents as ``(agents, competence, weight)``.

    For one group it is Condorcet's sum: the binomial probabilities of more than half being right. Equal weight on both
    sides is right half the time. Exact but for rounding.
    """
    scores, chances = np.zeros(1), np.ones(1)
    for agents, competence, weight in groups:
        counts = range(agents + 1)
        pmf = [math.comb(agents, k) * competence**k * (1 - competence) ** (agents - k) for k in counts]
        lead = weight * (2 * np.arange(agents + 1) - agents)
        scores = np.add.outer(scores, lead).ravel()
        chances = np.multiply.outer(chances, pmf).ravel()
    even = np.abs(scores) < 1e-9
    return settled(float(chances[(scores > 0) & ~even].sum() + chances[even].sum() / 2))


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Return the 95 % score interval of a share (Wilson 1927)."""
    share = successes / trials
    scale = 1 + _Z**2 / trials
    middle = (share + _Z**2 / (2 * trials)) / scale
    half = _Z / scale * math.sqrt(share * (1 - share) / trials + _Z**2 / (4 * trials**2))
    # At the ends the formula gives 0 and 1, floating point nearly.
    return (
        settled(middle - half) if successes else 0.0,
        settled(middle + half) if successes < trials else 1.0,
    )


def _other(answer: str) -> str:
    return "no" if answer == "yes" else "yes"


def _groups(params: JudgeParams, *, weighed: bool) -> list[tuple[int, float, float]]:
    kinds, agents = np.unique(competences(params), return_counts=True)
    weights = [log_odds(kind) if weighed else 1.0 for kind in kinds.tolist()]
    if math.inf in weights:  # who is always right is followed, and nobody else is needed
        weights = [1.0 if weight == math.inf else 0.0 for weight in weights]
    return list(zip(agents.tolist(), kinds.tolist(), weights, strict=True))


def _optimum(params: JudgeParams) -> float:
    return share_right(_groups(params, weighed=True))


def _expected(params: JudgeParams, authors: Floats) -> tuple[float | None, str]:
    mechanism = MECHANISMS[params.mechanism]
    if not mechanism.votes:
        proposed = authors.sum()
        share = settled(float(authors @ competences(params) / proposed)) if proposed else None
        return share, "what one agent proposes is decided: the mean competence of those who proposed"
    if mechanism.name == "voting":
        return share_right(_groups(params, weighed=False)), "a majority of independent votes (Condorcet 1785)"
    if mechanism.name == _WEIGHED:
        what = "weights that are the log-odds of the true competences (Nitzan and Paroush 1982); these were learned"
        return _optimum(params), what
    return None, "no theory is known here for this mechanism's votes"
