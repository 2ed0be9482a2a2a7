"""What `swarm watch` draws: of each service what it uses and used, of a run how far it is and how fast."""

from __future__ import annotations

from io import StringIO
from typing import Any

import msgspec
import pytest
from rich.console import Console

from support.measured import completed, log_of, measured, scheduled, started
from swarm_cli.boards import WIDTH, Events, Progress, Services, event_line, live_line, rates
from swarm_cli.watching import run_board, swarm_board
from swarm_common.events import Metric
from swarm_common.events.benchmark import Failed
from swarm_common.histograms import histogram
from swarm_common.live import Children, LiveMetrics

SAMPLE = LiveMetrics(
    service="model_agent",
    instance="host-1",
    pid=1,
    number=1,
    time="2026-11-21T10:00:00.000000Z",
    interval_s=1.0,
    cpu_s=2.5,
    cpu_share=0.25,
    rss_bytes=1024 * 1024,
    children=Children(processes=1, cpu_s=7.0, rss_bytes=2 * 1024 * 1024),
    loop_lag_us=histogram([100.0] * 99 + [8000.0]),
    handled=9,
    in_flight=4,
)
SCORE = Metric(name="score", value=0.5, unit="ratio", low=0.4, high=0.6, n=7)


def drawn(board: Any, width: int = 150) -> str:
    out = StringIO()
    Console(file=out, width=width, height=40, color_system=None).print(board)
    return out.getvalue()


def later(sample: LiveMetrics, **more: Any) -> LiveMetrics:
    return msgspec.structs.replace(sample, **more)


def test_a_service_is_the_sum_of_its_instances() -> None:
    services = Services()
    services.hear(SAMPLE, 0.0)
    services.hear(later(SAMPLE, instance="host-2", in_flight=1, failures=2), 0.0)
    services.tick(0.5)
    [use] = services.past()["model_agent"]
    assert use is not None
    assert (use.instances, use.in_flight, use.handled, use.failures) == (2, 5, 18, 2)
    assert use.rss_bytes == 2 * 3 * 1024 * 1024
    assert use.cpu == 0.5
    assert use.lag_us == pytest.approx(100, rel=0.03)


def test_the_work_of_child_processes_counts_from_sample_to_sample() -> None:
    services = Services()
    services.hear(SAMPLE, 0.0)
    services.hear(later(SAMPLE, children=Children(processes=2, cpu_s=9.0, rss_bytes=0), interval_s=2.0), 2.0)
    services.tick(2.0)
    [use] = services.past()["model_agent"]
    assert use is not None
    assert use.cpu == pytest.approx(0.25 + 1.0)


def test_an_instance_that_is_silent_is_not_counted_and_its_service_is_shown_as_such() -> None:
    services = Services()
    services.hear(SAMPLE, 0.0)
    services.tick(1.0)
    services.tick(20.0)
    use, gone = services.past()["model_agent"]
    assert use is not None
    assert gone is None
    assert "model_agent (silent)" in drawn(swarm_board(services, Events(), 40))


def test_the_past_is_as_long_as_a_sparkline() -> None:
    services = Services()
    services.hear(SAMPLE, 0.0)
    for tick in range(WIDTH + 5):
        services.tick(tick / 100)
    assert len(services.past()["model_agent"]) == WIDTH


def test_the_board_shows_what_each_service_uses_and_the_latest_events() -> None:
    services, events = Services(), Events()
    assert "no service tells of itself yet" in drawn(swarm_board(services, events, 40))
    for tick, busy in enumerate((0, 2, 4)):
        services.hear(later(SAMPLE, in_flight=busy), float(tick))
        services.tick(float(tick))
    for event in log_of([("a", started()), *(("a", scheduled(f"t{index}")) for index in range(60))]):
        events.add(event, with_run=True)
    text = drawn(swarm_board(services, events, 20))
    assert "▁▅█" in text
    assert "3.0 MiB" in text
    assert "61 events since you watch" in text
    assert "benchmark.task_scheduled t59" in text
    assert len(text.splitlines()) <= 20
    assert "benchmark.started" not in text


@pytest.mark.parametrize("width", [80, 101, 102, 120, 160])
def test_names_and_figures_are_whole_on_narrow_screens(width: int) -> None:
    services = Services()
    for tick in range(WIDTH):
        services.hear(later(SAMPLE, in_flight=tick % 3, handled=12_345), float(tick))
        services.tick(float(tick))
    text = drawn(swarm_board(services, Events(), 24, width), width)
    row = next(line for line in text.splitlines() if "model_agent" in line)
    assert "3.0 MiB" in row
    assert "12,345" in row
    assert "…" not in text
    assert any(bar in row for bar in "▁▅█")


def test_rates_are_of_equal_stretches() -> None:
    second = 1_000_000_000
    found, length_s = rates([0, second // 2, 3 * second, 4 * second], 4 * second, width=4)
    assert (found, length_s) == ([2.0, 0.0, 0.0, 2.0], 1.0)
    assert rates([], 0) == ([], 0.0)


def run_events(last: Any) -> list[Any]:
    return log_of(
        [
            ("a", started("primitives", "snapshot_reads")),
            ("a", scheduled("t0")),
            ("a", scheduled("t1")),
            ("a", measured("t0")),
            ("a", measured("t1")),
            ("a", last),
        ]
    )


def test_a_run_shows_how_far_it_is_how_fast_and_its_metrics_as_they_come() -> None:
    progress, events = Progress("a"), Events()
    for event in run_events(
        completed(SCORE, Metric(name="lost", value=None, unit="s", reason="no [red]clock"))
    )[:5]:
        progress.apply(event)
        events.add(event, with_run=False)
    text = drawn(run_board(progress, events, 40))
    assert "primitives snapshot_reads a  running  2/2 tasks" in text
    assert "█" in text
    assert "tasks/s ▁" in text
    assert "score" not in text
    for event in run_events(
        completed(SCORE, Metric(name="lost", value=None, unit="s", reason="no [red]clock"))
    )[5:]:
        progress.apply(event)
        events.add(event, with_run=False)
    text = drawn(run_board(progress, events, 40))
    assert "completed" in text
    assert "[0.4, 0.6]" in text
    assert "- (no [red]clock)" in text
    assert progress.view.over


def test_what_steers_a_terminal_is_not_passed_on() -> None:
    event = run_events(Failed(reason="\x1b[2Jgone\nfor good", duration_s=1.0, clock="wall"))[5]
    line = event_line(event, with_run=True)
    assert "\x1b" not in line
    assert "\n" not in line
    assert "gone" in line


def test_a_line_says_what_an_instance_uses() -> None:
    line = live_line(SAMPLE)
    assert "model_agent/host-1  cpu 25%  rss 1.0 MiB  lag p99" in line
    assert "in flight 4  handled 9  failures 0" in line
    assert "rss -" in live_line(later(SAMPLE, rss_bytes=None))
