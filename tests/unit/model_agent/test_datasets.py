"""Data are what scikit-learn has or makes, split as it splits."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from sklearn import datasets as oracle
from sklearn.model_selection import train_test_split

from swarm_common.errors import UsageError
from swarm_model_agent.datasets import DATASETS, load, prepare
from swarm_model_agent.params import DataParams, TrainParams

MADE = {"n_samples": 120, "n_features": 8, "n_informative": 5, "n_classes": 3}


@pytest.mark.parametrize(
    ("name", "loader"),
    [
        ("digits", oracle.load_digits),
        ("wine", oracle.load_wine),
        ("breast_cancer", oracle.load_breast_cancer),
    ],
)
def test_classes_keep_their_shares(name: str, loader: Any) -> None:
    x, y = loader(return_X_y=True)
    expected = train_test_split(x, y, test_size=0.25, random_state=3, stratify=y)
    split = load(DataParams(dataset=name, test_share=0.25, split_seed=3))
    found = (split.x_train, split.x_test, split.y_train, split.y_test)
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_made_classification_is_scikit_learns() -> None:
    x, y = oracle.make_classification(120, 8, n_informative=5, n_redundant=2, n_classes=3, random_state=11)
    x_train, _, y_train, _ = train_test_split(x, y, test_size=0.2, random_state=42, stratify=y)
    split = load(DataParams(dataset="synthetic_classification", make={**MADE, "random_state": 11}))
    assert np.array_equal(split.x_train, x_train)
    assert np.array_equal(split.y_train, y_train)
    assert split.classes == ("0", "1", "2")


def test_made_regression_is_scikit_learns() -> None:
    x, y = oracle.make_regression(90, 6, n_informative=4, noise=2.0, random_state=42)
    _, x_test, _, y_test = train_test_split(x, y, test_size=0.2, random_state=42)
    make = {"n_samples": 90, "n_features": 6, "n_informative": 4, "noise": 2.0}
    split = load(DataParams(dataset="synthetic_regression", make=make))
    assert np.array_equal(split.x_test, x_test)
    assert np.array_equal(split.y_test, y_test)
    assert split.classes == ()


def test_the_event_tells_sizes_truth_and_hash() -> None:
    split = load(DataParams(dataset="wine"))
    found = prepare("t", DataParams(dataset="wine"))
    assert (found.problem, found.n_train, found.n_test, found.n_features) == ("classification", 142, 36, 13)
    assert found.classes == ("class_0", "class_1", "class_2")
    assert np.array_equal(found.y_test.numpy(), split.y_test)
    assert np.array_equal(found.y_train.numpy(), split.y_train)
    order = (split.x_train, split.x_test, split.y_train, split.y_test)
    assert found.sha256 == hashlib.sha256(b"".join(part.tobytes() for part in order)).hexdigest()


def test_the_hash_follows_the_split() -> None:
    hashes = [prepare("t", DataParams(dataset="wine", split_seed=seed)).sha256 for seed in (1, 1, 2)]
    assert hashes[0] == hashes[1]
    assert hashes[0] != hashes[2]


def test_all_models_of_a_run_share_the_loaded_data() -> None:
    first = load(TrainParams(dataset="wine", model="a", model_type="svm"))
    assert load(TrainParams(dataset="wine", model="b", model_type="random_forest", folds=3)) is first
    assert load(DataParams(dataset="wine")) is first


def test_no_model_can_change_them() -> None:
    with pytest.raises(ValueError, match="read-only"):
        load(DataParams(dataset="wine")).x_train[0, 0] = 1.0


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (DataParams(dataset="iris"), "params.dataset"),
        (DataParams(dataset="wine", make={"n_samples": 5}), "params.make"),
        (DataParams(dataset="wine", test_share=0.001), "params.test_share"),
        (DataParams(dataset="synthetic_classification", make={**MADE, "n_classes": 99}), "params.make"),
        (DataParams(dataset="synthetic_classification", make={"rows": 5}), "params.make.rows"),
        (DataParams(dataset="synthetic_regression", make={"n_samples": 0}), "params.make.n_samples"),
        (DataParams(dataset="synthetic_regression", make={"noise": -1.0}), "params.make.noise"),
    ],
)
def test_what_cannot_be_had_is_refused_by_field(given: DataParams, field: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(given)
    assert caught.value.field == field


def test_an_unknown_data_set_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError) as caught:
        load(DataParams(dataset="iris"))
    assert caught.value.allowed == ", ".join(DATASETS)
