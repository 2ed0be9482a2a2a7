"""A neural run's tables and charts."""

from __future__ import annotations

import re
from typing import Any

import pytest
from msgspec.structs import replace

from swarm_cli.neural import neural_of, show_neural
from swarm_cli.report.neural_charts import curves, scores
from swarm_common.runs import RunView, new_view

TIMED: dict[str, Any] = {"n": 200, "p50_us": 9.0, "p99_us": 1234.0, "loops": 8}
PATTERN: dict[str, Any] = {
    "pattern": "lateral",
    "repeats": 5,
    "questions": 1000,
    "score": 0.75,
    "low": 0.7,
    "high": 0.8,
    "corrected": 0.6875,
    "chance": 0.2,
    "baseline": 0.35,
    "untrained": 0.19,
    "above_chance": True,
    "learned": True,
    "above_baseline": True,
    "measures": {"hits_at_5": 0.95},
    "curve": [
        {"iterations": 0, "score": 0.19},
        {"iterations": 1, "score": 0.6},
        {"iterations": 2, "score": 0.75},
    ],
    "recognition": TIMED,
    "inference": TIMED,
    "iteration": TIMED,
    "rss_bytes": 100 * 2**20,
    "allocated_bytes": 2**20,
}
GUESSED = PATTERN | {
    "pattern": "critical",
    "above_chance": False,
    "learned": False,
    "above_baseline": False,
    "rss_bytes": None,
}
WIDTH: dict[str, Any] = {
    "workers": 2,
    "tasks": 12,
    "wall_s": 3.5,
    "speedup": 1.62,
    "least": 1.4,
    "most": 1.8,
    "efficiency": 0.81,
    "bound": 2.0,
    "bound_by": "cores",
    "slowed": 1.1,
    "idle": 0.07,
}
RESULT: dict[str, Any] = {
    "neural": {
        "patterns": [PATTERN, GUESSED],
        "overall": {"value": 0.5, "low": 0.45, "high": 0.55},
        "formula": "the mean",
    }
}


def view(result: dict[str, Any], suite: str = "neural") -> RunView:
    return replace(new_view("run-1"), suite=suite, result=result)


def shown(result: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> str:
    found = neural_of(view(result))
    assert found is not None
    show_neural(found)
    return capsys.readouterr().out


def test_the_table_has_a_row_a_pattern_with_score_chance_baseline_times_and_memory(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = shown(RESULT, capsys)
    row = next(line for line in text.splitlines() if line.startswith("lateral  "))
    for part in (
        "0.750",
        "[0.700, 0.800]",
        "0.200",
        "0.350",
        "0.190",
        "9 µs",
        "1.23 ms",
        "100.0 MiB",
        "1.0 MiB",
    ):
        assert part in row
    assert "hits at 5 0.950" in text
    assert "overall 0.500 [0.450, 0.550]: the mean" in text
    for said in ("be above chance", "have learned", "be above the baseline"):
        assert f"not shown to {said}: critical\n" in text
    assert "a control" not in text


def test_a_control_says_that_it_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    control = {"neural": RESULT["neural"] | {"shuffled": True}}
    assert "a control" in shown(control, capsys)


def test_workers_are_told_with_what_bounds_them(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown({"neural": {"parallel": [WIDTH], "cores": 2}}, capsys)
    assert "on 2 cores" in text
    for part in ("3.50 s", "1.62", "[1.400, 1.800]", "81%", "2.00", "cores", "1.10", "7%"):
        assert part in text


def test_other_suites_and_odd_results_have_no_such_table() -> None:
    assert neural_of(view(RESULT, "hive")) is None
    assert neural_of(view({})) is None
    assert neural_of(view({"neural": {"patterns": 3}})) is None


def test_a_curve_rises_from_chance_to_where_it_came() -> None:
    found = neural_of(view(RESULT))
    assert found is not None
    drawn = str(curves(found))
    assert drawn.count('<path class="curve') == 2 * 2  # each pattern's line, and its mark beside the name
    (line, *_) = re.findall(r'stroke-dasharray="" d="M([^"h]+)"', drawn)
    heights = [float(place.split()[1]) for place in line.split("L")]
    # 0.19 is below chance (0.2), so it lies on the ground; upwards is less in SVG.
    assert heights == [254.0, 134.0, 89.0]
    assert "lateral: 0.190 before training, 0.750 after" in drawn


def test_scores_are_drawn_with_chance_and_baseline() -> None:
    found = neural_of(view(RESULT))
    assert found is not None
    assert str(scores(found)).count('class="target"') == 2 * 2


def test_a_run_of_workers_alone_has_no_charts() -> None:
    found = neural_of(view({"neural": {"parallel": [WIDTH], "cores": 2}}))
    assert found is not None
    assert str(curves(found)) == str(scores(found)) == ""
