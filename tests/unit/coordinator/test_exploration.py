"""Rules that explore under a budget, and whole runs of the configuration that holds them beside each other."""

from __future__ import annotations

import asyncio
import math
import statistics
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.played import completed, facts_of, metrics, play
from swarm_common.errors import UsageError
from swarm_common.events import Event
from swarm_common.events.agent import PartTrained, Predicted
from swarm_common.events.benchmark import Rejected, Started, TaskScheduled
from swarm_coordinator.moment import Moment
from swarm_coordinator.plans import Param, Scenario, SoFar, Step, complete_params, find_scenario
from swarm_coordinator.requests import Request, begin
from swarm_coordinator.suites import SUITES
from swarm_coordinator.suites.ensemble.bandits import (
    ARMS,
    Explored,
    Limits,
    Pull,
    by_pulls,
    explore,
    halving,
    halving_rounds,
    pulls_of,
    uniform,
    upper_bound,
)
from swarm_coordinator.suites.ensemble.candidates import POOL
from swarm_coordinator.suites.ensemble.costs import types_for

# -- the rules ---------------------------------------------------------------------------------------------


class Table:
    """What every fold of every candidate would score, and which of them were asked for."""

    def __init__(self, scores: Mapping[str, Sequence[float]], cpu_s: float = 1.0) -> None:
        self.scores = scores
        self.cpu_s = cpu_s
        self.asked: list[tuple[str, int]] = []

    def explore(self, arm: str, limits: Limits) -> Explored:
        """Answer whatever is asked until nothing is, each time from the beginning, as a planner is asked."""
        made: dict[tuple[str, int], Pull] = {}
        while True:
            found = explore(ARMS[arm][0], list(self.scores), lambda *pull: made.get(pull), limits)
            if not found.pending:
                return found
            self.asked += found.pending
            for name, fold in found.pending:
                made[name, fold] = Pull(self.scores[name][fold], self.cpu_s)


folds = st.integers(1, 6)
scores = st.floats(-2, 1) | st.sampled_from([0.0, 0.5, 1.0])


@st.composite
def tables(draw: st.DrawFn) -> tuple[dict[str, list[float]], Limits]:
    k = draw(folds)
    names = draw(st.sets(st.sampled_from("abcdefghijklmnop"), min_size=1, max_size=13))
    table = {name: draw(st.lists(scores, min_size=k, max_size=k)) for name in sorted(names)}
    pulls = draw(st.integers(len(names), len(names) * k + 5))
    batch, width = draw(st.integers(1, 6)), draw(st.floats(0, 2))
    return table, Limits(pulls=pulls, folds=k, batch=batch, width=width)


@given(tables(), st.sampled_from(sorted(ARMS)))
@settings(deadline=None)
def test_every_arm_spends_its_budget_and_never_more(
    given_: tuple[dict[str, list[float]], Limits], arm: str
) -> None:
    table, limits = given_
    play_ = Table(table)
    found = play_.explore(arm, limits)
    assert found.pulls == min(limits.pulls, len(table) * limits.folds)
    assert len(set(play_.asked)) == len(play_.asked) == found.pulls
    assert all(had for had in found.scores.values())
    assert all(list(had) == table[name][: len(had)] for name, had in found.scores.items())
    assert found.cpu_s == found.pulls


