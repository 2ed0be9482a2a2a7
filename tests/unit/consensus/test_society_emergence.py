"""What emerges, beside what would by chance; and no effect, where the cause is taken away."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from swarm_consensus.society import measuring
from swarm_consensus.society.cascades import Choices, choose, conformity, expected, shares
from swarm_consensus.society.effects import effect
from swarm_consensus.society.params import EmergeParams
from swarm_consensus.society.specialisation import division, normalised_information

SEEDS = st.integers(0, 2**32 - 1)

# --- specialisation ---------------------------------------------------------------------------------------


def test_division_of_labour_has_its_ends() -> None:
    divided, alike, one_job, idle = [[9, 0], [0, 3]], [[2, 4], [1, 2]], [[5, 0], [3, 0]], [[0, 0], [0, 0]]
    found = normalised_information(np.array([divided, alike, one_job, idle]))
    assert found == pytest.approx([1, 0, 0, 0], abs=1e-12)


@given(SEEDS, st.integers(1, 6), st.integers(2, 4))
def test_division_of_labour_is_information_over_entropy(seed: int, agents: int, jobs: int) -> None:
    done = np.random.default_rng(seed).integers(0, 20, (agents, jobs)) + 1
    shares_ = done / done.sum()
    rows, columns = shares_.sum(axis=1), shares_.sum(axis=0)
    information = sum(
        shares_[i, j] * math.log2(shares_[i, j] / (rows[i] * columns[j]))
        for i in range(agents)
        for j in range(jobs)
    )
    entropy = -sum(share * math.log2(share) for share in columns)
    assert normalised_information(done[np.newaxis])[0] == pytest.approx(information / entropy, abs=1e-9)


def test_agents_that_learn_divide_their_labour() -> None:
    found = measuring.emerge(EmergeParams(phenomenon="specialisation", agents=10, repetitions=20), 1, "t")
    assert found.low > 0.9
    assert found.p_value < 0.001
    assert np.mean(found.observed) > 0.6
    assert np.mean(found.null) < 0.1


def test_without_learning_there_is_no_effect_to_find() -> None:
    params = EmergeParams(phenomenon="specialisation", agents=5, repetitions=20, learning=0.0)
    found = [measuring.emerge(params, seed, "t") for seed in range(8)]
    # Of 95 % intervals one in twenty misses, so one may, and no more than two.
    assert sum(each.low <= 0 <= each.high for each in found) >= 6
    assert sum(each.p_value > 0.05 for each in found) >= 6
    assert found[0].observed != found[0].null, "worlds of their own, not the same ones twice"


def test_a_little_learning_does_a_little() -> None:
    none, little, much = (
        division(10, 2, 10, learning=learning, stream=[1]).mean() for learning in (0.0, 0.02, 1.0)
    )
    assert none < little < much


# --- cascades ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accuracy", [0.55, 0.7, 0.85])
@pytest.mark.parametrize("agents", [2, 7, 20])
def test_cascades_are_right_and_wrong_as_often_as_theory_says(accuracy: float, agents: int) -> None:
    repetitions = 4000
    found = shares(choose(agents, repetitions, accuracy=accuracy, social=True, stream=[agents]), accuracy)
    for name in ("right_cascade", "wrong_cascade", "no_cascade"):
        share = found[f"{name}_expected"]
        error = math.sqrt(share * (1 - share) / repetitions)
        assert abs(found[name] - share) <= 4 * error + 1e-3, name
    assert found["wrong_cascade"] > 0.02, "rational agents go wrong together"


@given(SEEDS, st.floats(0.52, 0.97))
@settings(max_examples=25)
def test_once_two_of_a_pair_choose_alike_all_follow(seed: int, accuracy: float) -> None:
    choices = choose(12, 50, accuracy=accuracy, social=True, stream=[seed])
    for row, cascade in zip(choices.right.tolist(), choices.cascade.tolist(), strict=True):
        pairs = [at for at in range(0, 12, 2) if row[at] == row[at + 1]]
        if pairs:
            assert len(set(row[pairs[0] :])) == 1
            assert cascade == (1 if row[-1] else -1)
        else:
            assert cascade == 0


@given(st.integers(1, 60), st.floats(0.51, 0.99))
def test_something_or_nothing_happens(agents: int, accuracy: float) -> None:
    right, wrong, none = expected(agents, accuracy)
    assert right + wrong + none == pytest.approx(1)
    assert min(right, wrong, none) >= -1e-12
    assert right >= wrong - 1e-12


def test_agents_that_see_nobody_are_as_good_as_their_signals() -> None:
    choices = choose(20, 2000, accuracy=0.7, social=False, stream=[1])
    assert choices.right.mean() == pytest.approx(0.7, abs=0.02)
    assert not choices.cascade.any()


def test_who_follows_is_right_more_often_than_alone_and_far_less_often_than_a_vote() -> None:
    last = choose(21, 4000, accuracy=0.7, social=True, stream=[1]).right[:, -1].mean()
    votes = choose(21, 4000, accuracy=0.7, social=False, stream=[2]).right.mean(axis=1) > 0.5
    assert 0.72 < last < 0.80
    assert votes.mean() > 0.95


def test_conformity_is_the_share_of_the_larger_side() -> None:
    right = np.array([[True, True, False, True], [False, False, False, True]])
    assert conformity(Choices(right, np.zeros(2, dtype=np.int8))) == pytest.approx([0.75, 0.75])


def test_agents_that_watch_conform_more_than_agents_that_do_not() -> None:
    found = measuring.emerge(EmergeParams(phenomenon="cascades", agents=20, repetitions=100), 1, "t")
    assert found.low > 0.8
    assert found.p_value < 0.001
    assert set(found.shares) == {
        f"{name}{more}"
        for name in ("right_cascade", "wrong_cascade", "no_cascade")
        for more in ("", "_expected")
    }


# --- effects ----------------------------------------------------------------------------------------------


@given(SEEDS, st.integers(2, 20), st.integers(2, 20))
@settings(max_examples=10)
def test_the_effect_is_cliffs(seed: int, many: int, others: int) -> None:
    rng = np.random.default_rng(seed)
    observed, null = rng.integers(0, 5, many).astype(float), rng.integers(0, 5, others).astype(float)
    over = sum(float(a > b) - float(a < b) for a in observed for b in null) / (many * others)
    found = effect(observed, null, [seed])
    assert found.delta == pytest.approx(over)
    assert -1 <= found.low <= found.high <= 1
    back = effect(null, observed, [seed])
    assert back.delta == pytest.approx(-over)


def test_the_p_value_is_that_of_all_permutations() -> None:
    rng = np.random.default_rng(3)
    observed, null = rng.normal(0.9, 1, 8), rng.normal(0, 1, 8)
    theirs = stats.permutation_test(
        (observed, null),
        lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis),
        vectorized=True,
        n_resamples=20_000,  # more than the 12,870 there are: then all of them, and none drawn
    ).pvalue
    assert effect(observed, null, [1]).p_value == pytest.approx(theirs, abs=0.02)


def test_the_interval_is_as_wide_as_other_samples_say() -> None:
    rng = np.random.default_rng(4)
    drawn = [effect(rng.normal(0.5, 1, 30), rng.normal(0, 1, 30), [number]) for number in range(20)]
    truth = 2 * stats.norm.cdf(0.5 / math.sqrt(2)) - 1
    assert sum(found.low <= truth <= found.high for found in drawn) >= 16
    assert np.mean([found.high - found.low for found in drawn]) < 0.7


def test_samples_apart_have_the_largest_effect_and_no_p_value_of_zero() -> None:
    found = effect(np.arange(20) + 100.0, np.arange(20) + 0.0, [1])
    assert (found.delta, found.low, found.high) == (1, 1, 1)
    assert found.p_value == 1e-4


def test_the_same_values_are_no_effect() -> None:
    found = effect(np.ones(20), np.ones(20), [1])
    assert (found.delta, found.low, found.high, found.p_value) == (0, 0, 0, 1)


def test_both_samples_are_drawn_again_each_for_itself() -> None:
    values = np.arange(30.0)
    found = effect(values, values, [1])
    assert found.delta == 0
    assert found.low < -0.1 < 0.1 < found.high


def test_the_same_seed_gives_the_same_and_another_does_not() -> None:
    for phenomenon in ("specialisation", "cascades"):
        params = EmergeParams(phenomenon=phenomenon, agents=5, repetitions=4)
        first, again, other = (measuring.emerge(params, seed, "t") for seed in (1, 1, 2))
        assert first.observed == again.observed
        assert first.null == again.null
        assert (first.observed, first.null) != (other.observed, other.null)
