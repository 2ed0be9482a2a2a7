"""Given a task about a society, when it is done, then its event; and a refusal that says what is allowed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from swarm_common.errors import UsageError
from swarm_common.resampling import stream_of
from swarm_consensus.service import emerge, judge, service, spread
from swarm_consensus.society import measuring
from swarm_consensus.society.params import emerge_params, judge_params, spread_params
from swarm_consensus.workers import end_workers


@pytest.fixture
async def workers() -> AsyncIterator[None]:
    yield
    await end_workers()


@pytest.mark.usefixtures("workers")
async def test_each_task_gives_what_its_arguments_say_wherever_it_is_done(log: Any) -> None:
    for kind, handler, work, read, params in (
        ("judge", judge, measuring.judge, judge_params, {"mechanism": "voting", "trials": 40}),
        ("spread", spread, measuring.spread, spread_params, {"way": "pull", "repetitions": 3}),
        ("emerge", emerge, measuring.emerge, emerge_params, {"phenomenon": "cascades", "repetitions": 5}),
    ):
        found = await handler(log.task(kind, task=f"{kind}-1", params=params, seed=7))
        here = work(read(params), 7, f"{kind}-1")
        assert found.elapsed_s > 0
        assert found == msgspec.structs.replace(here, elapsed_s=found.elapsed_s)


def test_tasks_of_one_run_draw_apart() -> None:
    assert stream_of(7, "judge-1") != stream_of(7, "judge-2")


def test_the_kinds_are_pure_and_for_the_cpu() -> None:
    for kind in ("judge", "spread", "emerge"):
        assert (service.tasks[kind].lane, service.tasks[kind].pure) == ("cpu", True)


@pytest.mark.parametrize(
    ("read", "given", "field", "allowed"),
    [
        (judge_params, {}, "mechanism", "voting"),
        (judge_params, {"mechanism": "rafft"}, "mechanism", "voting"),
        (judge_params, {"mechanism": "voting", "world": "moon"}, "world", "condorcet"),
        (judge_params, {"mechanism": "voting", "agents": 2}, "agents", "from 3 to 100"),
        (judge_params, {"mechanism": "voting", "agents": True}, "agents", "whole"),
        (judge_params, {"mechanism": "voting", "trials": 0}, "trials", "from 1"),
        (judge_params, {"mechanism": "voting", "competence": 1.5}, "competence", "from 0 to 1"),
        (judge_params, {"mechanism": "voting", "competence": float("nan")}, "competence", "from 0 to 1"),
        (judge_params, {"mechanism": "voting", "color": "red"}, "color", "mechanism"),
        (spread_params, {"way": "shout"}, "way", "push_pull"),
        (spread_params, {"agents": 1}, "agents", "from 2"),
        (spread_params, {"loss": 1.0}, "loss", "to 0.9"),
        (spread_params, {"repetitions": "many"}, "repetitions", "whole"),
        (emerge_params, {}, "phenomenon", "cascades"),
        (emerge_params, {"phenomenon": "flocking"}, "phenomenon", "specialisation"),
        (emerge_params, {"phenomenon": "cascades", "learning": 1.0}, "learning", "accuracy"),
        (emerge_params, {"phenomenon": "specialisation", "accuracy": 0.7}, "accuracy", "learning"),
        (emerge_params, {"phenomenon": "cascades", "accuracy": 0.5}, "accuracy", "0.51"),
    ],
)
def test_what_makes_no_sense_is_refused(read: Any, given: dict[str, Any], field: str, allowed: str) -> None:
    with pytest.raises(UsageError) as refused:
        read(given)
    assert refused.value.field == f"params.{field}"
    assert allowed in refused.value.allowed
    assert allowed in str(refused.value)
