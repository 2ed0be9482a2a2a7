"""What Prometheus is told: runs, tasks, dead letters, lag, and what each instance uses now.

Nothing is counted here for its own sake: numbers come from the view, from the broker and from live metrics, at each
scrape. Labels have few values (a status, a service, a kind of task, a consumer, an instance that lives): no run is one.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec
import nats.errors
from nats.js.errors import NotFoundError
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from swarm_common.events.schema import SERVICES
from swarm_common.histograms import quantile
from swarm_common.live import LiveMetrics
from swarm_common.log.broker import Broker
from swarm_common.log.streams import DEAD_STREAM, STREAM
from swarm_metrics.asking import STATUSES
from swarm_metrics.spread import Spread

#: Ends of the buckets of task durations in microseconds: powers of two, at which counts of the spreads are exact.
BOUNDS_US = tuple(2**power for power in range(6, 30, 2))
#: Kinds of task beyond so many are told as one, ``other``.
MOST_KINDS = 64
CONSUMERS = (
    "coordinator",
    *(f"{role.name}-{lane}" for role in SERVICES for lane in role.lanes),
    *(f"{role.name}-reactions" for role in SERVICES if role.reactions),
)


class Durations(msgspec.Struct, frozen=True):
    """How long tasks of a kind took."""

    n: int
    total_us: float
    within: tuple[int, ...]
    """How many took at most each of :data:`BOUNDS_US`."""


class Stored(msgspec.Struct, frozen=True):
    """What the view tells."""

    runs: dict[str, int]
    """By status."""
    tasks: dict[tuple[str, str], int]
    """By service and status."""
    durations: dict[str, Durations]
    """By kind."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is told at one scrape."""

    stored: Stored
    behind: int
    streams: dict[str, tuple[int, int]]
    """Messages and bytes by stream, of those that answered."""
    consumers: dict[str, tuple[int, int]]
    """Messages that wait and that are being worked on, by consumer."""
    live: tuple[LiveMetrics, ...]


def stored(connection: sqlite3.Connection, _given: Mapping[str, Any]) -> Stored:
    """Return what the view has to tell."""
    runs = dict.fromkeys(STATUSES, 0)
    runs |= dict(connection.execute("SELECT status, count(*) FROM runs GROUP BY status"))
    tasks = {
        (service, status): n
        for service, status, n in connection.execute(
            "SELECT service, status, count(*) FROM tasks GROUP BY service, status"
        )
    }
    found: dict[str, list[tuple[int, float, bytes]]] = {}
    for kind, n, total, spread in connection.execute(
        "SELECT of, n, total, spread FROM runs CROSS JOIN summaries USING (run) WHERE name = 'duration'"
    ):
        key = kind if kind in found or len(found) < MOST_KINDS else "other"
        found.setdefault(key, []).append((n, total, spread))
    return Stored(runs, tasks, {kind: _durations(of_kind) for kind, of_kind in found.items()})


def _durations(found: list[tuple[int, float, bytes]]) -> Durations:
    spread = Spread([packed for _, _, packed in found])
    return Durations(
        sum(n for n, _, _ in found),
        sum(total for _, total, _ in found),
        tuple(spread.within(bound) for bound in BOUNDS_US),
    )


async def of_broker(broker: Broker) -> tuple[dict[str, tuple[int, int]], dict[str, tuple[int, int]]]:
    """Return messages and bytes by stream, and what waits and is worked on by consumer, of those that answer."""
    streams: dict[str, tuple[int, int]] = {}
    consumers: dict[str, tuple[int, int]] = {}

    async def stream(name: str) -> None:
        with contextlib.suppress(NotFoundError, nats.errors.Error, TimeoutError):
            found = (await broker.js.stream_info(name)).state
            streams[name] = (found.messages, found.bytes)

    async def consumer(name: str) -> None:
        with contextlib.suppress(NotFoundError, nats.errors.Error, TimeoutError):
            found = await broker.js.consumer_info(STREAM, name)
            consumers[name] = (found.num_pending or 0, found.num_ack_pending or 0)

    await asyncio.gather(*map(stream, (STREAM, DEAD_STREAM)), *map(consumer, CONSUMERS))
    return streams, consumers