@given(tables(), st.sampled_from(sorted(ARMS)), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_what_others_have_made_already_and_the_order_of_names_change_nothing(
    given_: tuple[dict[str, list[float]], Limits], arm: str, random: Any
) -> None:
    table, limits = given_
    alone = Table(table).explore(arm, limits)
    names = list(table)
    random.shuffle(names)

    def all_made(name: str, fold: int) -> Pull:
        return Pull(table[name][fold], 1.0)

    assert explore(ARMS[arm][0], names, all_made, limits) == alone


@given(tables(), st.sampled_from(sorted(ARMS)))
@settings(deadline=None)
def test_a_round_counts_when_all_of_it_was_made(
    given_: tuple[dict[str, list[float]], Limits], arm: str
) -> None:
    table, limits = given_

    def none_made(_name: str, _fold: int) -> None:
        return None

    first = explore(ARMS[arm][0], list(table), none_made, limits)
    missing = first.pending[-1]

    def all_but_one(name: str, fold: int) -> Pull | None:
        return None if (name, fold) == missing else Pull(table[name][fold], 1.0)

    found = explore(ARMS[arm][0], list(table), all_but_one, limits)
    assert (found.pending, found.pulls, found.rounds) == ((missing,), 0, 0)


@given(tables())
@settings(deadline=None)
def test_the_best_by_far_is_found_by_halving_and_by_the_bound(
    given_: tuple[dict[str, list[float]], Limits],
) -> None:
    table, limits = given_
    best = max(table)
    table = {name: [min(score, 0.5) for score in had] for name, had in table.items()}
    table[best] = [0.9] * limits.folds
    for arm in ("halving", "bandit"):
        found = Table(table).explore(arm, msgspec.structs.replace(limits, width=0.01))
        assert ARMS[arm][1](found.scores)[0] == best
        assert len(found.scores[best]) == max(len(had) for had in found.scores.values())


def test_equal_scores_are_broken_by_name() -> None:
    table = {name: [0.5] * 4 for name in "dcba"}
    limits = Limits(pulls=8, folds=4, batch=2)
    found = {arm: Table(table).explore(arm, limits) for arm in ARMS}
    assert {arm: ARMS[arm][1](one.scores)[0] for arm, one in found.items()} == dict.fromkeys(ARMS, "a")
    assert found["bandit"].scores == {"a": (0.5,) * 2, "b": (0.5,) * 2, "c": (0.5,) * 2, "d": (0.5,) * 2}


def test_halving_halves() -> None:
    limits = Limits(pulls=48, folds=8)
    assert halving_rounds(8, limits) == [(8, 2), (4, 4), (2, 2)]  # 16 each, but for folds that there are not
    table = {name: [value / 10] * 8 for value, name in enumerate("abcdefgh")}
    found = Table(table).explore("halving", limits)
    had = {name: len(scores) for name, scores in found.scores.items()}
    # The 12 pulls to spare go to the best of those that were let go: e and f of 6 pulls, then d, then c of 2.
    assert had == {"a": 2, "b": 2, "c": 4, "d": 8, "e": 8, "f": 8, "g": 8, "h": 8}


def test_a_round_of_halving_waits_for_nothing_but_its_own() -> None:
    limits = Limits(pulls=6, folds=4)
    had: dict[str, tuple[float, ...]] = {"a": (), "b": ()}
    assert halving(had, limits) == ["a", "a", "a", "b", "b", "b"]
    had = {"a": (0.1, 0.1, 0.1), "b": (0.9, 0.9, 0.9)}
    assert halving(had, limits) == []
    assert halving(had, Limits(pulls=7, folds=4)) == ["b"]


def test_the_bound_goes_where_little_is_known_and_where_much_is_promised() -> None:
    had = {"seldom": (0.5,), "often": (0.5,) * 4, "bad": (0.1,) * 4}
    wide = Limits(pulls=100, folds=10, batch=1, width=1.0)
    assert upper_bound(had, wide) == ["seldom"]
    had = {"seldom": (0.4,), "often": (0.5,) * 4, "bad": (0.1,) * 4}
    assert upper_bound(had, msgspec.structs.replace(wide, width=0.0)) == ["often"]
    # 0.4 + w * sqrt(ln 9) against 0.5 + w * sqrt(ln 9 / 4): they cross at w = 0.1 / (sqrt(ln 9) / 2)
    crossing = 0.1 / (math.sqrt(math.log(9)) / 2)
    assert upper_bound(had, msgspec.structs.replace(wide, width=crossing * 1.01)) == ["seldom"]
    assert upper_bound(had, msgspec.structs.replace(wide, width=crossing * 0.99)) == ["often"]


def test_a_batch_takes_each_candidate_once_and_none_that_is_done() -> None:
    had = {"a": (0.9, 0.9), "b": (0.8,), "c": (0.7,)}
    assert upper_bound(had, Limits(pulls=100, folds=2, batch=5)) == ["b", "c"]


def test_rewards_below_zero_count_as_zero() -> None:
    had = {"a": (-5.0, 0.9), "b": (0.4, 0.4)}
    assert upper_bound(had, Limits(pulls=100, folds=9, batch=1, width=0.0)) == ["a"]


def test_uniform_goes_round() -> None:
    limits = Limits(pulls=100, folds=2)
    assert uniform({"a": (), "b": ()}, limits) == ["a", "b"]
    assert uniform({"a": (0.1,), "b": (0.9,)}, limits) == ["a", "b"]
    assert uniform({"a": (0.1, 0.1), "b": (0.9,)}, limits) == ["b"]
    assert uniform({"a": (0.1, 0.1), "b": (0.9, 0.9)}, limits) == []


def test_one_lucky_fold_does_not_outweigh_many() -> None:
    assert by_pulls({"lucky": (1.0,), "steady": (0.9, 0.9)}) == ["steady", "lucky"]


def test_cpu_seconds_end_an_exploration_between_rounds() -> None:
    table = {name: [0.5] * 5 for name in "abcd"}
    limits = Limits(pulls=20, folds=5, cpu_s=6.0)
    found = Table(table, cpu_s=1.0).explore("uniform", limits)
    assert (found.pulls, found.rounds, found.cpu_s) == (8, 2, 8.0)
    assert (
        Table(table, cpu_s=100.0).explore("uniform", limits).pulls == 4
    )  # each is pulled once whatever it costs
    assert Table(table, cpu_s=0.1).explore("uniform", limits).pulls == 20


# -- the plan ----------------------------------------------------------------------------------------------


def asked(**params: Any) -> Started | Rejected:
    body = {"suite": "ensemble", "scenario": "exploration_exploitation", "params": params}
    return begin(Request(id="r", body=body), SUITES, Moment(1_800_000_000_000_000_000), "")


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"pulls": 11}, "params.pulls"),
        ({"arms": []}, "params.arms"),
        ({"arms": ["uniform", "uniform"]}, "params.arms"),
        ({"arms": ["luck"]}, "params.arms"),
        ({"folds": 0}, "params.folds"),
        ({"candidates": ["naive_bayes"]}, "params.candidates"),
        ({"case": "wine", "rows": 500}, "params.rows"),
        ({"case": "classification_ensemble_small", "rows": 39}, "params.rows"),
        ({"candidates": ["naive_bayes", "naive_bayes"]}, "params.candidates"),
        ({"candidates": ["naive_bayes", "ridge_regression_10"]}, "params.candidates"),
        ({"case": "diabetes", "candidates": ["naive_bayes", "svm_rbf_10"]}, "params.candidates"),
    ],
)
def test_what_does_not_go_together_is_refused_by_name(params: dict[str, Any], field: str) -> None:
    refused = asked(**params)
    assert isinstance(refused, Rejected)
    assert refused.field == field
    assert refused.allowed


