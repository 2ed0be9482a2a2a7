"""Tests of differences: against scipy, against numbers worked by hand, and against what chance does to them."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from swarm_common.errors import UsageError
from swarm_common.events import Better, Metric
from swarm_common.events.metrics import Comparison, Pair
from swarm_metrics.comparing import (
    best_single,
    compare_rows,
    compare_splits,
    corrected_t_test,
    mcnemar,
    over_splits,
    permutation_test,
    t_interval,
    verdict,
)

STREAM = [42, 7]


def answers(truth: Any, wrong: Any) -> Any:
    """Return probabilities of two classes that are right but for the rows ``wrong``."""
    chosen = np.array(truth)
    chosen[list(wrong)] = 1 - chosen[list(wrong)]
    return np.eye(2)[chosen]


def rows(ensemble: Any, baseline: Any, truth: Any) -> Comparison:
    return compare_rows(np.asarray(truth), ensemble, baseline, name="svm", stream=STREAM)


def pairs(*values: tuple[float, float]) -> list[Pair]:
    return [Pair(ensemble=ensemble, baseline=baseline, model="svm") for ensemble, baseline in values]


def metric(value: float | None = 0.9, better: Better = "higher", **more: Any) -> Metric:
    return Metric(name="accuracy", value=value, unit="ratio", better=better, **more)


# -- one split -----------------------------------------------------------------------------------------------


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemars_p_is_that_of_the_binomial_test(gained: int, lost: int) -> None:
    expected = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert mcnemar(gained, lost) == pytest.approx(expected, rel=1e-12)


def test_mcnemar_by_hand() -> None:
    # Of ten rows that one side alone has right, two or fewer go to the loser: (1 + 10 + 45) / 1024, on both sides.
    assert mcnemar(8, 2) == 112 / 1024


def test_more_right_rows_are_better_and_chance_is_not() -> None:
    truth = np.arange(100) % 2
    clear = rows(answers(truth, range(5)), answers(truth, range(20)), truth)
    assert (clear.metric, clear.baseline, clear.n, clear.better) == ("accuracy", "svm", 100, "higher")
    assert clear.difference == 0.15
    assert clear.p_value == pytest.approx(2 / 2**15)
    assert clear.verdict == "better"
    chance = rows(answers(truth, range(5)), answers(truth, range(4, 12)), truth)
    assert chance.difference == 0.03
    assert chance.p_value == pytest.approx(stats.binomtest(7, 11).pvalue)
    assert chance.verdict == "no difference shown"
    assert rows(answers(truth, range(20)), answers(truth, range(5)), truth).verdict == "worse"


def test_equal_answers_differ_in_nothing() -> None:
    truth = np.arange(20) % 2
    found = rows(answers(truth, [3]), answers(truth, [3]), truth)
    assert (found.difference, found.low, found.high, found.p_value) == (0, 0, 0, 1)
    assert found.verdict == "no difference shown"


def test_the_interval_is_the_bootstrap_of_paired_rows() -> None:
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 2, 200)
    one, two = (answers(truth, np.flatnonzero(rng.random(200) < share)) for share in (0.1, 0.2))
    found = rows(one, two, truth)
    gain = (one.argmax(axis=1) == truth).astype(float) - (two.argmax(axis=1) == truth)
    oracle = stats.bootstrap(
        (gain,), np.mean, method="percentile", n_resamples=3000, rng=np.random.default_rng(1)
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high), abs=0.012)


def test_values_are_compared_by_r2() -> None:
    rng = np.random.default_rng(5)
    truth = rng.normal(10, 3, 120)
    good, bad = truth + rng.normal(0, 0.5, 120), truth + rng.normal(0, 1.5, 120)
    found = rows(good, bad, truth)
    assert (found.metric, found.verdict) == ("r2", "better")
    spread = ((truth - truth.mean()) ** 2).sum()
    assert found.difference == pytest.approx(
        (((truth - bad) ** 2).sum() - ((truth - good) ** 2).sum()) / spread
    )
    assert found.low is not None
    assert found.high is not None
    assert 0 < found.low < found.difference < found.high
    assert rows(bad, good, truth).verdict == "worse"
    assert rows(good, good, truth).p_value == 1


def test_a_truth_that_does_not_vary_has_no_r2_to_differ_in() -> None:
    truth = np.ones(8)
    found = rows(truth + 0.1, truth + 1, truth)
    assert (found.difference, found.verdict) == (0, "no difference shown")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_permutation_test_is_that_of_all_permutations(seed: int) -> None:
    differences = np.random.default_rng(seed).normal(0.4, 1, 11)
    every = stats.permutation_test(
        (differences,), lambda x, axis: x.sum(axis=axis), permutation_type="samples", n_resamples=np.inf
    )
    assert permutation_test(differences, STREAM) == pytest.approx(every.pvalue, abs=0.02)


def test_the_comparison_is_drawn_from_its_stream() -> None:
    rng = np.random.default_rng(5)
    truth, one, two = rng.normal(size=(3, 40))
    assert rows(one, two, truth) == rows(one, two, truth)
    other = compare_rows(truth, one, two, name="svm", stream=[43, 7])
    assert other.low != rows(one, two, truth).low


@pytest.mark.parametrize(
    ("difference", "p_value", "better", "expected"),
    [
        (0.1, 0.01, "higher", "better"),
        (-0.1, 0.01, "higher", "worse"),
        (-0.1, 0.01, "lower", "better"),
        (0.1, 0.01, "lower", "worse"),
        (0.1, 0.05, "higher", "no difference shown"),
        (0.1, None, "higher", "no difference shown"),
    ],
)
def test_the_verdict_knows_the_better_direction(
    difference: float, p_value: float | None, better: Better, expected: str
) -> None:
    assert verdict(difference, p_value, better) == expected


# -- several splits ------------------------------------------------------------------------------------------


def test_the_corrected_test_by_hand() -> None:
    # Mean 3, variance 2.5; that of the mean counts as (1/5 + 1/4) * 2.5 = 1.125, so t is 3/sqrt(1.125) = sqrt(8).
    # With 4 degrees of freedom the distribution has a closed form: p = 1 - 3/4 * t/sqrt(3) * (1 - 8/36).
    found = corrected_t_test([1, 2, 3, 4, 5], 0.25)
    assert found is not None
    p_value, low, high = found
    assert p_value == pytest.approx(1 - 0.75 * sqrt(8 / 3) * (1 - 8 / 36))
    assert (low, high) == pytest.approx((3 - 2.7764451 * sqrt(1.125), 3 + 2.7764451 * sqrt(1.125)))


@settings(deadline=None)
@given(
    st.lists(st.floats(-1, 1).map(lambda x: round(x, 4)), min_size=2, max_size=12).filter(
        lambda x: len(set(x)) > 1
    )
)
def test_without_overlap_it_is_students_test(differences: list[float]) -> None:
    found = corrected_t_test(differences, 0.0)
    oracle = stats.ttest_1samp(differences, 0)
    expected = oracle.confidence_interval()
    assert found is not None
    assert found[0] == pytest.approx(oracle.pvalue, rel=1e-6, abs=1e-9)
    assert found[1:] == pytest.approx((expected.low, expected.high), rel=1e-6, abs=1e-9)


def test_without_a_true_difference_the_corrected_test_seldom_sees_one_and_the_plain_one_often() -> None:
    """Two learners of equal worth: each knows the mean of a column of its own, over ten splits of the same rows."""
    rng = np.random.default_rng(11)
    trials, splits, train, test = 600, 10, 80, 20
    seen = {"corrected": 0, "plain": 0}
    for _ in range(trials):
        data = rng.normal(size=(train + test, 2))
        differences = []
        for _ in range(splits):
            order = rng.permutation(train + test)
            known = data[order[:train]].mean(axis=0)
            errors = ((data[order[train:]] - known) ** 2).mean(axis=0)
            differences.append(float(errors[0] - errors[1]))
        for name, ratio in (("corrected", test / train), ("plain", 0.0)):
            found = corrected_t_test(differences, ratio)
            assert found is not None
            seen[name] += found[0] < 0.05
    assert seen["corrected"] / trials <= 0.08
    assert seen["plain"] / trials >= 0.15


def test_a_difference_on_every_split_is_found() -> None:
    found = compare_splits(
        pairs((0.95, 0.90), (0.96, 0.90), (0.94, 0.90), (0.95, 0.89), (0.96, 0.91)),
        metric=metric(),
        baseline="svm",
        ratio=0.25,
    )
    assert (found.difference, found.n, found.baseline, found.verdict) == (0.052, 5, "svm", "better")
    assert found.method == "corrected resampled t-test"
    assert found.low is not None
    assert found.low > 0


def test_less_error_is_better() -> None:
    found = compare_splits(
        pairs((1.0, 2.0), (1.1, 2.0), (1.0, 2.1)), metric=metric(better="lower"), baseline="", ratio=0.1
    )
    assert (found.better, found.verdict) == ("lower", "better")
    assert found.difference < 0


def test_splits_that_share_no_rows_need_no_correction() -> None:
    found = compare_splits(pairs((0.9, 0.8), (0.8, 0.75)), metric=metric(), baseline="static", ratio=0)
    assert (found.baseline, found.method) == ("static", "paired t-test")
    assert found.estimator == "mean of the differences on 2 splits; 95 % t-interval"
    assert found.p_value == pytest.approx(stats.ttest_rel([0.9, 0.8], [0.8, 0.75]).pvalue)


def test_equal_differences_leave_nothing_to_test_against() -> None:
    # 0.9 - 0.8 and 0.7 - 0.6 differ in their last bits only.
    found = compare_splits(pairs((0.9, 0.8), (0.7, 0.6)), metric=metric(), baseline="", ratio=0.25)
    assert (found.difference, found.p_value, found.low, found.verdict) == (
        0.1,
        None,
        None,
        "no difference shown",
    )
    assert "no variance" in found.reason


def test_no_difference_at_all_is_certain() -> None:
    found = compare_splits(pairs((0.9, 0.9), (0.7, 0.7)), metric=metric(), baseline="", ratio=0.25)
    assert (found.difference, found.p_value, found.low, found.high) == (0, 1, 0, 0)
    assert (found.verdict, found.reason) == ("no difference shown", "")


def test_one_split_is_what_its_rows_say() -> None:
    truth = np.arange(40) % 2
    single = rows(answers(truth, []), answers(truth, range(9)), truth)
    alone = pairs((1.0, 0.775))
    assert compare_splits(alone, metric=metric(), baseline="", ratio=0.25, single=single) is single
    for other in (None, single):
        found = compare_splits(
            alone, metric=metric() if other is None else f1(), baseline="", ratio=0.25, single=other
        )
        assert (found.p_value, found.verdict) == (None, "no difference shown")
        assert "one split" in found.reason


def f1() -> Metric:
    return Metric(name="f1", value=0.9, unit="ratio")


def test_what_has_no_better_direction_is_not_compared() -> None:
    with pytest.raises(UsageError, match="no better direction"):
        compare_splits(pairs((1, 2), (1, 3)), metric=metric(better="neither"), baseline="", ratio=0.2)


def test_a_mean_over_splits_has_an_interval_as_wide_as_overlap_makes_it() -> None:
    each = [metric(value, source=("data", f"score-{at}")) for at, value in enumerate((0.4, 0.5, 0.6))]
    found = over_splits(each, 0.25)
    half = 4.3026527 * sqrt((1 / 3 + 0.25) * 0.01)
    assert (found.value, found.n) == (0.5, 3)
    assert (found.low, found.high) == pytest.approx((0.5 - half, 0.5 + half))
    assert found.source == ("data", "score-0", "score-1", "score-2")
    assert t_interval([0.4, 0.5, 0.6], 0.25) == (found.low, found.high)


def test_an_interval_ends_where_no_value_can_lie_beyond() -> None:
    found = over_splits([metric(value) for value in (0.8, 0.9, 1.0)], 0.25)
    assert found.low == pytest.approx(0.9 - 4.3026527 * sqrt((1 / 3 + 0.25) * 0.01))
    assert found.high == 1


def test_a_mean_keeps_what_one_split_says_and_what_none_can() -> None:
    own = metric(low=0.85, high=0.95)
    assert over_splits([own], 0.25) is own
    missing = over_splits([own, metric(None, reason="infinite")], 0.25)
    assert (missing.value, missing.reason) == (None, "infinite")
    equal = over_splits([own, own], 0.25)
    assert (equal.value, equal.low, equal.high) == (0.9, None, None)


def test_the_best_single_model_is_chosen_out_of_fold() -> None:
    assert best_single({"a": 0.3, "b": 0.2, "c": 0.2}, ["a", "c", "b"]) == ("b", "")
    name, reason = best_single({}, ["a", "b"])
    assert name == ""
    assert "without folds" in reason
