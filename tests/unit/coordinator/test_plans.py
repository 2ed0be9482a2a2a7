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
from swarm_common.patterns import PATTERNS
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

#: Names of metrics, or what stands before the first dot of those of which there are several.
MEASURED = {
    "accuracy",
    "bytes",
    "consensus_time",
    "cv_accuracy",
    "differing",
    "diversity",
    "exponent",
    "f1",
    "inference_p99",
    "iteration_p99",
    "leaks",
    "memory",
    "not_above_chance",
    "not_learned",
    "not_linearizable_inside",
    "note_us",
    "off_graph",
    "orchestration_throughput",
    "over_static",
    "p50",
    "p99",
    "parallel_efficiency",
    "r2",
    "recognition_p99",
    "seconds",
    "silent",
    "steeper_than_promised",
    "stopped_inside",
    "stuck_inside",
    "unsafe_inside",
    "variation",
}
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
        Param(name="more", type="dict", default={}, choices=("k", "l"), description=""),
        Param(name="data", type="file", default="", description=""),
        Param(name="sizes", type="ints", default=[3], low=3, high=9, description=""),
        Param(name="first", type="int", default=None, low=0, high=9, description=""),
    ),
)
FILE = f"people.csv@sha256:{'0123456789abcdef' * 4}"
#: What scenarios cannot do without, for plans of every one of them.
NEEDED: dict[str, Any] = {"file": FILE, "str": "income"}


def needed(scenario: Scenario) -> dict[str, Any]:
    return {param.name: NEEDED[param.type] for param in scenario.params if param.required}


def plan(suite: str, scenario: str = "", seed: int = 42, **params: Any) -> tuple[Task, ...]:
    found = SUITES[suite]
    case = find_scenario(found, scenario)
    params = complete_params(case, needed(case) | params)
    step = found.plan(SoFar(scenario=case.name, params=params, seed=seed))
    assert isinstance(step, Step)
    return step.tasks


def test_what_is_not_given_is_the_default() -> None:
    defaults = {"count": 3, "share": 0.5, "how": "a", "on": False, "who": ["x"], "more": {}, "data": ""}
    defaults |= {"sizes": [3], "first": None}
    assert complete_params(SCENARIO, {}) == defaults
    assert complete_params(SCENARIO, {"count": 9}) == defaults | {"count": 9}


def test_a_list_may_be_given_as_text_and_a_float_as_an_int() -> None:
    found = complete_params(SCENARIO, {"who": "y, x", "share": 1})
    assert found["who"] == ["y", "x"]
    assert isinstance(found["share"], float)


@pytest.mark.parametrize("given_", [5, [5], "5", (5,), [5, 7], "5, 7", ["5", 7]])
def test_whole_numbers_are_given_in_any_way(given_: object) -> None:
    assert complete_params(SCENARIO, {"sizes": given_})["sizes"] in ([5], [5, 7])


def test_what_has_no_default_may_be_left_out() -> None:
    assert complete_params(SCENARIO, {"first": None})["first"] is None
    assert complete_params(SCENARIO, {"first": 0})["first"] == 0


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
        ("more", "k"),
        ("more", ["k"]),
        ("more", None),
        ("more", {"m": 1}),
        ("data", "people.csv"),
        ("data", "/etc/passwd"),
        ("data", f"../{FILE}"),
        ("data", f"a/{FILE}"),
        ("data", FILE.replace("people", ".people")),
        ("data", FILE[:-1]),
        ("data", FILE.replace("a", "A")),
        ("data", f"{FILE}\n"),
        ("data", {"file": FILE}),
        ("data", None),
        ("sizes", 2),
        ("sizes", [3, 10]),
        ("sizes", "3,x"),
        ("sizes", "3,²"),
        ("sizes", [3.5]),
        ("sizes", [True]),
        ("sizes", []),
        ("sizes", None),
        ("sizes", {"a": 3}),
        ("sizes", "9" * 5000),
        ("first", -1),
        ("first", "1"),
        ("nope", 1),
    ],
)
def test_what_does_not_fit_is_named(name: str, value: object) -> None:
    with pytest.raises(UsageError) as raised:
        complete_params(SCENARIO, {name: value})
    assert raised.value.field == f"params.{name}"
    assert name in str(raised.value)


@given(
    st.integers(1, 9),
    st.floats(0, 1),
    st.sampled_from("ab"),
    st.booleans(),
    st.sets(st.sampled_from("xy")),
    st.dictionaries(st.sampled_from("kl"), st.integers() | st.text()),
    st.sampled_from(["", FILE]),
)
def test_what_fits_is_taken_and_taken_again(
    count: int, share: float, how: str, on: bool, who: set[str], more: dict[str, Any], data: str
) -> None:
    given_ = {"count": count, "share": share, "how": how, "on": on, "who": sorted(who)}
    given_ |= {"more": more, "data": data, "sizes": [count + 2] if count < 8 else [3], "first": count}
    once = complete_params(SCENARIO, given_)
    assert once == given_
    assert complete_params(SCENARIO, once) == once


@pytest.mark.parametrize("params", [{}, {"data": ""}])
def test_what_is_needed_must_be_given(params: dict[str, Any]) -> None:
    what = Param(name="data", type="file", default="", description="a CSV file", required=True)
    scenario = Scenario(name="own", description="", params=(what,))
    with pytest.raises(UsageError, match=r"scenario own needs params\.data: a CSV file") as raised:
        complete_params(scenario, params)
    assert raised.value.field == "params.data"
    assert complete_params(scenario, {"data": FILE}) == {"data": FILE}


def test_a_path_is_refused_with_the_way_to_send_it() -> None:
    with pytest.raises(UsageError, match="swarm run -p data=PATH"):
        complete_params(SCENARIO, {"data": "../data/people.csv"})


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
        assert target.metric.partition(".")[0] in MEASURED


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
        if task.kind in {"train", "assemble"}
    ]
    assert trains == ["train-svm", "train-random_forest"]


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


def test_quick_is_all_of_them_one_after_the_other() -> None:
    first = plan("quick")
    assert {task.kind for task in first} == {"noop"}
    sofar = SoFar(scenario="taste", params={"tasks": 200}, seed=42, step=1)
    second = SUITES["quick"].plan(sofar)
    assert isinstance(second, Step)
    worlds = [task for task in second.tasks if task.kind == "simulate"]
    assert {task.params["fault"] for task in worlds} == {"none", "crash", "byzantine"}
    learned = [task for task in second.tasks if task.kind == "learn_pattern"]
    assert [task.params["pattern"] for task in learned] == list(PATTERNS)
    rest = tuple(task for task in second.tasks if task not in worlds and task not in learned)
    assert rest[:-1] == tuple(plan("ensemble", "breast_cancer"))[:-1]
    assert [task.kind for task in second.tasks].count("recall") == 1
