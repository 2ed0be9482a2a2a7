"""A rising series: the test of Mann and Kendall, the slope of Theil and Sen, beside scipy's."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from swarm_statistics.growth import least_values, mann_kendall, theil_sen

SERIES = st.lists(st.integers(-1000, 1000), min_size=2, max_size=25)


@given(st.lists(st.integers(-1000, 1000), min_size=3, max_size=25, unique=True))
def test_without_ties_the_test_is_exact(values: list[int]) -> None:
    exact = stats.kendalltau(range(len(values)), values, method="exact").pvalue
    assert mann_kendall(values).p_value == pytest.approx(exact)


def test_with_ties_it_is_close_to_what_shuffling_finds() -> None:
    rng = random.Random(3)  # noqa: S311 - seeded, nothing secret
    values = [0] * 14 + [1, 0, 0, 1, 0, 0] * 4 + [0, 1]
    found = mann_kendall(values)
    shuffled = [mann_kendall(rng.sample(values, len(values))).statistic for _ in range(2000)]
    share = sum(abs(one) >= abs(found.statistic) for one in shuffled) / len(shuffled)
    assert 0.01 < share < 0.1
    assert found.p_value == pytest.approx(share, abs=0.02)


@given(SERIES)
def test_the_reverse_falls_as_much_and_as_probably(values: list[int]) -> None:
    there, back = mann_kendall(values), mann_kendall(values[::-1])
    assert (there.statistic, there.p_value) == (-back.statistic, pytest.approx(back.p_value))


def test_equal_values_have_no_trend() -> None:
    assert mann_kendall([5.0] * 40).p_value == 1.0


@pytest.mark.parametrize(("level", "least"), [(0.05, 5), (0.01, 6), (0.001, 7)])
def test_with_fewer_values_no_order_of_them_reaches_the_level(level: float, least: int) -> None:
    assert least_values(level) == least
    assert mann_kendall(range(least)).p_value < level
    assert mann_kendall(range(least - 1)).p_value >= level


@given(SERIES)
def test_the_slope_is_that_of_scipy_and_its_interval_no_narrower(values: list[int]) -> None:
    ours, theirs = theil_sen(values), stats.theilslopes(values)
    assert ours.value == pytest.approx(theirs.slope)
    assert ours.low <= ours.value <= ours.high
    # Scipy rounds to the nearest rank and knows of ties; ours takes the wider rank.
    assert ours.low <= theirs.low_slope + 1e-9
    assert ours.high >= theirs.high_slope - 1e-9


def test_the_interval_of_the_slope_holds_what_it_promises() -> None:
    rng = random.Random(11)  # noqa: S311 - seeded, nothing secret
    held = 0
    for _ in range(300):
        found = theil_sen([0.3 * index + rng.gauss(0, 2) for index in range(20)])
        held += found.low <= 0.3 <= found.high
    assert held >= 0.92 * 300


def test_outliers_move_the_slope_little() -> None:
    values = [float(index) for index in range(20)]
    values[7], values[15] = 1e9, -1e9
    assert theil_sen(values).value == pytest.approx(1.0, abs=0.01)


def test_one_value_has_no_slope() -> None:
    with pytest.raises(ValueError, match="needs two values"):
        theil_sen([1.0])