def test_a_budget_in_cpu_seconds_makes_the_run_say_that_it_depends_on_timing() -> None:
    plain, timed = asked(), asked(cpu_budget_s=1.5)
    assert isinstance(plain, Started)
    assert isinstance(timed, Started)
    assert (plain.deterministic, timed.deterministic) == (True, False)


def test_only_parameters_that_are_named_so_and_not_at_their_default_depend_on_timing() -> None:
    params = tuple(Param(name=name, type="int", default=0, description="") for name in "ab")
    scenario = Scenario(name="s", description="", params=params, timed_by=("a",))
    found = [scenario.repeats({"a": a, "b": b}) for a in (0, 1) for b in (0, 1)]
    assert found == [True, True, False, False]
    assert not msgspec.structs.replace(scenario, deterministic=False).repeats({"a": 0, "b": 0})


@pytest.mark.parametrize("problem", sorted(POOL))
def test_the_pool_is_of_types_that_are_always_there(problem: str) -> None:
    pool = POOL[problem]
    assert len({model.name for model in pool}) == len(pool) == 12
    extras = {"xgboost", "lightgbm", "catboost"}
    assert {model.model_type for model in pool} <= set(types_for(problem)) - extras


def test_the_first_round_pulls_every_candidate_once_for_all_arms_together() -> None:
    started = asked(iterations=2)
    assert isinstance(started, Started)
    parts = [task for task in started.tasks if task.kind == "train_part"]
    assert len(parts) == 2 * 12
    assert {task.params["fold"] for task in parts} == {0}
    assert [task.kind for task in started.tasks].count("prepare") == 2


