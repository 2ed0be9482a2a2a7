"""The ensemble's planner: work shared out by cost and no more, splits, verdicts, and the leaderboard it ends with."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.played import completed, metrics, play
from swarm_common.errors import UsageError
from swarm_common.events import Event, Task
from swarm_common.events.agent import DataPrepared, ModelTrained, PartTrained
from swarm_common.events.metrics import Scored
from swarm_coordinator.plans import SoFar, Step, complete_params, find_scenario
from swarm_coordinator.suites import SUITES
from swarm_coordinator.suites.ensemble import adaptive
from swarm_coordinator.suites.ensemble.cases import CASES
from swarm_coordinator.suites.ensemble.costs import cost_s, types_for
from swarm_memory_sync.replica import Replica

QUICK = {"models": ["logistic_regression", "naive_bayes"]}


def tasks(scenario: str, seed: int = 42, **params: Any) -> list[Task]:
    suite = SUITES["ensemble"]
    found = complete_params(find_scenario(suite, scenario), params)
    step = suite.plan(SoFar(scenario=scenario, params=found, seed=seed))
    assert isinstance(step, Step)
    return list(step.tasks)


def run(scenario: str, **params: Any) -> list[Event]:
    return asyncio.run(play(scenario, params))


def of(events: list[Event], kind: type[Any]) -> list[Any]:
    return [event.data for event in events if isinstance(event.data, kind)]


class NothingBefore:
    """The log of a swarm that has not done anything yet, for what it remembers."""

    async def read(self, subject: str, *, after: int = 0) -> AsyncIterator[Event]:  # noqa: ARG002
        for event in ():
            yield event


@pytest.fixture(scope="module", autouse=True)
def memory() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("swarm_memory_sync.service._replica", Replica(NothingBefore()))
        yield


# -- What is shared out ------------------------------------------------------------------------------------


def test_a_dear_training_is_a_task_a_fold_and_a_cheap_one_is_whole() -> None:
    found = {task.id: task for task in tasks("classification_ensemble", iterations=1)}
    assert [found[f"train-gradient_boost-fold-{fold}"].kind for fold in range(3)] == ["train_part"] * 3
    assert found["train-gradient_boost"].kind == "assemble"
    assert found["train-logistic_regression"].kind == "train"
    assert set(found["train-gradient_boost"].after) == {
        "train-gradient_boost-all",
        *(f"train-gradient_boost-fold-{fold}" for fold in range(3)),
    }


def test_a_forest_that_dominates_is_cut_by_its_trees_and_all_of_them_once() -> None:
    shares = [
        task.params["trees"] for task in tasks("regression_ensemble", iterations=1) if "trees" in task.params
    ]
    assert len(shares) > 1
    assert shares[0][0] == 0
    assert shares[-1][1] == 100
    assert all(before[1] == after[0] for before, after in itertools.pairwise(shares))


def test_the_dearest_part_is_scheduled_first() -> None:
    found = tasks("classification_ensemble", iterations=1)
    assert found[0].params["model"] == "gradient_boost"
    trained = [task.params["model"] for task in found if task.kind in {"train", "train_part"}]
    assert trained.index("random_forest") < trained.index("logistic_regression")


@given(
    st.sampled_from([*types_for("classification"), *types_for("regression"), "somebody's own"]),
    st.integers(1, 10**6),
    st.integers(1, 1000),
    st.integers(0, 100),
)
def test_every_fit_has_a_cost(model_type: str, rows: int, features: int, classes: int) -> None:
    assert cost_s(model_type, {}, rows=rows, features=features, classes=classes) > 0
    assert cost_s(model_type, {"n_estimators": "many"}, rows=rows, features=features, classes=classes) > 0


@pytest.mark.parametrize(
    ("model_type", "less", "more"),
    [
        ("random_forest", {"n_estimators": 10}, {"n_estimators": 100}),
        ("random_forest", {"max_depth": 2}, {}),
        ("gradient_boost", {"n_estimators": 10}, {"n_estimators": 100}),
        ("hist_gradient_boost", {"max_iter": 10}, {"max_iter": 100}),
        ("neural_network", {"hidden_layer_sizes": [10]}, {"hidden_layer_sizes": [100, 50]}),
    ],
)
def test_what_asks_for_more_costs_more(
    model_type: str, less: Mapping[str, Any], more: Mapping[str, Any]
) -> None:
    size = {"rows": 5000, "features": 20, "classes": 3}
    assert cost_s(model_type, less, **size) < cost_s(model_type, more, **size)


# -- What can be asked for ---------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", sorted(CASES))
def test_hyperparameters_reach_the_task_that_trains(scenario: str) -> None:
    name = CASES[scenario].models[0].name
    found = tasks(scenario, hyperparameters={name: {"probe": 3}})
    given_ = [
        task.params for task in found if task.params.get("model") == name and "hyperparameters" in task.params
    ]
    assert given_
    assert all(params["hyperparameters"]["probe"] == 3 for params in given_)


def test_models_of_ones_own_and_types_of_the_catalogue_may_take_part() -> None:
    found = tasks("wine", models=["svm", "extra_trees"], own_models=["my_model"])
    trained = {task.params["model"]: task.params.get("model_type") for task in found if task.kind == "train"}
    assert trained == {"svm": "svm", "extra_trees": "extra_trees", "my_model": "my_model"}


def test_a_device_is_asked_for_where_one_is_wanted() -> None:
    assert all("device" not in task.params for task in tasks("wine"))
    assert {task.params["device"] for task in tasks("wine", device="cuda") if task.kind == "train"} == {
        "cuda"
    }


@pytest.mark.parametrize(
    ("scenario", "params", "field"),
    [
        ("wine", {"models": ["svm", "svm"]}, "params.models"),
        ("wine", {"own_models": ["svm"]}, "params.models"),
        ("wine", {"hyperparameters": {"xgboost": {}}}, "params.hyperparameters.xgboost"),
        ("wine", {"hyperparameters": {"svm": 3}}, "params.hyperparameters.svm"),
        ("wine", {"folds": 1, "combination": "soft"}, "params.folds"),
        ("wine", {"folds": 0, "combination": "stacking"}, "params.folds"),
        ("wine", {"test_folds": 1}, "params.test_folds"),
        ("diabetes", {"combination": "majority"}, "params.combination"),
        ("multi_model_consensus", {"case": "diabetes", "strategies": ["majority"]}, "params.strategies"),
        ("file", {"target": "income"}, "params.data"),
    ],
)
def test_what_does_not_go_together_is_refused_by_name(
    scenario: str, params: dict[str, Any], field: str
) -> None:
    with pytest.raises(UsageError) as caught:
        tasks(scenario, **params)
    assert caught.value.field == field


def test_splits_differ_and_made_rows_do_not() -> None:
    prepared = [
        task.params for task in tasks("classification_ensemble_small", iterations=3) if task.kind == "prepare"
    ]
    assert [params["split_seed"] for params in prepared] == [42, 43, 44]
    assert len({str(params["make"]) for params in prepared}) == 1


def test_every_fold_is_held_out_in_turn_in_every_iteration() -> None:
    prepared = [task.params for task in tasks("wine", iterations=2, test_folds=3) if task.kind == "prepare"]
    assert [(params["split_seed"], *params["test_fold"]) for params in prepared] == [
        (seed, fold, 3) for seed in (42, 43) for fold in range(3)
    ]
    assert all("test_share" not in params for params in prepared)


# -- What comes of it --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wine() -> list[Event]:
    return run("wine", **QUICK)


def test_models_that_were_fitted_know_wines(wine: list[Event]) -> None:
    found = metrics(wine)
    # A third of the wines are of each grower: who learns nothing is right in 40 % of the rows at most.
    assert found["accuracy"] is not None
    assert found["accuracy"] > 0.9
    assert found["best_single_accuracy"] is not None
    assert found["best_single_accuracy"] > 0.9


def test_the_leaderboard_holds_what_was_scored(wine: list[Event]) -> None:
    result = completed(wine).result
    [scored] = of(wine, Scored)
    board = {row["model"]: row for row in result["models"]}
    assert set(board) == set(QUICK["models"])
    for model, row in board.items():
        accuracy = next(metric for metric in scored.members[model] if metric.name == "accuracy")
        assert (row["score"], row["low"], row["high"]) == (accuracy.value, accuracy.low, accuracy.high)
        assert row["fit_s"] > 0
    assert [row["model"] for row in result["models"] if row["best_single"]] == [scored.best_single]
    assert result["verdict"]["verdict"] == scored.versus_best.verdict
    assert sum(row["weight"] for row in board.values()) == pytest.approx(1)


def test_the_best_single_model_is_chosen_without_a_look_at_what_judges_it(wine: list[Event]) -> None:
    found = metrics(wine)
    [scored] = of(wine, Scored)
    by_score = {
        model: next(m.value for m in members if m.name == "accuracy")
        for model, members in scored.members.items()
    }
    assert found["best_single_accuracy"] == by_score[scored.best_single]
    trained = {data.model: sum(data.fold_scores) for data in of(wine, ModelTrained)}
    assert set(trained) == set(by_score)
    assert found["over_best_single"] == pytest.approx(found["accuracy"] - by_score[scored.best_single])


def test_efficiency_is_the_score_by_the_workers_own_cpu_seconds(wine: list[Event]) -> None:
    found = metrics(wine)
    cpu_s = sum(data.cpu_s for data in of(wine, ModelTrained))
    assert found["cpu_time"] == pytest.approx(cpu_s)
    assert found["accuracy_per_cpu_second"] == pytest.approx(found["accuracy"] / cpu_s)


def test_several_splits_are_summed_up_and_compared_once() -> None:
    events = run("wine", **QUICK, iterations=3)
    found = {metric.name: metric for metric in completed(events).metrics}
    scored = of(events, Scored)
    values = [next(m.value for m in split.metrics if m.name == "f1") for split in scored]
    assert found["f1"].value == pytest.approx(sum(values) / 3)
    assert (found["f1"].low, found["f1"].high, found["f1"].n) == (min(values), max(values), 3)
    assert found["accuracy"].n == 3
    assert {event.id for event in events if isinstance(event.data, DataPrepared)} < set(found["f1"].source)
    assert len({data.sha256 for data in of(events, DataPrepared)}) == 3


def test_parts_lead_to_the_same_scores_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    given_ = {
        "models": ["random_forest", "logistic_regression"],
        "hyperparameters": {"random_forest": {"n_estimators": 8}},
    }
    whole = run("wine", **given_)
    monkeypatch.setattr("swarm_coordinator.suites.ensemble.tasks.SHARED_FROM_S", 0.0)
    parted = run("wine", **given_)
    assert not of(whole, PartTrained)
    assert len(of(parted, PartTrained)) > 2 * 4
    timeless = [m for m in completed(whole).metrics if not m.timing]
    assert {m.name: m.value for m in timeless} == {
        m.name: m.value for m in completed(parted).metrics if not m.timing
    }


def test_without_folds_there_is_no_best_single_model_and_it_says_so() -> None:
    found = {
        m.name: m for m in completed(run("wine", **QUICK, combination="soft", folds=0, iterations=2)).metrics
    }
    for name in ("best_single_accuracy", "over_best_single", "cv_accuracy"):
        assert found[name].value is None
        assert found[name].reason


def test_one_member_alone_has_no_diversity_and_it_says_so() -> None:
    found = {m.name: m for m in completed(run("wine", models=["naive_bayes"])).metrics}
    assert found["diversity"].value is None
    assert found["agreement"].reason


def test_values_have_scores_of_values() -> None:
    models = ["ridge_regression", "lasso_regression"]
    found = metrics(run("diabetes", models=models, combination="bayesian"))
    assert found["r2"] is not None
    assert found["r2"] > 0.4  # the mean of all patients has 0
    assert {"r2", "mse", "mae", "best_single_r2", "consensus_variance", "cv_r2"} <= set(found)
    assert "agreement" not in found


def test_every_way_to_combine_stands_beside_the_best_single_model() -> None:
    events = run("multi_model_consensus", case="wine", **QUICK, iterations=2)
    completed_ = completed(events)
    rows = completed_.result["strategies"]
    assert {row["strategy"] for row in rows} == {
        "weighted",
        "soft",
        "majority",
        "stacking",
        "bayesian",
        "greedy",
    }
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    named = {metric.name for metric in completed_.metrics}
    assert {f"accuracy.{row['strategy']}" for row in rows} <= named
    assert len(of(events, ModelTrained)) == 2 * 2  # trained once a split, however many ways there are


def test_the_best_of_the_ways_names_what_it_chose() -> None:
    result = completed(run("wine", **QUICK, combination="best")).result
    assert result["chosen"][0] in result["considered"]


@pytest.fixture
def quick_members(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adaptive, "_TYPES", {"logistic_regression": {}, "naive_bayes": {}})


@pytest.mark.usefixtures("quick_members")
def test_weights_that_follow_losses_beat_weights_made_once_where_the_rule_turns() -> None:
    given_ = {"rows": 2400, "concepts": 4, "window": 150, "refit": 1, "iterations": 3}
    found = {m.name: m for m in completed(run("adaptive_learning", **given_)).metrics}
    assert found["over_static"].value is not None
    assert found["over_static"].value > 0
    assert "paired t-test" in found["over_static"].estimator


@pytest.mark.usefixtures("quick_members")
def test_where_no_rule_turns_nothing_is_claimed() -> None:
    given_ = {"rows": 800, "concepts": 1, "window": 100, "refit": 4, "iterations": 2}
    found = {m.name: m for m in completed(run("adaptive_learning", **given_)).metrics}
    assert abs(found["over_static"].value or 1.0) < 0.02


def test_a_type_that_nobody_has_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="my_model") as caught:
        run("wine", models=["naive_bayes"], own_models=["my_model"])
    assert "random_forest" in caught.value.allowed
