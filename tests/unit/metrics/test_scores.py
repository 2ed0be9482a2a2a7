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
    for metric in one(truth, sure(predicted, 12)).values():
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
