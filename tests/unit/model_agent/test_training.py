"""Training does what scikit-learn does, to the last digit, and says what it did."""

from __future__ import annotations

import hashlib
import warnings
from typing import Any

import msgspec
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_wine
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score
from sklearn.model_selection import (
    KFold,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
    train_test_split,
)
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from swarm_common.errors import UsageError
from swarm_common.events.agent import ModelTrained, Predicted
from swarm_model_agent.assembling import assemble
from swarm_model_agent.datasets import About, HeldOut, Training, load_held_out
from swarm_model_agent.models import build, known_types
from swarm_model_agent.params import DataParams, PartParams, Stream, TrainParams
from swarm_model_agent.training import predict, splits, train, train_part

SEED = 7
CLASSIFIERS = known_types("classification")
REGRESSORS = known_types("regression")
QUICK: dict[str, dict[str, Any]] = {
    "ada_boost": {"n_estimators": 5},
    "catboost": {"iterations": 5},
    "extra_trees": {"n_estimators": 5},
    "lightgbm": {"n_estimators": 5},
    "xgboost": {"n_estimators": 5},
    "random_forest": {"n_estimators": 5},
    "gradient_boost": {"n_estimators": 3},
    "hist_gradient_boost": {"max_iter": 3},
    "neural_network": {"hidden_layer_sizes": [8], "max_iter": 20},
}


def params(model_type: str, **more: Any) -> TrainParams:
    given = {"dataset": "wine", "model": model_type, "model_type": model_type} | more
    return TrainParams(**({"hyperparameters": QUICK.get(model_type, {})} | given))


def wine() -> list[Any]:
    x, y = load_wine(return_X_y=True)
    return train_test_split(x, y, test_size=0.2, random_state=42, stratify=y)


def diabetes() -> list[Any]:
    x, y = load_diabetes(return_X_y=True)
    return train_test_split(x, y, test_size=0.2, random_state=42)


def assert_as_scikit_learn(
    trained: ModelTrained, predicted: Predicted, model: Any, parts: list[Any], method: str, cv: Any
) -> None:
    x_train, x_test, y_train, _ = parts
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Of class probabilities the likeliest class counts, which for `svm` is not always what it predicts.
        scoring = _likeliest if method == "predict_proba" else "r2"
        assert list(trained.fold_scores) == list(
            cross_val_score(model, x_train, y_train, cv=cv, scoring=scoring)
        )
        expected = cross_val_predict(model, x_train, y_train, cv=cv, method=method)
        fitted = clone(model).fit(x_train, y_train)
    assert predicted.out_of_fold is not None
    assert np.array_equal(predicted.out_of_fold.numpy(), expected)
    assert np.array_equal(predicted.held_out.numpy(), getattr(fitted, method)(x_test))


def _likeliest(model: Any, x: Any, y: Any) -> float:
    return float(accuracy_score(y, model.classes_[model.predict_proba(x).argmax(axis=1)]))


@pytest.mark.parametrize("model_type", CLASSIFIERS)
def test_a_classifier_predicts_as_cross_val_predict_and_a_direct_fit(model_type: str) -> None:
    trained, predicted = train("t", params(model_type, folds=3), seed=SEED)
    model = build(model_type, "classification", QUICK.get(model_type, {}), seed=SEED)
    cv = StratifiedKFold(3, shuffle=True, random_state=42)
    assert_as_scikit_learn(trained, predicted, model, wine(), "predict_proba", cv)


@pytest.mark.parametrize("model_type", REGRESSORS)
def test_a_regressor_predicts_as_cross_val_predict_and_a_direct_fit(model_type: str) -> None:
    trained, predicted = train("t", params(model_type, dataset="diabetes", folds=3), seed=SEED)
    model = build(model_type, "regression", QUICK.get(model_type, {}), seed=SEED)
    cv = KFold(3, shuffle=True, random_state=42)
    assert_as_scikit_learn(trained, predicted, model, diabetes(), "predict", cv)


@pytest.mark.parametrize(
    ("model_type", "model"),
    [
        ("random_forest", RandomForestClassifier(n_estimators=5, random_state=SEED)),
        ("gradient_boost", GradientBoostingClassifier(n_estimators=3, random_state=SEED)),
        ("logistic_regression", make_pipeline(StandardScaler(), LogisticRegression(random_state=SEED))),
        (
            "neural_network",
            make_pipeline(StandardScaler(), MLPClassifier([8], max_iter=20, random_state=SEED)),
        ),
    ],
)
def test_a_name_stands_for_the_estimator_one_expects(model_type: str, model: Any) -> None:
    _, predicted = train("t", params(model_type), seed=SEED)
    x_train, x_test, y_train, _ = wine()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = model.fit(x_train, y_train).predict_proba(x_test)
    assert np.array_equal(predicted.held_out.numpy(), expected)


def test_models_that_do_not_want_scaling_get_none() -> None:
    _, predicted = train("t", params("random_forest", dataset="diabetes"), seed=SEED)
    x_train, x_test, y_train, _ = diabetes()
    expected = RandomForestRegressor(n_estimators=5, random_state=SEED).fit(x_train, y_train).predict(x_test)
    assert np.array_equal(predicted.held_out.numpy(), expected)


