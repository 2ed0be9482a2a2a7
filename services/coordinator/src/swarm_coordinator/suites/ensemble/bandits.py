"""Which candidate is pulled next: successive halving, an upper confidence bound, and the same to each. Pure rules.

A pull is one fold of a candidate's cross-validation, and its reward the score on that fold's unseen rows. A candidate's
folds are pulled in their order, so that those with as many pulls were judged on the same rows. Every rule is a function
of the scores so far: who asks twice gets the same answer, and a tie goes by name.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence

import msgspec

Scores = Mapping[str, tuple[float, ...]]
"""By candidate: what its folds have scored so far, from the first on; empty before its first pull."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much may be explored, and how."""

    pulls: int
    """Most pulls. At least as many as there are candidates."""
    folds: int
    """Folds of a candidate: it can be pulled that often."""
    batch: int = 4
    """Pulls that the upper confidence bound asks for at once."""
    width: float = 0.05
    """What the bound's bonus is multiplied with. Folds of one problem score within a few hundredths of each other, far
    from all over 0 to 1: of 0.02 to 1.41, widths of 0.1 and more were no better on wine, breast_cancer and diabetes."""
    cpu_s: float = 0.0
    """CPU seconds after which no further pulls are asked for; 0 sets no such end."""


class Pull(msgspec.Struct, frozen=True):
    """A pull that was made: its score, and the CPU seconds it took."""

    score: float
    cpu_s: float


class Explored(msgspec.Struct, frozen=True, kw_only=True):
    """How far an exploration has come."""

    scores: Scores
    pending: tuple[tuple[str, int], ...] = ()
    """Candidate and fold of the pulls that it waits for and nobody has made; none when it is over."""
    rounds: int
    """How often it has asked and was answered."""
    cpu_s: float
    """Of the pulls it was answered."""

    @property
    def pulls(self) -> int:
        """How many pulls were made."""
        return pulls_of(self.scores)


Rule = Callable[[Scores, Limits], Sequence[str]]
"""From the scores so far to the candidates to pull next; one that is to be pulled twice stands there twice."""


def explore(
    rule: Rule, names: Sequence[str], made: Callable[[str, int], Pull | None], limits: Limits
) -> Explored:
    """Follow a rule as far as the pulls that were made lead, and return what it asks for next.

    ``made`` returns the pull of a candidate's fold, or ``None`` where it was not made yet. A round counts when all of
    its pulls were made, so what comes next never depends on which of them was done first. CPU seconds are looked at
    between rounds.
    """
    scores: dict[str, tuple[float, ...]] = dict.fromkeys(sorted(names), ())
    rounds, cpu_s = 0, 0.0
    while not (limits.cpu_s and cpu_s > limits.cpu_s):
        wanted: list[tuple[str, int]] = []
        at = {name: len(had) for name, had in scores.items()}
        for name in rule(scores, limits)[: limits.pulls - pulls_of(scores)]:
            wanted.append((name, at[name]))
            at[name] += 1
        if not wanted:
            break
        found = [(name, fold, made(name, fold)) for name, fold in wanted]
        pending = tuple((name, fold) for name, fold, pull in found if pull is None)
        if pending:
            return Explored(scores=scores, pending=pending, rounds=rounds, cpu_s=cpu_s)
        for name, _, pull in found:
            if pull is not None:
                scores[name] = (*scores[name], pull.score)
                cpu_s += pull.cpu_s
        rounds += 1
    return Explored(scores=scores, rounds=rounds, cpu_s=cpu_s)