# -- whole runs --------------------------------------------------------------------------------------------

SMALL: dict[str, Any] = {
    "case": "wine",
    "candidates": ["decision_tree_5", "k_neighbors_5", "logistic_regression_1", "naive_bayes"],
    "folds": 3,
    "pulls": 8,
    "batch": 2,
    "top": 2,
    "iterations": 2,
}


@cache
def run(order: int = 0, **more: Any) -> list[Event]:
    """Play a small run, with real fits."""
    params = {key: list(value) if isinstance(value, tuple) else value for key, value in more.items()}
    return asyncio.run(play("exploration_exploitation", SMALL | params, order=order))


def scheduled(log: Sequence[Event], kind: str) -> list[str]:
    return [e.data.task for e in log if isinstance(e.data, TaskScheduled) and e.data.kind == kind]


def untimed(log: Sequence[Event]) -> dict[str, float | None]:
    return {metric.name: metric.value for metric in completed(log).metrics if not metric.timing}


def test_the_order_in_which_workers_finish_changes_nothing() -> None:
    one, two = run(0), run(1)
    assert [event.type for event in one] != [event.type for event in two]
    assert completed(one).digest == completed(two).digest
    assert untimed(one) == untimed(two)


def test_a_fold_is_done_once_and_counted_for_every_arm_that_asked() -> None:
    log = run()
    parts = scheduled(log, "train_part")
    assert len(set(parts)) == len(parts)
    arms = {row["arm"]: row for row in completed(log).result["arms"]}
    assert {name: row["pulls"] for name, row in arms.items()} == dict.fromkeys(ARMS, 16)
    assert sum("-fold-" in name for name in parts) < 3 * 16
    costs = metrics(log)
    together = sum(costs[f"cpu_time.{arm}"] or 0.0 for arm in ARMS)
    assert 0 < (costs["cpu_time"] or 0.0) < together
    for row in arms.values():
        assert 0 < row["explore_cpu_s"] < row["cpu_s"]


def test_what_an_arm_chose_is_what_its_rule_finds_in_the_recorded_folds() -> None:
    log = run()
    table: dict[str, dict[int, float]] = {}
    for event in log:
        if isinstance(event.data, PartTrained) and event.data.score is not None:
            split = 1 if f"train-{event.data.model}-2-" in event.data.task else 0
            if split == 0 and event.data.fold is not None:
                table.setdefault(event.data.model, {})[event.data.fold] = event.data.score
    limits = Limits(pulls=8, folds=3, batch=2)
    for arm, (rule, order) in ARMS.items():
        found = explore(rule, sorted(table), lambda name, fold: Pull(table[name][fold], 0.0), limits)
        assert found.pulls == 8
        combined = next(
            event.data
            for event in log
            if isinstance(event.data, TaskScheduled) and event.data.task == f"combine-{arm}"
        )
        assert list(combined.needs[1:]) == [f"train-{name}" for name in order(found.scores)[:2]]


def test_scores_are_held_out_and_compared_over_the_splits() -> None:
    end, found = completed(run()), metrics(run())
    assert found["accuracy"] == found["score.halving"]
    for arm in ARMS:
        assert 0.8 < (found[f"score.{arm}"] or 0.0) <= 1.0
        assert found[f"regret.{arm}"] is not None
        assert (found[f"regret.{arm}"] or 0.0) >= 0.0
    assert found["over_uniform.bandit"] == pytest.approx(
        (found["score.bandit"] or 0.0) - (found["score.uniform"] or 0.0)
    )
    assert end.result["verdict"]["n"] == 2
    rows = {row["candidate"]: row for row in end.result["candidates"]}
    assert set(rows) == set(SMALL["candidates"])
    assert sum(row["pulls"]["bandit"] for row in rows.values()) == 16


