"""One run, one trace: the services as processes, a run, and what a collector of OTLP sees of it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from support.otlp import Span, receiver
from support.stacks import Follower, Stack, stack
from support.waiting import until_sync
from swarm_common.events import Event
from swarm_common.events.subjects import REQUESTS
from swarm_common.ids import trace_id
from swarm_common.runs import RunView

SERVICES = ("coordinator", "model_agent", "consensus", "memory_sync", "metrics", "optimizer")


class Traced(NamedTuple):
    """A run, and all spans that were collected while the stack that did it was up."""

    view: RunView
    events: Sequence[Event]
    request: Event
    spans: Sequence[Span]

    def named(self, service: str, name: str) -> list[Span]:
        return [span for span in self.spans if (span.service, span.name) == (f"swarm-{service}", name)]


async def one_run(
    stack: Stack, suite: str, scenario: str = "", **params: Any
) -> tuple[RunView, Sequence[Event], Event]:
    """Do a run and return its view, its events with the aftermath, and its request."""
    async with asyncio.timeout(100), stack.client() as client:
        run = await client.run(suite, scenario, params)
        events = await Follower(client, run.id).settle()
        (request,) = [event async for event in client.log.read(REQUESTS) if event.id == run.view.request_id]
        return run.view, events, request


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Traced:
    """The stack has stopped when this is there: what a service has to send, it has sent."""
    with receiver() as collector:
        with stack(
            tmp_path_factory.mktemp("traced") / "home", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url
        ) as up:
            view, events, request = asyncio.run(one_run(up, "ensemble", "breast_cancer"))
        return Traced(view, events, request, tuple(collector.spans))


def test_a_run_is_one_trace_and_its_view_names_it(traced: Traced) -> None:
    assert {span.trace for span in traced.spans} == {traced.view.trace_id}
    assert traced.view.trace_id == trace_id(traced.view.request_id)
    assert {event.trace_id for event in traced.events} == {traced.view.trace_id}


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_its_part_in_it(traced: Traced, service: str) -> None:
    assert f"swarm-{service}" in {span.service for span in traced.spans}


@pytest.mark.parametrize(
    ("service", "name"),
    [
        ("coordinator", "process benchmark.requested"),
        ("coordinator", "send swarm.benchmark.started"),
        ("coordinator", "process swarm.*"),
        ("coordinator", "send swarm.benchmark.completed"),
        ("model_agent", "process swarm.benchmark.task_scheduled"),
        ("model_agent", "send swarm.agent.model_trained"),
        ("model_agent", "send swarm.agent.predicted"),
        ("consensus", "send swarm.consensus.reached"),
        ("metrics", "send swarm.metrics.scored"),
        ("metrics", "process swarm.*"),
        ("memory_sync", "send swarm.memory.recalled"),
        ("memory_sync", "process swarm.benchmark.completed"),
        ("memory_sync", "send swarm.memory.remembered"),
        ("optimizer", "process swarm.benchmark.completed"),
        ("optimizer", "send swarm.optimizer.suggested"),
    ],
)
def test_the_trace_tells_who_did_what(traced: Traced, service: str, name: str) -> None:
    assert traced.named(service, name)


def test_spans_follow_the_conventions_for_messaging(traced: Traced) -> None:
    kinds = {"process": "CONSUMER", "send": "PRODUCER"}
    for span in traced.spans:
        operation, destination = span.name.split(" ")
        assert span.kind == kinds[operation], span
        assert span.attributes["messaging.system"] == "nats"
        assert span.attributes["messaging.operation.name"] == operation
        assert span.attributes["messaging.operation.type"] == operation
        assert span.attributes["messaging.destination.template"] == destination
        assert span.attributes["swarm.run"] == traced.view.run
        assert not span.failed, span
        assert span.start_ns <= span.end_ns


def test_names_are_few_whatever_the_run(traced: Traced) -> None:
    told = {traced.view.run, *(task for task in traced.view.tasks if "-" in task)}
    assert [span.name for span in traced.spans if any(word in span.name for word in told)] == []


def test_who_processes_links_to_who_sent(traced: Traced) -> None:
    known = {(span.trace, span.id) for span in traced.spans if span.kind == "PRODUCER"}
    known.add((traced.request.trace_id, traced.request.span_id))
    for span in traced.spans:
        if span.kind == "CONSUMER":
            assert span.links, span
            assert span.links <= known, span
        else:
            assert not span.links, span


def test_every_parent_is_a_span_of_the_trace_or_the_clients_root(traced: Traced) -> None:
    known = {span.id for span in traced.spans} | {traced.request.span_id}
    assert len({span.id for span in traced.spans}) == len(traced.spans)
    assert [span for span in traced.spans if span.parent not in known] == []
    assert [span.name for span in traced.spans if span.parent == traced.request.span_id] == [
        "process benchmark.requested"
    ]


def test_a_send_is_part_of_the_work_that_led_to_it(traced: Traced) -> None:
    by_id = {span.id: span for span in traced.spans}
    for span in traced.spans:
        if span.kind == "PRODUCER":
            work = by_id[span.parent]
            assert (work.service, work.kind) == (span.service, "CONSUMER")
            assert work.start_ns <= span.start_ns <= span.end_ns <= work.end_ns


def test_every_event_names_the_span_that_sent_it(traced: Traced) -> None:
    by_id = {span.id: span for span in traced.spans}
    for event in traced.events:
        span = by_id[event.span_id]
        assert span.kind == "PRODUCER"
        assert event.source.split("/")[2] == span.service.removeprefix("swarm-")
        count = span.attributes.get("messaging.batch.message_count")
        if count is None:
            assert span.name == f"send swarm.{event.type}"
            assert span.attributes.get("messaging.message.id", event.id) == event.id
        else:
            assert count == sum(other.span_id == event.span_id for other in traced.events)


def test_the_view_has_taken_in_every_event_within_the_trace(traced: Traced) -> None:
    projected = [
        span
        for span in traced.spans
        if span.attributes.get("messaging.consumer.group.name") == "metrics-view"
    ]
    assert {link for span in projected for link in span.links} == {
        (event.trace_id, event.span_id) for event in traced.events
    }
    assert sum(span.attributes["messaging.batch.message_count"] for span in projected) == len(traced.events)


# -- without a collector, and with one that is away --------------------------------------------------------


@pytest.mark.parametrize("service", SERVICES)
def test_without_an_endpoint_nothing_that_exports_is_loaded(
    service: str, nats_url: str, tmp_path: Path
) -> None:
    """The interpreter itself tells what a service imports until it is ready."""
    outer = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    environ = outer | {"SWARM_NATS_URL": nats_url, "SWARM_HEALTH_FILE": str(tmp_path / "health")}
    log = tmp_path / "log"
    command = [sys.executable, "-X", "importtime", "-m", f"swarm_{service}"]
    with (
        log.open("wb") as stream,
        subprocess.Popen(command, env=environ, stderr=stream, cwd=tmp_path) as process,
    ):
        until_sync(lambda: '"ready"' in log.read_text() or process.poll() is not None, what="the service")
        process.terminate()
        process.wait(20)
    told = log.read_text()
    assert '"ready"' in told, told[-2000:]
    loaded = {
        line.rpartition("|")[2].strip() for line in told.splitlines() if line.startswith("import time:")
    }
    assert "swarm_common.tracing" in loaded
    assert {
        name for name in loaded if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))
    } == set()


@pytest.fixture(params=["refused", "silent"])
def away(request: pytest.FixtureRequest) -> Iterator[str]:
    """An endpoint where nobody listens, or somebody who never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        if request.param == "refused":
            listener.close()
        yield url


def lines(log: Path) -> list[dict[str, Any]]:
    """Return the lines of a service's log; one that is no JSON fails the test."""
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


@pytest.mark.slow
def test_a_collector_that_is_away_costs_one_line(away: str, tmp_path: Path) -> None:
    with stack(tmp_path / "home", OTEL_EXPORTER_OTLP_ENDPOINT=away) as up:
        view, _, _ = asyncio.run(one_run(up, "noop", tasks=300))
    assert view.status == "completed"
    for service in SERVICES:
        told = lines(up.layout.logs / f"{service}-1.log")
        complaints = [line for line in told if line["level"] in {"warning", "error"}]
        assert [line["event"] for line in complaints] in (["traces_not_delivered"], []), service
        assert told[-1]["event"] == "stopped", service
        if service in {"coordinator", "model_agent"}:
            assert complaints, service
