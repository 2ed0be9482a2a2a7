"""Parameters, and the plans of the suites."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_common.errors import UsageError
from swarm_common.events import Task
from swarm_common.events.agent import TaskDone
from swarm_common.ids import is_token
from swarm_coordinator.plans import (
    Fact,
    Finish,
    Param,
    Scenario,
    SoFar,
    Step,
    complete_params,
    find_scenario,
)
from swarm_coordinator.suites import SUITES

CASES = [(suite.name, scenario.name) for suite in SUITES.values() for scenario in suite.scenarios]
SCENARIO = Scenario(
    name="s",
    description="",
    params=(
        Param(name="count", type="int", default=3, low=1, high=9, description=""),
        Param(name="share", type="float", default=0.5, low=0.0, high=1.0, description=""),
        Param(name="how", type="str", default="a", choices=("a", "b"), description=""),
        Param(name="on", type="bool", default=False, description=""),
        Param(name="who", type="list", default=["x"], choices=("x", "y"), description=""),
    ),
)


def plan(suite: str, scenario: str = "", seed: int = 42, **params: Any) -> tuple[Task, ...]:
    found = SUITES[suite]
    case = find_scenario(found, scenario)
    step = found.plan(SoFar(scenario=case.name, params=complete_params(case, params), seed=seed))
    assert isinstance(step, Step)
    return step.tasks


def test_what_is_not_given_is_the_default() -> None:
    defaults = {"count": 3, "share": 0.5, "how": "a", "on": False, "who": ["x"]}
    assert complete_params(SCENARIO, {}) == defaults
    assert complete_params(SCENARIO, {"count": 9}) == defaults | {"count": 9}


def test_a_list_may_be_given_as_text_and_a_float_as_an_int() -> None:
    found = complete_params(SCENARIO, {"who": "y, x", "share": 1})
    assert found["who"] == ["y", "x"]
    assert isinstance(found["share"], float)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("count", 0),
        ("count", 10),
        ("count", "3"),
        ("count", 3.0),
        ("count", True),
        ("count", None),
        ("share", 1.01),
        ("share", float("nan")),
        ("share", float("inf")),
        ("share", "half"),
        ("how", "c"),
        ("how", 1),
        ("on", 1),
        ("on", "true"),
        ("who", ["z"]),
        ("who", [["x"]]),
        ("who", {"x": 1}),
        ("who", "x,z"),
        ("nope", 1),
    ],
)
def test_what_does_not_fit_is_named(name: str, value: object) -> None:
    with pytest.raises(UsageError) as raised:
        complete_params(SCENARIO, {name: value})
    assert raised.value.field == f"params.{name}"
    assert name in str(raised.value)


@given(
    st.integers(1, 9), st.floats(0, 1), st.sampled_from("ab"), st.booleans(), st.sets(st.sampled_from("xy"))
)
def test_what_fits_is_taken_and_taken_again(
    count: int, share: float, how: str, on: bool, who: set[str]
) -> None:
    given_ = {"count": count, "share": share, "how": how, "on": on, "who": sorted(who)}
    once = complete_params(SCENARIO, given_)
    assert once == given_
    assert complete_params(SCENARIO, once) == once


def test_an_unknown_scenario_is_told_those_there_are() -> None:
    with pytest.raises(UsageError, match="digits, breast_cancer"):
        find_scenario(SUITES["ensemble"], "nope")


@pytest.mark.parametrize(("suite", "scenario"), CASES)
def test_every_plan_can_be_scheduled(suite: str, scenario: str) -> None:
    tasks = plan(suite, scenario)
    names = [task.id for task in tasks]
    assert len(set(names)) == len(names) > 0
    for at, task in enumerate(tasks):
        assert is_token(task.id)
        assert set(task.after) <= set(names[:at]) | set(names)
        assert task.id not in task.after
        assert task.max_attempts >= 1
    assert plan(suite, scenario) == tasks


@pytest.mark.parametrize(("suite", "scenario"), CASES)
def test_targets_name_metrics_that_scenarios_can_have(suite: str, scenario: str) -> None:
    for target in find_scenario(SUITES[suite], scenario).targets:
        assert target.metric in {"accuracy", "f1", "seconds"}


def test_noop_plans_as_many_tasks_as_asked_and_how_often_they_fail() -> None:
    assert [task.params for task in plan("noop", tasks=3)] == [{"index": 0}, {"index": 1}, {"index": 2}]
    assert plan("noop", tasks=1, fail_attempts=2)[0].params == {"index": 0, "fail_attempts": 2}


def test_noop_counts_what_was_done_and_how_fast() -> None:
    results = {f"noop-{i}": Fact(f"e{i}", TaskDone(task=f"noop-{i}"), "") for i in range(4)}
    sofar = SoFar(scenario="throughput", params={}, seed=1, step=1, results=results, elapsed_s=2.0)
    finish = SUITES["noop"].plan(sofar)
    assert isinstance(finish, Finish)
    assert {metric.name: metric.value for metric in finish.metrics} == {
        "tasks": 4,
        "throughput": 2.0,
        "seconds": 2.0,
    }


def test_a_rate_without_time_is_null_with_a_reason() -> None:
    finish = SUITES["noop"].plan(SoFar(scenario="throughput", params={}, seed=1, step=1))
    assert isinstance(finish, Finish)
    rate = next(metric for metric in finish.metrics if metric.name == "throughput")
    assert rate.value is None
    assert rate.reason


def test_the_members_of_an_ensemble_are_those_asked_for_the_dearest_first() -> None:
    trains = [
        task.id
        for task in plan("ensemble", "digits", models=["svm", "random_forest"])
        if task.kind == "train"
    ]
    assert trains == ["train-random_forest", "train-svm"]


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("combination", "soft", "combine"),
        ("folds", 5, "train"),
        ("test_share", 0.3, "train"),
        ("test_share", 0.3, "prepare"),
        ("models", ["svm"], "combine"),
        ("models", ["svm"], "recall"),
    ],
)
def test_parameters_of_an_ensemble_change_its_work(name: str, value: object, kind: str) -> None:
    default = [task for task in plan("ensemble") if task.kind == kind]
    changed = [task for task in plan("ensemble", **{name: value}) if task.kind == kind]
    assert default != changed


def test_the_seed_of_an_ensemble_is_that_of_its_split_and_its_made_data() -> None:
    train = next(
        task for task in plan("ensemble", "classification_ensemble_small", seed=7) if task.kind == "train"
    )
    assert train.params["split_seed"] == 7
    assert train.params["make"]["random_state"] == 7


def test_quick_is_both_one_after_the_other() -> None:
    first = plan("quick")
    assert {task.kind for task in first} == {"noop"}
    sofar = SoFar(scenario="taste", params={"tasks": 200}, seed=42, step=1)
    second = SUITES["quick"].plan(sofar)
    assert isinstance(second, Step)
    assert second.tasks == tuple(plan("ensemble", "breast_cancer"))[: len(second.tasks)] or {
        task.kind for task in second.tasks
    } == {"prepare", "train", "recall", "combine", "score"}