def test_on_one_split_nothing_is_tested_and_it_says_so() -> None:
    log = run(iterations=1)
    over = next(one for one in completed(log).metrics if one.name == "over_uniform.halving")
    assert over.estimator.endswith("no test")
    assert over.low is None
    assert "verdict" not in completed(log).result
    assert scheduled(log, "compare") == []


def test_an_arm_alone_needs_no_baseline() -> None:
    log = run(iterations=1, arms=("bandit",))
    found = metrics(log)
    assert found["accuracy"] == found["score.bandit"]
    assert not [name for name in found if name.startswith("over_")]


@pytest.mark.parametrize(
    "more",
    [{"pulls": 10}, {"top": 1}, {"folds": 4}, {"arms": ("uniform",)}, {"test_share": 0.3}, {"width": 10.0}],
)
def test_parameters_change_what_is_done(more: dict[str, Any]) -> None:
    small, other = run(iterations=1), run(iterations=1, **more)
    assert completed(small).digest != completed(other).digest
    facts = [facts_of(log) for log in (small, other)]
    if "width" not in more:
        assert facts[0].keys() != facts[1].keys() or "test_share" in more


def test_cpu_seconds_end_exploring_early() -> None:
    log = run(iterations=1, cpu_budget_s=1e-6)
    assert {row["pulls"] for row in completed(log).result["arms"]} == {4}
    assert completed(log).result["cpu_budget_s"] == 1e-6


def test_without_the_fits_there_is_no_result() -> None:
    made = facts_of(run(iterations=1))
    blind = {
        name: [
            msgspec.structs.replace(data, score=None) if isinstance(data, PartTrained) else data
            for data in facts
        ]
        for name, facts in made.items()
    }
    ends = [
        asyncio.run(play("exploration_exploitation", SMALL | {"iterations": 1}, made=facts))[-1].data
        for facts in (made, blind)
    ]
    assert [end.type for end in ends if end is not None] == ["benchmark.completed", "benchmark.failed"]


def test_values_are_explored_like_classes() -> None:
    few = ("decision_tree_5", "linear_regression", "ridge_regression_10")
    log = run(case="diabetes", candidates=few, iterations=1, arms=("halving", "uniform"), pulls=5)
    found = metrics(log)
    assert found["r2"] == found["score.halving"]
    assert 0.2 < (found["r2"] or 0.0) < 0.7
    assert [row["arm"] for row in completed(log).result["arms"]] == ["halving", "uniform"]


def test_what_was_put_together_is_what_training_it_whole_gives() -> None:
    log = run(iterations=1)
    predicted = next(event.data for event in log if isinstance(event.data, Predicted))
    case = find_scenario(SUITES["ensemble"], "exploration_exploitation")
    params = complete_params(case, SMALL)
    step = SUITES["ensemble"].plan(SoFar(scenario=case.name, params=params, seed=42))
    assert isinstance(step, Step)
    from swarm_model_agent.params import TrainParams, read  # noqa: PLC0415 - scikit-learn, for the runs alone
    from swarm_model_agent.training import train  # noqa: PLC0415

    part = next(t for t in step.tasks if t.params.get("model") == predicted.model)
    given_ = {key: value for key, value in part.params.items() if key != "fold"}
    trained, whole = train(predicted.task, read(given_, TrainParams), seed=42)
    assert whole == predicted
    assert len(trained.fold_scores) == 3
    assert statistics.fmean(trained.fold_scores) > 0.7


def test_an_unknown_arm_names_those_there_are() -> None:
    refused = asked(arms=["greedy"])
    assert isinstance(refused, Rejected)
    assert "halving" in refused.allowed
    with pytest.raises(UsageError):
        complete_params(find_scenario(SUITES["ensemble"], "exploration_exploitation"), {"arms": ["greedy"]})


def test_pulls_are_counted() -> None:
    assert pulls_of({"a": (0.1, 0.2), "b": ()}) == 2
