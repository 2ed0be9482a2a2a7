"""Where the time of a run went: waits and works add up, whatever the clocks say."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swarm_cli.commands.trace import bar, document, jaeger_link
from swarm_common import clock
from swarm_common.events import Event
from swarm_common.timeline import Work, timeline


def test_the_critical_path_leads_from_the_beginning_to_the_end(recorded: list[Event]) -> None:
    found = timeline(recorded)
    assert [(step.type, step.task) for step in found.path] == [
        ("benchmark.started", ""),
        ("benchmark.task_scheduled", "t-1"),
        ("agent.task_done", "t-1"),
        ("benchmark.completed", ""),
    ]
    assert [(step.wait_us, step.work_us) for step in found.path] == [
        (0, 100),
        (100, 0),
        (500, 4000),
        (100, 200),
    ]


def test_waits_and_works_on_the_path_add_up_to_the_run(recorded: list[Event]) -> None:
    found = timeline(recorded)
    assert found.total_us == 5000
    assert found.path_wait_us + found.path_work_us == found.total_us


def test_every_piece_of_work_has_its_wait_and_its_worker(recorded: list[Event]) -> None:
    works = {work.task: work for work in timeline(recorded).works if work.task}
    assert (works["t-0"].wait_us, works["t-0"].work_us, works["t-0"].critical) == (300, 1000, False)
    assert (works["t-1"].wait_us, works["t-1"].work_us, works["t-1"].critical) == (500, 4000, True)
    assert works["t-1"].worker == "host-1"


def test_a_run_that_is_not_over_ends_with_its_last_event(recorded: list[Event]) -> None:
    found = timeline(recorded[:4])
    assert found.path[-1].task == "t-0"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shifts=st.lists(st.integers(-3_000_000, 3_000_000), min_size=6, max_size=6))
def test_clocks_that_disagree_make_no_negative_times(recorded: list[Event], shifts: list[int]) -> None:
    events = [
        msgspec.structs.replace(event, time=clock.format_ns(clock.parse_ns(event.time) + shift * 1000))
        for event, shift in zip(recorded, shifts, strict=True)
    ]
    found = timeline(events)
    assert all(step.work_us >= 0 for step in found.path)
    assert all(work.wait_us >= 0 and work.work_us >= 0 for work in found.works)


def test_the_document_has_shares_of_the_whole(recorded: list[Event]) -> None:
    steps = document(timeline(recorded))["path"]
    assert sum(step["share"] for step in steps) == 1.0


def work(start_us: int, end_us: int, wait_us: int) -> Work:
    return Work(
        task="t",
        what="x",
        service="s",
        worker="w",
        wait_us=wait_us,
        start_us=start_us,
        end_us=end_us,
        event="e",
    )


def test_a_bar_waits_in_dots_and_works_in_blocks() -> None:
    assert bar(work(50, 100, 25), 100, 20) == "     ·····██████████"


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9), st.integers(1, 10**9))
def test_a_bar_stays_in_its_columns_and_shows_something(start: int, took: int, wait: int, total: int) -> None:
    drawn = bar(work(start, start + took, wait), total, 40)
    assert len(drawn) <= 40
    assert "█" in drawn


def test_the_link_to_jaeger_names_the_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SWARM_JAEGER_URL", raising=False)
    assert jaeger_link("f" * 32) == f"http://127.0.0.1:16686/trace/{'f' * 32}"