def exposition(facts: Facts, accept: str = "") -> tuple[bytes, str]:
    """Return what is answered, in the format that ``accept`` asks for, and its content type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Told(facts))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Told(Collector):
    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def collect(self) -> Iterable[Metric]:
        """Yield all families."""
        yield from _of_work(self._facts)
        yield from _of_log(self._facts)
        yield from _of_processes(self._facts.live)


def _of_work(facts: Facts) -> Iterator[Metric]:
    runs = GaugeMetricFamily("swarm_runs", "Runs in the log, by status.", labels=["status"])
    for status, n in sorted(facts.stored.runs.items()):
        runs.add_metric([status], n)
    yield runs
    tasks = GaugeMetricFamily(
        "swarm_tasks",
        "Tasks in the log, by the service that does them and status.",
        labels=["service", "status"],
    )
    for labels, n in sorted(facts.stored.tasks.items()):
        tasks.add_metric(list(labels), n)
    yield tasks
    durations = HistogramMetricFamily(
        "swarm_task_duration_seconds", "From taking up a task to its result, by kind.", labels=["kind"]
    )
    for kind, found in sorted(facts.stored.durations.items()):
        buckets: list[tuple[str, float]] = [
            (str(bound / 1e6), n) for bound, n in zip(BOUNDS_US, found.within, strict=True)
        ]
        durations.add_metric([kind], [*buckets, ("+Inf", found.n)], found.total_us / 1e6)
    yield durations


def _of_log(facts: Facts) -> Iterator[Metric]:
    if STREAM in facts.streams:
        messages, size = facts.streams[STREAM]
        yield GaugeMetricFamily("swarm_log_messages", "Messages in the log.", value=messages)
        yield GaugeMetricFamily("swarm_log_bytes", "Bytes that the log takes.", value=size)
    if DEAD_STREAM in facts.streams:
        yield GaugeMetricFamily(
            "swarm_dead_letters",
            "What could not be handled and waits for a look.",
            value=facts.streams[DEAD_STREAM][0],
        )
    yield GaugeMetricFamily(
        "swarm_view_behind", "Events of the log that are not in the view yet.", value=facts.behind
    )
    waiting = GaugeMetricFamily(
        "swarm_consumer_pending", "Messages that wait for a consumer.", labels=["consumer"]
    )
    at_work = GaugeMetricFamily(
        "swarm_consumer_in_flight", "Messages delivered to a consumer and not settled.", labels=["consumer"]
    )
    for name, (pending, in_flight) in sorted(facts.consumers.items()):
        waiting.add_metric([name], pending)
        at_work.add_metric([name], in_flight)
    yield waiting
    yield at_work


_Read = Callable[[LiveMetrics], float | None]
_COUNTERS: dict[str, tuple[str, _Read]] = {
    "swarm_process_cpu_seconds": ("Processor time of the process.", lambda one: one.cpu_s),
    "swarm_gc_pause_seconds": ("How long garbage collection stopped it.", lambda one: one.gc_pause_us / 1e6),
    "swarm_gc_collections": ("Garbage collections.", lambda one: one.gc_collections),
    "swarm_handled": ("Tasks and reactions that it handled.", lambda one: one.handled),
    "swarm_failures": ("Those that failed.", lambda one: one.failures),
}
_GAUGES: dict[str, tuple[str, _Read]] = {
    "swarm_process_resident_memory_bytes": ("Memory that it holds in RAM.", lambda one: one.rss_bytes),
    "swarm_process_unique_memory_bytes": ("Memory that only it holds.", lambda one: one.uss_bytes),
    "swarm_process_threads": ("Threads.", lambda one: one.threads),
    "swarm_children": (
        "Processes that it started.",
        lambda one: one.children.processes if one.children else None,
    ),
    "swarm_children_cpu_seconds": (
        "Processor time of the processes that it started.",
        lambda one: one.children.cpu_s if one.children else None,
    ),
    "swarm_children_resident_memory_bytes": (
        "Memory that they hold in RAM.",
        lambda one: one.children.rss_bytes if one.children else None,
    ),
    "swarm_in_flight": ("Deliveries that it works on.", lambda one: one.in_flight),
}


def _of_processes(live: Iterable[LiveMetrics]) -> Iterator[Metric]:
    """Yield what each instance uses; what its system does not tell is left out."""
    live = list(live)
    labels = ["service", "instance"]
    for name, (about, read) in _COUNTERS.items():
        counter = CounterMetricFamily(name, about, labels=labels)
        for one in live:
            if (total := read(one)) is not None:
                counter.add_metric([one.service, one.instance], total)
        yield counter
    for name, (about, read) in _GAUGES.items():
        gauge = GaugeMetricFamily(name, about, labels=labels)
        for one in live:
            if (value := read(one)) is not None:
                gauge.add_metric([one.service, one.instance], value)
        yield gauge
    lag = GaugeMetricFamily(
        "swarm_event_loop_lag_seconds",
        "How much later than due its event loop ran a timer, in its last interval.",
        labels=[*labels, "quantile"],
    )
    for one in live:
        for share in (0.5, 0.99, 1.0):
            if (late := quantile(one.loop_lag_us, share)) is not None:
                lag.add_metric([one.service, one.instance, f"{share:g}"], late / 1e6)
    yield lag
