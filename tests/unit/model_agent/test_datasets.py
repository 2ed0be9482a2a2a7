"""Data are what scikit-learn has or makes, split as it splits."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import datasets as oracle
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, StratifiedKFold, train_test_split

from swarm_common.errors import UsageError
from swarm_model_agent import datasets
from swarm_model_agent.datasets import DATASETS, load_held_out, load_training, prepare
from swarm_model_agent.params import DataParams, TrainParams


def parts(params: DataParams) -> list[Any]:
    training, held_out = load_training(params), load_held_out(params)
    return [training.x, held_out.x, training.y, held_out.y]


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
    found = parts(DataParams(dataset=name, test_share=0.25, split_seed=3))
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_made_classification_is_scikit_learns() -> None:
    x, y = oracle.make_classification(120, 8, n_informative=5, n_redundant=2, n_classes=3, random_state=11)
    x_train, _, y_train, _ = train_test_split(x, y, test_size=0.2, random_state=42, stratify=y)
    split = load_training(DataParams(dataset="synthetic_classification", make={**MADE, "random_state": 11}))
    assert np.array_equal(split.x, x_train)
    assert np.array_equal(split.y, y_train)
    assert split.classes == ("0", "1", "2")


def test_made_regression_is_scikit_learns() -> None:
    x, y = oracle.make_regression(90, 6, n_informative=4, noise=2.0, random_state=42)
    _, x_test, _, y_test = train_test_split(x, y, test_size=0.2, random_state=42)
    make = {"n_samples": 90, "n_features": 6, "n_informative": 4, "noise": 2.0}
    found = parts(DataParams(dataset="synthetic_regression", make=make))
    assert np.array_equal(found[1], x_test)
    assert np.array_equal(found[3], y_test)
    assert load_training(DataParams(dataset="synthetic_regression", make=make)).classes == ()


@pytest.mark.parametrize("name", ["wine", "diabetes"])
def test_folds_are_held_out_in_turn_as_scikit_learn_cuts_them(name: str) -> None:
    x, y = getattr(oracle, f"load_{name}")(return_X_y=True)
    kind = KFold if name == "diabetes" else StratifiedKFold
    for fold, (train, test) in enumerate(kind(3, shuffle=True, random_state=5).split(x, y)):
        found = parts(DataParams(dataset=name, split_seed=5, test_fold=(fold, 3)))
        expected = [x[train], x[test], y[train], y[test]]
        assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_the_event_tells_sizes_truth_and_hash() -> None:
    order = parts(DataParams(dataset="wine"))
    found = prepare("t", DataParams(dataset="wine"))
    assert (found.problem, found.n_train, found.n_test, found.n_features) == ("classification", 142, 36, 13)
    assert found.classes == ("class_0", "class_1", "class_2")
    assert np.array_equal(found.y_test.numpy(), order[3])
    assert np.array_equal(found.y_train.numpy(), order[2])
    assert found.sha256 == hashlib.sha256(b"".join(part.tobytes() for part in order)).hexdigest()


def test_the_hash_follows_the_split() -> None:
    hashes = [prepare("t", DataParams(dataset="wine", split_seed=seed)).sha256 for seed in (1, 1, 2)]
    assert hashes[0] == hashes[1]
    assert hashes[0] != hashes[2]


def test_all_models_of_a_run_share_the_loaded_data() -> None:
    first = load_training(TrainParams(dataset="wine", model="a", model_type="svm"))
    again = load_training(TrainParams(dataset="wine", model="b", model_type="random_forest", folds=3))
    assert again.x is first.x


def test_no_model_can_change_them() -> None:
    with pytest.raises(ValueError, match="read-only"):
        load_training(DataParams(dataset="wine")).x[0, 0] = 1.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Path]:
    datasets.keep_in(str(tmp_path / "datasets"))
    yield tmp_path / "datasets"
    datasets.keep_in("")


@pytest.mark.usefixtures("store")
def test_workers_map_what_the_first_of_them_made(monkeypatch: pytest.MonkeyPatch) -> None:
    params = DataParams(dataset="synthetic_classification", make=MADE)
    expected = parts(params)
    datasets._opened.cache_clear()  # as in another worker

    def never(_: DataParams) -> None:
        raise AssertionError("made twice")

    monkeypatch.setitem(datasets.DATASETS, "synthetic_classification", never)
    found = parts(params)
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    assert isinstance(found[0].base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        found[0][0, 0] = 1.0


def test_two_workers_at_once_make_it_once(store: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    program = (
        "import sys\n"
        "from swarm_model_agent import datasets\n"
        "from swarm_model_agent.params import DataParams\n"
        "make = datasets.DATASETS['wine']\n"
        "def counted(params):\n"
        "    open(sys.argv[2], 'a').write('x')\n"
        "    return make(params)\n"
        "datasets.DATASETS['wine'] = counted\n"
        "datasets.keep_in(sys.argv[1])\n"
        "print(len(datasets.load_training(DataParams(dataset='wine')).y))\n"
    )
    command = [sys.executable, "-c", program, str(store), str(made)]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [worker.communicate(timeout=60)[0] for worker in workers] == ["142\n", "142\n"]
    assert made.read_text() == "x"


def test_only_the_latest_data_sets_are_kept(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "_KEPT", 2)
    held = [load_training(DataParams(dataset="wine", split_seed=seed)) for seed in range(4)]
    assert len([entry for entry in store.iterdir() if entry.is_dir()]) == 2
    assert all(np.isfinite(training.x).all() for training in held)  # what is open stays readable


def test_a_stream_keeps_its_order_and_its_rule_turns() -> None:
    make = {"n_samples": 2000, "n_features": 4, "concepts": 3, "turn": 0.5, "flip_y": 0.0}
    params = DataParams(dataset="synthetic_drift", make=make, order="time", test_share=0.5)
    training, held_out = load_training(params), load_held_out(params)
    whole = DATASETS["synthetic_drift"](params)
    assert np.array_equal(np.concatenate([training.x, held_out.x]), whole.x)
    direction = LogisticRegression().fit(training.x, training.y)
    assert direction.score(training.x, training.y) > 0.95
    # A quarter turn leaves nothing of the old rule: right by chance alone.
    assert 0.35 < direction.score(held_out.x[:500], held_out.y[:500]) < 0.65


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (DataParams(dataset="iris"), "params.dataset"),
        (DataParams(dataset="wine", make={"n_samples": 5}), "params.make"),
        (DataParams(dataset="wine", test_share=0.001), "params.test_share"),
        (DataParams(dataset="wine", test_fold=(3, 3)), "params.test_fold"),
        (DataParams(dataset="wine", test_fold=(0, 500)), "params.test_fold"),
        (DataParams(dataset="synthetic_classification", make={**MADE, "n_classes": 99}), "params.make"),
        (DataParams(dataset="synthetic_classification", make={"rows": 5}), "params.make.rows"),
        (DataParams(dataset="synthetic_regression", make={"n_samples": 0}), "params.make.n_samples"),
        (DataParams(dataset="synthetic_regression", make={"noise": -1.0}), "params.make.noise"),
    ],
)
def test_what_cannot_be_had_is_refused_by_field(given: DataParams, field: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_training(given)
    assert caught.value.field == field


def test_an_unknown_data_set_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError) as caught:
        load_training(DataParams(dataset="iris"))
    assert caught.value.allowed == ", ".join(DATASETS)
