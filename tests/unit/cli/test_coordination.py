"""A coordination run's tables and graphs; a file's text as a parameter."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from swarm_cli.commands.run import parse_params
from swarm_cli.coordination import coordination_of, ends, percent, show_coordination
from swarm_cli.report.coordination_charts import graph
from swarm_common.errors import UsageError
from swarm_common.runs import RunView, new_view

ARM: dict[str, Any] = {
    "name": "centralized",
    "mode": "centralized",
    "strategy": "auto",
    "agents": 3,
    "n": 4,
    "quality": 0.75,
    "low": 0.3,
    "high": 0.95,
    "gain": 0.25,
    "gain_low": -0.1,
    "gain_high": 0.6,
    "calls": 12,
    "messages": 8,
    "tokens": 4321,
    "makespan_s": 2.5,
    "overhead": 0.013,
    "bottleneck": "hub",
    "bottleneck_share": 0.9,
    "edges": [["worker-1", "hub", 5], ["worker-2", "hub", 3]],
    "seats": ["hub", "worker-1", "worker-2"],
}
RESULT: dict[str, Any] = {
    "coordination": {
        "family": "split_evidence",
        "split": "test",
        "chance": 0.5,
        "questions": 4,
        "model": "m",
        "arms": [ARM, ARM | {"name": "budget", "samples": 5, "edges": []}],
        "verdicts": ["centralized: it cost much."],
    }
}


def view(result: dict[str, Any], suite: str = "coordination") -> RunView:
    return replace(new_view("run-1"), suite=suite, result=result)


def test_the_table_says_what_each_arm_cost_and_bought(capsys: pytest.CaptureFixture[str]) -> None:
    found = coordination_of(view(RESULT))
    assert found is not None
    show_coordination(found)
    shown = capsys.readouterr().out
    row = next(line for line in shown.splitlines() if line.startswith("centralized  "))
    for text in ("0.75", "[0.30, 0.95]", "+0.25", "[-0.10, +0.60]", "4,321", "2.50 s", "1.3%", "hub 90%"):
        assert text in row
    assert "budget (one agent, 5 answers)" in shown
    assert "guessing is right 0.50; answered by m" in shown
    assert shown.endswith("centralized: it cost much.\n")


def test_other_suites_and_odd_results_have_no_such_table() -> None:
    assert coordination_of(view(RESULT, "hive")) is None
    assert coordination_of(view({})) is None
    assert coordination_of(view({"coordination": {"arms": 3}})) is None


def test_the_graph_has_a_line_for_each_pair_that_spoke_and_the_thicker_the_more() -> None:
    found = coordination_of(view(RESULT))
    assert found is not None
    drawn = str(graph(found.arms[0]))
    widths = [float(width) for width in re.findall(r"stroke-width:([\d.]+)", drawn)]
    assert len(widths) == 2
    assert widths[0] > widths[1]
    assert "hub heard worker-1 5 times" in drawn
    assert all(f">{agent}</text>" in drawn for agent in ARM["seats"])


def test_small_shares_keep_a_digit_and_missing_ones_are_empty() -> None:
    assert [percent(share) for share in (0.013, 0.5, 0.0, None)] == ["1.3%", "50%", "0%", ""]
    assert ends(None, 1.0) == ""


def test_a_parameter_may_be_a_files_text(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text("[roles.x]\n", encoding="utf-8")
    assert parse_params([f"own=@{mine}", "note=@"]) == {"own": "[roles.x]\n", "note": "@"}
    with pytest.raises(UsageError, match="nowhere"):
        parse_params([f"own=@{tmp_path / 'nowhere'}"])
    mine.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="UTF-8"):
        parse_params([f"own=@{mine}"])
    mine.write_text("x" * 70_000, encoding="utf-8")
    with pytest.raises(UsageError, match="70000 characters"):
        parse_params([f"own=@{mine}"])
