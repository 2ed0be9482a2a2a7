"""Conflicts over resources, found by hash: who claims otherwise than another.

A claim is a resource and a value: a package and its version, a slot and what was decided in it, a key and what is to be
written. Two claims on a resource contradict each other where their values differ. So readers claim one value that all
of them share, and whoever needs a resource alone claims a value of its own.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import combinations
from typing import Generic, TypeVar

R = TypeVar("R", bound=Hashable)
V = TypeVar("V", bound=Hashable)
O = TypeVar("O")  # noqa: E741 - the owner, beside resource and value


class Claims(Generic[R, V, O]):
    """The first claim on each resource, and which were disputed. A claim costs O(1)."""

    __slots__ = ("_first", "disputed")

    def __init__(self) -> None:
        self._first: dict[R, tuple[V, O]] = {}
        self.disputed: dict[R, None] = {}
        """Resources that were claimed with different values, in the order in which that came out."""

    def __len__(self) -> int:
        """Return how many resources were claimed."""
        return len(self._first)

    def claim(self, resource: R, value: V, owner: O) -> tuple[V, O] | None:
        """Take note of a claim; return the first one, its value and owner, where this one contradicts it."""
        first = self._first.setdefault(resource, (value, owner))
        if first[0] == value:
            return None
        self.disputed[resource] = None
        return first


def conflicted(claims: Sequence[Mapping[R, V]]) -> dict[int, int]:
    """Return by index each claimant that contradicts a first claim, and whose: its earliest. O(claims)."""
    first: Claims[R, V, int] = Claims()
    found: dict[int, int] = {}
    for at, mine in enumerate(claims):
        for resource, value in mine.items():
            other = first.claim(resource, value, at)
            if other is not None:
                found[at] = min(found.get(at, other[1]), other[1])
    return found


def pairs(claims: Sequence[Mapping[R, V]]) -> list[tuple[int, int]]:
    """Return all pairs of claimants that contradict each other, by index and ascending.

    They are looked up by resource and value: O(claims + pairs log pairs), a pair counted once for each resource.
    """
    owners: dict[R, dict[V, list[int]]] = {}
    for at, mine in enumerate(claims):
        for resource, value in mine.items():
            owners.setdefault(resource, {}).setdefault(value, []).append(at)
    found: set[tuple[int, int]] = set()
    for by_value in owners.values():
        if len(by_value) > 1:
            for ones, others in combinations(by_value.values(), 2):
                found.update(
                    (one, other) if one < other else (other, one) for one in ones for other in others
                )
    return sorted(found)


def pairs_by_comparison(claims: Sequence[Mapping[R, V]]) -> list[tuple[int, int]]:
    """Return the same as :func:`pairs`, each held against each: O(n²). What that is measured and tested against."""
    return [
        (one, other)
        for one, other in combinations(range(len(claims)), 2)
        if any(
            resource in claims[other] and claims[other][resource] != value
            for resource, value in claims[one].items()
        )
    ]
