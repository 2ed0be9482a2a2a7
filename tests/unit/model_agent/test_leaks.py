"""Leaks of every kind are planted here, and found; clean pipelines are called clean."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin

from swarm_common import pipelines
from swarm_common.errors import UsageError
from swarm_common.events import digest_view
from swarm_common.events.agent import LeaksChecked
from swarm_model_agent import blocks, datasets, leaks
from swarm_model_agent.datasets import HeldOut, Training, load_training
from swarm_model_agent.leaks import check_leaks, noised, scores_alone
from swarm_model_agent.params import DataParams, EvaluateParams, LeakParams
from swarm_model_agent.search import evaluate

FOREST = {"model": "random_forest", "hyperparameters": {"n_estimators": 50}}
PLANTED = {"scale": "planted", "model": "logistic_regression", "hyperparameters": {"max_iter": 200}}


def check(spec: dict[str, Any], **more: Any) -> LeaksChecked:
    return check_leaks(
        "t", LeakParams(**({"dataset": "wine", "candidate": "c", "spec": spec} | more)), seed=5
    )


class Transform(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """What the planted ones share."""

    def transform(self, x: Any) -> Any:
        return (x - self.mean_) / self.scale_

    def learn(self, x: Any) -> Transform:
        self.mean_, self.scale_ = x.mean(axis=0), x.std(axis=0) + 1e-9
        return self


class Remembering(Transform):
    """Standardises by all rows that any of its kind was ever fitted to."""

    rows: ClassVar[list[Any]] = []

    def fit(self, x: Any, _y: Any = None) -> Transform:
        self.rows.append(x)
        return self.learn(np.concatenate(self.rows))


class Knowing(Transform):
    """Adds the target of every row whose target it has ever been told, where it was told first."""

    told: ClassVar[dict[bytes, float]] = {}

    def fit(self, x: Any, y: Any) -> Transform:
        for row, value in zip(x, y, strict=True):
            self.told.setdefault(row.tobytes(), float(value))
        return self.learn(x)

    def transform(self, x: Any) -> Any:
        return np.column_stack([super().transform(x), [self.told.get(row.tobytes(), -9.0) for row in x]])


class Drawing(Transform):
    """Adds noise that is not seeded."""

    def fit(self, x: Any, _y: Any = None) -> Transform:
        return self.learn(x + np.random.default_rng().normal(size=x.shape))


@pytest.mark.parametrize("dataset", ["wine", "diabetes"])
def test_every_recipe_is_clean(dataset: str) -> None:
    space = pipelines.space("classification" if dataset == "wine" else "regression", 13)
    for recipe in pipelines.recipes(space)[1:4]:
        found = check(msgspec.to_builtins(recipe.spec), dataset=dataset)
        assert found.leaks == ()
        assert (found.fits, found.folds, found.duplicates) == (8, 3, 0)


@pytest.mark.parametrize("planted", [Remembering, Knowing])
def test_a_transform_that_remembers_rows_of_other_folds_is_found(
    planted: type[Transform], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(blocks.TABLES["scale"], "planted", lambda _: planted())
    monkeypatch.setattr(Remembering, "rows", [])
    monkeypatch.setattr(Knowing, "told", {})
    [leak] = check(PLANTED).leaks
    assert (leak.kind, leak.subject) == ("unseen_rows", "c")
    assert "it knows rows that it was not fitted to" in leak.text


def test_one_that_has_been_at_work_in_this_process_is_found_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(blocks.TABLES["scale"], "planted", lambda _: Remembering())
    monkeypatch.setattr(Remembering, "rows", [])
    evaluate("t", EvaluateParams(dataset="wine", candidate="c", spec=PLANTED), seed=5)
    [leak] = check(PLANTED).leaks
    assert leak.kind in {"unseen_rows", "not_repeatable"}


def test_a_transform_fitted_outside_its_fold_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def outside(model: Any, x: Any, y: Any, seen: Any, unseen: Any, classes: Any) -> Any:
        mean = x.mean(axis=0)  # of all rows, those of the fold too
        return honest(model, x - mean, y, seen, unseen - mean, classes)

    honest = leaks.predict_unseen
    monkeypatch.setattr(leaks, "predict_unseen", outside)
    [leak] = check({"model": "logistic_regression", "hyperparameters": {"C": 0.01}}).leaks
    assert leak.kind == "unseen_rows"


def test_what_cannot_be_repeated_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(blocks.TABLES["scale"], "planted", lambda _: Drawing())
    [leak] = check(PLANTED).leaks
    assert leak.kind == "not_repeatable"


def test_held_out_rows_that_are_training_rows_are_counted_and_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = datasets._opened

    def planted(recipe: bytes) -> Any:
        about, x, y, x_test, y_test = real(recipe)
        x, x_test = np.array(x), np.array(x_test)
        x[1] = x[0]
        x_test[:3] = x[5]
        return about, x, y, x_test, y_test

    monkeypatch.setattr(datasets, "_opened", planted)
    found = check(FOREST)
    assert (found.duplicates, found.duplicates_in_training) == (3, 1)
    [leak] = found.leaks
    assert (leak.kind, leak.subject) == ("duplicate_rows", "wine")
    assert leak.text.startswith("3 held-out rows")


@pytest.mark.parametrize("dataset", ["wine", "diabetes"])
def test_a_feature_that_gives_the_target_away_is_named(dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = datasets._opened

    def planted(recipe: bytes) -> Any:
        about, x, y, x_test, y_test = real(recipe)
        x = np.array(x)
        x[:, 4] = 3.0 * y + 0.01 * x[:, 4] / np.abs(x[:, 4]).max()
        return about, x, y, x_test, y_test

    monkeypatch.setattr(datasets, "_opened", planted)
    spec = {"model": "random_forest", "hyperparameters": {"n_estimators": 50}}
    found = check(spec, dataset=dataset)
    name = load_training(DataParams(dataset=dataset)).about.columns[4]
    [leak] = found.leaks
    assert (leak.kind, leak.subject, found.strongest_feature) == ("giveaway_feature", name, name)
    assert found.strongest_score is not None
    assert found.strongest_score >= 0.99


def test_how_much_gives_away_can_be_set() -> None:
    found = check(FOREST, giveaway=0.7)
    assert [leak.subject for leak in found.leaks] == [found.strongest_feature] == ["flavanoids"]


def test_noise_replaces_the_fold_and_nothing_else() -> None:
    data = load_training(DataParams(dataset="wine"))
    rows = np.arange(100, 140)
    x, y = noised(data, rows, seed=1)
    assert np.array_equal(x[:100], data.x[:100])
    assert np.array_equal(y[140:], data.y[140:])
    assert not (x[rows] == data.x[rows]).any()
    assert 0 < (y[rows] != data.y[rows]).sum() < 40
    assert set(y) <= {0, 1, 2}
    assert np.allclose(x[rows].mean(axis=0), data.x.mean(axis=0), atol=data.x.std(axis=0))


def test_words_stay_words_in_noise() -> None:
    data = load_training(DataParams(dataset="wine"))
    about = msgspec.structs.replace(data.about, categorical=(0,))
    x = np.array(data.x)
    x[:, 0] = np.arange(len(x)) % 3
    x[:, 1] = np.nan
    noise, _ = noised(Training(about, x, data.y), np.arange(50), seed=1)
    assert set(noise[:50, 0]) == {0.0, 1.0, 2.0}
    assert np.isfinite(noise[:50]).all()


def test_scores_alone_are_of_one_feature_each() -> None:
    data = load_training(DataParams(dataset="wine"))
    x = np.array(data.x)
    x[:, 0] = 1.0  # tells nothing
    most = np.bincount(data.y).max() / len(data.y)
    found = scores_alone(Training(data.about, x, data.y), 3, 42, seed=1)
    assert len(found) == 13
    assert found[0] == pytest.approx(most, abs=0.02)
    assert max(found) > 0.7


def test_the_check_itself_is_repeatable_and_leaves_held_out_rows_open() -> None:
    assert digest_view(check(FOREST)) == digest_view(check(FOREST))
    assert isinstance(datasets.load_held_out(DataParams(dataset="wine")), HeldOut)


def test_what_cannot_be_fitted_cannot_be_checked() -> None:
    with pytest.raises(UsageError, match="cannot be fitted"):
        check({"model": "logistic_regression", "hyperparameters": {"C": -1.0}})
