"""A primitives run's tables and cost curves."""

from __future__ import annotations

import re
from typing import Any

import pytest
from msgspec.structs import replace

from swarm_cli.primitives import duration, is_told, primitives_of, show_primitives
from swarm_cli.report.primitives_charts import curves
from swarm_common.events import JudgedTarget
from swarm_common.runs import RunView, new_view


def row(scenario: str, size: int, **fields: Any) -> dict[str, Any]:
    usual = {"counts": "proposals", "operation": "one", "p50_us": 4.5, "p99_us": 9.0, "n": 200}
    return {"scenario": scenario, "size": size, **usual, **fields}


CURVE = {
    "scenario": "proposal_conflicts",
    "variant": "all_pairs",
    "growth": "quadratic",
    "exponent": 1.98,
    "low": 1.95,
    "high": 2.01,
    "model": "quadratic",
    "verdict": "kept",
    "sizes": [10, 100, 1000],
    "times_us": [1.0, 100.0, 10000.0],
}
RESULT: dict[str, Any] = {
    "primitives": {
        "rows": [
            row("proposal_conflicts", 10, variant="hash"),
            row("proposal_conflicts", 500, variant="hash", p50_us=498.0, unstable=True),
            row("snapshot_reads", 1000, counts="readers", p50_us=0.106, p99_us=0.441),
            row("memory_overhead", 100, counts="agents", p50_us=None, p99_us=None, n=0, bytes=1.7e6),
        ],
        "curves": [CURVE, CURVE | {"variant": "hash", "verdict": "steeper", "times_us": [5.0, 5.0, 5.0]}],
    }
}
TARGETS = (
    JudgedTarget(metric="p99.snapshot_reads.1000", op="<", target=1.0, value=0.441, met=True),
    JudgedTarget(metric="bytes.memory_overhead.100", op="<", target=1e6, value=1.7e6, met=False),
)


def view(result: dict[str, Any], suite: str = "primitives") -> RunView:
    return replace(new_view("run-1"), suite=suite, result=result, targets=TARGETS)


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    found = primitives_of(view(RESULT))
    assert found is not None
    show_primitives(found, view(RESULT))
    return capsys.readouterr().out.splitlines()


def test_a_row_has_size_times_and_what_became_of_its_target(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys)
    (reads,) = (line for line in lines if line.startswith("snapshot_reads"))
    assert re.split(r"\s{2,}", reads) == [
        "snapshot_reads",
        "1000 readers",
        "106 ns",
        "441 ns",
        "200",
        "p99 < 1 µs met",
    ]
    (weight,) = (line for line in lines if line.startswith("memory_overhead"))
    assert re.split(r"\s{2,}", weight) == [
        "memory_overhead",
        "100 agents",
        "1.6 MiB",
        "bytes < 976.6 KiB MISSED",
    ]


def test_a_scenario_is_named_once_and_unstable_samples_are_called_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = shown(capsys)
    (first,) = (line for line in lines if line.startswith("proposal_conflicts") and "10 proposals" in line)
    (second,) = (line for line in lines if "500 proposals" in line)
    assert "unstable" not in first
    assert second.startswith(" ")
    assert "unstable" in second
    assert any("over 10 % of their mean" in line for line in lines)


def test_a_curve_has_its_promise_and_its_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = (line for line in shown(capsys) if "all pairs" in line)
    for part in ("quadratic", "1.98", "[1.95, 2.01]", "kept"):
        assert part in line
    assert any("hash" in line and "steeper" in line for line in shown(capsys))


def test_metrics_of_rows_stand_in_the_table_and_those_with_targets_above_it() -> None:
    assert is_told(view(RESULT), "p50.snapshot_reads.10")
    assert not is_told(view(RESULT), "p99.snapshot_reads.1000")
    assert not is_told(view(RESULT), "variation")


def test_other_suites_and_odd_results_have_no_such_table() -> None:
    assert primitives_of(view(RESULT, "hive")) is None
    assert primitives_of(view({})) is None
    assert primitives_of(view({"primitives": {"rows": 3}})) is None


def test_a_power_of_the_size_is_a_straight_line() -> None:
    found = primitives_of(view(RESULT))
    assert found is not None
    drawn = str(curves(found.curves))
    lines = re.findall(r'<title>([^<]+)</title><path class="curve[^>]+d="M([^"]+)"', drawn)
    assert [title for title, _ in lines] == [
        "proposal_conflicts all_pairs, exponent 1.98", "proposal_conflicts hash, exponent 1.98",
    ]  # fmt: skip
    points = [[tuple(map(float, place.split())) for place in line.split("L")] for _, line in lines]
    (x0, y0), (x1, y1), (x2, y2) = points[0]
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y1 - y0 == pytest.approx(y2 - y1, abs=0.2)
    assert y2 < y0, "dearer is higher"
    assert len({y for _, y in points[1]}) == 1
    assert not curves([])


@pytest.mark.parametrize(
    ("us", "text"), [(None, ""), (0.106, "106 ns"), (0.0, "0 ns"), (5.25, "5.25 µs"), (1500.0, "1.50 ms")]
)
def test_less_than_a_microsecond_is_told_in_nanoseconds(us: float | None, text: str) -> None:
    assert duration(us) == text
