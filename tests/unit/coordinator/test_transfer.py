"""Exact expectations of a cold start, and whole runs in which lessons order the candidates."""

from __future__ import annotations

import asyncio
import itertools
import math
import statistics
from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.played import completed, facts_of, metrics, play
from swarm_common.errors import UsageError
from swarm_common.events import Event
from swarm_common.events.agent import PartTrained
from swarm_common.events.benchmark import Rejected, Started, TaskScheduled
from swarm_common.events.memory import Advised, Learned
from swarm_coordinator.moment import Moment
from swarm_coordinator.requests import Request, begin
from swarm_coordinator.suites import SUITES
from swarm_coordinator.suites.ensemble.transfer import drawn, expected_best, expected_until

# -- the arithmetic ----------------------------------------------------------------------------------------


@given(st.lists(st.floats(-1, 1) | st.sampled_from([0.5, 0.9]), min_size=1, max_size=6))
def test_the_expected_best_is_the_mean_over_all_orders(scores: list[float]) -> None:
    orders = list(itertools.permutations(scores))
    exact = [statistics.fmean(max(order[:k]) for order in orders) for k in range(1, len(scores) + 1)]
    found = expected_best(scores)
    assert found == pytest.approx(exact, abs=1e-12)
    assert found[0] == pytest.approx(statistics.fmean(scores), abs=1e-12)
    assert found[-1] == max(scores)


@given(st.lists(st.booleans(), min_size=1, max_size=7).filter(any))
def test_the_expected_wait_is_the_mean_over_all_orders(good: list[bool]) -> None:
    waits = [order.index(True) + 1 for order in itertools.permutations(good)]
    assert expected_until(sum(good), len(good)) == pytest.approx(statistics.fmean(waits), abs=1e-12)


def test_a_cold_draw_is_an_order_of_the_seed_and_the_split() -> None:
    names = [f"n{at}" for at in range(6)]
    assert sorted(drawn(names, 42, 0)) == names
    assert drawn(names, 42, 0) == drawn(names[::-1], 42, 0)
    orders = {tuple(drawn(names, seed, split)) for seed in range(5) for split in range(5)}
    assert len(orders) > 20


def test_cold_draws_favour_nobody() -> None:
    names = [f"n{at}" for at in range(4)]
    first = [drawn(names, seed, 0)[0] for seed in range(2000)]
    share = [first.count(name) / len(first) for name in names]
    spread = math.sqrt(0.25 * 0.75 / len(first))
    assert all(abs(one - 0.25) < 4 * spread for one in share)


# -- the plan ----------------------------------------------------------------------------------------------


def asked(**params: Any) -> Started | Rejected:
    body = {"suite": "ensemble", "scenario": "knowledge_transfer", "params": params}
    return begin(Request(id="r", body=body), SUITES, Moment(1_800_000_000_000_000_000), "")


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"sources": ["wine"]}, "params.sources"),
        ({"sources": ["digits", "digits"]}, "params.sources"),
        ({"sources": ["diabetes"]}, "params.sources"),
        ({"case": "diabetes", "sources": ["wine"]}, "params.sources"),
        ({"memory": "none"}, "params.memory"),
        ({"folds": 1}, "params.folds"),
        ({"candidates": ["naive_bayes"]}, "params.candidates"),
        ({"case": "wine", "rows": 500}, "params.rows"),
        ({"case": "classification_ensemble_small", "rows": 39}, "params.rows"),
    ],
)
def test_what_does_not_go_together_is_refused_by_name(params: dict[str, Any], field: str) -> None:
    refused = asked(**params)
    assert isinstance(refused, Rejected)
    assert refused.field == field
    assert refused.allowed


@pytest.mark.parametrize(
    ("case", "sources"),
    [
        ("wine", {"breast_cancer", "digits"}),
        ("digits", {"breast_cancer", "wine"}),
        ("diabetes", {"regression_ensemble_small"}),
        ("regression_ensemble", {"diabetes", "regression_ensemble_small"}),
    ],
)
def test_lessons_come_from_other_data_of_the_same_problem(case: str, sources: set[str]) -> None:
    started = asked(case=case)
    assert isinstance(started, Started)
    learning = {task.params["name"] for task in started.tasks if task.kind == "learn"}
    assert learning == sources
    parts = [task for task in started.tasks if task.kind == "train_part"]
    assert len(parts) == 12 * 3 * len(sources)
    assert all(task.id.split("-")[0] in sources for task in parts)  # nothing of the target before the advice


def test_rows_are_those_of_all_data_that_are_made() -> None:
    started = asked(case="diabetes", rows=300)
    assert isinstance(started, Started)
    made = {
        task.params["dataset"]: task.params.get("make") for task in started.tasks if "dataset" in task.params
    }
    assert made["diabetes"] is None
    assert made["synthetic_regression"]["n_samples"] == 300


def test_memory_of_other_runs_makes_the_run_say_that_it_depends_on_them() -> None:
    own, every = asked(), asked(memory="all")
    assert isinstance(own, Started)
    assert isinstance(every, Started)
    assert (own.deterministic, every.deterministic) == (True, False)
    assert [task.kind for task in own.tasks][-1] == "advise"
    assert [task.kind for task in every.tasks][-1] == "advise_from_all"


# -- whole runs --------------------------------------------------------------------------------------------

NAMES = ["decision_tree_5", "k_neighbors_5", "logistic_regression_1", "naive_bayes"]
SMALL: dict[str, Any] = {
    "case": "wine",
    "sources": ["breast_cancer"],
    "candidates": NAMES,
    "folds": 2,
    "budget": 2,
    "top": 2,
    "iterations": 2,
}


@cache
def run(order: int = 0, **more: Any) -> list[Event]:
    """Play a small run, with real fits."""
    return asyncio.run(play("knowledge_transfer", SMALL | more, order=order))


