"""Arm `llm` of `ensemble mle_star`, played in one process beside `mle_star`: told apart by the proposals alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from support.chat import Asked, Reply, completion, serve
from support.played import completed, metrics, play
from swarm_common import pipelines
from swarm_common.events import Event
from swarm_common.events.agent import CandidateEvaluated
from swarm_common.events.benchmark import Started, TaskScheduled
from swarm_common.events.optimizer import Proposed
from swarm_coordinator.suites.ensemble.mle_star import ARMS
from swarm_optimizer import llm
from swarm_optimizer import service as optimizer

SMALL = {"dataset": "diabetes", "budget": 8, "batch": 2, "folds": 2, "arms": ["mle_star", "llm"], "top": 1}


def once_valid(asked: Asked) -> Reply:
    """Answer with one variation that is allowed and one that is not."""
    form = asked.body["response_format"]["json_schema"]["schema"]["properties"]["variations"]
    [(block, value)] = form["items"]["properties"].items()
    option = value["enum"][-1] if "enum" in value else {}
    return completion(json.dumps({"variations": [{block: option}, {block: "magic"}]}))


@pytest.fixture(scope="module")
def log() -> Iterator[list[Event]]:
    with pytest.MonkeyPatch.context() as patch, serve() as chat:
        names = ("ridge_regression", "elastic_net", "lasso_regression")
        models = {name: pipelines.MODELS["regression"][name] for name in names}
        patch.setattr(pipelines, "MODELS", {"regression": models})
        chat.answer = once_valid
        patch.setattr(optimizer, "_endpoint", llm.Endpoint(url=chat.url))
        yield asyncio.run(play("mle_star", SMALL))


def of(log: list[Event], kind: type[Any], arm: str) -> list[Any]:
    return [event.data for event in log if isinstance(event.data, kind) and event.data.arm == arm]


def test_both_arms_have_the_same_budget_and_the_same_beginning(log: list[Event]) -> None:
    assert [len(of(log, CandidateEvaluated, arm)) for arm in ("mle_star", "llm")] == [8, 8]
    rules, model = (
        [candidate.spec for one in of(log, Proposed, arm) for candidate in one.candidates]
        for arm in ("mle_star", "llm")
    )
    proposed = of(log, Proposed, "llm")
    asked = next(index for index, one in enumerate(proposed) if one.model)
    before = sum(len(one.candidates) for one in proposed[:asked])
    assert before > 2
    assert rules[:before] == model[:before]
    assert rules != model
    assert {one.phase for one in proposed if one.model} == {"refinement"}


def test_the_arms_table_says_what_the_model_proposed_and_what_became_of_it(log: list[Event]) -> None:
    result = completed(log).result
    [row] = [row["llm"] for row in result["arms"] if row["arm"] == "llm"]
    assert all("llm" not in row for row in result["arms"] if row["arm"] != "llm")
    proposed = [one for one in of(log, Proposed, "llm") if one.model]
    by_model = [one.name for each in proposed for one in each.candidates if one.by == "llm"]
    refused = [reason for each in proposed for reason in each.refused]
    assert by_model
    assert len(refused) >= len(proposed)
    assert (row["asked"], row["valid"], row["proposed"]) == (
        len(proposed),
        len(by_model),
        len(by_model) + len(refused),
    )
    assert row["evaluated"] == len(by_model)
    assert row["by_rules"] == sum(len(each.candidates) for each in proposed) - len(by_model)
    assert row["refused"] == refused
    [best] = [one["candidates"][0] for one in result["arms"] if one["arm"] == "llm"]
    assert (row["best"], row["splits"]) == (int(best in by_model), 1)
    assert any(f"{row['valid']} were valid and new" in note for note in result["notes"])
    assert result["notes"][-1].startswith("From recipes start mle_star, random, random_block, tpe, llm;")
    assert metrics(log)["tokens.llm"] == 97 * len(proposed)


def test_the_arm_is_told_its_own_proposals_and_the_run_says_that_it_does_not_repeat(log: list[Event]) -> None:
    tasks = [event.data for event in log if isinstance(event.data, TaskScheduled)]
    kinds = {task.kind for task in tasks if task.task.startswith("propose-llm")}
    assert kinds == {"propose_llm"}
    [second] = [task for task in tasks if task.task == "propose-llm-2"]
    assert {"propose-llm-0", "propose-llm-1"} < set(second.needs)
    [started] = [event.data for event in log if isinstance(event.data, Started)]
    assert not started.deterministic


def test_no_model_is_asked_that_nobody_asked_for() -> None:
    assert "llm" not in ARMS