def test_scaling_can_be_left_out() -> None:
    _, predicted = train("t", params("ridge_regression", dataset="diabetes", scale=False), seed=SEED)
    x_train, x_test, y_train, _ = diabetes()
    assert np.array_equal(predicted.held_out.numpy(), Ridge().fit(x_train, y_train).predict(x_test))


@pytest.mark.parametrize(
    ("model_type", "name", "value"),
    [
        ("random_forest", "n_estimators", 9),
        ("random_forest", "max_depth", 1),
        ("gradient_boost", "learning_rate", 0.7),
        ("hist_gradient_boost", "max_leaf_nodes", 3),
        ("svm", "C", 0.01),
        ("svm", "kernel", "linear"),
        ("logistic_regression", "C", 0.001),
        ("neural_network", "hidden_layer_sizes", [3, 2]),
    ],
)
def test_hyperparameters_reach_the_model(model_type: str, name: str, value: Any) -> None:
    usual = QUICK.get(model_type, {})
    _, before = train("t", params(model_type), seed=SEED)
    trained, after = train("t", params(model_type, hyperparameters={**usual, name: value}), seed=SEED)
    assert trained.hyperparameters[name] == value
    assert before.held_out != after.held_out


def test_what_was_fitted_can_be_fitted_again_from_the_event() -> None:
    trained, predicted = train("t", params("random_forest"), seed=SEED)
    x_train, x_test, y_train, _ = wine()
    again = RandomForestClassifier(**trained.hyperparameters).fit(x_train, y_train)
    assert np.array_equal(again.predict_proba(x_test), predicted.held_out.numpy())


def test_the_seed_decides() -> None:
    one, again, other = (train("t", params("random_forest"), seed=seed)[0].fitted for seed in (1, 1, 2))
    assert one == again
    assert one != other


def test_fitted_is_the_hash_of_the_predictions() -> None:
    trained, predicted = train("t", params("logistic_regression"), seed=SEED)
    assert trained.fitted == hashlib.sha256(predicted.held_out.data).hexdigest()


def test_what_it_cost_is_measured() -> None:
    trained, _ = train("t", params("random_forest", folds=3), seed=SEED, instance="host-1")
    assert trained.fit_s > 0
    assert len(trained.fold_s) == 3
    assert min(trained.fold_s) > 0
    assert trained.score_s > 0
    assert trained.cpu_s > 0
    assert trained.max_rss_bytes > 10_000_000
    assert trained.worker.startswith("host-1/")


def test_fold_scores_are_those_of_the_folds() -> None:
    trained, predicted = train("t", params("logistic_regression", folds=4), seed=SEED)
    x_train, _, y_train, _ = wine()
    folds = StratifiedKFold(4, shuffle=True, random_state=42).split(x_train, y_train)
    assert predicted.out_of_fold is not None
    chosen = predicted.out_of_fold.numpy().argmax(axis=1)
    assert list(trained.fold_scores) == [float((chosen[rows] == y_train[rows]).mean()) for _, rows in folds]


def test_without_folds_nothing_is_predicted_out_of_fold() -> None:
    trained, predicted = train("t", params("logistic_regression"), seed=SEED)
    assert (trained.folds, trained.fold_scores, trained.fold_s, predicted.out_of_fold) == (0, (), (), None)


def test_a_fit_that_does_not_converge_says_so() -> None:
    trained, _ = train("t", params("neural_network", hyperparameters={"max_iter": 1}), seed=SEED)
    assert any(text.startswith("ConvergenceWarning: ") for text in trained.warnings)


def test_a_class_that_a_fold_has_not_seen_gets_probability_zero() -> None:
    x = np.arange(20.0).reshape(10, 2)
    y = np.array([0, 0, 0, 1, 1, 1, 0, 1, 0, 2])
    data = Training(About(classes=("a", "b", "c"), columns=(), categorical=(), notes=()), x, y)
    found = np.full((10, 3), -1.0)
    for seen, unseen in splits(data, 2, 0):
        model = build("random_forest", "classification", {"n_estimators": 3}, seed=SEED)
        found[unseen] = predict(model.fit(x[seen], y[seen]), x[unseen], data.classes)
    assert found.shape == (10, 3)
    assert found[9, 2] == 0
    assert np.allclose(found.sum(axis=1), 1)


def refusal(given: TrainParams, seed: int = SEED) -> UsageError:
    with pytest.raises(UsageError) as caught:
        train("t", given, seed=seed)
    return caught.value


def test_an_unknown_hyperparameter_is_refused_by_name() -> None:
    error = refusal(params("random_forest", hyperparameters={"trees": 5}))
    assert error.field == "params.hyperparameters.trees"
    assert "n_estimators" in error.allowed


def test_an_unknown_type_is_refused_with_those_there_are() -> None:
    error = refusal(params("perceptron"))
    assert (error.field, error.given) == ("params.model_type", "perceptron")
    assert tuple(error.allowed.split(", ")) == CLASSIFIERS


