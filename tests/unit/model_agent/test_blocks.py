"""Words become the transforms they name, all of them inside the pipeline."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_wine
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler
from sklearn.svm import SVR

from swarm_common import pipelines
from swarm_common.errors import UsageError
from swarm_common.pipelines import Spec
from swarm_model_agent import blocks
from swarm_model_agent.blocks import pipeline_of
from swarm_model_agent.models import MODEL_TYPES

FULL = pipelines.space("classification", 10, categorical=True, missing=True)
LINEAR = {"classification": "logistic_regression", "regression": "ridge_regression"}


def data(problem: str) -> tuple[Any, Any]:
    """Rows with gaps and a column of words (coded 0 to 3, then a gap)."""
    x, y = (load_wine if problem == "classification" else load_diabetes)(return_X_y=True)
    x = np.column_stack([x[:, :9], np.arange(len(x)) % 5])
    x[x[:, 9] == 4, 9] = np.nan
    x[::7, 0] = np.nan
    return x[:170:2], np.asarray(y, dtype=np.int64 if problem == "classification" else np.float64)[:170:2]


@pytest.mark.parametrize(
    ("block", "name"),
    [(block, name) for block, options in FULL.choices.items() if block != "model" for name in options],
)
@pytest.mark.parametrize("problem", ["classification", "regression"])
def test_every_word_of_the_space_is_built_and_fits_rows_with_gaps_and_words(
    problem: str, block: str, name: str
) -> None:
    x, y = data(problem)
    spec = Spec(model=LINEAR[problem], **{block: name})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = pipeline_of(spec, problem, categorical=[9], seed=1).fit(x, y)
        found = model.predict(x)
    assert np.isfinite(found).all()


def test_the_space_and_the_tables_know_the_same_words() -> None:
    choices = {block: set(options) for block, options in FULL.choices.items() if block != "model"}
    assert choices == {block: set(table) for block, table in blocks.TABLES.items()}
    for problem, models in pipelines.MODELS.items():
        kinds = {name: MODEL_TYPES[name] for name in {*models, *pipelines.EXTRA_MODELS}}
        assert all(entry.solves(problem) for entry in kinds.values())


@pytest.mark.parametrize("problem", ["classification", "regression"])
def test_every_hyperparameter_of_the_space_reaches_its_model(problem: str) -> None:
    for name, entry in pipelines.MODELS[problem].items():
        for share in (0.0, 0.5, 1.0):
            given = {key: pipelines._at(range_, share) for key, range_ in entry.ranges.items()} | entry.plain
            model = pipeline_of(Spec(model=name, hyperparameters=given), problem, seed=3)["model"]
            reached = (model.estimator if isinstance(model, CalibratedClassifierCV) else model).get_params()
            assert all(
                list(reached[key]) == value if isinstance(value, list) else reached[key] == value
                for key, value in given.items()
            )


def test_it_is_the_pipeline_one_would_write() -> None:
    x, y = load_diabetes(return_X_y=True)
    spec = Spec(scale="standard", features="interactions", model="svm", hyperparameters={"C": 50.0})
    expected = make_pipeline(
        StandardScaler(), PolynomialFeatures(2, interaction_only=True, include_bias=False), SVR(C=50.0)
    ).fit(x[:300], y[:300])
    found = pipeline_of(spec, "regression", seed=1).fit(x[:300], y[:300])
    assert np.array_equal(found.predict(x[300:]), expected.predict(x[300:]))


def test_components_keep_their_share_of_the_variance() -> None:
    x, y = load_wine(return_X_y=True)
    spec = Spec(scale="standard", features="pca_80", model="logistic_regression")
    found = pipeline_of(spec, "classification", seed=1).fit(x, y)
    kept = PCA().fit(StandardScaler().fit_transform(x)).explained_variance_ratio_.cumsum()
    assert found["features"].n_components_ == int(np.searchsorted(kept, 0.8)) + 1


def test_words_are_encoded_and_numbers_filled() -> None:
    x, y = data("classification")
    spec = Spec(impute="median", encode="onehot", model="logistic_regression")
    found = pipeline_of(spec, "classification", categorical=[9], seed=1)["impute"].fit_transform(x, y)
    expected = ColumnTransformer(
        [
            ("words", make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder()), [9]),
            ("numbers", SimpleImputer(strategy="median"), list(range(9))),
        ],
        sparse_threshold=0.0,
    ).fit_transform(x, y)
    assert np.array_equal(found, expected)


def test_a_word_unknown_to_the_fit_is_no_error() -> None:
    x, y = data("classification")
    spec = Spec(encode="onehot", model="logistic_regression", hyperparameters={"max_iter": 1000})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = pipeline_of(spec, "classification", categorical=[9], seed=1).fit(x, y)
    strange = x.copy()
    strange[:, 9] = 77
    assert len(model.predict(strange)) == len(x)


def test_what_does_nothing_is_left_out() -> None:
    steps = pipeline_of(Spec(model="svm"), "regression", seed=1).named_steps
    assert list(steps) == ["impute", "model"]


def test_the_seed_reaches_the_steps_that_draw() -> None:
    spec = Spec(scale="quantile", select="model_based", model="random_forest")
    found = pipeline_of(spec, "regression", seed=11).get_params()
    assert {value for key, value in found.items() if key.endswith("random_state")} == {11}


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (Spec(model="svm", scale="log"), "params.spec.scale"),
        (Spec(model="lasso_regression"), "params.model_type"),
        (Spec(model="svm", hyperparameters={"trees": 3}), "params.hyperparameters.trees"),
    ],
)
def test_what_is_not_known_is_named(spec: Spec, field: str) -> None:
    with pytest.raises(UsageError) as caught:
        pipeline_of(spec, "classification", seed=1)
    assert caught.value.field == field
    assert caught.value.allowed
