"""What each strategy learns, against plain formulas and against scikit-learn."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.ensemble import StackingClassifier, StackingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict, train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from support.voices import classification, combined, regression
from swarm_consensus import learning
from swarm_consensus.combining import STRATEGIES, Member, combine
from swarm_consensus.table import Table

SEEDS = st.integers(0, 2**32 - 1)


def table_of(case: Any) -> Table:
    y_train, members = case
    return Table.of([m.name for m in members], [m.out_of_fold for m in members], y_train, [7])


def everyone(table: Table) -> Any:
    return np.ones(len(table.names), dtype=bool)


# -- bayesian ----------------------------------------------------------------------------------------------


def pseudo_bma(log_densities: Any, resamples: int, seed: int) -> Any:
    """Return the weights as the paper's equations (9) to (11) have them: Dirichlet draws, one by one."""
    rng = np.random.default_rng(seed)
    rows = log_densities.shape[1]
    total = np.zeros(len(log_densities))
    for _ in range(resamples):
        sums = rows * log_densities @ rng.dirichlet(np.ones(rows))
        share = np.exp(sums - sums.max())
        total += share / share.sum()
    return total / resamples


@pytest.mark.parametrize("seed", [1, 2])
def test_bayesian_is_pseudo_bma_by_the_bayesian_bootstrap(seed: int) -> None:
    table = table_of(classification(seed, (1.0, 1.1, 1.05, 0.9)))
    weights = learning.bayesian(table, [seed])(everyone(table), learning.EVERY)
    for part in range(len(weights)):
        inside = np.repeat(table.inside[:, part], table.sizes) > 0
        expected = pseudo_bma(-table.row_losses[:, inside], 4000, seed)
        assert weights[part] == pytest.approx(expected, abs=0.06)
    assert weights[0].max() < 0.95  # else this would prove little


def test_bayesian_of_values_takes_a_normal_density_with_the_variance_out_of_fold() -> None:
    table = table_of(regression(1, (1.0, 1.05, 1.1)))
    weights = learning.bayesian(table, [1])(everyone(table), learning.EVERY)
    for part in range(len(weights)):
        inside = np.repeat(table.inside[:, part], table.sizes) > 0
        squares = table.row_losses[:, inside]
        variance = squares.mean(axis=1, keepdims=True)
        expected = pseudo_bma(-0.5 * (np.log(2 * np.pi * variance) + squares / variance), 4000, 2)
        assert weights[part] == pytest.approx(expected, abs=0.06)


def test_bayesian_does_not_collapse_where_plain_model_averaging_does() -> None:
    """Two members as good as each other, but for some rows: plain averaging is sure of one, and wrongly so."""
    table = table_of(classification(5, (1.0, 1.0)))
    sums = -table.row_losses.sum(axis=1)
    plain = np.exp(sums - sums.max())
    plain /= plain.sum()
    ours = learning.bayesian(table, [1])(everyone(table), learning.EVERY)[0]
    assert plain.max() > 0.99
    assert ours.max() < 0.9


# -- greedy ------------------------------------------------------------------------------------------------


def selected(predictions: list[Any], loss: Any, picks: int) -> list[float]:
    """Return shares of picks, by trying every addition in full."""
    counts, best, least = np.zeros(len(predictions)), None, np.inf
    for _ in range(picks):
        losses = []
        for index in range(len(predictions)):
            tried = counts + np.eye(len(predictions))[index]
            mixed = sum(count * each for count, each in zip(tried, predictions, strict=True)) / tried.sum()
            losses.append(round(loss(mixed), 12))
        counts[int(np.argmin(losses))] += 1
        if min(losses) < least:
            best, least = counts.copy(), min(losses)
    return [count / best.sum() for count in best]


@pytest.mark.parametrize("seed", range(3))
def test_greedy_is_ensemble_selection_by_log_loss(seed: int) -> None:
    y_train, members = classification(seed, (1.0, 1.3, 0.7, 1.2))
    predictions = [member.out_of_fold for member in members]
    expected = selected(predictions, lambda mixed: log_loss(y_train, mixed, labels=range(3)), 12)
    weights = combined((y_train, members), "greedy", picks=12).weights
    assert list(weights.values()) == pytest.approx(expected)
    assert sum(value > 0 for value in expected) > 1


@pytest.mark.parametrize("seed", range(3))
def test_greedy_of_values_is_ensemble_selection_by_squared_error(seed: int) -> None:
    y_train, members = regression(seed, (1.0, 1.3, 0.7, 1.2))
    predictions = [member.out_of_fold for member in members]
    expected = selected(predictions, lambda mixed: mean_squared_error(y_train, mixed), 12)
    weights = combined((y_train, members), "greedy", picks=12).weights
    assert list(weights.values()) == pytest.approx(expected)


def test_one_pick_is_the_best_single() -> None:
    for case in (classification(4, (1.0, 1.3, 0.7)), regression(4, (1.0, 0.8, 2.0))):
        one = combined(case, "greedy", picks=1)
        assert one.weights == combined(case, "best_single").weights
        assert one.weights != combined(case, "greedy").weights


def test_a_member_that_is_sure_and_wrong_in_every_row_is_no_trouble() -> None:
    y_train, members = classification(0, (1.0, 1.0))
    wrong = np.eye(3)[(y_train + 1) % 3]
    members.append(Member("wrong", members[0].held_out, wrong))
    assert combined((y_train, members), "greedy").weights["wrong"] == 0


# -- best_single -------------------------------------------------------------------------------------------


