"""The offset of two clocks: the truth always lies within the bound, and the quickest exchange says most."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_statistics.clocks import Exchange, Offset, between, estimate

NS = st.integers(0, 10**9)
#: One exchange: when it began, the way there, the work, the way back.
WAYS = st.tuples(NS, NS, NS, NS)


def exchange(offset: int, began: int, there: int, work: int, back: int) -> Exchange:
    """Return what two clocks show of one exchange, the other being ahead by ``offset``."""
    received = began + there
    return Exchange(began, received + offset, received + work + offset, received + work + back)


@given(st.integers(-(10**12), 10**12), st.lists(WAYS, min_size=1, max_size=10))
def test_the_truth_lies_within_the_bound(offset: int, ways: list[tuple[int, int, int, int]]) -> None:
    found = estimate([exchange(offset, *way) for way in ways])
    assert abs(found.offset_ns - offset) <= found.bound_ns
    assert found.agrees_with(offset)


@given(st.integers(-(10**12), 10**12), st.lists(WAYS, min_size=1, max_size=10))
def test_the_bound_is_half_the_least_round_trip(offset: int, ways: list[tuple[int, int, int, int]]) -> None:
    found = estimate([exchange(offset, *way) for way in ways])
    assert found.bound_ns == min(there + back for _, there, _, back in ways) // 2 + 1


def test_slow_exchanges_do_not_spoil_a_quick_one() -> None:
    slow = [exchange(500, 0, 10_000_000 * turn, 50, 0) for turn in range(1, 9)]
    assert estimate([*slow, exchange(500, 0, 100, 50, 100)]) == Offset(
        offset_ns=500, bound_ns=101, exchanges=9
    )


def test_an_exchange_during_which_a_clock_was_set_does_not_count() -> None:
    impossible = Exchange(asked=0, received=10, replied=1000, heard=20)
    sound = exchange(0, 0, 50, 5, 50)
    assert estimate([impossible, sound]).exchanges == 1
    with pytest.raises(ValueError, match="none of 1 exchanges"):
        estimate([impossible])
    with pytest.raises(ValueError, match="none of 0"):
        estimate([])


@given(st.integers(-(10**9), 10**9), st.integers(-(10**9), 10**9), WAYS, WAYS)
def test_two_clocks_by_a_third_are_known_within_both_bounds(
    first: int, second: int, way: tuple[int, int, int, int], other: tuple[int, int, int, int]
) -> None:
    apart = between(estimate([exchange(first, *way)]), estimate([exchange(second, *other)]))
    assert apart.agrees_with(second - first)
