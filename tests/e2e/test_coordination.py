"""`swarm run coordination`, from the command to the report: answers of the embedded model, and of a recording of it."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.stacks import SWARM, Stack, stack

SMALL = ("-p", "items=1", "-p", "agents=5", "-p", "modes=centralized,hierarchical")


@pytest.fixture(scope="module")
def swarm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stack(tmp_path_factory.mktemp("coordination") / "home") as found:
        yield found


def ask(swarm: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SWARM, *arguments],
        cwd=swarm.home.parent,
        env=swarm.environ,
        capture_output=True,
        text=True,
        timeout=90.0,
        check=False,
    )


@pytest.fixture(scope="module")
def live(swarm: Stack) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        swarm.swarm("run", "coordination", *SMALL, "--check", "--json", timeout_s=240.0)
    )
    return found


def log(swarm: Stack, run: str, kind: str) -> list[dict[str, Any]]:
    events = [json.loads(line) for line in swarm.export(run).read_text(encoding="utf-8").splitlines()]
    return [event["data"] for event in events if event["type"] == kind]


def test_every_answer_is_a_call_of_the_model_in_the_log(swarm: Stack, live: dict[str, Any]) -> None:
    calls, turns = log(swarm, live["run"], "agent.called"), log(swarm, live["run"], "agent.acted")
    assert {call["answered_by"] for call in calls} == {"smollm2-135m-instruct"}
    assert Counter(call["task"] for call in calls) == Counter(turn["task"] for turn in turns)
    assert all(call["usage"]["output"] > 0 and call["timings"]["total_s"] > 0 for call in calls)
    by_task = {call["task"]: call["text"].strip() for call in calls}
    assert all(turn["text"] == by_task[turn["task"]] for turn in turns)


def test_each_mode_sends_its_own_messages(swarm: Stack, live: dict[str, Any]) -> None:
    turns = {turn["task"]: turn for turn in log(swarm, live["run"], "agent.acted")}
    hearers = {
        mode: {turn["agent"] for name, turn in turns.items() if name.startswith(mode) and turn.get("heard")}
        for mode in ("centralized", "hierarchical")
    }
    assert hearers["centralized"] == {"hub"}
    assert hearers["hierarchical"] == {"root", "lead-1", "lead-2"}


def test_a_recording_gives_the_same_run_without_a_model(swarm: Stack, live: dict[str, Any]) -> None:
    again = json.loads(
        swarm.swarm("run", "coordination", *SMALL, "-p", f"recording={live['run']}", "--check", "--json")
    )
    assert again["digest"] == live["digest"]
    assert all(call["recorded"] for call in log(swarm, again["run"], "agent.called"))
    assert "equal" in swarm.swarm("replay", "--decide", again["run"])


def test_the_same_seed_gives_the_same_digest_whatever_the_model_has_in_its_cache(
    swarm: Stack, live: dict[str, Any]
) -> None:
    again = json.loads(swarm.swarm("run", "coordination", *SMALL, "--check", "--json", timeout_s=240.0))
    assert (again["digest"], again["deterministic"]) == (live["digest"], True)
    first, second = (
        {call["task"]: call for call in log(swarm, run, "agent.called")}
        for run in (live["run"], again["run"])
    )
    assert not any(call.get("recorded") for call in second.values())
    assert {name: call["text"] for name, call in second.items()} == {
        name: call["text"] for name, call in first.items()
    }
    # Otherwise nothing was tried: what was read anew then is read from the cache now.
    cached = [sum(call["usage"]["cache_read"] for call in calls.values()) for calls in (first, second)]
    assert cached[0] < cached[1]


def test_what_was_not_recorded_is_an_error_and_no_fallback(swarm: Stack, live: dict[str, Any]) -> None:
    asked = ask(
        swarm,
        "run",
        "coordination",
        *SMALL,
        "-p",
        f"recording={live['run']}",
        "--seed",
        "7",
        "--check",
        "--json",
    )
    assert asked.returncode == 1
    found = json.loads(asked.stdout)
    silent = next((metric["value"] for metric in found["metrics"] if metric["name"] == "silent"), None)
    assert silent or "record" in json.dumps(found)


def test_the_report_draws_who_heard_whom(swarm: Stack, live: dict[str, Any]) -> None:
    (path,) = swarm.swarm("report", live["run"]).splitlines()
    page = Path(path).read_text(encoding="utf-8")
    assert "hierarchical: who heard whom" in page
    assert "<title>hub heard worker-1 " in page
    shown = swarm.swarm("show", live["run"])
    assert "budget (one agent" in shown
    assert "it cost" in shown


def test_roles_and_strategies_are_listed_with_ones_own(swarm: Stack) -> None:
    mine = swarm.home.parent / "mine.toml"
    mine.write_text('[roles.pirate]\ndescription = "At sea"\ninstructions = "Arr."\n', encoding="utf-8")
    roles = json.loads(swarm.swarm("roles", "--own", str(mine), "--json"))
    assert len(roles) == 19
    assert "Arr." in swarm.swarm("roles", "pirate", "--own", str(mine))
    strategies = swarm.swarm("strategies")
    assert "auto: Takes the first strategy that suits" in strategies
    assert "1. answer by worker" in strategies
    unknown = ask(swarm, "roles", "wizard")
    assert unknown.returncode == 2
    assert "orchestrator" in unknown.stderr


def test_a_mistake_in_ones_own_roles_is_named_with_its_line(swarm: Stack) -> None:
    wrong = swarm.home.parent / "wrong.toml"
    wrong.write_text('[roles.pirate]\ndescription = "At sea"\ninstruction = "Arr."\n', encoding="utf-8")
    for arguments in (("roles", "--own", str(wrong)), ("run", "coordination", "-p", f"own=@{wrong}")):
        refused = ask(swarm, *arguments)
        assert refused.returncode == 2
        assert "line 3: roles.pirate.instruction" in refused.stderr + refused.stdout
    missing = ask(swarm, "run", "coordination", "-p", "own=@nowhere.toml")
    assert missing.returncode == 2
    assert "nowhere.toml" in missing.stderr
