"""Agents are timed with real processes: as many answer as were asked for, with the right answer, or nothing is told."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import psutil
import pytest

from swarm_common.errors import TaskFailed, UsageError
from swarm_common.events import digest_view
from swarm_common.events.agent import AgentsMeasured
from swarm_model_agent import measuring
from swarm_model_agent.measuring import AgentParams, measure_agents
from swarm_model_agent.params import read
from swarm_model_agent.pool import WarmPool

SCENARIO = {"forked": "agent_spawning", "warm": "agent_spawning", "work": "parallel_agents"}


async def measured(tmp_path: Path, variant: str, size: int = 2, **more: int) -> AgentsMeasured:
    given = {
        "scenario": SCENARIO[variant],
        "variant": variant,
        "size": size,
        "repeats": 2,
        "trees": 3,
        **more,
    }
    return await measure_agents("t", msgspec.convert(given, AgentParams), seed=7, store=str(tmp_path))


@pytest.mark.parametrize("variant", SCENARIO)
async def test_each_agent_is_a_process_that_answered_and_is_ended_after(
    tmp_path: Path, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids: list[set[int]] = []
    close = WarmPool.close

    async def counted(pool: WarmPool) -> None:
        pids.append(set(pool.pids()))
        await close(pool)

    monkeypatch.setattr(WarmPool, "close", counted)
    found = await measured(tmp_path, variant)
    # Forked anew for each repeat and once before; kept where they are warm; one alone beside two that work.
    assert [len(each) for each in pids] == {"forked": [2, 2, 2], "warm": [2], "work": [1, 2]}[variant]
    everyone = set().union(*pids)
    assert len(everyone) == sum(map(len, pids)), "each is a process of its own"
    assert os.getpid() not in everyone
    assert not [pid for pid in everyone if psutil.pid_exists(pid)]
    assert {len(one.values) for one in found.samples} == {2}
    assert all(value > 0 for one in found.samples for value in one.values)
    assert found.checked["agents"] == 2


async def test_what_agents_find_depends_on_the_work_and_not_on_the_time(tmp_path: Path) -> None:
    first, again = [await measured(tmp_path, "work") for _ in range(2)]
    assert digest_view(first) == digest_view(again)
    assert [one.name for one in first.samples] == ["parallel_agents.2", "parallel_agents.2.alone"]
    assert (await measured(tmp_path, "work", trees=4)).checked["found"] != first.checked["found"]


async def test_agents_that_find_the_same_with_seeds_of_their_own_have_not_worked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = measuring._Orders.work
    monkeypatch.setattr(measuring._Orders, "work", lambda orders, _agent: work(orders, 0))
    with pytest.raises(TaskFailed, match="somebody's work was not done"):
        await measured(tmp_path, "work")


async def test_what_an_agent_cannot_do_is_no_measurement(tmp_path: Path) -> None:
    (tmp_path / "a-file").write_text("")
    with pytest.raises((TaskFailed, UsageError)):
        await measure_agents(
            "t",
            AgentParams(scenario="agent_spawning", variant="warm", size=1, repeats=1),
            seed=1,
            store=str(tmp_path / "a-file" / "store"),
        )


@pytest.mark.parametrize(
    ("field", "value"), [("size", 0), ("size", 1000), ("variant", "constructed"), ("repeats", 0)]
)
def test_what_makes_no_sense_is_refused_by_name(field: str, value: object) -> None:
    given = {"scenario": "agent_spawning", "variant": "warm", "size": 2} | {field: value}
    with pytest.raises(UsageError) as refused:
        read(given, AgentParams)
    assert refused.value.field == f"params.{field}"
