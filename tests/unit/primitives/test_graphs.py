"""What comes before what: every order is valid, every cycle is one, the depth is that of the longest chain."""

from __future__ import annotations

import graphlib
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_primitives.graphs import Cyclic, cycle, levels, order

graphs = st.dictionaries(st.integers(0, 8), st.lists(st.integers(0, 9), max_size=3), max_size=8)


def is_acyclic(graph: dict[int, list[int]]) -> bool:
    try:
        tuple(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError:
        return False
    return True


@given(graphs)
def test_every_node_stands_behind_all_it_needs_or_there_is_a_cycle(graph: dict[int, list[int]]) -> None:
    if not is_acyclic(graph):
        with pytest.raises(Cyclic) as caught:
            order(graph)
        found = caught.value.cycle
        assert found == cycle(graph)
        assert len(set(found)) == len(found) > 0
        assert all(need in graph[node] for node, need in pairwise((*found, found[0])))
        return
    assert cycle(graph) == ()
    place = {node: at for at, node in enumerate(order(graph))}
    assert set(place) == set(graph)
    assert all(place[need] < place[node] for node in graph for need in graph[node] if need in graph)


@given(graphs.filter(is_acyclic))
def test_the_depth_is_that_of_the_longest_chain(graph: dict[int, list[int]]) -> None:
    @cache
    def depth(node: int) -> int:
        return 1 + max((depth(need) for need in graph[node] if need in graph), default=0)

    found = levels(graph)
    assert {node: at for at, level in enumerate(found, 1) for node in level} == {
        node: depth(node) for node in graph
    }


def test_the_order_is_that_of_the_graph_and_not_of_hashes() -> None:
    names = [f"task-{number}" for number in range(50)]
    graph = {name: ["root"] for name in reversed(names)} | {"root": ["elsewhere"]}
    assert order(graph) == ["root", *reversed(names)]


def test_a_cycle_is_named_in_the_order_of_its_needs() -> None:
    with pytest.raises(Cyclic, match=r"^b needs d needs c needs b$"):
        levels({"a": ["b"], "b": ["e", "d"], "c": ["b"], "d": ["c"], "e": []})
