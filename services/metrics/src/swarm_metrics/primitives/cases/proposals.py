"""``proposal_conflicts`` and ``proposal_merging``: proposals that touch the same keys, and those that go together."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random

from swarm_metrics.primitives.case import Case, Fact, Prepared, require
from swarm_primitives.claims import pairs, pairs_by_comparison
from swarm_primitives.proposals import Proposal, merge
from swarm_primitives.snapshots import Snapshot

_TOUCHED = 3
"""Keys that a proposal touches."""
_KEYS_A_PROPOSAL = 4
"""How many keys there are for each proposal, so that one is in conflict with about two, however many there are."""
_READ = -1
"""What all who only read a key claim together."""
_WRITTEN = 5
"""Keys that a proposal to be merged writes."""
_THERE = tuple(f"key-{number}" for number in range(10_000))
"""Keys that are there before: so many that a change is noted beside them, and not merged into them at once."""


def touching(size: int, seed: int) -> list[dict[int, int]]:
    """Return what proposals claim: keys, each to be read, or to be written by this proposal alone."""
    draw = Random(f"{seed}/proposals/{size}")  # noqa: S311 - seeded, nothing secret
    keys = range(_KEYS_A_PROPOSAL * size)
    return [
        {key: _READ if draw.random() < 0.5 else at for key in draw.sample(keys, _TOUCHED)}
        for at in range(size)
    ]


def prepare_conflicts(
    find: Callable[[list[dict[int, int]]], list[tuple[int, int]]], size: int, seed: int
) -> Prepared:
    """Return ``size`` proposals; an operation is to find all pairs that do not go together."""
    proposals = touching(size, seed)
    found: list[tuple[int, int]] = []

    def run(loops: int) -> None:
        for _ in range(loops):
            found[:] = find(proposals)

    def check() -> dict[str, Fact]:
        require(found == pairs_by_comparison(proposals), "each held against each, others are in conflict")
        require(len(found) > 0, "nothing was in conflict")
        return {"proposals": size, "conflicts": len(found)}

    return Prepared(run=run, check=check)


def merging(size: int, seed: int) -> list[Proposal[str, int]]:
    """Return proposals that go together: each writes keys of its own, some of which are new."""
    draw = Random(f"{seed}/merging/{size}")  # noqa: S311 - seeded, nothing secret
    return [
        Proposal(
            id=f"agent-{at}",
            writes={f"key-{at * _WRITTEN + number}": draw.randrange(1000) for number in range(_WRITTEN - 1)}
            | {f"new-{at}": at},
            priority=1 + draw.randrange(3),
        )
        for at in range(size)
    ]


def prepare_merging(size: int, seed: int) -> Prepared:
    """Return ``size`` proposals that go together; an operation is to make one change of them."""
    proposals = merging(size, seed)
    start: Snapshot[str, int] = Snapshot(dict.fromkeys(_THERE, -1))
    last = [merge(start, ())]

    def run(loops: int) -> None:
        for _ in range(loops):
            last[0] = merge(start, proposals)

    def check() -> dict[str, Fact]:
        merged = last[0]
        require(not merged.refused, f"refused were {', '.join(merged.refused)}")
        for one in proposals:
            kept = all(merged.snapshot[key] == value for key, value in one.writes.items())
            require(kept, f"what {one.id} proposed is not what is there")
        require(dict(start) == dict.fromkeys(_THERE, -1), "the old version has changed")
        also = Proposal(id="late", writes={"new-0": -1}, priority=0)
        again = merge(start, [also, *reversed(proposals)])
        require(dict(again.snapshot) == dict(merged.snapshot), "in another order it comes to something else")
        require(again.refused == {"late": {"new-0": "agent-0"}}, "two that write one key were both accepted")
        return {"proposals": size, "accepted": len(merged.accepted), "keys": len(merged.snapshot)}

    return Prepared(run=run, check=check)


_WAYS = {"hash": pairs, "all_pairs": pairs_by_comparison}

CASES = (
    *(
        Case(
            scenario="proposal_conflicts",
            variant=name,
            sizes=(10, 50, 100, 500),
            operation=f"all conflicts found among n proposals that touch {_TOUCHED} keys each",
            growth="linear" if name == "hash" else "quadratic",
            prepare=partial(prepare_conflicts, way),
        )
        for name, way in _WAYS.items()
    ),
    Case(
        scenario="proposal_merging",
        sizes=(2, 5, 10, 20),
        operation=f"n proposals that write {_WRITTEN} keys each made into one change of a map of {len(_THERE):,} keys",
        growth="n log n",
        prepare=prepare_merging,
    ),
)
