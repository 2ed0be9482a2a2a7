"""Every type of model is what its name says, and what it is told reaches it."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_diabetes, load_wine
from sklearn.linear_model import Lasso
from sklearn.pipeline import Pipeline

from swarm_common.errors import UsageError
from swarm_model_agent.models import (
    MODEL_TYPES,
    build,
    estimator,
    hyperparameters_of,
    known_types,
    wants_scaling,
)
from swarm_model_agent.params import TrainParams
from swarm_model_agent.registry import ModelType
from swarm_model_agent.training import train

SEED = 7
#: A hyperparameter of each type, at a value that changes what it predicts.
TOLD: dict[str, dict[str, Any]] = {
    "ada_boost": {"n_estimators": 2},
    "bayesian_ridge": {"fit_intercept": False},
    "catboost": {"depth": 1},
    "decision_tree": {"max_depth": 1},
    "elastic_net": {"alpha": 5.0},
    "extra_trees": {"max_depth": 1},
    "gradient_boost": {"learning_rate": 0.9},
    "hist_gradient_boost": {"max_leaf_nodes": 2},
    "k_neighbors": {"n_neighbors": 1},
    "lasso_regression": {"alpha": 5.0},
    "lightgbm": {"num_leaves": 2},
    "linear_discriminant": {"solver": "lsqr", "shrinkage": 1.0},
    "linear_regression": {"fit_intercept": False},
    "linear_svm": {"C": 0.0001},
    "logistic_regression": {"C": 0.001},
    "naive_bayes": {"var_smoothing": 0.5},
    "neural_network": {"hidden_layer_sizes": [3, 2]},
    "random_forest": {"max_depth": 1},
    "ridge_regression": {"alpha": 500.0},
    "svm": {"kernel": "linear"},
    "xgboost": {"max_depth": 1},
}
#: Little work for those that do much; also what the others are compared with.
FEW: dict[str, dict[str, Any]] = {
    "ada_boost": {"n_estimators": 4},
    "catboost": {"iterations": 8, "learning_rate": 0.3},
    "extra_trees": {"n_estimators": 4},
    "gradient_boost": {"n_estimators": 4},
    "hist_gradient_boost": {"max_iter": 4},
    "lightgbm": {"n_estimators": 4},
    "neural_network": {"hidden_layer_sizes": [8], "max_iter": 20},
    "random_forest": {"n_estimators": 4},
    "xgboost": {"n_estimators": 4},
}
WINE = load_wine(return_X_y=True)
DIABETES = load_diabetes(return_X_y=True)
EXTRAS = ("catboost", "lightgbm", "xgboost")
BOTH = ("classification", "regression")


def here(name: str) -> Any:
    there = MODEL_TYPES[name].installed()
    return pytest.mark.skipif(not there, reason=f"{name} is not installed: it is an extra")


def each(names: Any) -> list[Any]:
    return [pytest.param(name, marks=here(name)) for name in names]


SOLVING = [
    pytest.param(name, problem, marks=here(name), id=f"{name}-{problem}")
    for name, entry in MODEL_TYPES.items()
    for problem in BOTH
    if entry.solves(problem)
]


def fitted(name: str, problem: str, told: dict[str, Any], seed: int = SEED) -> tuple[Any, np.ndarray]:
    """Return the fitted estimator inside the model, and what the model predicts."""
    x, y = WINE if problem == "classification" else DIABETES
    model = build(name, problem, FEW.get(name, {}) | told, seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a few iterations do not converge
        model.fit(x, y)
    inner = model[-1] if isinstance(model, Pipeline) else model
    if isinstance(inner, CalibratedClassifierCV):
        inner = inner.calibrated_classifiers_[0].estimator
    return inner, model.predict_proba(x) if problem == "classification" else model.predict(x)


def test_the_types_of_the_catalogue_are_there() -> None:
    assert set(MODEL_TYPES) >= {
        *("random_forest", "gradient_boost", "hist_gradient_boost", "neural_network", "svm", "elastic_net"),
        *("logistic_regression", "linear_regression", "ridge_regression", "lasso_regression"),
        *("xgboost", "lightgbm", "catboost"),
    }
    assert list(MODEL_TYPES) == sorted(MODEL_TYPES)
    assert set(TOLD) == set(MODEL_TYPES)


@pytest.mark.parametrize(("name", "problem"), SOLVING)
def test_a_hyperparameter_reaches_the_estimator_that_is_fitted(name: str, problem: str) -> None:
    told = TOLD[name]
    usual, before = fitted(name, problem, {})
    changed, after = fitted(name, problem, told)
    for key, value in told.items():
        expected = tuple(value) if isinstance(value, list) else value
        assert changed.get_params()[key] == expected
        assert usual.get_params().get(key) != expected
    assert not np.allclose(before, after)


@pytest.mark.parametrize(("name", "problem"), SOLVING)
def test_what_a_model_reports_builds_it_again(name: str, problem: str) -> None:
    _, before = fitted(name, problem, TOLD[name])
    entry = MODEL_TYPES[name]
    first = build(name, problem, FEW.get(name, {}) | TOLD[name], seed=SEED)
    stated = {
        key: value
        for key, value in hyperparameters_of(first).items()
        if key not in entry.defaults  # its own are set again
    }
    _, after = fitted(name, problem, stated, seed=SEED + 1)
    assert np.array_equal(before, after)


@pytest.mark.parametrize(("name", "problem"), SOLVING)
def test_the_same_seed_gives_the_same_model(name: str, problem: str) -> None:
    assert np.array_equal(fitted(name, problem, {})[1], fitted(name, problem, {})[1])


@pytest.mark.parametrize("name", each(EXTRAS))
def test_the_seed_decides(name: str) -> None:
    sampling: dict[str, Any] = {"subsample": 0.5}
    sampling |= {"lightgbm": {"subsample_freq": 1}, "catboost": {"bootstrap_type": "Bernoulli"}}.get(name, {})
    one, other = (fitted(name, "regression", sampling, seed=seed)[1] for seed in (1, 2))
    assert not np.array_equal(one, other)
    stated = {"random_state": 2}
    assert np.array_equal(fitted(name, "regression", sampling | stated, seed=1)[1], other)


@pytest.mark.parametrize("name", each(name for name in MODEL_TYPES if MODEL_TYPES[name].classifier))
def test_labels_may_have_gaps_as_in_a_fold_that_misses_a_class(name: str) -> None:
    x, y = WINE
    labels = np.array([0, 2, 3])[y]
    model = build(name, "classification", FEW.get(name, {}), seed=SEED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = clone(model).fit(x, labels)
    assert list(model.classes_) == [0, 2, 3]
    probabilities = model.predict_proba(x)
    assert probabilities.shape == (len(x), 3)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert np.array_equal(model.predict(x), np.array([0, 2, 3])[probabilities.argmax(axis=1)])
    two = labels > 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(x[two], labels[two])  # again, on fewer
    assert list(model.classes_) == [2, 3]
    assert set(model.predict(x[two])) <= {2, 3}


@pytest.mark.parametrize("name", each(["xgboost"]))
def test_one_class_is_refused_as_a_value_error(name: str) -> None:
    with pytest.raises(ValueError, match="1 class; two"):
        build(name, "classification", {}, seed=SEED).fit(WINE[0], np.zeros(len(WINE[0]), dtype=int))


@pytest.mark.parametrize("name", each(EXTRAS))
@pytest.mark.parametrize("problem", BOTH)
def test_a_booster_is_quiet_writes_no_file_and_takes_one_thread(
    name: str,
    problem: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    inner, _ = fitted(name, problem, {})
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []
    told = inner.get_params()
    assert told["thread_count" if name == "catboost" else "n_jobs"] == 1


@pytest.mark.parametrize("name", each(EXTRAS))
def test_a_booster_has_as_many_trees_as_it_was_told(name: str) -> None:
    told = {"iterations" if name == "catboost" else "n_estimators": 6}
    inner, _ = fitted(name, "regression", told)
    if name == "catboost":
        count = inner.tree_count_
    else:
        count = inner.booster_.num_trees() if name == "lightgbm" else inner.get_booster().num_boosted_rounds()
    assert count == 6


@pytest.mark.parametrize(
    ("name", "told"),
    [
        pytest.param("lightgbm", {"verbose": -1}, marks=here("lightgbm")),
        pytest.param("lightgbm", {"force_col_wise": True}, marks=here("lightgbm")),
        pytest.param("lightgbm", {"max_bin": 15}, marks=here("lightgbm")),
        pytest.param("xgboost", {"booster": "dart", "rate_drop": 0.9}, marks=here("xgboost")),
        pytest.param("catboost", {"random_seed": 3}, marks=here("catboost")),
        pytest.param("catboost", {"verbose": False}, marks=here("catboost")),
        pytest.param("catboost", {"silent": True}, marks=here("catboost")),
    ],
)
def test_a_librarys_own_words_are_understood(name: str, told: dict[str, Any]) -> None:
    inner, _ = fitted(name, "regression", told)
    assert {key: inner.get_params()[key] for key in told} == told


@pytest.mark.parametrize("name", each(EXTRAS))
def test_a_value_that_a_library_refuses_is_the_users_to_mend(name: str) -> None:
    told = {"xgboost": {"max_depth": "deep"}, "lightgbm": {"num_leaves": -5}, "catboost": {"depth": -1}}[name]
    params = TrainParams(dataset="wine", model=name, model_type=name, hyperparameters=told)
    with pytest.raises(UsageError, match="cannot be fitted") as caught:
        train("t", params, seed=SEED)
    assert caught.value.field == "params.hyperparameters"


@pytest.mark.parametrize("name", each(EXTRAS))
def test_an_unknown_hyperparameter_is_refused_by_name(name: str) -> None:
    with pytest.raises(UsageError, match="no hyperparameter 'trees'") as caught:
        build(name, "regression", {"trees": 5}, seed=SEED)
    assert caught.value.field == "params.hyperparameters.trees"
    assert "learning_rate" in caught.value.allowed


def test_weights_of_classes_survive_json_which_has_no_integer_keys() -> None:
    _, before = fitted("logistic_regression", "classification", {})
    inner, after = fitted(
        "logistic_regression", "classification", {"class_weight": {"0": 50.0, "1": 1.0, "2": 1.0}}
    )
    assert inner.class_weight == {0: 50.0, 1: 1.0, 2: 1.0}
    assert after[:, 0].mean() > before[:, 0].mean()


@pytest.mark.parametrize("name", each(["xgboost"]))
def test_a_number_that_json_has_no_word_for_goes_there_and_back(name: str) -> None:
    said = hyperparameters_of(build(name, "regression", {}, seed=SEED))
    assert said["missing"] == "nan"
    again = build(name, "regression", {"missing": "nan"}, seed=SEED)
    assert np.isnan(again.get_params()["missing"])


def test_an_extra_that_is_absent_is_named_with_the_command_that_brings_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name in EXTRAS else find(name, *more)
    )
    for name in EXTRAS:
        with pytest.raises(UsageError) as caught:
            build(name, "classification", {}, seed=SEED)
        assert f"pip install 'swarm-model-agent[{name}]'" in str(caught.value)
        assert caught.value.field == "params.model_type"
        assert name not in known_types("classification")
    with pytest.raises(UsageError, match="not installed: catboost, lightgbm, xgboost"):
        build("perceptron", "classification", {}, seed=SEED)
    assert build("random_forest", "classification", {}, seed=SEED) is not None


def test_an_extra_that_is_half_there_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_there.py").write_text("raise OSError('libgomp.so.1: no such file')\n")
    monkeypatch.syspath_prepend(tmp_path)
    entry = ModelType("half_there:Classifier", None, extra="half_there")
    with pytest.raises(UsageError, match=r"cannot be imported .*libgomp") as caught:
        entry.prototype("half_there", "classification")
    assert caught.value.field == "params.model_type"


def test_the_bare_estimator_has_no_scaler_and_is_calibrated_where_it_must() -> None:
    assert isinstance(estimator("lasso_regression", "regression", {"alpha": 2.0}, seed=SEED), Lasso)
    assert isinstance(estimator("svm", "classification", {}, seed=SEED), CalibratedClassifierCV)
    assert not isinstance(estimator("svm", "regression", {}, seed=SEED), CalibratedClassifierCV)
    assert wants_scaling("svm")
    assert not wants_scaling("random_forest")
    assert isinstance(build("svm", "regression", {}, seed=SEED), Pipeline)
    assert not isinstance(build("svm", "regression", {}, seed=SEED, scale=False), Pipeline)


def test_types_are_known_by_the_problem_they_solve() -> None:
    assert "logistic_regression" in known_types("classification")
    assert "logistic_regression" not in known_types("regression")
    assert "elastic_net" in known_types("regression")
    with pytest.raises(UsageError, match="is no type of model"):
        wants_scaling("perceptron")


def test_the_readme_lists_every_type_as_it_is() -> None:
    text = (Path(__file__).parents[3] / "services/model_agent/README.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| `")]
    listed = {row[0].split("`")[1]: [cell.strip() for cell in row[1:]] for row in rows if len(row) == 4}
    said = {
        name: [listed[name][0] != "–", listed[name][1] != "–", listed[name][2] == "yes"]
        for name in MODEL_TYPES
    }
    assert said == {
        name: [entry.solves("classification"), entry.solves("regression"), entry.wants_scaling]
        for name, entry in MODEL_TYPES.items()
    }
