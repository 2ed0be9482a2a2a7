"""What measuring costs, from the command on: scenarios of `noop`, live metrics of a whole stack, clocks in a trace."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from support.stacks import Stack, stack
from swarm_common import live

SERVICES = {"coordinator", "model_agent", "consensus", "memory_sync", "metrics", "optimizer"}


@pytest.fixture(scope="module")
def swarm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stack(tmp_path_factory.mktemp("costs") / "home", SWARM_SAMPLE_S="0.2") as found:
        yield found


@pytest.fixture(scope="module")
def overhead(swarm: Stack) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        swarm.swarm("run", "noop", "overhead", "-p", "tasks=30", "-p", "rounds=6", "--check", "--json")
    )
    return found


def test_what_tracing_and_collection_cost_is_told_with_intervals(overhead: dict[str, Any]) -> None:
    metrics = {metric["name"]: metric for metric in overhead["metrics"]}
    for name in ("tracing_us", "tracing_sampled_us", "collection_us"):
        assert metrics[name]["low"] <= metrics[name]["value"] <= metrics[name]["high"]
        assert metrics[name]["n"] == 6
    assert overhead["result"]["spans"]["tracing"] == 2 * 30 * 6


def test_it_replays(swarm: Stack, overhead: dict[str, Any]) -> None:
    found = json.loads(swarm.swarm("replay", overhead["run"], "--verify", "--json"))
    assert (found["equal"], found["problems"]) == (True, [])


def test_single_measurements_are_in_the_view(swarm: Stack, overhead: dict[str, Any]) -> None:
    async def ask() -> Any:
        async with swarm.client() as client:
            return await client.query("metrics", "samples", {"run": overhead["run"], "name": "task_cpu"})

    assert asyncio.run(ask())["samples"]


def test_a_profile_of_memory_says_that_it_was_too_short_to_tell_of_leaks(swarm: Stack) -> None:
    found = json.loads(swarm.swarm("run", "noop", "memory", "-p", "portions=16", "--json"))
    metrics = {metric["name"]: metric for metric in found["metrics"]}
    assert metrics["leaks"]["value"] is None
    assert "take 144 samples" in metrics["leaks"]["reason"]
    assert metrics["rebuild_us"]["value"] > metrics["session_us"]["value"] > 0


def test_a_run_knows_what_each_service_used_for_it(swarm: Stack) -> None:
    found = json.loads(swarm.swarm("run", "noop", "usage", "-p", "tasks=100", "--json"))
    metrics = {metric["name"]: metric["value"] for metric in found["metrics"]}
    assert found["result"] == {"tasks": 100}
    shares = [metrics[f"task_cpu_us_{service}"] for service in sorted(SERVICES)]
    assert all(share > 0 for share in shares)
    assert sum(shares) == pytest.approx(metrics["task_cpu_us"])


def test_every_service_tells_what_it_uses(swarm: Stack) -> None:
    async def listen() -> dict[str, live.LiveMetrics]:
        heard: dict[str, live.LiveMetrics] = {}
        async with asyncio.timeout(20), swarm.client() as client:
            messages = (await client.broker.nc.subscribe(live.EVERYBODY)).messages
            async for message in messages:
                sample = live.decode(message.data)
                assert sample is not None
                heard[sample.service] = sample
                if heard.keys() == SERVICES:
                    return heard
        raise AssertionError

    heard = asyncio.run(listen())
    assert {sample.pid for sample in heard.values()} == {process.pid for process in swarm.state.services}
    assert all(sample.cpu_s > 0 and sample.loop_lag_us.count for sample in heard.values())


def test_clocks_of_one_machine_agree_and_are_told_on_request(swarm: Stack, overhead: dict[str, Any]) -> None:
    clocks = json.loads(swarm.swarm("trace", overhead["run"], "--clocks", "--json"))["clocks"]
    assert {clock["service"] for clock in clocks} >= {"coordinator", "metrics"}
    assert all(abs(clock["offset_us"]) <= clock["bound_us"] for clock in clocks)
    assert "clocks" not in json.loads(swarm.swarm("trace", overhead["run"], "--json"))
