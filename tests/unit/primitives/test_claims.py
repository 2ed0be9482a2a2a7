"""Conflicts found by hash are those that are found by holding each against each."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from swarm_primitives.claims import Claims, conflicted, pairs, pairs_by_comparison

claims = st.lists(st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 2), max_size=4), max_size=12)


@given(claims)
def test_the_index_finds_the_pairs_that_comparison_finds(given_: list[dict[str, int]]) -> None:
    assert pairs(given_) == pairs_by_comparison(given_)


@given(claims)
def test_who_contradicts_a_first_claim_is_in_a_pair_with_its_owner(given_: list[dict[str, int]]) -> None:
    found, clashing = conflicted(given_), set(pairs(given_))
    assert bool(found) == bool(clashing)
    firsts = {
        resource: (value, at)
        for at, mine in reversed([*enumerate(given_)])
        for resource, value in mine.items()
    }
    for at, mine in enumerate(given_):
        others = [firsts[resource][1] for resource, value in mine.items() if firsts[resource][0] != value]
        assert found.get(at) == min(others, default=None)
        assert all((other, at) in clashing for other in others)


@given(claims)
def test_a_resource_is_disputed_where_its_values_differ(given_: list[dict[str, int]]) -> None:
    index: Claims[str, int, int] = Claims()
    values: dict[str, set[int]] = {}
    for at, mine in enumerate(given_):
        for resource, value in mine.items():
            first = next((given_[one][resource], one) for one in range(at + 1) if resource in given_[one])
            assert index.claim(resource, value, at) == (None if first[0] == value else first)
            values.setdefault(resource, set()).add(value)
    assert len(index) == len(values)
    assert set(index.disputed) == {resource for resource, found in values.items() if len(found) > 1}


def test_readers_go_together_and_a_writer_with_nobody() -> None:
    reads, writes = {"key": "read"}, {"key": "write by 2"}
    assert pairs([reads, reads, writes, {"other": "write by 3"}]) == [(0, 2), (1, 2)]
