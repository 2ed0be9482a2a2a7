"""Scores against scikit-learn, to the last digit; intervals against the plain bootstrap."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as oracle

from swarm_common.errors import UsageError
from swarm_common.events import Metric
from swarm_metrics.calibration import calibration, expected_calibration_error, settled
from swarm_metrics.scores import class_scores, confusion, confusion_of, r2, score

labels = st.integers(1, 12).flatmap(
    lambda classes: st.lists(
        st.tuples(st.integers(0, classes - 1), st.integers(0, classes - 1)), min_size=1, max_size=60
    )
)
numbers = st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=2, max_size=60)


def one(truth: Any, prediction: Any, seed: int = 42) -> dict[str, Metric]:
    [found] = score(
        np.asarray(truth), [np.asarray(prediction)], [("data", "answer")], seed=seed, name="score"
    )
    return {metric.name: metric for metric in found}


def sure(predicted: NDArray[Any], classes: int) -> NDArray[np.float64]:
    return np.eye(classes)[predicted]


@given(labels)
def test_class_scores_are_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = (np.array(side) for side in zip(*pairs, strict=True))
    found = one(truth, sure(predicted, 12))
    macro: dict[str, Any] = {"average": "macro", "zero_division": 0}
    assert found["accuracy"].value == oracle.accuracy_score(truth, predicted)
    assert found["precision"].value == oracle.precision_score(truth, predicted, **macro)
    assert found["recall"].value == oracle.recall_score(truth, predicted, **macro)
    assert found["f1"].value == oracle.f1_score(truth, predicted, **macro)


@given(labels)
def test_classes_that_do_not_occur_count_for_no_mean(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = (np.array(side) for side in zip(*pairs, strict=True))
    found = class_scores(np.stack([confusion(truth, predicted, 20)] * 2))
    expected = oracle.f1_score(truth, predicted, average="macro", zero_division=0)
    assert found["f1"].tolist() == pytest.approx([expected, expected])


@given(labels)
def test_the_confusion_matrix_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = (np.array(side) for side in zip(*pairs, strict=True))
    expected = oracle.confusion_matrix(truth, predicted, labels=range(12))
    assert np.array_equal(confusion_of(truth, sure(predicted, 12)), expected)


@given(labels, st.integers(0, 2**32))
def test_log_loss_is_scikit_learns(pairs: list[tuple[int, int]], seed: int) -> None:
    truth, _ = (np.array(side) for side in zip(*pairs, strict=True))
    probabilities = np.random.default_rng(seed).dirichlet(np.full(12, 0.3), len(truth)) * 0.99 + 0.01 / 12
    found = one(truth, probabilities)["log_loss"]
    assert found.value == settled(oracle.log_loss(truth, probabilities, labels=range(12)))
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.high


def test_log_loss_is_clipped_as_scikit_learn_does() -> None:
    probabilities = np.array([[1.0, 0.0], [1e-30, 1.0]])
    found = one([0, 0], probabilities)["log_loss"]
    assert found.value == settled(oracle.log_loss([0, 0], probabilities, labels=[0, 1]))


def test_an_infinite_log_loss_is_no_number() -> None:
    shares = np.array([[0.6, 0.4, 0.0], [0.0, 1.0, 0.0], [0.2, 0.8, 0.0]])
    infinite, finite = (
        {metric.name: metric for metric in found}["log_loss"]
        for found in score(np.array([0, 1, 2]), [shares, (shares + 1) / 4], [(), ()], seed=1, name="score")
    )
    assert (infinite.value, infinite.low, infinite.high) == (None, None, None)
    assert infinite.reason == "1 of 3 rows got probability 0 for their true class: the loss is infinite"
    assert (finite.value, finite.reason) == (settled(float(np.log([4 / 1.6, 4 / 2, 4]).mean())), "")


def test_log_loss_intervals_are_those_of_resampled_rows() -> None:
    rng = np.random.default_rng(3)
    truth, probabilities = rng.integers(0, 3, 150), rng.dirichlet([1, 1, 1], 150)
    found = one(truth, probabilities)["log_loss"]
    own = -np.log(probabilities[np.arange(150), truth])
    expected = np.percentile(own[rng.integers(0, 150, (3000, 150))].mean(axis=1), (2.5, 97.5))
    assert (found.low, found.high) == pytest.approx(tuple(expected), rel=0.03)


def test_calibration_by_hand() -> None:
    # Edges lie at k/15: .6 closes the bin above .5333, .61 and .65 are in the next, 1 in the last.
    sureness = np.array([0.6, 0.61, 0.65, 1.0, 1.0])
    probabilities = np.stack([sureness, 1 - sureness], axis=1)
    truth = np.array([0, 0, 1, 0, 0])
    found = calibration(truth, probabilities)
    assert [(round(one.low * 15), round(one.high * 15), one.rows) for one in found] == [
        (8, 9, 1),
        (9, 10, 2),
        (14, 15, 2),
    ]
    assert [(one.confidence, one.accuracy) for one in found] == [(0.6, 1), (0.63, 0.5), (1, 1)]
    assert expected_calibration_error(found) == (1 * 0.4 + 2 * 0.13 + 2 * 0) / 5
    metric = one(truth, probabilities)["ece"]
    assert (metric.value, metric.better, metric.low) == (0.132, "lower", None)
    assert "15 equal-width bins" in metric.estimator


def test_shares_of_votes_fall_into_the_bin_that_they_mean() -> None:
    three_of_five = 0.2 + 0.2 + 0.2
    assert three_of_five > 0.6
    (found,) = calibration(np.array([0]), np.array([[three_of_five, 0.4]]))
    assert (found.low, found.high) == (pytest.approx(8 / 15), 0.6)


@given(labels, st.integers(0, 2**32))
def test_every_row_is_in_one_bin(pairs: list[tuple[int, int]], seed: int) -> None:
    truth, _ = (np.array(side) for side in zip(*pairs, strict=True))
    probabilities = np.random.default_rng(seed).dirichlet(np.full(12, 0.3), len(truth))
    found = calibration(truth, probabilities)
    assert sum(one.rows for one in found) == len(truth)
    assert all(one.low < one.confidence <= one.high + 1e-12 for one in found)
    right = sum(one.rows * one.accuracy for one in found)
    assert right == pytest.approx(int((probabilities.argmax(axis=1) == truth).sum()))


@given(numbers)
def test_value_scores_are_scikit_learns(pairs: list[tuple[float, float]]) -> None:
    truth, predicted = (np.array(side) for side in zip(*pairs, strict=True))
    found = one(truth, predicted)
    assert found["mse"].value == oracle.mean_squared_error(truth, predicted)
    assert found["mae"].value == oracle.mean_absolute_error(truth, predicted)
    assert found["r2"].value == oracle.r2_score(truth, predicted)


def test_r2_of_a_truth_that_does_not_vary() -> None:
    flat = np.ones(4)
    assert r2(flat, flat) == oracle.r2_score(flat, flat)
    assert r2(flat, flat + 1) == oracle.r2_score(flat, flat + 1)


@given(labels)
def test_intervals_hold_together(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = (np.array(side) for side in zip(*pairs, strict=True))
    found = one(truth, sure(predicted, 12))
    for name in ("accuracy", "precision", "recall", "f1"):
        metric = found[name]
        assert metric.low is not None
        assert metric.high is not None
        assert 0 <= metric.low <= metric.high <= 1


def by_hand(
    truth: NDArray[Any], predicted: NDArray[Any], statistic: Any, resamples: int = 3000
) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(truth), (resamples, len(truth)))
    low, high = np.percentile([statistic(truth[rows], predicted[rows]) for rows in drawn], (2.5, 97.5))
    return float(low), float(high)


@pytest.mark.parametrize("name", ["accuracy", "precision", "recall", "f1"])
def test_class_intervals_are_those_of_resampled_rows(name: str) -> None:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 3, 150)
    predicted = np.where(rng.random(150) < 0.7, truth, rng.integers(0, 3, 150))
    metric = one(truth, sure(predicted, 3))[name]
    expected = by_hand(truth, predicted, lambda t, p: float(class_scores(confusion(t, p, 3))[name]))
    assert (metric.low, metric.high) == pytest.approx(expected, abs=0.015)


@pytest.mark.parametrize(
    ("name", "statistic"),
    [("mse", oracle.mean_squared_error), ("mae", oracle.mean_absolute_error), ("r2", oracle.r2_score)],
)
def test_value_intervals_are_those_of_resampled_rows(name: str, statistic: Any) -> None:
    rng = np.random.default_rng(3)
    truth = rng.normal(50, 2, 150)
    predicted = truth + rng.normal(0, 1, 150)
    metric = one(truth, predicted)[name]
    low, high = by_hand(truth, predicted, statistic, 1500)
    assert (metric.low, metric.high) == pytest.approx((low, high), rel=0.05)


def test_a_metric_says_how_it_was_made() -> None:
    metric = one([0, 1, 1], [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])["accuracy"]
    assert metric == Metric(
        name="accuracy",
        value=2 / 3,
        unit="ratio",
        better="higher",
        n=3,
        low=metric.low,
        high=metric.high,
        estimator="share of right rows; 95 % percentile bootstrap over rows, 1000 resamples",
        source=("data", "answer"),
    )


def test_errors_are_better_when_lower() -> None:
    found = one([0.0, 1.0, 2.0], [0.1, 1.0, 2.5])
    assert {name: metric.better for name, metric in found.items()} == {
        "mse": "lower",
        "mae": "lower",
        "r2": "higher",
    }


def test_the_seed_draws_the_resamples() -> None:
    rng = np.random.default_rng(3)
    truth, predicted = rng.normal(size=50), rng.normal(size=50)
    assert one(truth, predicted, 1) == one(truth, predicted, 1)
    assert one(truth, predicted, 1) != one(truth, predicted, 2)


@pytest.mark.parametrize(("truth", "prediction"), [([0, 1], [[1.0, 0.0]]), ([], np.zeros((0, 2)))])
def test_what_cannot_be_scored_is_refused(truth: Any, prediction: Any) -> None:
    with pytest.raises(UsageError):
        one(truth, prediction)
