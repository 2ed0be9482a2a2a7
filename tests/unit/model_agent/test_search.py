"""Candidates are cross-validated as scikit-learn does it, on training rows alone."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.datasets import load_diabetes, load_wine
from sklearn.feature_selection import VarianceThreshold
from sklearn.linear_model import Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import (
    KFold,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
    train_test_split,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from swarm_common import pipelines
from swarm_common.errors import UsageError
from swarm_common.events import digest_view
from swarm_common.pipelines import Spec
from swarm_model_agent import blocks, datasets, search
from swarm_model_agent.blocks import pipeline_of
from swarm_model_agent.datasets import load_held_out, load_training
from swarm_model_agent.params import DataParams, EvaluateParams, HalvingParams, TrainParams
from swarm_model_agent.search import evaluate, first_rows, halving_search, ladder
from swarm_model_agent.training import train

LOGISTIC = {"scale": "standard", "model": "logistic_regression"}
FOREST = {"model": "random_forest", "hyperparameters": {"n_estimators": 50, "max_depth": 6}}


def params(spec: dict[str, Any], **more: Any) -> EvaluateParams:
    return EvaluateParams(**({"dataset": "wine", "candidate": "c", "spec": spec} | more))


def test_scores_are_those_of_cross_val_score() -> None:
    x, y = load_wine(return_X_y=True)
    x, _, y, _ = train_test_split(x, y, test_size=0.2, random_state=42, stratify=y)
    cv = StratifiedKFold(4, shuffle=True, random_state=42)
    model = pipeline_of(Spec(**FOREST), "classification", seed=9)
    found = evaluate("t", params(FOREST, folds=4, out_of_fold=True), seed=9)
    assert np.array_equal(found.fold_scores, cross_val_score(model, x, y, cv=cv))
    expected = cross_val_predict(model, x, y, cv=cv, method="predict_proba")
    assert found.out_of_fold is not None
    assert np.array_equal(found.out_of_fold.numpy(), expected)
    assert found.score == np.mean(found.fold_scores)
    assert found.loss == log_loss(y, expected)
    assert (found.rows, found.folds, found.fits, found.score_name) == (142, 4, 4, "accuracy")


def test_values_are_judged_by_r2_and_squared_error() -> None:
    x, y = load_diabetes(return_X_y=True)
    x, _, y, _ = train_test_split(x, y, test_size=0.2, random_state=42)
    cv = KFold(3, shuffle=True, random_state=42)
    model = make_pipeline(StandardScaler(), Ridge())
    found = evaluate(
        "t", params({"scale": "standard", "model": "ridge_regression"}, dataset="diabetes"), seed=1
    )
    assert np.array_equal(found.fold_scores, cross_val_score(model, x, y, cv=cv))
    assert found.loss == pytest.approx(np.mean((cross_val_predict(model, x, y, cv=cv) - y) ** 2))


def test_a_candidate_scores_what_it_scores_when_it_is_trained() -> None:
    trained, _ = train("t", TrainParams(dataset="wine", model="m", spec=FOREST, folds=3), seed=4)
    assert trained.fold_scores == evaluate("t", params(FOREST), seed=4).fold_scores


def test_the_same_seed_gives_the_same_event() -> None:
    views = [digest_view(evaluate("t", params(FOREST), seed=seed)) for seed in (1, 1, 2)]
    assert views[0] == views[1]
    assert views[0] != views[2]


def test_predictions_travel_only_when_asked_for() -> None:
    assert evaluate("t", params(LOGISTIC), seed=1).out_of_fold is None


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({**LOGISTIC, "hyperparameters": {"C": -1.0}}, "InvalidParameterError: The 'C' parameter"),
        ({**LOGISTIC, "select": "empty"}, "ValueError"),
        ({**LOGISTIC, "scale": "vast"}, "ValueError: Input X contains infinity"),
    ],
)
def test_what_cannot_be_fitted_is_a_result_with_its_reason(
    spec: dict[str, Any], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(blocks.TABLES["select"], "empty", lambda _: VarianceThreshold(1e12))
    monkeypatch.setitem(blocks.TABLES["scale"], "vast", lambda _: FunctionTransformer(lambda x: x * np.inf))
    found = evaluate("t", params(spec, out_of_fold=True), seed=1)
    assert found.failed.startswith(why)
    assert (found.score, found.loss, found.fold_scores, found.out_of_fold) == (None, None, (), None)


def test_warnings_are_told() -> None:
    spec = {"scale": "none", "model": "logistic_regression", "hyperparameters": {"max_iter": 3}}
    [noted] = evaluate("t", params(spec), seed=1).warnings
    assert noted.startswith("ConvergenceWarning")


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"spec": {"model": "svm", "scales": "none"}}, "params.spec"),
        ({"spec": {"model": "svm", "scale": "log"}}, "params.spec.scale"),
        ({"spec": {"model": "oracle"}}, "params.model_type"),
        ({"folds": 100}, "params.folds"),
        ({"dataset": "iris"}, "params.dataset"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(UsageError) as caught:
        evaluate("t", params(LOGISTIC, **wrong) if "spec" not in wrong else params(**wrong), seed=1)
    assert caught.value.field == field


# -- fewer rows --------------------------------------------------------------------------------------------


def test_few_rows_keep_the_shares_of_classes_and_lie_among_more() -> None:
    data = load_training(DataParams(dataset="wine"))
    fewer, more = (first_rows(data, count, seed=3) for count in (30, 71))
    assert set(fewer) < set(more)
    assert len(more) == 71
    shares = np.bincount(data.y[fewer]) / 30
    assert shares == pytest.approx(np.bincount(data.y) / len(data.y), abs=0.03)
    assert set(first_rows(data, 30, seed=4)) != set(fewer)


def test_a_candidate_can_be_tried_on_few_rows() -> None:
    found = evaluate("t", params(LOGISTIC, rows=71), seed=3)
    assert (found.rows, found.fits) == (71, 1.5)
    assert found.fold_scores != evaluate("t", params(LOGISTIC), seed=3).fold_scores
    assert evaluate("t", params(LOGISTIC, rows=10_000), seed=3).rows == 142


# -- halving -----------------------------------------------------------------------------------------------


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first type of model, which is linear, so that a search takes no time."""
    first = {problem: dict(list(models.items())[:1]) for problem, models in pipelines.MODELS.items()}
    monkeypatch.setattr(pipelines, "MODELS", first)


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize(("dataset", "budget"), [("wine", 3), ("diabetes", 6)])
def test_halving_stays_within_its_budget_and_its_best_is_evaluated_like_all(
    dataset: str, budget: int
) -> None:
    problem = "classification" if dataset == "wine" else "regression"
    found = halving_search(
        "t", HalvingParams(dataset=dataset, candidate="halving-1", arm="halving", budget=budget), seed=2
    )
    again = evaluate("t", params(msgspec.to_builtins(found.spec), dataset=dataset), seed=2)
    assert (found.fold_scores, found.loss) == (again.fold_scores, again.loss)
    assert found.evaluations > budget  # most of them on few rows
    assert again.fits < found.fits <= 3 * budget
    assert (found.arm, found.candidate) == ("halving", "halving-1")
    pipelines.check(pipelines.space(problem, 13 if dataset == "wine" else 10), found.spec)