def test_a_type_for_the_other_problem_is_refused() -> None:
    assert "does not solve classification" in str(refusal(params("ridge_regression")))
    assert "does not solve regression" in str(refusal(params("logistic_regression", dataset="diabetes")))


def test_a_value_that_scikit_learn_refuses_is_the_users_to_mend() -> None:
    error = refusal(params("random_forest", hyperparameters={"n_estimators": -1}))
    assert error.field == "params.hyperparameters"
    assert "n_estimators" in str(error)


@pytest.mark.parametrize("folds", [1, 100])
def test_folds_that_cannot_be_are_refused(folds: int) -> None:
    assert refusal(params("random_forest", folds=folds)).field == "params.folds"


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_is_no_random_state_is_refused(seed: int) -> None:
    assert refusal(params("random_forest"), seed=seed).field == "seed"


def test_the_events_survive_the_wire() -> None:
    trained, predicted = train("t", params("random_forest", folds=2), seed=SEED)
    assert msgspec.json.decode(msgspec.json.encode(trained), type=ModelTrained) == trained
    assert msgspec.json.decode(msgspec.json.encode(predicted), type=Predicted) == predicted


@pytest.mark.parametrize("dataset", ["wine", "diabetes"])
def test_folds_apart_and_trees_apart_make_what_the_whole_makes(dataset: str) -> None:
    given = msgspec.structs.asdict(params("random_forest", dataset=dataset, folds=3))
    parts = [
        *(train_part("p", PartParams(**given, fold=fold), seed=SEED) for fold in (2, 0, 1)),
        *(train_part("p", PartParams(**given, trees=trees), seed=SEED) for trees in ((2, 5), (0, 2))),
    ]
    trained, predicted = assemble("t", "random_forest", parts)
    whole, expected = train("t", params("random_forest", dataset=dataset, folds=3), seed=SEED)
    assert predicted.out_of_fold == expected.out_of_fold
    assert np.allclose(predicted.held_out.numpy(), expected.held_out.numpy(), rtol=1e-14, atol=0)
    assert (trained.fold_scores, trained.hyperparameters) == (whole.fold_scores, whole.hyperparameters)
    assert trained.parts == 5
    assert trained.cpu_s == sum(part.cpu_s for part in parts)


@pytest.mark.parametrize("missing", [0, 3], ids=["a fold", "the first trees"])
def test_parts_that_do_not_make_a_whole_are_refused(missing: int) -> None:
    given = msgspec.structs.asdict(params("random_forest", folds=2))
    parts = [
        *(train_part("p", PartParams(**given, fold=fold), seed=SEED) for fold in (0, 1)),
        *(train_part("p", PartParams(**given, trees=trees), seed=SEED) for trees in ((3, 5), (0, 3))),
    ]
    del parts[missing]
    with pytest.raises(UsageError, match="do not make up one training"):
        assemble("t", "random_forest", parts)


@pytest.mark.parametrize(
    ("model_type", "more", "field"),
    [
        ("svm", {"trees": (0, 1)}, "params.trees"),
        ("random_forest", {"trees": (3, 9)}, "params.trees"),
        ("random_forest", {"folds": 2, "fold": 2}, "params.fold"),
    ],
)
def test_parts_that_cannot_be_are_refused(model_type: str, more: dict[str, Any], field: str) -> None:
    given = PartParams(**(msgspec.structs.asdict(params(model_type)) | more))
    with pytest.raises(UsageError) as caught:
        train_part("p", given, seed=SEED)
    assert caught.value.field == field


DRIFT = {
    "dataset": "synthetic_drift",
    "make": {"n_samples": 1200, "n_features": 3, "concepts": 3, "turn": 0.5},
    "order": "time",
    "test_share": 0.75,
}


def right(predicted: Predicted, rows: slice) -> float:
    truth = load_held_out(DataParams(**DRIFT)).y[rows]
    return float((predicted.held_out.numpy()[rows].argmax(axis=1) == truth).mean())


def test_a_member_that_forgets_follows_a_rule_that_turns() -> None:
    follow = {"block": 50, "refit": 1}
    given = params("logistic_regression", **DRIFT)
    fixed, forgetting = (
        train("t", msgspec.structs.replace(given, stream=stream), seed=SEED)[1]
        for stream in (None, Stream(**follow, window=100))
    )
    late = slice(720, 900)
    assert right(forgetting, late) > right(fixed, late) + 0.2


def test_no_block_of_a_stream_is_predicted_with_its_own_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    given = params("logistic_regression", **DRIFT, stream=Stream(block=50, refit=2))
    before = train("t", given, seed=SEED)[1].held_out.numpy()
    real = load_held_out(given)
    altered = HeldOut(real.x, np.concatenate([real.y[:100], 1 - real.y[100:]]))
    monkeypatch.setattr("swarm_model_agent.training.load_held_out", lambda _: altered)
    after = train("t", given, seed=SEED)[1].held_out.numpy()
    assert np.array_equal(before[:200], after[:200])
    assert not np.array_equal(before[200:], after[200:])
