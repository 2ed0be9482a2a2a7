"""``conflict_detection``: packs that require packages in versions that clash."""

from __future__ import annotations

from random import Random

from swarm_metrics.primitives.case import Case, Fact, Prepared, require
from swarm_primitives.claims import conflicted, pairs, pairs_by_comparison

_REQUIRED = 8
"""Packages that each pack requires."""
_PACKAGES_A_PACK = 16
"""How many packages there are for each pack, so that a pack clashes with about three, however many there are."""
_VERSIONS = ("1.0", "1.1", "2.0")


def packs_of(size: int, seed: int) -> list[dict[str, str]]:
    """Return what each pack requires: packages, each in a version."""
    draw = Random(f"{seed}/packs/{size}")  # noqa: S311 - seeded, nothing secret
    packages = [f"package-{number}" for number in range(_PACKAGES_A_PACK * size)]
    return [{name: draw.choice(_VERSIONS) for name in draw.sample(packages, _REQUIRED)} for _ in range(size)]


def prepare(size: int, seed: int) -> Prepared:
    """Return ``size`` packs; an operation is to find all pairs of them that clash, and whom each clashes with first."""
    packs = packs_of(size, seed)
    found: list[object] = []

    def run(loops: int) -> None:
        for _ in range(loops):
            found[:] = [pairs(packs), conflicted(packs)]

    def check() -> dict[str, Fact]:
        clashes, first = pairs(packs), conflicted(packs)
        require(found == [clashes, first], "another time, other clashes were found")
        require(clashes == pairs_by_comparison(packs), "each held against each, other packs clash")
        require(0 < len(first) < size, f"{len(first)} of {size} packs clash with an earlier one")
        return {"packs": size, "clashes": len(clashes), "clashing_with_an_earlier_one": len(first)}

    return Prepared(run=run, check=check)


CASES = (
    Case(
        scenario="conflict_detection",
        sizes=(5, 10, 20, 50),
        operation=f"all version clashes found among n packs that require {_REQUIRED} packages each",
        growth="linear",
        prepare=prepare,
    ),
)
