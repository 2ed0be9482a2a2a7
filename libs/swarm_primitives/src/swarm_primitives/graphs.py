"""What must come before what: topological levels, and cycles by name.

A graph is a mapping from each node to those it needs. A need that is no node of the graph is met already.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Generic, TypeVar

N = TypeVar("N", bound=Hashable)


class Cyclic(ValueError, Generic[N]):
    """Nodes that need each other in a circle: none of them can come first."""

    def __init__(self, cycle: tuple[N, ...]) -> None:
        super().__init__(" needs ".join(str(node) for node in (*cycle, cycle[0])))
        self.cycle = cycle
        """Each needs the next, the last the first."""


def levels(needs: Mapping[N, Iterable[N]]) -> list[list[N]]:
    """Return the nodes in levels: each level's nodes need only nodes of earlier ones, and one of the level before.

    Their number is the depth. Within a level the order is that of the graph's edges and does not depend on hashes. With
    V nodes and E needs, O(V + E) (Kahn 1962). Raises :class:`Cyclic` with a cycle where there is one.
    """
    missing: dict[N, int] = {}
    dependents: dict[N, list[N]] = {}
    for node, before in needs.items():
        met = {need for need in before if need in needs}
        missing[node] = len(met)
        for need in met:
            dependents.setdefault(need, []).append(node)
    found: list[list[N]] = []
    level = [node for node, count in missing.items() if not count]
    placed = 0
    while level:
        found.append(level)
        placed += len(level)
        after: list[N] = []
        for node in level:
            for dependent in dependents.get(node, ()):
                missing[dependent] -= 1
                if not missing[dependent]:
                    after.append(dependent)
        level = after
    if placed < len(missing):
        raise Cyclic(_cycle({node: needs[node] for node, count in missing.items() if count}))
    return found


def order(needs: Mapping[N, Iterable[N]]) -> list[N]:
    """Return all nodes, each behind those it needs: :func:`levels`, one after the other."""
    return [node for level in levels(needs) for node in level]


def cycle(needs: Mapping[N, Iterable[N]]) -> tuple[N, ...]:
    """Return the nodes of a cycle, each of which needs the next and the last the first; nothing where none is."""
    try:
        levels(needs)
    except Cyclic as found:
        return found.cycle
    return ()


def _cycle(stuck: Mapping[N, Iterable[N]]) -> tuple[N, ...]:
    """Return a cycle: every node here needs another one here, so whoever goes on from need to need comes round."""
    path: dict[N, int] = {}
    node = next(iter(stuck))
    while node not in path:
        path[node] = len(path)
        node = next(need for need in stuck[node] if need in stuck)
    return tuple(path)[path[node] :]
