"""`swarm run primitives`, from the command to the log and back: several ways of measuring in one run, made small."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from support.stacks import Stack, stack

SCENARIOS = (
    "semaphore_coordination", "proposal_conflicts", "orchestration_throughput", "pipeline_execution",
    "concurrent_execution", "consensus_latency", "agent_spawning", "memory_overhead",
)  # fmt: skip


def few(*scenarios: str, sizes: str) -> list[str]:
    given = {"scenarios": ",".join(scenarios), "sizes": sizes, "samples": 20, "repeats": 1, "decisions": 20}
    return [part for name, value in given.items() for part in ("-p", f"{name}={value}")]


@pytest.fixture(scope="module")
def swarm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stack(tmp_path_factory.mktemp("primitives") / "home") as found:
        yield found


def run(swarm: Stack, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        swarm.swarm("run", "primitives", *arguments, "--json", timeout_s=180.0)
    )
    return found


@pytest.fixture(scope="module")
def small(swarm: Stack) -> dict[str, Any]:
    return run(swarm, *few(*SCENARIOS, sizes="2,3,4"))


def test_each_way_of_measuring_has_a_row_a_size_and_a_time_or_a_weight(small: dict[str, Any]) -> None:
    rows = small["result"]["primitives"]["rows"]
    assert {(row["scenario"], row["variant"]) for row in rows} == {
        ("semaphore_coordination", ""), ("proposal_conflicts", "hash"), ("proposal_conflicts", "all_pairs"),
        ("orchestration_throughput", ""), ("pipeline_execution", ""), ("concurrent_execution", "alone"),
        ("concurrent_execution", "together"), ("consensus_latency", ""), ("agent_spawning", "forked"),
        ("agent_spawning", "warm"), ("memory_overhead", ""),
    }  # fmt: skip
    assert {row["size"] for row in rows} == {2, 3, 4}
    for row in rows:
        assert (row["p50_us"] or row["bytes"]) > 0, row
    curves = {(one["scenario"], one["variant"]) for one in small["result"]["primitives"]["curves"]}
    assert ("proposal_conflicts", "all_pairs") in curves


def test_times_through_the_log_are_no_longer_than_the_run(small: dict[str, Any]) -> None:
    rows = [
        row for row in small["result"]["primitives"]["rows"] if row["scenario"].startswith(("orch", "pipe"))
    ]
    assert sum(row["p50_us"] for row in rows) < small["duration_s"] * 1e6


def test_the_samples_can_be_asked_for(swarm: Stack, small: dict[str, Any]) -> None:
    events = [
        json.loads(line) for line in swarm.export(small["run"]).read_text(encoding="utf-8").splitlines()
    ]
    measured = [event["data"] for event in events if event["type"] == "metrics.measured"]
    taken = {one["name"]: one["values"] for data in measured for one in data["samples"]}
    assert len(taken["proposal_conflicts.hash.4"]) == 20
    assert all(data["host"]["cores"] > 0 and data["clock"]["cost_ns"] >= 0 for data in measured)


def test_the_log_replays_to_the_same_digest_and_the_same_decisions(
    swarm: Stack, small: dict[str, Any]
) -> None:
    said = swarm.swarm("replay", small["run"], "--verify", "--decide")
    assert "equal: " in said


def test_a_second_run_has_the_same_digest(swarm: Stack) -> None:
    asked = few("proposal_conflicts", "orchestration_throughput", "memory_overhead", sizes="2")
    first, again = run(swarm, *asked), run(swarm, *asked)
    assert first["digest"] == again["digest"]


def test_the_command_shows_tables_and_the_report_curves(swarm: Stack, small: dict[str, Any]) -> None:
    shown = swarm.swarm("show", small["run"])
    assert "one operation, by size" in shown
    assert "how time grows" in shown
    swarm.swarm("report", small["run"])
    page = (swarm.home / "reports" / f"{small['run']}.html").read_text(encoding="utf-8")
    assert "Time of one operation, by size" in page