def data_of(log: Sequence[Event], kind: type[Any]) -> Any:
    return next(event.data for event in log if isinstance(event.data, kind))


def test_the_order_in_which_workers_finish_changes_nothing() -> None:
    one, two = run(0), run(1)
    assert [event.type for event in one] != [event.type for event in two]
    assert completed(one).digest == completed(two).digest
    untimed = [{m.name: m.value for m in completed(log).metrics if not m.timing} for log in (one, two)]
    assert untimed[0] == untimed[1]


def test_the_advice_is_the_ranking_of_the_lesson_and_the_target_is_tried_in_that_order() -> None:
    log = run()
    learned, advised = data_of(log, Learned), data_of(log, Advised)
    order = [advice.candidate for advice in advised.order]
    assert order == [ranked.candidate for ranked in learned.ranking]
    assert (learned.rows, learned.features, learned.classes) == (455, 30, 2)
    tried = [
        event.data.params["model"]
        for event in log
        if isinstance(event.data, TaskScheduled)
        and event.data.task.endswith("-fold-0")
        and "-2-" not in event.data.task
    ]
    assert [name for name in tried if name in order][-len(order) :] == order
    for ranked in learned.ranking:
        folds = [
            event.data.score
            for event in log
            if isinstance(event.data, PartTrained)
            and event.data.task.startswith(f"breast_cancer-train-{ranked.candidate}-")
        ]
        assert ranked.score == statistics.fmean(folds)


def test_the_curves_are_those_of_the_recorded_folds() -> None:
    log = run(iterations=1)
    end, advised = completed(log), data_of(log, Advised)
    scores = {
        name: statistics.fmean(
            event.data.score
            for event in log
            if isinstance(event.data, PartTrained) and event.data.task.startswith(f"train-{name}-fold-")
        )
        for name in NAMES
    }
    order = [advice.candidate for advice in advised.order]
    curves = end.result["curves"]
    assert curves["warm"] == [max(scores[name] for name in order[: at + 1]) for at in range(4)]
    assert curves["cold"] == pytest.approx(expected_best(list(scores.values())))
    assert curves["evaluations"] == [1, 2, 3, 4]
    good = [name for name in order if scores[name] >= max(scores.values()) - 0.005]
    found = metrics(log)
    assert found["evaluations.warm"] == order.index(good[0]) + 1
    assert found["evaluations.cold"] == 5 / (len(good) + 1)
    assert found["best_of_2.warm"] == curves["warm"][1]
    assert found["best_of_2.cold"] == curves["cold"][1]


def test_models_are_made_of_what_each_start_would_have_found() -> None:
    log = run(iterations=1)
    order = [advice.candidate for advice in data_of(log, Advised).order]
    needs = {
        event.data.task: event.data.needs[1:]
        for event in log
        if isinstance(event.data, TaskScheduled) and event.data.kind == "combine"
    }
    assert {name.removeprefix("train-") for name in needs["combine-warm"]} == set(order[:2])
    assert {name.removeprefix("train-") for name in needs["combine-cold"]} == set(drawn(NAMES, 42, 0)[:2])
    found = metrics(log)
    assert found["accuracy"] == found["score.warm"]
    assert (found["score.cold"] or 0.0) > 0.5
    over = next(one for one in completed(log).metrics if one.name == "over_cold.warm")
    assert over.estimator.endswith("no test")


def test_several_splits_are_compared() -> None:
    end = completed(run())
    assert end.result["verdict"]["n"] == 2
    assert "cold" in end.result["verdict"]["baseline"]
    assert [row["arm"] for row in end.result["arms"]] == ["warm", "cold"]
    assert {row["evaluations"] for row in end.result["arms"]} == {4}


def test_what_the_lessons_cost_is_said() -> None:
    found = metrics(run())
    assert 0 < (found["cpu_time.lessons"] or 0.0) < (found["cpu_time"] or 0.0)
    for arm in ("warm", "cold"):
        assert 0 < (found[f"cpu_time.{arm}"] or 0.0) < (found["cpu_time"] or 0.0)


@pytest.mark.parametrize(
    "more", [{"budget": 1}, {"top": 1}, {"folds": 3}, {"test_share": 0.3}, {"candidates": tuple(NAMES[1:])}]
)
def test_parameters_change_what_is_done(more: dict[str, Any]) -> None:
    given_ = {key: list(value) if isinstance(value, tuple) else value for key, value in more.items()}
    other = asyncio.run(play("knowledge_transfer", SMALL | {"iterations": 1} | given_))
    mine = facts_of(run(iterations=1))
    theirs = facts_of(other)
    assert completed(run(iterations=1)).digest != completed(other).digest
    assert mine.keys() != theirs.keys() or "test_share" in more


def test_a_wider_tolerance_is_met_sooner() -> None:
    made = facts_of(run(iterations=1))
    wide = asyncio.run(play("knowledge_transfer", SMALL | {"iterations": 1, "within": 1.0}, made=made))
    assert metrics(wide)["evaluations.warm"] == metrics(wide)["evaluations.cold"] == 1


def test_without_the_folds_nothing_is_learned() -> None:
    made = {name: facts for name, facts in facts_of(run(iterations=1)).items() if "-fold-" in name}
    swapped = dict(made)
    for name in [name for name in made if "naive_bayes" in name]:
        (other,) = made[name.replace("naive_bayes", "k_neighbors_5")]
        swapped[name] = [msgspec.structs.replace(other, task=name)]
    with pytest.raises(UsageError, match="k_neighbors_5 teaches nothing of breast_cancer"):
        asyncio.run(play("knowledge_transfer", SMALL | {"iterations": 1}, made=swapped))
