"""Given a view, a broker and instances that tell of themselves, when Prometheus asks, then numbers with few labels."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import msgspec
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as classic

from support.measured import completed, log_of, measured, scheduled, started
from swarm_common.events import Event
from swarm_common.histograms import histogram
from swarm_common.live import Children, LiveMetrics
from swarm_metrics import live, prometheus
from swarm_metrics.projection import Projection

SAMPLE = LiveMetrics(
    service="model_agent",
    instance="host-1",
    pid=1,
    number=3,
    time="2026-11-21T10:00:00.000000Z",
    interval_s=1.0,
    cpu_s=2.5,
    cpu_share=0.5,
    rss_bytes=1000,
    children=Children(processes=2, cpu_s=7.0, rss_bytes=500),
    gc_pause_us=1500.0,
    loop_lag_us=histogram([100.0, 100.0, 5000.0]),
    handled=9,
    in_flight=4,
)
OPEN = "application/openmetrics-text; version=1.0.0"


def log() -> list[Event]:
    """Two runs of three tasks that took 0 to 7 us, and one run that goes on."""
    data = [
        ("a", started()),
        *(("a", scheduled(f"t{task}", kind)) for task, kind in enumerate(("train", "train", "score"))),
        *(("a", measured(f"t{task}")) for task in range(3)),
        ("a", completed()),
        ("b", started()),
        ("b", scheduled("t0", "train")),
    ]
    return log_of(data)


def facts(**more: Any) -> prometheus.Facts:
    with closing(Projection()) as projection:
        projection.apply(log())
        stored = prometheus.stored(projection.connection, {})
    return prometheus.Facts(
        **{
            "stored": stored,
            "behind": 5,
            "streams": {"SWARM": (10, 2000), "SWARM_DEAD": (3, 99)},
            "consumers": {"model_agent-cpu": (7, 2)},
            "live": (SAMPLE,),
            **more,
        }
    )


def told(
    found: prometheus.Facts, accept: str = OPEN, parse: Callable[..., Any] = text_string_to_metric_families
) -> Any:
    """Return the value of every sample that is told, by its name and labels."""
    body, _ = prometheus.exposition(found, accept)
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in parse(body.decode())
        for sample in family.samples
    }


def test_runs_tasks_and_letters_are_counted() -> None:
    found = told(facts())
    assert found["swarm_runs", ("status", "completed")] == 1
    assert found["swarm_runs", ("status", "running")] == 1
    assert found["swarm_runs", ("status", "failed")] == 0
    assert found["swarm_tasks", ("service", "metrics"), ("status", "done")] == 3
    assert found["swarm_tasks", ("service", "metrics"), ("status", "scheduled")] == 1
    assert found["swarm_dead_letters",] == 3
    assert found["swarm_log_messages",] == 10
    assert found["swarm_view_behind",] == 5
    assert found["swarm_consumer_pending", ("consumer", "model_agent-cpu")] == 7
    assert found["swarm_consumer_in_flight", ("consumer", "model_agent-cpu")] == 2


def test_durations_are_a_histogram_by_kind_with_exact_counts() -> None:
    took = {"train": (64, 65, 256), "score": (10**9,)}
    data, at = [("a", started())], []
    for kind, durations in took.items():
        for index, duration in enumerate(durations):
            data += [("a", scheduled(f"{kind}{index}", kind)), ("a", measured(f"{kind}{index}"))]
            at.append((len(data) - 1, duration))
    events = log_of(data)
    for index, duration in at:
        events[index] = msgspec.structs.replace(events[index], duration_us=duration)
    with closing(Projection()) as projection:
        projection.apply(events)
        found = told(facts(stored=prometheus.stored(projection.connection, {})))
    name = "swarm_task_duration_seconds"
    within = {
        bound: found[f"{name}_bucket", ("kind", "train"), ("le", str(bound))]
        for bound in (64e-6, 256e-6, 1024e-6)
    }
    assert within == {64e-6: 1, 256e-6: 3, 1024e-6: 3}
    assert found[f"{name}_count", ("kind", "train")] == 3
    assert found[f"{name}_sum", ("kind", "train")] == pytest.approx(385e-6)
    assert found[f"{name}_bucket", ("kind", "score"), ("le", "+Inf")] == 1
    assert found[f"{name}_bucket", ("kind", "score"), ("le", str(prometheus.BOUNDS_US[-1] / 1e6))] == 0


def test_each_instance_tells_what_it_uses_and_nothing_that_it_does_not_know() -> None:
    found = told(facts())
    who = (("instance", "host-1"), ("service", "model_agent"))
    assert found["swarm_process_cpu_seconds_total", *who] == 2.5
    assert found["swarm_process_resident_memory_bytes", *who] == 1000
    assert found["swarm_children_cpu_seconds", *who] == 7
    assert found["swarm_gc_pause_seconds_total", *who] == pytest.approx(0.0015)
    assert found["swarm_in_flight", *who] == 4
    lag = ("swarm_event_loop_lag_seconds", who[0], ("quantile", "1"), who[1])
    assert found[lag] == pytest.approx(0.005)
    assert not any(name[0] == "swarm_process_unique_memory_bytes" for name in found)


def test_no_run_is_a_label_and_kinds_are_bounded() -> None:
    data = [("run-id", started())]
    for task in range(prometheus.MOST_KINDS + 20):
        data += [("run-id", scheduled(f"t{task}", f"kind{task}")), ("run-id", measured(f"t{task}"))]
    with closing(Projection()) as projection:
        projection.apply(log_of(data))
        found = told(facts(stored=prometheus.stored(projection.connection, {})))
    values = {value for name in found for _, value in name[1:]}
    assert "run-id" not in values
    kinds = {dict(name[1:])["kind"] for name in found if name[0] == "swarm_task_duration_seconds_count"}
    assert len(kinds) == prometheus.MOST_KINDS + 1
    assert found["swarm_task_duration_seconds_count", ("kind", "other")] == 20


def test_what_the_broker_does_not_say_is_not_told() -> None:
    found = told(facts(streams={}, consumers={}, live=()))
    assert not {name for name in found if name[0].startswith(("swarm_log", "swarm_dead", "swarm_process"))}
    assert found["swarm_view_behind",] == 5


def test_both_formats_say_the_same() -> None:
    _, content_type = prometheus.exposition(facts(), OPEN)
    assert content_type.startswith("application/openmetrics-text")
    _, content_type = prometheus.exposition(facts())
    assert content_type.startswith("text/plain")
    assert told(facts()) == told(facts(), "", classic)


# -- live metrics ------------------------------------------------------------------------------------------


def test_the_latest_sample_of_each_instance_counts_until_it_is_stale() -> None:
    latest = live.Latest()
    later = msgspec.structs.replace(SAMPLE, number=4, cpu_s=3.0)
    other = msgspec.structs.replace(SAMPLE, service="metrics", interval_s=60.0)
    latest.take(SAMPLE, 0.0)
    latest.take(other, 0.0)
    latest.take(later, 1.0)
    assert latest.now(2.0) == [other, later]
    assert latest.now(1.0 + live.MISSED + 0.1) == [other]
    assert latest.now(1.0) == [other], "what is gone is forgotten"


def test_instances_that_come_and_go_do_not_pile_up() -> None:
    latest = live.Latest()
    for number in range(live.MOST + 10):
        latest.take(msgspec.structs.replace(SAMPLE, instance=f"host-{number}"), 0.0)
    found = {sample.instance for sample in latest.now(0.0)}
    assert len(found) == live.MOST
    assert f"host-{live.MOST + 9}" in found
    assert "host-0" not in found
