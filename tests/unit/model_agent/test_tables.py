"""Gaps and words are filled and encoded by what was learned in fold, and held-out rows have no say in it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from swarm_model_agent import datasets
from swarm_model_agent.assembling import assemble
from swarm_model_agent.datasets import About, Training, load_held_out, load_training
from swarm_model_agent.params import FILES, DataParams, PartParams, TrainParams
from swarm_model_agent.tables import MOST_COLUMNS, wrapped
from swarm_model_agent.training import model_of, train, train_part

Keep = Callable[[list[list[Any]]], dict[str, Any]]
ROWS = 60
QUICK = {
    "hist_gradient_boost": {"max_iter": 5, "min_samples_leaf": 5},
    "neural_network": {"hidden_layer_sizes": [8], "solver": "lbfgs", "max_iter": 300},
    "random_forest": {"n_estimators": 5},
}


@pytest.fixture
def keep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keep]:
    """Put a table where the service would, and return the parameters of its data."""
    store = tmp_path_factory.mktemp("store")
    (store / FILES).mkdir()
    datasets.keep_in(str(store))

    def put(rows: list[list[Any]]) -> dict[str, Any]:
        lines = [["age", "town", "size", "y"], *rows]
        data = "".join(",".join(str(value) for value in line) + "\n" for line in lines).encode()
        digest = hashlib.sha256(data).hexdigest()
        (store / FILES / digest).write_bytes(data)
        return {"dataset": "file", "file": f"t.csv@sha256:{digest}", "target": "y"}

    yield put
    datasets.keep_in("")


def people() -> list[list[Any]]:
    """Return rows with gaps in numbers and words, and a target that depends on both."""
    rng = np.random.default_rng(3)
    rows = []
    for row in range(ROWS):
        age, town, size = round(rng.normal(40, 12), 1), "abc"[rng.integers(3)], round(rng.normal(), 3)
        y = "yes" if age + 20 * (town == "a") + rng.normal(0, 5) > 45 else "no"
        rows.append([age if row % 7 else "", town if row % 9 else "", size, y])
    return rows


def numbers_only() -> list[list[Any]]:
    return [[row[0] or 33.3, index % 5, row[2], row[3]] for index, row in enumerate(people())]


def out_of_fold(data: dict[str, Any], model_type: str) -> np.ndarray:
    quick = QUICK.get(model_type, {})
    params = TrainParams(**data, model="m", model_type=model_type, hyperparameters=quick, folds=3)
    predicted = train("t", params, seed=7)[1].out_of_fold
    assert predicted is not None
    return predicted.numpy()


def held_out_rows(data: dict[str, Any], rows: list[list[Any]]) -> list[int]:
    """Return which lines of the file are held out: their size is a name."""
    sizes = set(load_held_out(DataParams(**data)).x[:, 2])
    return [index for index, row in enumerate(rows) if row[2] in sizes]


def test_predictions_are_those_of_the_same_steps_put_together_by_hand(keep: Keep) -> None:
    data = keep(people())
    training = load_training(DataParams(**data))
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    words = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    by_hand = make_pipeline(
        ColumnTransformer([("n", numbers, [0, 2]), ("w", words, [1])], sparse_threshold=0.0),
        LogisticRegression(random_state=7),
    )
    folds = StratifiedKFold(3, shuffle=True, random_state=42)
    expected = cross_val_predict(by_hand, training.x, training.y, cv=folds, method="predict_proba")
    assert np.array_equal(out_of_fold(data, "logistic_regression"), expected)


@pytest.mark.parametrize(
    "model_type", ["random_forest", "hist_gradient_boost", "svm", "k_neighbors", "neural_network"]
)
@pytest.mark.filterwarnings("ignore")
def test_every_type_learns_from_gaps_and_words(keep: Keep, model_type: str) -> None:
    data = keep(people())
    predicted = out_of_fold(data, model_type)
    truth = load_training(DataParams(**data)).y
    assert (predicted.argmax(axis=1) == truth).mean() > max(np.bincount(truth)) / len(truth)


@pytest.mark.parametrize("model_type", ["logistic_regression", "random_forest", "hist_gradient_boost", "svm"])
@pytest.mark.parametrize("make", [people, numbers_only])
def test_held_out_rows_change_no_prediction_out_of_fold(
    keep: Keep, model_type: str, make: Callable[[], list[list[Any]]]
) -> None:
    rows = make()
    data = keep(rows)
    before = out_of_fold(data, model_type)
    held_out = held_out_rows(data, rows)
    assert len(held_out) == ROWS // 5
    for number, index in enumerate(held_out):
        # Far-off numbers, gaps, and (where there are words) one that sorts between those that were there.
        word = "bb" if make is people else 10**6
        rows[index] = [10**6, word, "" if number else -(10**9), rows[index][3]]
    changed = keep(rows)
    assert changed["file"] != data["file"]
    assert np.array_equal(out_of_fold(changed, model_type), before)


def test_words_that_no_fit_has_seen_are_no_obstacle(keep: Keep) -> None:
    rows = people()
    data = keep(rows)
    for index in held_out_rows(data, rows):
        rows[index][1] = "elsewhere"
    _, predicted = train("t", TrainParams(**keep(rows), model="m", model_type="svm"), seed=7)
    assert np.isfinite(predicted.held_out.numpy()).all()


def test_shares_of_a_forest_are_the_forest(keep: Keep) -> None:
    given = {**keep(people()), "model": "rf", "model_type": "random_forest", "folds": 0}
    given["hyperparameters"] = {"n_estimators": 6}
    parts = [
        train_part("t", PartParams(**given, trees=trees), seed=7, instance="here")
        for trees in ((0, 2), (2, 5), (5, 6))
    ]
    _, joined = assemble("t", "rf", parts)
    _, whole = train("t", TrainParams(**given), seed=7)
    assert np.allclose(joined.held_out.numpy(), whole.held_out.numpy(), rtol=0, atol=1e-15)
    assert parts[0].hyperparameters["n_estimators"] == 6


def test_other_data_meet_the_bare_model() -> None:
    data = load_training(DataParams(dataset="wine"))
    model = model_of(TrainParams(dataset="wine", model="m", model_type="random_forest"), data, 7)
    assert isinstance(model, RandomForestClassifier)


def made(x: list[list[float]], *, categorical: tuple[int, ...] = ()) -> Training:
    about = About(classes=("a", "b"), columns=(), categorical=categorical, notes=())
    array = np.array(x)
    return Training(about, array, np.arange(len(array)) % 2)


def test_types_that_take_missing_numbers_get_them() -> None:
    data = made([[1.0, 0.0], [np.nan, 1.0], [3.0, np.nan]] * 4, categorical=(1,))
    for fill, there in ((True, False), (False, True)):
        table = wrapped(DecisionTreeClassifier(), data, scale=False, fill=fill).named_steps["table"]
        seen = table.fit_transform(data.x, data.y)
        assert seen.shape == (12, 3)  # the number, and a column for each of two words
        assert np.isnan(seen[:, 0]).any() == there
        assert not np.isnan(seen[:, 1:]).any()


def test_a_column_without_a_value_in_a_fold_stays() -> None:
    data = made([[np.nan, np.nan, 1.0], [np.nan, np.nan, 2.0]] * 4, categorical=(1,))
    model = wrapped(DecisionTreeClassifier(), data, scale=True).fit(data.x, data.y)
    assert np.isfinite(model.predict_proba(np.array([[5.0, 1.0, np.nan]]))).all()


def test_rare_words_share_a_column() -> None:
    data = made([[float(row % 200), float(row % 3)] for row in range(600)], categorical=(0,))
    table = wrapped(DecisionTreeClassifier(), data, scale=False).named_steps["table"]
    assert table.fit_transform(data.x, data.y).shape == (600, 1 + MOST_COLUMNS)
