"""How members differ, against slow and plain formulas."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.voices import CLASSES, classification, combined, regression, without_folds
from swarm_consensus.diversity import compare, q_statistic, variance

SEEDS = st.integers(0, 2**32 - 1)


@given(SEEDS, st.integers(2, 6))
def test_agreement_is_the_share_of_pairs_that_agree(seed: int, members: int) -> None:
    rng = np.random.default_rng(seed)
    predictions = [rng.random((20, CLASSES)) for _ in range(members)]
    chosen = [prediction.argmax(axis=1) for prediction in predictions]
    by_row = np.mean([a == b for a, b in combinations(chosen, 2)], axis=0)
    found = compare(predictions)
    assert found.agreement == pytest.approx(by_row.mean())
    assert found.diversity == pytest.approx(1 - by_row.mean())
    assert np.allclose(found.row_agreement, by_row)
    expected = [[(a != b).mean() for b in chosen] for a in chosen]
    assert np.allclose(found.disagreement, expected)


def test_twins_do_not_differ_and_opposites_do() -> None:
    first = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert compare([first, first]).diversity == 0
    assert compare([first, 1 - first]).diversity == 1


def test_one_member_has_nobody_to_differ_from() -> None:
    found = compare([np.array([[0.9, 0.1]])])
    assert (found.agreement, found.diversity, found.row_agreement) == (None, None, None)
    assert found.disagreement == ((0.0,),)


def test_q_is_yules() -> None:
    right = np.array([[1, 1, 1, 0, 0, 1, 0, 1], [1, 1, 0, 0, 1, 1, 0, 0]], dtype=bool)
    both, neither, first, second = 3, 2, 2, 1
    q = (both * neither - first * second) / (both * neither + first * second)
    assert q_statistic(right)[0][1] == q_statistic(right)[1][0] == pytest.approx(q)
    assert q_statistic(right)[0][0] == 1


def test_q_is_undefined_where_a_member_is_always_right() -> None:
    right = np.array([[True, True], [True, False]])
    assert q_statistic(right) == ((None, None), (None, 1.0))


def test_q_of_an_ensemble_is_of_the_training_rows() -> None:
    y_train, members = classification()
    found = combined((y_train, members))
    right = np.array([member.out_of_fold.argmax(axis=1) == y_train for member in members])
    assert np.allclose(found.q_statistic, q_statistic(right))
    pairs = [found.q_statistic[a][b] for a, b in combinations(range(3), 2)]
    assert found.q_statistic_mean == pytest.approx(np.mean(pairs))
    assert combined((y_train, without_folds(members)), "soft").q_statistic == ()


@given(SEEDS)
def test_variance_is_that_about_the_weighted_mean(seed: int) -> None:
    y_train, members = regression(seed)
    found = combined((y_train, members))
    weights = [found.weights[member.name] for member in members]
    values = np.array([member.held_out for member in members])
    middle = np.average(values, axis=0, weights=weights)
    expected = np.average((values - middle) ** 2, axis=0, weights=weights).mean()
    assert found.variance == pytest.approx(expected)


def test_variance_of_classes_is_the_mean_over_them() -> None:
    case = classification()
    values = np.array([member.held_out for member in case[1]])
    assert combined(case, "soft").variance == pytest.approx(values.var(axis=0).mean())
    assert combined(case, "stacking").variance == pytest.approx(values.var(axis=0).mean())
    assert combined(case, "best_single").variance == 0


def test_variance_with_weights_by_row() -> None:
    values = [np.array([1.0, 5.0]), np.array([3.0, 5.0])]
    assert variance(values, np.array([[0.5, 0.5], [0.5, 0.5]])) == pytest.approx(0.5)
    assert variance(values, np.array([[1.0, 0.5], [0.0, 0.5]])) == 0


def test_values_have_no_pairs_that_agree() -> None:
    found = combined(regression())
    assert (found.voices.diversity, found.voices.disagreement, found.q_statistic) == (None, (), ())
    assert found.q_statistic_mean is None
