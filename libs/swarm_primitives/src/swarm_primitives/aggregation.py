"""What many say, made into one: the same result in whatever order it comes, and however it is grouped.

Each way is a commutative monoid; where saying something twice changes nothing either, it is a semilattice, and replicas
that join what they hear agree whatever is lost, repeated or overtaken (Shapiro, Preguiça, Baquero and Zawirski 2011,
*Conflict-free Replicated Data Types*, section 2.2). All costs are O(n) for n proposals, with sets: for their members.
"""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from fractions import Fraction
from functools import reduce
from typing import Any, Generic, TypeVar

import msgspec

A = TypeVar("A", bound=Hashable)
T = TypeVar("T")


class Aggregate(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A way to make one out of many."""

    nothing: T
    """What no proposals come to; joined with anything, it changes nothing."""
    join: Callable[[T, T], T]
    """Of two results, the result of all they were made of."""
    all_of: Callable[[Iterable[T]], T]
    """The result of many: the same as joining them one by one, in less time."""
    idempotent: bool
    """Whether joining something twice changes nothing: a semilattice."""


def _bits(masks: Iterable[int]) -> int:
    return reduce(operator.or_, masks, 0)


def _union(sets: Iterable[frozenset[Any]]) -> frozenset[Any]:
    return frozenset().union(*sets)


def _joined_votes(one: Mapping[Any, int], other: Mapping[Any, int]) -> dict[Any, int]:
    return {answer: one.get(answer, 0) + other.get(answer, 0) for answer in {**one, **other}}


def _all_votes(many: Iterable[Mapping[Any, int]]) -> dict[Any, int]:
    found: dict[Any, int] = {}
    for votes in many:
        for answer, count in votes.items():
            found[answer] = found.get(answer, 0) + count
    return found


def _exactly(numbers: Iterable[Fraction]) -> Fraction:
    return sum(numbers, Fraction())


#: Whole numbers, added.
SUM: Aggregate[int] = Aggregate(nothing=0, join=operator.add, all_of=sum, idempotent=False)
#: Fractions, added: no rounding, so no order. A float is a fraction, too.
EXACT_SUM: Aggregate[Fraction] = Aggregate(
    nothing=Fraction(), join=operator.add, all_of=_exactly, idempotent=False
)
#: Votes by answer, added.
VOTES: Aggregate[Mapping[Any, int]] = Aggregate(
    nothing={}, join=_joined_votes, all_of=_all_votes, idempotent=False
)
#: Sets, united: a set that only grows.
UNION: Aggregate[frozenset[Any]] = Aggregate(
    nothing=frozenset(), join=operator.or_, all_of=_union, idempotent=True
)
#: Sets of small numbers as the bits of whole numbers, united.
BITS: Aggregate[int] = Aggregate(nothing=0, join=operator.or_, all_of=_bits, idempotent=True)
#: Numbers: the highest.
HIGHEST: Aggregate[float] = Aggregate(
    nothing=-math.inf, join=max, all_of=lambda numbers: max(numbers, default=-math.inf), idempotent=True
)
#: Numbers: the lowest.
LOWEST: Aggregate[float] = Aggregate(
    nothing=math.inf, join=min, all_of=lambda numbers: min(numbers, default=math.inf), idempotent=True
)


def tally(answers: Iterable[A]) -> dict[A, int]:
    """Return by answer how many gave it."""
    return dict(Counter(answers))


def weigh(votes: Iterable[tuple[A, float]]) -> dict[A, float]:
    """Return by answer what its votes weigh together.

    Each sum is the exact one, rounded once (Shewchuk 1997, by :func:`math.fsum`): floats that are added one after the
    other come to other last digits in another order.
    """
    by_answer: dict[A, list[float]] = {}
    for answer, weight in votes:
        by_answer.setdefault(answer, []).append(weight)
    return {answer: math.fsum(weights) for answer, weights in by_answer.items()}


def plurality(votes: Mapping[A, Any]) -> A:
    """Return the answer with the most votes; of equals, the one that sorts first.

    Raises :class:`ValueError` where there are no votes.
    """
    return min(votes, key=lambda answer: (-votes[answer], answer))
