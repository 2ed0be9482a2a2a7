"""Rank tests and their shifts, beside scipy's, beside the definition, and turned around."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from swarm_statistics.multiplicity import adjusted
from swarm_statistics.ranks import (
    _left_out_of_pairs,
    _left_out_of_two,
    _ways_of_two,
    hodges_lehmann,
    mann_whitney,
    pseudomedian,
    signed_rank,
)

numbers = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))
samples = st.lists(numbers, min_size=1, max_size=12)


@pytest.mark.parametrize(("n", "m"), [(3, 3), (4, 7), (8, 8), (5, 12)])
def test_the_distribution_of_u_is_the_counted_one(n: int, m: int) -> None:
    counted = np.zeros(n * m + 1)
    for chosen in combinations(range(n + m), n):
        counted[sum(chosen) - n * (n - 1) // 2] += 1
    assert _ways_of_two(n, m).tolist() == counted.tolist()


@pytest.mark.parametrize(("n", "m"), [(20, 20), (30, 40), (40, 40)])
def test_large_counts_keep_their_small_ends(n: int, m: int) -> None:
    ways = _ways_of_two(n, m)
    assert ways[:6].tolist() == [1, 1, 2, 3, 5, 7]  # partitions of 0 to 5
    assert ways.sum() == pytest.approx(math.comb(n + m, n), rel=1e-9)
    assert np.allclose(ways, ways[::-1])


def test_the_places_left_out_are_those_of_the_tables() -> None:
    # Hollander, Wolfe and Chicken, tables A.6 and A.4: U of 5 and 8 below 7, and signed ranks of 10 below 9, at 5 %
    assert _left_out_of_two(5, 8, 0.05) == 6
    assert _left_out_of_pairs(10, 0.05) == 8
    assert _left_out_of_two(3, 3, 0.05) == -1
    assert _left_out_of_pairs(5, 0.05) == -1


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_exact_and_approximate_intervals_agree_where_they_meet(level: float) -> None:
    alpha = round(1 - level, 12)
    assert _left_out_of_two(41, 41, alpha) - _left_out_of_two(40, 40, alpha) in range(30, 45)
    assert _left_out_of_pairs(41, alpha) - _left_out_of_pairs(40, alpha) in range(10, 18)


@given(samples, samples)
def test_the_test_is_scipys_and_turns_around(base: list[float], head: list[float]) -> None:
    assert mann_whitney(base, head) == pytest.approx(mann_whitney(head, base))
    if len({*base, *head}) > 1:
        method = "exact" if len({*base, *head}) == len(base) + len(head) else "asymptotic"
        assert mann_whitney(base, head) == pytest.approx(stats.mannwhitneyu(base, head, method=method).pvalue)


@given(samples, samples)
def test_the_shift_is_the_median_of_all_differences_and_turns_around(
    base: list[float], head: list[float]
) -> None:
    there, back = hodges_lehmann(base, head), hodges_lehmann(head, base)
    assert there.estimate == pytest.approx(np.median([y - x for x in base for y in head]), abs=1e-6)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert there.low <= there.estimate <= there.high


@given(samples)
def test_the_middle_of_the_differences_is_the_median_of_walsh_averages(values: list[float]) -> None:
    averages = [(values[i] + values[j]) / 2 for i in range(len(values)) for j in range(i, len(values))]
    found, turned = pseudomedian(values), pseudomedian([-value for value in values])
    assert found.estimate == pytest.approx(np.median(averages), abs=1e-6)
    assert (found.low, found.high) == pytest.approx((-turned.high, -turned.low))
    assert signed_rank(values) == pytest.approx(signed_rank([-value for value in values]))


@pytest.mark.parametrize("seed", range(5))
def test_an_interval_excludes_zero_exactly_where_the_exact_test_rejects(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(40):
        shift = rng.uniform(0, 2)
        base, head = rng.normal(size=7).tolist(), (rng.normal(size=8) + shift).tolist()
        interval = hodges_lehmann(base, head, 0.95)
        assert (mann_whitney(base, head) <= 0.05) == (interval.low > 0 or interval.high < 0)
        pairs = (rng.normal(size=9) + shift).tolist()
        interval = pseudomedian(pairs, 0.95)
        assert (signed_rank(pairs) <= 0.05) == (interval.low > 0 or interval.high < 0)


def test_intervals_cover_as_often_as_they_say() -> None:
    rng = np.random.default_rng(7)
    covered = [
        (interval := hodges_lehmann(rng.lognormal(size=12), rng.lognormal(size=15) + 1)).low
        <= 1
        <= interval.high
        for _ in range(600)
    ]
    assert 0.93 < np.mean(covered) < 0.98


def test_a_clearer_difference_has_a_smaller_p() -> None:
    base = [1.0, 2.0, 3.0, 4.0, 5.0]
    ps = [mann_whitney(base, [value + shift for value in base]) for shift in (0.5, 1.5, 2.5, 3.5, 4.5)]
    assert ps == sorted(ps, reverse=True)
    assert ps[-1] == pytest.approx(2 / math.comb(10, 5))


def test_nothing_that_is_no_number_is_compared() -> None:
    for bad in ([], [math.nan], [math.inf, 1.0]):
        with pytest.raises(ValueError, match="finite"):
            mann_whitney(bad, [1.0])
        with pytest.raises(ValueError, match="finite"):
            pseudomedian(bad)
    assert mann_whitney([1.0, 1.0], [1.0]) == 1.0
    assert signed_rank([0.0, 0.0]) == 1.0


def test_adjusted_p_are_those_of_benjamini_and_hochberg() -> None:
    # Benjamini and Hochberg 1995, section 3.2: at 5 %, four of the fifteen p are significant
    ps = [
        0.0001,
        0.0004,
        0.0019,
        0.0095,
        0.0201,
        0.0278,
        0.0298,
        0.0344,
        0.0459,
        0.3240,
        0.4262,
        0.5719,
        0.6528,
        0.7590,
        1.0,
    ]
    assert sum(p <= 0.05 for p in adjusted(ps)) == 4
    assert adjusted([]) == []
    assert adjusted([0.03]) == [0.03]
