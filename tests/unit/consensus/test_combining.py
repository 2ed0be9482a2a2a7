"""How many answers become one, against scikit-learn, against slow and plain formulas, and what must not matter."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error, r2_score

from swarm_common.errors import UsageError
from swarm_common.resampling import counts, interval, stream_of
from swarm_consensus.combining import (
    Combined,
    Member,
    agreement,
    combine,
    loss,
    mix,
    score,
    votes,
    weights_of,
)

CLASSES = 3


def probabilities(rng: np.random.Generator, truth: NDArray[Any], skill: float) -> NDArray[np.float64]:
    """Return made-up predictions: noise, with more on the right class the greater the skill."""
    found = rng.dirichlet(np.ones(CLASSES), len(truth))
    found[np.arange(len(truth)), truth] += skill * rng.random(len(truth))
    return found / found.sum(axis=1, keepdims=True)


def classification(
    seed: int = 0, skills: tuple[float, ...] = (2.0, 1.0, 0.2)
) -> tuple[NDArray[Any], list[Member]]:
    rng = np.random.default_rng(seed)
    y_train, y_test = rng.integers(0, CLASSES, 200), rng.integers(0, CLASSES, 50)
    return y_train, [
        Member(f"m{number}", probabilities(rng, y_test, skill), probabilities(rng, y_train, skill))
        for number, skill in enumerate(skills)
    ]


def regression(
    seed: int = 0, noises: tuple[float, ...] = (0.1, 1.0, 3.0)
) -> tuple[NDArray[Any], list[Member]]:
    rng = np.random.default_rng(seed)
    y_train, y_test = rng.normal(100, 2, 200), rng.normal(100, 2, 50)
    return y_train, [
        Member(f"m{number}", y_test + rng.normal(0, noise, 50), y_train + rng.normal(0, noise, 200))
        for number, noise in enumerate(noises)
    ]


def combined(case: tuple[NDArray[Any], list[Member]], strategy: str = "weighted", seed: int = 42) -> Combined:
    return combine(case[1], case[0], strategy, seed=seed, name="combine")


# -- weights and losses ------------------------------------------------------------------------------------


def test_losses_are_scikit_learns_log_loss_out_of_fold() -> None:
    y_train, members = classification()
    expected = {m.name: log_loss(y_train, m.out_of_fold, labels=range(CLASSES)) for m in members}
    assert combined((y_train, members)).losses == pytest.approx(expected, rel=1e-11)


def test_losses_of_values_are_mean_squared_errors() -> None:
    y_train, members = regression()
    expected = {m.name: mean_squared_error(y_train, m.out_of_fold) for m in members}
    assert combined((y_train, members)).losses == pytest.approx(expected, rel=1e-11)


def test_a_sure_and_wrong_answer_costs_much_and_not_everything() -> None:
    assert loss(np.array([0]), np.array([[0.0, 1.0]])) == pytest.approx(-np.log(np.finfo(float).eps))


@pytest.mark.parametrize("case", [classification(), regression()], ids=["classes", "values"])
def test_weights_go_with_one_over_loss_squared(case: Any) -> None:
    found = combined(case)
    products = [found.weights[name] * value**2 for name, value in found.losses.items()]
    assert products == pytest.approx([products[0]] * 3)
    assert sum(found.weights.values()) == pytest.approx(1)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=8))
def test_weights_sum_to_one_and_favour_the_smaller_loss(losses: list[float]) -> None:
    weights = weights_of(losses, len(losses), "weighted")
    assert sum(weights) == pytest.approx(1)
    assert weights[losses.index(min(losses))] == max(weights)


@pytest.mark.parametrize("strategy", ["soft", "majority"])
def test_other_strategies_weigh_equally(strategy: str) -> None:
    assert set(combined(classification(), strategy).weights.values()) == {1 / 3}


# -- the mix -----------------------------------------------------------------------------------------------


def test_weighted_is_the_weighted_mean() -> None:
    case = classification()
    found = combined(case)
    expected = sum(found.weights[m.name] * m.held_out for m in case[1])
    assert np.allclose(found.prediction, expected, rtol=1e-15)


@pytest.mark.parametrize("case", [classification(), regression()], ids=["classes", "values"])
def test_soft_is_the_mean(case: Any) -> None:
    expected = np.mean([member.held_out for member in case[1]], axis=0)
    assert np.allclose(combined(case, "soft").prediction, expected, rtol=1e-14)


def test_majority_is_the_share_of_votes_and_ties_go_to_the_lowest_class() -> None:
    rows = [np.array([[0.1, 0.9, 0.0]]), np.array([[0.9, 0.1, 0.0]]), np.array([[0.4, 0.4, 0.2]])]
    assert np.allclose(mix(rows, [1 / 3] * 3, "majority"), [[2 / 3, 1 / 3, 0]])
    tied = mix(rows[:2], [0.5, 0.5], "majority")
    assert tied.tolist() == [[0.5, 0.5, 0.0]]
    assert tied.argmax(axis=1) == [0]


@given(st.integers(0, 2**32 - 1), st.sampled_from(["weighted", "soft", "majority"]))
def test_every_strategy_gives_probabilities(seed: int, strategy: str) -> None:
    prediction = combined(classification(seed), strategy).prediction
    assert np.allclose(prediction.sum(axis=1), 1)
    assert prediction.min() >= 0


@given(st.integers(0, 2**32 - 1), st.permutations(range(3)))
def test_the_order_of_members_does_not_matter(seed: int, order: list[int]) -> None:
    y_train, members = classification(seed)
    one, other = combined((y_train, members)), combined((y_train, [members[index] for index in order]))
    assert one.weights == pytest.approx(other.weights)
    assert np.allclose(one.prediction, other.prediction)


def test_one_member_alone_is_its_own_answer() -> None:
    y_train, members = classification(skills=(1.0,))
    found = combined((y_train, members))
    assert np.array_equal(found.prediction, members[0].held_out)
    assert (found.agreement, found.gains) == (None, {})


# -- agreement, confidence, score --------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_agreement_is_the_share_of_pairs_that_agree(seed: int, members: int) -> None:
    rng = np.random.default_rng(seed)
    predictions = [rng.random((20, CLASSES)) for _ in range(members)]
    chosen = [prediction.argmax(axis=1) for prediction in predictions]
    expected = np.mean([(a == b).mean() for a, b in combinations(chosen, 2)])
    assert agreement(predictions) == pytest.approx(expected)


def test_confidence_is_the_mean_share_of_the_winner() -> None:
    found = combined(classification())
    assert found.confidence == pytest.approx(found.prediction.max(axis=1).mean())


def test_values_have_no_agreement_or_confidence() -> None:
    found = combined(regression())
    assert (found.agreement, found.confidence) == (None, None)


def test_scores_are_scikit_learns() -> None:
    y_class, members = classification()
    for member in members:
        chosen = member.out_of_fold.argmax(axis=1)
        assert score(y_class, member.out_of_fold) == accuracy_score(y_class, chosen)
    y_value, members = regression()
    for member in members:
        assert score(y_value, member.out_of_fold) == pytest.approx(r2_score(y_value, member.out_of_fold))


def test_r2_of_a_truth_that_does_not_vary() -> None:
    flat = np.ones(5)
    assert score(flat, flat) == r2_score(flat, flat) == 1
    assert score(flat, flat + 1) == r2_score(flat, flat + 1) == 0


# -- gains -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["weighted", "soft", "majority"])
def test_a_gain_is_the_score_with_all_less_that_without_one(strategy: str) -> None:
    y_train, members = classification()
    found = combined((y_train, members), strategy)
    for member in members:
        rest = combined((y_train, [other for other in members if other is not member]), strategy)
        expected = found.out_of_fold_score - rest.out_of_fold_score
        assert found.gains[member.name].value == pytest.approx(expected)


@pytest.mark.parametrize("case", [classification(), regression()], ids=["classes", "values"])
def test_the_interval_holds_the_gain(case: Any) -> None:
    for gain in combined(case).gains.values():
        assert gain.low <= gain.value <= gain.high


def test_a_member_that_knows_much_gains_and_an_echo_does_not() -> None:
    y_train, members = classification(skills=(0.3, 0.3, 6.0))
    echo = Member("echo", members[0].held_out, members[0].out_of_fold)
    found = combined((y_train, [*members, echo])).gains
    assert found["m2"].low > 0
    assert found["echo"].low <= 0


def test_the_interval_is_that_of_resampled_rows() -> None:
    y_train, members = classification()
    seen = [member.out_of_fold for member in members]
    without = mix(seen[1:], [0.5, 0.5], "soft")
    whole = mix(seen, [1 / 3] * 3, "soft")
    right = (votes(whole) - votes(without))[np.arange(len(y_train)), y_train]
    drawn = np.concatenate([block @ right for block in counts(len(y_train), stream_of(1, "x"), 4000)])
    low, high = interval(drawn / len(y_train))
    gain = combined((y_train, members), "soft").gains["m0"]
    assert (gain.low, gain.high) == pytest.approx((float(low), float(high)), abs=0.02)


def test_the_seed_draws_the_resamples() -> None:
    case = regression()
    one, again, other = combined(case, seed=1), combined(case, seed=1), combined(case, seed=2)
    assert one.gains == again.gains
    assert one.gains != other.gains
    assert one.weights == other.weights


# -- what makes no sense -----------------------------------------------------------------------------------


def without_folds(members: list[Member]) -> list[Member]:
    return [Member(member.name, member.held_out, None) for member in members]


def test_without_folds_there_are_no_losses_gains_or_score() -> None:
    y_train, members = classification()
    found = combined((y_train, without_folds(members)), "soft")
    assert (found.losses, found.gains, found.out_of_fold_score) == ({}, {}, None)


@pytest.mark.parametrize(
    ("case", "strategy", "field"),
    [
        (classification(), "mean", "params.strategy"),
        (regression(), "majority", "params.strategy"),
        ((classification()[0], without_folds(classification()[1])), "weighted", "params.strategy"),
        ((classification()[0], []), "soft", "needs"),
        ((classification()[0][:-1], classification()[1]), "soft", "needs"),
        ((classification()[0], classification()[1] * 2), "soft", "params.model"),
        ((classification()[0], classification()[1] + regression()[1]), "soft", "params.model"),
    ],
)
def test_what_cannot_be_combined_is_refused(case: Any, strategy: str, field: str) -> None:
    with pytest.raises(UsageError) as caught:
        combined(case, strategy)
    assert caught.value.field == field


def test_members_of_different_shape_are_refused_by_name() -> None:
    y_train, members = classification()
    short = Member("short", members[0].held_out[:-1], members[0].out_of_fold)
    with pytest.raises(UsageError) as caught:
        combined((y_train, [*members, short]), "soft")
    assert caught.value.given == "short"
