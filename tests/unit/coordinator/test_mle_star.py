"""`ensemble mle_star` as a whole, played in one process: searches with one budget, held-out rows last, one answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from support.played import completed, play
from swarm_common import pipelines
from swarm_common.errors import UsageError
from swarm_common.events import Event
from swarm_common.events.agent import CandidateEvaluated, LeaksChecked, ModelTrained, Predicted
from swarm_common.events.benchmark import Planned, Started, TaskScheduled
from swarm_common.events.optimizer import Proposed
from swarm_coordinator.plans import Fact, Finish, SoFar, Step, complete_params
from swarm_coordinator.suites.ensemble.mle_star import ARMS, SCENARIOS, plan
from swarm_model_agent.blocks import pipeline_of
from swarm_model_agent.datasets import load_held_out, load_training
from swarm_model_agent.params import DataParams

[(SCENARIO, _)] = SCENARIOS
SMALL = {"dataset": "diabetes", "budget": 7, "batch": 2, "folds": 2}


def run(order: int = 0, **params: Any) -> list[Event]:
    return asyncio.run(play("mle_star", {**SMALL, **params}, order=order))


def of(log: Sequence[Event], kind: type[Any]) -> list[Any]:
    return [event.data for event in log if isinstance(event.data, kind)]


@pytest.fixture(scope="module", autouse=True)
def linear() -> Iterator[None]:
    """Only linear models, so that a search takes no time."""
    names = ("ridge_regression", "elastic_net", "lasso_regression")
    models = {name: pipelines.MODELS["regression"][name] for name in names}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipelines, "MODELS", {"regression": models})
        yield


@pytest.fixture(scope="module")
def log() -> list[Event]:
    """A run with every arm."""
    return run()


def test_every_arm_has_the_same_budget(log: list[Event]) -> None:
    evaluated = of(log, CandidateEvaluated)
    for arm in set(ARMS) - {"halving"}:
        assert len([data for data in evaluated if data.arm == arm]) == 7
    [halving] = [data for data in evaluated if data.arm == "halving"]
    assert 7 < halving.fits <= 7 * 2
    rows = {row["arm"]: row for row in completed(log).result["arms"]}
    assert {arm: row["fits"] for arm, row in rows.items() if arm != "halving"} == dict.fromkeys(
        set(ARMS) - {"halving"}, 14.0
    )
    assert all(row["cpu_s"] > 0 for row in rows.values())


def test_held_out_rows_are_opened_when_all_searches_have_ended(log: list[Event]) -> None:
    last = max(
        index for index, event in enumerate(log) if isinstance(event.data, CandidateEvaluated | Proposed)
    )
    opening = {"train", "train_part", "score", "check_leaks"}
    first = min(
        index
        for index, event in enumerate(log)
        if isinstance(event.data, TaskScheduled) and event.data.kind in opening
    )
    assert last < first


def test_each_arms_best_by_cross_validation_is_scored_once(log: list[Event]) -> None:
    result = completed(log).result
    metrics = {metric.name: metric.value for metric in completed(log).metrics}
    data = DataParams(dataset="diabetes", split_seed=42)
    training, held_out = load_training(data), load_held_out(data)
    for row in result["arms"]:
        mine = [one for one in of(log, CandidateEvaluated) if one.arm == row["arm"]]
        best = max(mine, key=lambda one: (one.score, -one.loss))
        assert row["candidates"] == [best.candidate]
        assert row["cv"] == metrics[f"cv.{row['arm']}"] == best.score
        assert row["chosen"] == pipelines.describe(best.spec)
        model = pipeline_of(best.spec, "regression", seed=42).fit(training.x, training.y)
        expected = model.score(held_out.x, held_out.y)
        assert row["score"] == metrics[f"held_out.{row['arm']}"] == pytest.approx(expected)
        assert row["low"] < row["score"] < row["high"]
    scores = [row["score"] for row in result["arms"]]
    assert scores == sorted(scores, reverse=True)


def test_the_best_of_several_types_are_combined_in_the_best_way(log: list[Event]) -> None:
    result = completed(log).result
    trained = {data.model: data for data in of(log, ModelTrained)}
    members = {name: data for name, data in trained.items() if name.startswith("mle_star")}
    assert set(members) == {"mle_star", "mle_star_2", "mle_star_3"}
    types = {row["model"]: row["model_type"] for row in result["models"]}
    assert len({types[name] for name in members}) == 3
    assert "" not in types.values()
    assert {data.folds for data in members.values()} == {2}
    assert {data.folds for name, data in trained.items() if name not in members} == {0}
    assert result["chosen"][0] in result["considered"]
    assert result["considered"][result["chosen"][0]] == min(result["considered"].values())
    assert result["verdict"]["baseline"] in members
    held_out = [data for data in of(log, Predicted) if data.out_of_fold is not None]
    assert {data.model for data in held_out} == set(members)


def test_ablation_and_what_came_of_it_are_told(log: list[Event]) -> None:
    [first, *_] = completed(log).result["ablation"]
    assert set(first["drops"]) <= set(pipelines.BLOCKS)
    assert first["refined"] == max(sorted(first["drops"]), key=lambda block: abs(first["drops"][block]))
    refined = [data for data in of(log, Proposed) if data.phase == "refinement" and data.arm == "mle_star"]
    assert refined[0].block == first["refined"]


def test_pipelines_are_checked_for_leaks(log: list[Event]) -> None:
    checked = of(log, LeaksChecked)
    chosen = {str(spec) for row in completed(log).result["arms"] for spec in row["specs"]}
    assert len(checked) == len(chosen)
    [leaks] = [metric for metric in completed(log).metrics if metric.name == "leaks"]
    assert (leaks.value, leaks.n) == (0, len(checked))
    assert completed(log).targets[0].met


def test_best_so_far_never_falls(log: list[Event]) -> None:
    for row in completed(log).result["arms"]:
        path = row["best_so_far"]
        assert path == sorted(path)
        assert path[-1] == row["cv"]


def test_one_split_claims_nothing_between_arms(log: list[Event]) -> None:
    result = completed(log).result
    assert "One split: differences between arms are not tested" in " ".join(result["notes"])
    assert not any("lead_beside_it" in row for row in result["arms"])


def test_whoever_is_done_first_the_digest_is_the_same() -> None:
    few = {"budget": 3, "arms": ["mle_star", "tpe"], "top": 2}
    assert completed(run(order=1, **few)).digest == completed(run(order=2, **few)).digest


def test_over_several_splits_the_leading_arm_is_compared_with_each() -> None:
    log = run(budget=2, iterations=2, arms=["mle_star", "random", "halving"], top=2)
    result = completed(log).result
    rows = {row["arm"]: row for row in result["arms"]}
    assert "lead_beside_it" not in rows["mle_star"]
    for arm in ("random", "halving"):
        found = rows[arm]["lead_beside_it"]
        expected = rows["mle_star"]["score"] - rows[arm]["score"]
        assert found["difference"] == pytest.approx(expected)
        assert rows[arm]["lead_wins"] + rows[arm]["lead_losses"] <= 2
    assert result["verdict"]["n"] == 2
    board = {row["model"]: (row["score"], row["low"], row["high"]) for row in result["models"]}
    assert all(board[arm] == (row["score"], row["low"], row["high"]) for arm, row in rows.items())
    arms = {data.arm for data in of(log, CandidateEvaluated)}
    assert arms == {"mle_star", "mle_star-2", "random", "random-2", "halving", "halving-2"}
    specs = [
        {pipelines.key(data.spec) for data in of(log, CandidateEvaluated) if data.arm == arm}
        for arm in ("halving", "halving-2")
    ]
    assert specs[0] != specs[1]


def test_without_recipes_the_two_samplers_start_from_nothing() -> None:
    log = run(budget=2, arms=["random", "tpe", "random_block"], recipes=False, top=1)
    phases = {arm: {data.phase for data in of(log, Proposed) if data.arm == arm} for arm in ("random", "tpe")}
    assert phases == {"random": {"sampling", "done"}, "tpe": {"sampling", "done"}}
    assert "recipes" in {data.phase for data in of(log, Proposed) if data.arm == "random_block"}
    assert completed(log).result["lead"] == "random"
    assert completed(log).result["notes"][-1].startswith("From recipes start mle_star, random_block;")


# -- the planner by itself ---------------------------------------------------------------------------------


def start(**params: Any) -> SoFar:
    return SoFar(scenario="mle_star", params=complete_params(SCENARIO, {**SMALL, **params}), seed=1)


@pytest.mark.parametrize(("arms", "repeats"), [(["mle_star", "tpe"], True), (["random", "llm"], False)])
def test_a_run_repeats_unless_a_language_model_is_asked(arms: list[str], repeats: bool) -> None:
    assert SCENARIO.repeats(complete_params(SCENARIO, {"arms": arms})) is repeats


def test_an_arm_does_not_wait_for_another(log: list[Event]) -> None:
    by_task = {event.data.task: event for event in log if getattr(event.data, "concludes", False)}
    sofar = start(arms=["mle_star", "random"])
    known = [
        "prepare",
        "propose-mle_star-0",
        "propose-random-0",
        "evaluate-mle_star-1",
        "evaluate-mle_star-2",
    ]
    known.append("propose-mle_star-1")
    facts = {name: Fact(by_task[name].id, by_task[name].data, "") for name in known}
    planned = {*known, "evaluate-random-1", "evaluate-random-2", "propose-random-1"}
    step = plan(
        replace(
            sofar,
            step=3,
            results=facts,
            facts={name: (fact,) for name, fact in facts.items()},
            planned=planned,
        )
    )
    assert isinstance(step, Step)
    assert step.tasks
    assert all("mle_star" in task.id for task in step.tasks)
    *evaluations, following = step.tasks
    assert {task.kind for task in evaluations} == {"evaluate"}
    assert (following.kind, following.decides) == ("propose", True)
    assert following.after == (
        "evaluate-mle_star-1",
        "evaluate-mle_star-2",
        *(task.id for task in evaluations),
    )


def test_what_is_planned_is_not_planned_again(log: list[Event]) -> None:
    ids = [task.id for event in log if isinstance(event.data, Started | Planned) for task in event.data.tasks]
    assert len(ids) == len(set(ids)) > 40


def test_an_arm_that_finds_nothing_is_left_out_and_the_leading_one_ends_the_run(log: list[Event]) -> None:
    def without(arm: str) -> Step | Finish:
        by_task = {event.data.task: event for event in log if getattr(event.data, "concludes", False)}
        results = {}
        for name, event in by_task.items():
            data = event.data
            if isinstance(data, CandidateEvaluated) and data.arm == arm:
                data = replace(data, score=None, loss=None, failed="ValueError: no")
            results[name] = Fact(event.id, data, "")
        searches = {
            name: fact
            for name, fact in results.items()
            if name.startswith(("prep", "prop", "eval", "search"))
        }
        facts = {name: (fact,) for name, fact in searches.items()}
        return plan(replace(start(), step=9, results=searches, facts=facts, planned=searches))

    step = without("tpe")
    assert isinstance(step, Step)
    names = {task.params.get("model") for task in step.tasks if task.kind == "train"}
    assert names == {"mle_star", "mle_star_2", "mle_star_3", "random", "random_block", "halving"}
    with pytest.raises(UsageError, match="mle_star found no pipeline that can be fitted: ValueError: no"):
        without("mle_star")


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"arms": []}, "params.arms"),
        ({"arms": ["tpe", "tpe"]}, "params.arms"),
        ({"budget": 1}, "params.budget"),
        ({"dataset": "file"}, "params.data"),
        ({"target": "price"}, "params.target"),
        ({"test_folds": 1}, "params.test_folds"),
    ],
)
def test_what_does_not_go_together_is_named(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan(start(**wrong))
    assert caught.value.field == field
