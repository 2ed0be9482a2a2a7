"""`swarm run neural`, from the command to the tables: scores that repeat, a control that learns nothing, speed-up."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from support.stacks import SWARM, Stack, stack
from swarm_common.patterns import PATTERNS

SMALL = ("-p", "repeats=1", "-p", "questions=60", "-p", "timings=20")


@pytest.fixture(scope="module")
def neural(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stack(tmp_path_factory.mktemp("neural") / "home") as found:
        yield found


def run(neural: Stack, *arguments: str, code: int = 0) -> dict[str, Any]:
    done = subprocess.run(
        [SWARM, "run", "neural", *arguments, "--json"],
        cwd=neural.home.parent,
        env=neural.environ,
        capture_output=True,
        text=True,
        timeout=90.0,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def small(neural: Stack) -> dict[str, Any]:
    return run(neural, *SMALL)


def test_each_pattern_is_learned_and_what_is_promised_of_scores_is_kept(small: dict[str, Any]) -> None:
    rows = small["result"]["neural"]["patterns"]
    assert [row["pattern"] for row in rows] == list(PATTERNS)
    for row in rows:
        assert row["low"] > row["chance"], row
        assert row["low"] > row["untrained"], row
        assert row["curve"][0] == {"iterations": 0, "score": row["untrained"]}
        for step in ("recognition", "inference", "iteration"):
            assert 0 < row[step]["p50_us"] <= row[step]["p99_us"]
        assert row["allocated_bytes"] > 10_000
    met = {target["metric"]: target["met"] for target in small["targets"]}
    # Whether times are met is the machine's doing.
    assert set(met) == {
        "not_above_chance", "not_learned", "recognition_p99", "inference_p99", "iteration_p99", "memory",
    }  # fmt: skip
    assert met["not_above_chance"]
    assert met["not_learned"]
    assert met["memory"]


def test_the_same_seed_gives_the_same_digest_and_another_another(
    neural: Stack, small: dict[str, Any]
) -> None:
    assert small["deterministic"]
    assert run(neural, *SMALL)["digest"] == small["digest"]
    assert run(neural, *SMALL, "--seed", "7")["digest"] != small["digest"]


def test_a_replay_decides_alike(neural: Stack, small: dict[str, Any]) -> None:
    assert "equal" in neural.swarm("replay", "--verify", "--decide", small["run"])


def test_table_and_page_say_what_was_learned(neural: Stack, small: dict[str, Any]) -> None:
    shown = neural.swarm("show", small["run"])
    scores = {row["pattern"]: f" {row['score']:.3f} " for row in small["result"]["neural"]["patterns"]}
    assert set(scores) == set(PATTERNS)
    for pattern, score in scores.items():  # with times of steps, in whichever unit they are read best
        lines = [line for line in shown.splitlines() if line.startswith(f"{pattern} ")]
        assert any(score in line and re.search(r"\d (µs|ms)\b", line) for line in lines), lines
    assert "overall" in shown
    page = neural.swarm("report", small["run"], "-o", "-")
    assert "Patterns of thinking" in page
    assert "Score by iterations of training" in page


def test_a_control_from_which_what_relates_was_taken_misses_its_targets(neural: Stack) -> None:
    found = run(neural, *SMALL, "-p", "shuffled=true", "-p", "patterns=lateral,critical", "--check", code=1)
    missed = {target["metric"] for target in found["targets"] if not target["met"]}
    assert missed >= {"not_above_chance", "not_learned"}
    assert {row["above_chance"] for row in found["result"]["neural"]["patterns"]} == {False}


def test_several_workers_find_the_same_scores(neural: Stack) -> None:
    found = run(
        neural,
        "parallel",
        *SMALL,
        "-p",
        "rounds=1",
        "-p",
        "workers=2",
        "-p",
        "patterns=lateral,critical,systems",
        "--check",
    )
    one, two = found["result"]["neural"]["parallel"]
    assert (one["workers"], one["tasks"], one["speedup"]) == (1, 3, 1.0)
    assert (two["workers"], two["tasks"]) == (2, 3)
    assert two["speedup"] > 0
    assert two["bound"] <= 2
    assert found["deterministic"]
    shown = neural.swarm("show", found["run"])
    assert "speed-up" in shown


def test_each_timing_is_in_the_log_value_by_value(neural: Stack, small: dict[str, Any]) -> None:
    path = neural.home.parent / "run.jsonl"
    neural.swarm("export", small["run"], "-o", str(path))
    events = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    learned = [one["data"] for one in events if one.get("type") == "agent.pattern_learned"]
    assert len(learned) == len(PATTERNS)
    lengths = {(one["name"], len(one["values"])) for data in learned for one in data["samples"]}
    assert lengths == {("recognition", 20), ("inference", 20), ("iteration", 38)}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("patterns=vertical", "params.patterns"),
        ("questions=3", "params.questions"),
        ("size=0", "params.size"),
    ],
)
def test_what_cannot_be_is_refused_with_2(neural: Stack, given: str, said: str) -> None:
    done = subprocess.run(
        [SWARM, "run", "neural", "-p", given],
        cwd=neural.home.parent,
        env=neural.environ,
        capture_output=True,
        text=True,
        timeout=90.0,
        check=False,
    )
    assert done.returncode == 2
    assert said in done.stdout + done.stderr
