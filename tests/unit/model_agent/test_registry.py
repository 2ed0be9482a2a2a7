"""Types of model that other distributions bring: found by their metadata, checked when used, no harm to others."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_wine
from sklearn.pipeline import Pipeline

from swarm_common.errors import UsageError
from swarm_model_agent import registry
from swarm_model_agent.models import build, hyperparameters_of, known_types, wants_scaling
from swarm_model_agent.params import TrainParams
from swarm_model_agent.training import train

MODULE = """
from sklearn.base import BaseEstimator
from sklearn.ensemble import BaggingClassifier, BaggingRegressor
from sklearn.linear_model import RidgeClassifier, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.tree import ExtraTreeClassifier
from swarm_model_agent.models import ModelType

instance = BaggingClassifier(n_estimators=3)
both = ModelType(BaggingClassifier, BaggingRegressor, wants_scaling=True)
pipeline = make_pipeline(MinMaxScaler(), SGDClassifier(loss="log_loss", max_iter=5, tol=None))
empty = ModelType()
number = 7

class Silent(BaseEstimator):
    def fit(self, x, y):
        return self
    def predict(self, x):
        return x[:, 0]

class Wanting(ExtraTreeClassifier):
    def __init__(self, depth):
        super().__init__()
"""
ENTRIES = {
    "own_class": "ExtraTreeClassifier",
    "own_instance": "instance",
    "own_both": "both",
    "own_pipeline": "pipeline",
    "own_margin": "RidgeClassifier",
    "own_empty": "empty",
    "own_number": "number",
    "own_silent": "Silent",
    "own_wanting": "Wanting",
    "own_missing": "nowhere",
}
Installs = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installs]:
    """Put distributions where Python finds them: a module, and the metadata that an installer writes."""

    def put(name: str, entries: dict[str, str], source: str = MODULE) -> Path:
        place = tmp_path / name
        about = place / f"{name}-1.2.dist-info"
        about.mkdir(parents=True)
        (place / f"{name}.py").write_text(source)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        lines = [f"{key} = {name}:{value}" for key, value in entries.items()]
        (about / "entry_points.txt").write_text("\n".join(["[swarmbench.models]", *lines]) + "\n")
        monkeypatch.syspath_prepend(place)
        monkeypatch.delitem(sys.modules, name, raising=False)
        importlib.invalidate_caches()
        registry.claimed.cache_clear()
        return place

    yield put
    for place in tmp_path.iterdir():
        sys.modules.pop(place.name, None)
    registry.claimed.cache_clear()


def refusal(name: str) -> str:
    with pytest.raises(UsageError) as caught:
        build(name, "classification", {}, seed=1)
    assert (caught.value.field, caught.value.given) == ("params.model_type", name)
    return str(caught.value)


def test_nothing_is_imported_until_it_is_used(install: Installs) -> None:
    install("acme_models", ENTRIES)
    assert set(registry.claimed()) == set(ENTRIES)
    build("random_forest", "classification", {}, seed=1)
    assert "acme_models" not in sys.modules
    build("own_class", "classification", {}, seed=1)
    assert "acme_models" in sys.modules


@pytest.mark.parametrize("name", ["own_class", "own_instance", "own_both", "own_pipeline", "own_margin"])
def test_a_type_of_ones_own_trains_as_the_built_in_ones_do(install: Installs, name: str) -> None:
    install("acme_models", ENTRIES)
    given = TrainParams(dataset="wine", model="m", model_type=name, folds=2)
    trained, predicted = train("t", given, seed=5)
    again, other = (train("t", given, seed=seed)[0] for seed in (5, 6))
    assert predicted.held_out.numpy().shape[1] == 3
    assert predicted.held_out.numpy().argmax(axis=1).std() > 0
    assert trained.fitted == again.fitted
    assert (trained.fitted == other.fitted) == (name == "own_margin")  # which draws nothing


def test_hyperparameters_reach_a_class_an_instance_and_a_step(install: Installs) -> None:
    install("acme_models", ENTRIES)
    x, y = load_wine(return_X_y=True)
    one = build("own_class", "classification", {"max_depth": 2}, seed=1).fit(x, y)
    assert one.get_depth() == 2
    assert len(build("own_instance", "classification", {}, seed=1).fit(x, y).estimators_) == 3
    more = build("own_instance", "classification", {"n_estimators": 5}, seed=1).fit(x, y)
    assert len(more.estimators_) == 5
    steps = build("own_pipeline", "classification", {"sgdclassifier__alpha": 0.5}, seed=1)
    assert (steps[-1].alpha, steps[-1].random_state) == (0.5, 1)
    assert hyperparameters_of(steps)["sgdclassifier__alpha"] == 0.5
    with pytest.raises(UsageError, match="no hyperparameter 'alpha'"):
        build("own_pipeline", "classification", {"alpha": 0.5}, seed=1)


def test_building_leaves_the_prototype_as_it_was(install: Installs) -> None:
    install("acme_models", ENTRIES)
    build("own_instance", "classification", {"n_estimators": 5}, seed=1)
    assert sys.modules["acme_models"].instance.n_estimators == 3
    assert sys.modules["acme_models"].instance.random_state is None


def test_what_is_said_of_a_type_holds(install: Installs) -> None:
    install("acme_models", ENTRIES)
    assert wants_scaling("own_both")
    assert isinstance(build("own_both", "regression", {}, seed=1), Pipeline)
    assert isinstance(build("own_margin", "classification", {}, seed=1), CalibratedClassifierCV)
    with pytest.raises(UsageError, match="does not solve regression"):
        build("own_class", "regression", {}, seed=1)


def test_types_in_order_are_known_beside_the_built_in_ones(install: Installs) -> None:
    before = known_types("classification")
    install("acme_models", ENTRIES)
    found = known_types("classification")
    assert found[: len(before)] == before
    assert found[len(before) :] == ("own_both", "own_class", "own_instance", "own_margin", "own_pipeline")
    assert known_types("regression")[-1] == "own_both"


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("own_number", "7 has no fit, predict, get_params"),
        ("own_empty", "neither a classifier nor a regressor"),
        ("own_silent", "does not say whether it is a classifier or a regressor"),
        ("own_wanting", "cannot be made without arguments; register an instance"),
        ("own_missing", "cannot be imported: AttributeError"),
    ],
)
def test_a_type_that_is_broken_is_reported_with_who_brought_it(
    install: Installs, name: str, what: str
) -> None:
    install("acme_models", ENTRIES)
    said = refusal(name)
    assert what in said
    assert "brought by acme_models 1.2 as acme_models:" in said
    assert build("own_class", "classification", {}, seed=1) is not None


def test_a_module_that_cannot_be_imported_breaks_its_own_types_only(install: Installs) -> None:
    install("acme_models", ENTRIES)
    install("rash_models", {"rash": "model"}, "raise RuntimeError('no licence key')\n")
    assert "cannot be imported: RuntimeError: no licence key" in refusal("rash")
    assert build("own_class", "classification", {}, seed=1) is not None
    assert "rash" not in known_types("classification")
    assert "for classification there are ada_boost" in refusal("perceptron")


def test_a_name_that_is_built_in_is_not_taken_over_in_silence(install: Installs) -> None:
    install("acme_models", {"svm": "instance"})
    said = refusal("svm")
    assert "acme_models 1.2 brings another of that name" in said
    assert build("random_forest", "classification", {}, seed=1) is not None


def test_a_name_that_two_distributions_bring_belongs_to_neither(install: Installs) -> None:
    install("acme_models", {"own_class": "ExtraTreeClassifier"})
    install("other_models", {"own_class": "instance"})
    said = refusal("own_class")
    assert "acme_models 1.2" in said
    assert "other_models 1.2" in said


def test_the_workers_start_whatever_is_installed(install: Installs) -> None:
    place = install(
        "rash_models", {"rash": "model", "svm": "model"}, "raise RuntimeError('no licence key')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", "import swarm_model_agent.preload, sys; print('rash_models' in sys.modules)"],
        env={**os.environ, "PYTHONPATH": str(place), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr
