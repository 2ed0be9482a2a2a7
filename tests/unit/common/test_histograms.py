"""Histograms that merge: in any order, with quantiles of known error."""

from __future__ import annotations

import math
from functools import reduce

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_common.errors import UsageError
from swarm_common.histograms import EMPTY, Histogram, histogram, merge, quantile

VALUES = st.lists(st.floats(0, 1e9, allow_subnormal=False), max_size=60)
WIDTH = st.integers(2, 400)


def same(first: Histogram, second: Histogram) -> bool:
    """All but the total is equal; a sum depends on its order in the last digit."""
    totals_agree = math.isclose(first.total, second.total, rel_tol=1e-9)
    return totals_agree and msgspec.structs.replace(first, total=second.total) == second


@given(VALUES, VALUES, WIDTH)
def test_the_order_of_two_does_not_matter(one: list[float], other: list[float], width: int) -> None:
    first, second = histogram(one, buckets=width), histogram(other, buckets=width)
    assert same(merge(first, second, buckets=width), merge(second, first, buckets=width))


@given(VALUES, VALUES, VALUES, WIDTH)
def test_nor_that_of_three(one: list[float], two: list[float], three: list[float], width: int) -> None:
    first, second, third = (histogram(values, buckets=width) for values in (one, two, three))
    left = merge(merge(first, second, buckets=width), third, buckets=width)
    right = merge(first, merge(second, third, buckets=width), buckets=width)
    assert same(left, right)


@given(st.lists(VALUES, max_size=6))
def test_merging_parts_is_what_the_whole_would_have_been(parts: list[list[float]]) -> None:
    merged = reduce(merge, map(histogram, parts), EMPTY)
    whole = histogram([value for part in parts for value in part])
    assert same(merged, whole)
    assert merged.count == sum(map(len, parts))


@given(VALUES.filter(len), st.floats(0, 1), WIDTH)
def test_a_quantile_is_as_near_as_it_says(values: list[float], share: float, width: int) -> None:
    found = histogram(values, buckets=width)
    exact = sorted(values)[max(1, math.ceil(share * len(values))) - 1]
    value = quantile(found, share)
    assert value is not None
    assert abs(value - exact) <= found.relative_error * exact * (1 + 1e-9)


def test_latencies_from_a_microsecond_to_a_second_are_told_within_three_percent() -> None:
    assert histogram(10 ** (step / 100) for step in range(601)).relative_error < 0.03


def test_the_extremes_are_exact() -> None:
    found = histogram([3.0, 17.25, 1234.5])
    assert (quantile(found, 0), quantile(found, 1)) == (pytest.approx(3.0, rel=1e-3), 1234.5)
    assert (found.low, found.high, found.total) == (3.0, 1234.5, 1254.75)


def test_none_has_no_quantile() -> None:
    assert quantile(EMPTY, 0.5) is None
    assert histogram([]) == EMPTY


@given(VALUES)
def test_it_goes_over_the_wire_and_stays_what_it_was(values: list[float]) -> None:
    found = histogram(values)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Histogram) == found


@pytest.mark.parametrize("value", [-1.0, math.inf, math.nan])
def test_what_is_no_amount_is_refused(value: float) -> None:
    with pytest.raises(UsageError, match="0 on"):
        histogram([1.0, value])


def test_a_share_beyond_one_is_refused() -> None:
    with pytest.raises(UsageError, match="quantile of 50"):
        quantile(histogram([1.0]), 50)