@given(SEEDS)
def test_best_single_is_the_one_with_the_least_loss_out_of_fold(seed: int) -> None:
    y_train, members = classification(seed, (1.0, 1.0, 1.0))
    found = combined((y_train, members), "best_single")
    chosen = min(found.losses, key=lambda name: found.losses[name])
    assert {name for name, weight in found.weights.items() if weight} == {chosen}
    assert np.array_equal(found.prediction, next(m.held_out for m in members if m.name == chosen))


# -- stacking ----------------------------------------------------------------------------------------------


def voiced(estimators: Any, x: Any, y: Any, x_test: Any, cv: Any, method: str) -> list[Member]:
    return [
        Member(
            name,
            getattr(model.fit(x, y), method)(x_test),
            cross_val_predict(model, x, y, cv=cv, method=method),
        )
        for name, model in estimators
    ]


@pytest.mark.parametrize("load", [load_breast_cancer, load_wine], ids=["two classes", "three classes"])
def test_stacking_is_scikit_learns(load: Any) -> None:
    x, x_test, y, _ = train_test_split(*load(return_X_y=True), random_state=1)
    folds = list(StratifiedKFold(3, shuffle=True, random_state=2).split(x, y))
    estimators = [
        ("logistic", make_pipeline(StandardScaler(), LogisticRegression())),
        ("tree", DecisionTreeClassifier(max_depth=3, random_state=0)),
        ("bayes", GaussianNB()),
    ]
    theirs = StackingClassifier(estimators, cv=folds, stack_method="predict_proba").fit(x, y)
    members = voiced(estimators, x, y, x_test, folds, "predict_proba")
    ours = combine(members, y, "stacking", seed=1, name="x")
    assert np.allclose(ours.prediction, theirs.predict_proba(x_test), rtol=0, atol=1e-6)
    assert np.array_equal(ours.prediction.argmax(axis=1), theirs.predict(x_test))
    final = theirs.final_estimator_
    expected = np.column_stack([final.intercept_, final.coef_])
    assert np.allclose(ours.coefficients, expected, rtol=1e-6)
    assert (ours.weights, ours.gains, ours.warnings) == ({}, {}, ())


def test_stacking_of_values_is_scikit_learns() -> None:
    x, x_test, y, _ = train_test_split(*load_diabetes(return_X_y=True), random_state=1)
    folds = list(KFold(3, shuffle=True, random_state=2).split(x))
    estimators = [
        ("linear", LinearRegression()),
        ("tree", DecisionTreeRegressor(max_depth=3, random_state=0)),
    ]
    theirs = StackingRegressor(estimators, cv=folds).fit(x, y)
    ours = combine(voiced(estimators, x, y, x_test, folds, "predict"), y, "stacking", seed=1, name="x")
    assert np.allclose(ours.prediction, theirs.predict(x_test), rtol=1e-6)
    final = theirs.final_estimator_
    assert np.allclose(ours.coefficients, [[final.intercept_, *final.coef_]], rtol=1e-6)


def test_stacking_knows_no_class_that_no_row_has() -> None:
    y_train, members = classification(0)
    found = combined((np.where(y_train == 2, 0, y_train), members), "stacking")
    assert found.prediction[:, 2].tolist() == [0.0] * 50
    only = combined((np.zeros_like(y_train), members), "stacking")
    assert only.prediction.tolist() == [[1.0, 0.0, 0.0]] * 50


def test_scikit_learn_is_loaded_for_stacking_alone() -> None:
    code = (
        "import sys, numpy as np\n"
        "from swarm_consensus import service\n"
        "from swarm_consensus.combining import STRATEGIES, Member, combine\n"
        "sure = np.array([[.9, .1], [.2, .8]] * 5)\n"
        "members = [Member(name, sure, sure) for name in 'ab']\n"
        "for strategy in sorted(STRATEGIES, key=lambda each: each in {'stacking', 'best'}):\n"
        "    combine(members, np.array([0, 1] * 5), strategy, seed=1, name='x')\n"
        "    print(strategy, 'sklearn' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = dict(line.split() for line in done.stdout.splitlines())
    assert {strategy for strategy, yes in loaded.items() if yes == "True"} == {"stacking", "best"}


# -- best --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "fitting"),
    [
        (classification(2), set(STRATEGIES) - {"best"}),
        (regression(2), set(STRATEGIES) - {"best", "majority"}),
    ],
    ids=["classes", "values"],
)
def test_best_is_the_strategy_that_loses_least(case: Any, fitting: set[str]) -> None:
    found = combined(case, "best")
    assert set(found.considered) == fitting
    assert found.considered[found.strategy] == min(found.considered.values())
    alone = combined(case, found.strategy)
    assert np.array_equal(found.prediction, alone.prediction)
    assert (found.weights, found.coefficients) == (alone.weights, alone.coefficients)
    assert found.gains == alone.gains
    assert alone.considered == {}


def test_what_is_considered_is_a_loss_that_is_cross_fitted() -> None:
    """Of members that know nothing, the best is the best of these rows, and no better on others."""
    flattery = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        y_train = np.repeat([0, 1], 30)
        members = []
        for number in range(20):
            sure = rng.permutation(np.repeat([0.3, 0.7], 30))
            seen = np.column_stack([sure, 1 - sure])
            members.append(Member(f"m{number:02}", seen, seen))
        found = combine(members, y_train, "best", seed=seed, name="x")
        flattery.append(found.considered["best_single"] - min(found.losses.values()))
    assert min(flattery) >= 0
    assert np.mean(flattery) > 0.02
