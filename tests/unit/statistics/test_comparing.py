"""Verdicts: what is called a change, what equal, and what neither; and how many more runs would decide."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_statistics.comparing import Better, Verdict, exit_code, find, judge, margin_of, proportions
from swarm_statistics.equivalence import equivalent
from swarm_statistics.power import fewest, needed
from swarm_statistics.ranks import Interval

OPPOSITE: dict[Verdict, Verdict] = {
    "regression": "improvement",
    "improvement": "regression",
    "equal": "equal",
    "inconclusive": "inconclusive",
}
times = st.lists(st.floats(0.1, 10), min_size=1, max_size=15)
any_numbers = st.lists(st.floats(-10, 10), min_size=1, max_size=15)


def verdict(
    base: list[float], head: list[float], better: Better = "lower", *, paired: bool = False
) -> Verdict:
    found = find(base, head, paired=paired)
    return judge(found, found.p, better=better).verdict


def drawn(seed: int, mean: float, sd: float, n: int) -> list[float]:
    return np.exp(np.random.default_rng(seed).normal(mean, sd, n)).tolist()


def test_a_slow_down_is_a_regression_of_times_and_an_improvement_of_rates() -> None:
    base, head = drawn(1, 0.0, 0.05, 20), drawn(2, 0.1, 0.05, 20)
    assert verdict(base, head, "lower") == "regression"
    assert verdict(base, head, "higher") == "improvement"
    assert verdict(base, head, "neither") == "inconclusive"
    found = find(base, head)
    assert found.relative(found.shift.estimate) == pytest.approx(0.105, abs=0.03)
    low, high = found.relative(found.shift.low), found.relative(found.shift.high)
    assert low is not None
    assert high is not None
    assert low < math.expm1(0.1) < high


def test_a_change_below_the_threshold_is_none_however_sure_it_is() -> None:
    base, head = drawn(1, 0.0, 0.005, 50), drawn(2, 0.02, 0.005, 50)
    assert find(base, head).p < 1e-6
    assert verdict(base, head) == "equal"


def test_few_values_show_nothing_and_say_how_many_would() -> None:
    found = find([1.0, 1.1], [1.3, 1.4])
    assert judge(found, found.p, better="lower").verdict == "inconclusive"
    assert needed(found) == fewest() == 4
    alone = find([1.0], [1.0])
    assert judge(alone, alone.p, better="lower").verdict == "inconclusive"  # silence is no equality
    assert needed(alone) == 4


def test_much_noise_is_inconclusive_and_more_runs_decide_as_often_as_is_said() -> None:
    base, head = drawn(3, 0.0, 0.2, 8), drawn(4, 0.1, 0.2, 8)
    found = find(base, head)
    judged = judge(found, found.p, better="lower")
    assert judged.verdict == "inconclusive"
    assert found.spread is not None
    more = needed(found)
    assert more is not None
    assert more > 20
    shift = abs(found.shift.estimate)
    rng = np.random.default_rng(9)
    decided = [
        find(*np.exp(rng.normal([[0.0], [shift]], found.spread, (2, more))).tolist()).p < 0.05
        for _ in range(200)
    ]
    assert 0.84 < np.mean(decided) < 0.96


def test_pairs_see_what_the_drift_that_they_share_hides() -> None:
    rng = np.random.default_rng(5)
    machine = rng.normal(0, 0.3, 20)
    base = np.exp(machine + rng.normal(0, 0.03, 20)).tolist()
    head = np.exp(machine + 0.1 + rng.normal(0, 0.03, 20)).tolist()
    assert verdict(base, head, paired=False) == "inconclusive"
    assert verdict(base, head, paired=True) == "regression"


def test_an_assumption_that_does_not_hold_leaves_all_open() -> None:
    base, head = drawn(1, 0.0, 0.05, 20), drawn(2, 0.5, 0.05, 20)
    found = find(base, head)
    judged = judge(found, found.p, better="lower", violations=("other processors", "a drift"))
    assert judged.verdict == "inconclusive"
    assert judged.reason == "other processors; a drift"


def test_values_that_depend_on_each_other_prove_less_equality() -> None:
    found = find(drawn(1, 0.0, 0.05, 20), drawn(3, 0.0, 0.05, 20))
    assert judge(found, found.p, better="lower").verdict == "equal"
    assert judge(found, found.p, better="lower", certainty=0.1).verdict == "inconclusive"


@given(times, times, st.booleans())
def test_swapped_sides_have_the_opposite_verdict(base: list[float], head: list[float], paired: bool) -> None:
    if paired:
        length = min(len(base), len(head))
        base, head = base[:length], head[:length]
    assert verdict(head, base, paired=paired) == OPPOSITE[verdict(base, head, paired=paired)]


@given(any_numbers, any_numbers)
def test_swapped_sides_have_the_opposite_verdict_with_zeros_and_negatives(
    base: list[float], head: list[float]
) -> None:
    assert verdict(head, base) == OPPOSITE[verdict(base, head)]


@given(times, times, st.sampled_from([1e-6, 0.125, 8.0, 1e9]))
def test_the_unit_does_not_matter(base: list[float], head: list[float], factor: float) -> None:
    here, there = find(base, head), find([factor * x for x in base], [factor * x for x in head])
    assert there.shift.estimate == pytest.approx(here.shift.estimate, abs=1e-9)
    assert there.spread == pytest.approx(here.spread)


def test_zeros_are_compared_as_they_are() -> None:
    assert verdict([0.0] * 10, [0.0] * 10) == "equal"
    assert verdict([0.0] * 10, [0.5] * 10) == "regression"
    assert find([0.0, 1.0], [1.0, 2.0]).logarithmic is False


@pytest.mark.parametrize("threshold", [0.0, -0.1, math.inf, math.nan])
def test_a_threshold_is_a_part_above_nothing(threshold: float) -> None:
    with pytest.raises(ValueError, match="allowed"):
        margin_of(threshold, logarithmic=True)


def test_pairs_have_two_ends() -> None:
    with pytest.raises(ValueError, match="2 values of base, 1 of head"):
        find([1.0, 2.0], [1.0], paired=True)


def test_equality_is_read_off_the_interval() -> None:
    assert equivalent(Interval(0.0, -0.04, 0.04), 0.05)
    assert not equivalent(Interval(0.0, -0.04, 0.06), 0.05)
    assert not equivalent(Interval(0.0, -math.inf, 0.0), 0.05)


def test_a_shift_of_the_threshold_is_seldom_called_equal() -> None:
    rng = np.random.default_rng(11)
    called = 0
    for _ in range(300):
        found = find(*np.exp(rng.normal([[0.0], [math.log(1.05)]], 0.05, (2, 20))).tolist())
        called += equivalent(found.inner, found.margin)
    assert called / 300 < 0.09  # 5 % and what chance adds to it in 300


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ((), 0),
        (("equal", "improvement"), 0),
        (("equal", "inconclusive", "improvement"), 3),
        (("inconclusive", "regression"), 1),
    ],
)
def test_the_worst_verdict_is_the_exit_code(verdicts: tuple[Verdict, ...], code: int) -> None:
    assert exit_code(verdicts) == code


def test_the_fewest_values_are_those_with_which_a_rank_test_can_reject_at_all() -> None:
    assert (fewest(), fewest(paired=True)) == (4, 6)
    assert fewest(0.05 / 30) == 7
    for n, p in ((3, 0.1), (4, 2 / 70)):
        assert find(list(range(1, n + 1)), list(range(11, n + 11))).p == pytest.approx(p)


def test_no_number_is_named_where_none_would_do() -> None:
    found = find(drawn(1, 0.0, 0.3, 10), drawn(2, 0.0, 0.3, 10))
    at_the_edge = msgspec.structs.replace(found, shift=Interval(found.margin * 0.9999, -1.0, 1.0))
    assert needed(at_the_edge) is None
    assert proportions((10, 10), (3, 10)) < 0.05 < proportions((1, 1), (0, 1))