def halving(scores: Scores, limits: Limits) -> list[str]:
    """Return the pulls of the next round of successive halving.

    In each of ``ceil(log2 n)`` rounds the candidates that are left get the same number of pulls, and the better half
    goes on (Karnin, Koren & Somekh, *Almost Optimal Exploration in Multi-Armed Bandits*, 2013, algorithm 2; Jamieson &
    Talwalkar, *Non-stochastic Best Arm Identification and Hyperparameter Optimization*, 2016). Unlike there, pulls are
    folds and so come to an end: what finished candidates leave over goes to the best of the others.
    """
    alive, had = list(scores), 0
    for left, each in halving_rounds(len(scores), limits):
        alive = _best(alive, {name: scores[name][:had] for name in alive}, left)
        had += each
        if any(len(scores[name]) < had for name in alive):
            return [name for name in alive for _ in range(had - len(scores[name]))]
    spare = limits.pulls - pulls_of(scores)
    rest = [name for name in by_pulls(scores) for _ in range(limits.folds - len(scores[name]))]
    return rest[: max(spare, 0)]


def halving_rounds(candidates: int, limits: Limits) -> list[tuple[int, int]]:
    """Return of each round how many candidates take part, and how many pulls each of them gets.

    What is left of the budget is shared equally among the rounds to come; a round costs at least one pull each.
    """
    rounds: list[tuple[int, int]] = []
    spare, had, left = limits.pulls, 0, candidates
    to_come = max(1, math.ceil(math.log2(candidates)))
    for number in range(to_come, 0, -1):
        each = min(max(1, spare // number // left), spare // left, limits.folds - had)
        if each < 1:
            break
        rounds.append((left, each))
        spare, had, left = spare - left * each, had + each, math.ceil(left / 2)
    return rounds


def upper_bound(scores: Scores, limits: Limits) -> list[str]:
    """Return the next batch: the candidates whose score may be highest, each at most once.

    The bound is ``mean + width * sqrt(ln(pulls of all) / pulls of the candidate)``: the index UCB1 of Auer,
    Cesa-Bianchi & Fischer, *Finite-time Analysis of the Multiarmed Bandit Problem*, 2002, which has the width
    ``sqrt(2)`` for rewards spread over 0 to 1. Rewards are cut to that range (r2 can lie below). Before there is a
    bound, every candidate is pulled once. A batch is decided on what was known before it.
    """
    unseen = [name for name, had in scores.items() if not had]
    if unseen:
        return unseen
    total = math.log(max(pulls_of(scores), 1))

    def bound(name: str) -> float:
        had = scores[name]
        rewards = [min(max(score, 0.0), 1.0) for score in had]
        return statistics.fmean(rewards) + limits.width * math.sqrt(total / len(had))

    open_ = [name for name, had in scores.items() if len(had) < limits.folds]
    return sorted(open_, key=lambda name: (-bound(name), name))[: limits.batch]


def uniform(scores: Scores, limits: Limits) -> list[str]:
    """Return the next fold of every candidate: the same to each, whatever it scores."""
    least = min(len(had) for had in scores.values())
    return [name for name, had in scores.items() if len(had) == least] if least < limits.folds else []


def by_pulls(scores: Scores) -> list[str]:
    """Return the candidates, those pulled most before the others, and of those the best mean first.

    What an adaptive rule has pulled often it held for good; a single lucky fold does not outweigh that ("most played
    arm", Bubeck, Munos & Stoltz, *Pure Exploration in Multi-armed Bandits Problems*, 2009).
    """
    return sorted(scores, key=lambda name: (-len(scores[name]), -_mean(scores[name]), name))


def by_mean(scores: Scores) -> list[str]:
    """Return the candidates, the best mean first ("empirical best arm" there): right where all had as many pulls."""
    return sorted(scores, key=lambda name: (-_mean(scores[name]), name))


def pulls_of(scores: Scores) -> int:
    """Return how many pulls these are."""
    return sum(len(had) for had in scores.values())


#: By arm: how it explores, and how it orders the candidates at the end.
ARMS: Mapping[str, tuple[Rule, Callable[[Scores], list[str]]]] = {
    "halving": (halving, by_pulls),
    "bandit": (upper_bound, by_pulls),
    "uniform": (uniform, by_mean),
}


def _best(names: Sequence[str], scores: Scores, count: int) -> list[str]:
    return sorted(names, key=lambda name: (-_mean(scores[name]), name))[:count]


def _mean(had: Sequence[float]) -> float:
    return statistics.fmean(had) if had else float("-inf")