@pytest.mark.usefixtures("cheap")
def test_halving_is_decided_by_its_seed() -> None:
    given = HalvingParams(dataset="diabetes", candidate="h", budget=3)
    views = [digest_view(halving_search("t", given, seed=seed)) for seed in (1, 1, 2)]
    assert views[0] == views[1]
    assert views[0] != views[2]


def test_rungs_have_rows_enough_for_every_class_in_every_fold() -> None:
    data = load_training(DataParams(dataset="digits"))
    rungs, starting = ladder(data, 3, 20)
    assert rungs == [159, 479, 1437]
    assert starting >= 20
    assert ladder(data, 20, 5) == ([1437], 5)  # too many folds for any subset


# -- held-out rows -----------------------------------------------------------------------------------------


class Peeping(BaseEstimator):  # type: ignore[misc]
    """A transform that asks for held-out rows."""

    def fit(self, _x: Any, _y: Any = None) -> Peeping:
        self.mean_ = load_held_out(DataParams(dataset="wine")).x.mean(axis=0)
        return self

    def transform(self, x: Any) -> Any:
        return x - self.mean_


@pytest.mark.usefixtures("cheap")
def test_searching_never_opens_held_out_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(_params: DataParams) -> None:
        pytest.fail("held-out rows were opened")

    monkeypatch.setattr(datasets, "load_held_out", opened)
    evaluate("t", params(LOGISTIC), seed=1)
    halving_search("t", HalvingParams(dataset="wine", candidate="h", budget=2), seed=1)
    assert not hasattr(search, "load_held_out")


def test_a_transform_that_asks_for_held_out_rows_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(blocks.TABLES["scale"], "standard", lambda _: Peeping())
    with pytest.raises(UsageError, match="sealed"):
        evaluate("t", params(LOGISTIC), seed=1)
    assert load_held_out(DataParams(dataset="wine")).x.shape == (36, 13)  # open again afterwards


def test_held_out_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest_view(evaluate("t", params(FOREST), seed=1))
    real = datasets._opened

    def other(recipe: bytes) -> Any:
        about, x, y, x_test, y_test = real(recipe)
        return about, x, y, np.zeros_like(x_test), np.zeros_like(y_test)

    monkeypatch.setattr(datasets, "_opened", other)
    assert digest_view(evaluate("t", params(FOREST), seed=1)) == before
