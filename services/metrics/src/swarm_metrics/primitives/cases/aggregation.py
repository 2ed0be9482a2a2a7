"""``commutative_aggregation`` and ``conditional_aggregation``: many proposals, one result, whatever their order."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial, reduce
from random import Random
from typing import Any

import msgspec

from swarm_metrics.primitives.case import Case, Fact, Prepared, require
from swarm_primitives.aggregation import BITS, SUM, UNION, tally, weigh
from swarm_primitives.proposals import Merged, Proposal, merge
from swarm_primitives.snapshots import Snapshot

_ANSWERS = ("approve", "reject", "amend", "abstain", "defer")
_MEMBERS = 3
"""Of each set that is united, out of :data:`_UNIVERSE`."""
_UNIVERSE = 100
_SHUFFLES = 5

Many = Callable[[Sequence[Any]], Any]


class Way(msgspec.Struct, frozen=True):
    """A way to aggregate proposals."""

    all_of: Many
    draw: Callable[[Random], Any]
    """Draws a proposal."""
    plainly: Many
    """The same result, worked out one by one."""


def _counted(answers: Sequence[str]) -> dict[str, int]:
    return {answer: answers.count(answer) for answer in answers}


def _weighed(votes: Sequence[tuple[str, float]]) -> dict[str, float]:
    exact = {answer: Fraction() for answer, _ in votes}
    for answer, weight in votes:
        exact[answer] += Fraction(weight)
    return {answer: float(whole) for answer, whole in exact.items()}


WAYS: dict[str, Way] = {
    "sum": Way(SUM.all_of, lambda draw: draw.randrange(-1000, 1000), partial(reduce, SUM.join)),
    "bits": Way(BITS.all_of, lambda draw: 1 << draw.randrange(_UNIVERSE), partial(reduce, BITS.join)),
    "union": Way(
        UNION.all_of,
        lambda draw: frozenset(draw.sample(range(_UNIVERSE), _MEMBERS)),
        partial(reduce, UNION.join),
    ),
    "tally": Way(tally, lambda draw: draw.choice(_ANSWERS), _counted),
    "weigh": Way(weigh, lambda draw: (draw.choice(_ANSWERS), draw.random()), _weighed),
}


def prepare_commutative(way: Way, size: int, seed: int) -> Prepared:
    """Return ``size`` proposals; an operation is to make one result of them all."""
    draw = Random(f"{seed}/aggregation/{size}")  # noqa: S311 - seeded, nothing secret
    proposals = [way.draw(draw) for _ in range(size)]
    found: list[Any] = [None]
    aggregate = way.all_of

    def run(loops: int) -> None:
        for _ in range(loops):
            found[0] = aggregate(proposals)

    def check() -> dict[str, Fact]:
        require(way.plainly(proposals) == found[0], "one by one, the result is another")
        for _ in range(_SHUFFLES):
            shuffled = draw.sample(proposals, size)
            require(aggregate(shuffled) == found[0], "in another order the result is another")
        result = msgspec.json.encode(msgspec.to_builtins(found[0], order="deterministic"))
        return {"proposals": size, "result": hashlib.sha256(result).hexdigest()[:16]}

    return Prepared(run=run, check=check)


def conditional(size: int, seed: int) -> list[Proposal[int, int]]:
    """Return proposals on keys, as many as proposals are: each expects two and writes two, which may be another's."""
    draw = Random(f"{seed}/conditional/{size}")  # noqa: S311 - seeded, nothing secret
    return [
        Proposal(
            id=f"agent-{at:04}",
            expects=dict.fromkeys(draw.sample(range(size), 2), 0),
            writes=dict.fromkeys(draw.sample(range(size), 2), at),
            priority=draw.randrange(3),
        )
        for at in range(size)
    ]


def prepare_conditional(size: int, seed: int) -> Prepared:
    """Return ``size`` proposals made on a map one of whose keys has changed since; an operation is to merge them."""
    proposals = conditional(size, seed)
    # A tenth of the keys was written again after the proposals were made.
    start = Snapshot(dict.fromkeys(range(size), 0)).changed(dict.fromkeys(range(0, size, 10), 1))
    last: list[Merged[int, int]] = [merge(start, ())]

    def run(loops: int) -> None:
        for _ in range(loops):
            last[0] = merge(start, proposals)

    def check() -> dict[str, Fact]:
        merged = last[0]
        again = merge(start, reversed(proposals))
        same = (dict(again.snapshot), again.accepted, again.refused)
        require(same == (dict(merged.snapshot), merged.accepted, merged.refused), "the order decided")
        outdated = sum("" in keys.values() for keys in merged.refused.values())
        beaten = sum(any(keys.values()) for keys in merged.refused.values())
        require(len(merged.accepted) + len(merged.refused) == size, "not every proposal was decided on")
        require(len(merged.accepted) > 0, "nothing was accepted")
        require(len(merged.refused) > 0, "nothing was in conflict")
        return {
            "proposals": size,
            "accepted": len(merged.accepted),
            "outdated": outdated,
            "beaten": beaten,
            "written": sum(merged.snapshot.written(key) == merged.snapshot.version for key in range(size)),
        }

    return Prepared(run=run, check=check)


CASES = (
    *(
        Case(
            scenario="commutative_aggregation",
            variant=name,
            sizes=(10, 50, 100, 500),
            operation="one result made of n proposals",
            growth="linear",
            prepare=partial(prepare_commutative, way),
        )
        for name, way in WAYS.items()
    ),
    Case(
        scenario="conditional_aggregation",
        sizes=(10, 50, 100, 200),
        operation="n proposals held against what they expect and against each other, and those that hold made",
        growth="n log n",
        prepare=prepare_conditional,
    ),
)
