"""``dependency_resolution``: an order in which what is needed comes first, and the cycle that stands in its way."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from swarm_metrics.primitives.case import Case, Fact, Prepared, require
from swarm_primitives.graphs import cycle, levels

_WIDTH = 8
"""Nodes in a level."""
_NEEDS = 3
"""Of each node but those of the first level."""

Graph = dict[str, list[str]]


def graphs_of(depth: int, seed: int) -> tuple[Graph, Graph]:
    """Return a graph of so many levels, and the same with one more need: an ancestor's of one of its descendants."""
    draw = Random(f"{seed}/dependencies/{depth}")  # noqa: S311 - seeded, nothing secret
    names = [[f"task-{level}-{at}" for at in range(_WIDTH)] for level in range(depth)]
    needs: Graph = {name: [] for name in names[0]} | {
        name: draw.sample(before, _NEEDS) for before, level in pairwise(names) for name in level
    }
    chain = [names[-1][0]]
    while needs[chain[-1]]:
        chain.append(needs[chain[-1]][0])
    mixed = draw.sample(sorted(needs), len(needs))
    whole = {name: needs[name] for name in mixed}
    return whole, whole | {chain[-1]: [chain[0]]}


def prepare(size: int, seed: int) -> Prepared:
    """Return graphs of ``size`` levels; an operation is to resolve one: into levels, or to the cycle that it has."""
    whole, broken = graphs_of(size, seed)
    found: list[object] = []

    def run(loops: int) -> None:
        for _ in range(loops):
            found[:] = [levels(whole), cycle(broken)]

    def check() -> dict[str, Fact]:
        resolved, circle = levels(whole), cycle(broken)
        require(found == [resolved, circle], "another time, another order or cycle was found")
        place = {name: at for at, name in enumerate(name for level in resolved for name in level)}
        require(set(place) == set(whole), "not every node has a place")
        first = all(place[need] < place[name] for name, needs in whole.items() for need in needs)
        require(first, "a node stands before what it needs")
        require(len(resolved) == size, f"{len(resolved)} levels were found")
        closed = all(need in broken[name] for name, need in pairwise((*circle, *circle[:1])))
        require(bool(circle) and closed, "what was found is no cycle")
        return {"nodes": len(whole), "levels": len(resolved), "cycle": " ".join(circle)}

    return Prepared(run=run, operations=2, check=check)


CASES = (
    Case(
        scenario="dependency_resolution",
        sizes=(2, 4, 6, 8),
        operation=f"a graph of n levels of {_WIDTH} nodes resolved: its levels, or its cycle",
        growth="linear",
        prepare=prepare,
    ),
)
