"""Numbers and tables as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_cli import render
from swarm_cli.commands.run import exit_code
from swarm_cli.commands.suites import param_text, target_text
from swarm_cli.look_at_stack import error_in
from swarm_cli.progress import plain
from swarm_common.events import Event
from swarm_common.runs import fold, new_view


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "s", "-"),
        (0.94, "ratio", "0.94"),
        (1.0, "ratio", "1"),
        (0.0, "ratio", "0"),
        (12345.0, "count", "12,345"),
        (0.00012, "s", "120 µs"),
        (1.5, "s", "1.50 s"),
        (60.0, "s", "60 s"),
        (185.0, "s", "3 min 05 s"),
        (7200.0, "s", "2 h 00 min"),
        (1500.0, "us", "1.50 ms"),
        (2048.0, "bytes", "2.0 KiB"),
        (1694.2, "tasks/s", "1,694 tasks/s"),
    ],
)
def test_numbers_come_in_the_unit_that_reads_best(value: float | None, unit: str, text: str) -> None:
    assert render.number(value, unit) == text


@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["s", "us", "bytes", "count", "ratio", "x"]),
)
def test_every_number_can_be_shown(value: float, unit: str) -> None:
    assert render.number(value, unit)


def test_a_table_aligns_and_leaves_out_empty_columns(capsys: pytest.CaptureFixture[str]) -> None:
    render.table(["name", "n", "none"], [["a", "1", ""], [("bcd", "green"), "22", ""]], right=(1,))
    assert capsys.readouterr().out == "name   n\na      1\nbcd   22\n"


def test_progress_in_lines_says_beginning_and_end_and_little_between(recorded: list[Event]) -> None:
    lines: list[str] = []
    show = plain(lines.append, now=lambda: 1.0)
    view = new_view(recorded[0].run)
    for event in recorded:
        view.apply(event)
        show(view, event)
    assert len(lines) == 2
    assert "0/2 tasks" in lines[0]
    assert "2/2 tasks  benchmark.completed" in lines[1]


def test_a_missed_target_counts_with_check_only(make_run: object) -> None:
    events = make_run()  # type: ignore[operator]
    good = fold("r", events)
    missed = fold("r", events)
    missed.targets = tuple(
        target.__class__(metric="m", op=">=", target=1.0, value=None, met=False) for target in good.targets
    )
    assert (exit_code(good, check=True), exit_code(missed, check=False), exit_code(missed, check=True)) == (
        0,
        0,
        1,
    )


@pytest.mark.parametrize(
    ("status", "code"), [("rejected", 2), ("failed", 1), ("cancelled", 1), ("completed", 0)]
)
def test_exit_codes_follow_the_status(status: str, code: int) -> None:
    view = new_view("r")
    view.status = status  # type: ignore[assignment]
    assert exit_code(view, check=False) == code


def test_parameters_and_targets_read_as_they_are_typed() -> None:
    param = {"name": "folds", "type": "int", "default": 5, "description": "Folds.", "low": 0, "high": 10}
    assert param_text(param) == "folds=5  (int; 0 to 10)  Folds."
    assert target_text({"metric": "accuracy", "op": ">=", "target": 0.85}) == "accuracy >= 0.85"


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ('{"level": "info", "event": "ready"}', ""),
        ('{"level": "error", "event": "dead_letter", "error": "x", "timestamp": "2026-11-21T10:00:00Z"}',
         "2026-11-21T10:00:00 dead_letter x"),
        ("[1] 2026/11/21 [ERR] write: no space left on device", "write: no space left on device (the disk is full)"),
        ("{broken", ""),
        ("plain", ""),
    ],
)  # fmt: skip
def test_errors_are_found_in_log_files(line: str, error: str) -> None:
    assert error_in(line) == error


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([], ""),
        ([0.0, 0.0], "▁▁"),
        ([0.0, 5.0, 10.0], "▁▅█"),
        ([None, 1.0], " █"),
        ([float(value) for value in range(8)], "▁▂▃▄▅▆▇█"),
    ],
)
def test_a_sparkline_goes_from_nothing_to_the_greatest(values: list[float | None], line: str) -> None:
    assert render.sparkline(values) == line


def test_a_sparkline_can_have_a_top_of_its_own() -> None:
    assert render.sparkline([0.5, 2.0], 1.0) == "▅█"
    assert render.sparkline([0.0, 0.49, 0.5, 1.0], 1.0) == "▁▄▅█"


def test_a_sparkline_can_start_at_the_lowest() -> None:
    assert render.sparkline([1.0, 2.0, 3.0], bottom=1.0) == "▁▅█"
    assert render.sparkline([-2.0, -2.0], bottom=-2.0) == "▁▁"
