"""Tracing: contexts chain with and without a collector, and spans tell what the conventions ask for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from structlog.testing import capture_logs

from swarm_common import tracing
from swarm_common.events.agent import AgentTaskFailed, TaskDone
from swarm_common.ids import trace_id
from swarm_common.tracing import LogTracer, OtelTracer, child_of, is_traceparent, messaging, root, tracer_for

hexadecimal = st.text("0123456789abcdef", min_size=32, max_size=32)
PARENT = f"00-{'a' * 32}-{'b' * 16}-01"
FAILED = AgentTaskFailed(task="b", attempt=1, error="OSError", message="away", retryable=True)


@given(hexadecimal, hexadecimal, st.sampled_from(["00", "01", "ff"]))
def test_what_is_a_traceparent(trace: str, span: str, flags: str) -> None:
    text = f"00-{trace}-{span[:16]}-{flags}"
    assert is_traceparent(text) == (int(trace, 16) > 0 and int(span[:16], 16) > 0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        f"00-{'0' * 32}-{'b' * 16}-01",
        f"00-{'a' * 32}-{'0' * 16}-01",
        f"00-{'A' * 32}-{'b' * 16}-01",
        f"01-{'a' * 32}-{'b' * 16}-01",
        f"ff-{'a' * 32}-{'b' * 16}-01",
        f"00-{'a' * 31}+-{'b' * 16}-01",
        f"00-+{'a' * 31}-{'b' * 16}-01",
        f"00-{'a' * 32}-{'b' * 16}-1",
        f"00-{'a' * 32}-{'b' * 16}-01-more",
        PARENT + "\n",
    ],
)
def test_what_is_no_traceparent(text: str) -> None:
    assert not is_traceparent(text)


@given(hexadecimal.filter(lambda text: int(text, 16) > 0))
def test_a_child_stays_in_its_trace(trace: str) -> None:
    parent = root(trace)
    child = child_of(parent)
    assert is_traceparent(parent)
    assert is_traceparent(child)
    assert child[:36] == parent[:36]
    assert child[36:52] != parent[36:52]
    assert child[52:] == parent[52:]


@pytest.mark.parametrize("parent", ["", "nonsense"])
def test_a_child_of_nothing_begins_a_trace(parent: str) -> None:
    assert is_traceparent(child_of(parent))
    assert child_of(parent)[:36] != child_of(parent)[:36]


def test_without_a_collector_a_span_is_its_id() -> None:
    tracer = LogTracer()
    with tracer.span("process", PARENT) as span:
        span.set(anything=1)
        span.error(ValueError("no"))
    assert span.traceparent[:36] == PARENT[:36]
    tracer.close()


# -- with a collector --------------------------------------------------------------------------------------


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[OtelTracer, InMemorySpanExporter]]:
    exporter = InMemorySpanExporter()
    monkeypatch.setattr(tracing, "_exporter", lambda: exporter)
    tracer = OtelTracer("metrics", "host-1", "0.1.0")
    yield tracer, exporter
    tracer.close()


def test_a_span_has_its_name_kind_parent_links_and_attributes(
    collected: tuple[OtelTracer, InMemorySpanExporter],
) -> None:
    tracer, exporter = collected
    link = root(trace_id("another"))
    attributes = messaging("process", "swarm.agent.predicted", "event-1", "metrics-io") | {"swarm.run": "r"}
    with tracer.span("process swarm.agent.predicted", PARENT, links=(link,), attributes=attributes) as span:
        span.set(swarm__rows=3)
    tracer._provider.force_flush()
    (found,) = exporter.get_finished_spans()
    assert (found.name, found.kind) == ("process swarm.agent.predicted", SpanKind.CONSUMER)
    assert found.parent is not None
    assert f"{found.parent.span_id:016x}" == "b" * 16
    assert span.traceparent == f"00-{'a' * 32}-{found.context.span_id:016x}-01"
    assert [f"{one.context.trace_id:032x}" for one in found.links] == [link[3:35]]
    assert found.attributes is not None
    assert dict(found.attributes) == {
        "messaging.system": "nats",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.template": "swarm.agent.predicted",
        "messaging.destination.name": "swarm.agent.predicted",
        "messaging.message.id": "event-1",
        "messaging.consumer.group.name": "metrics-io",
        "swarm.run": "r",
        "swarm.rows": 3,
    }
    assert found.resource.attributes["service.name"] == "metrics"
    assert found.resource.attributes["service.instance.id"] == "host-1"
    assert found.status.status_code is StatusCode.UNSET


def test_a_failed_span_says_why(collected: tuple[OtelTracer, InMemorySpanExporter]) -> None:
    tracer, exporter = collected
    with tracer.span("send x", PARENT, kind="producer") as span:
        span.error(ValueError("why"))
    tracer._provider.force_flush()
    (found,) = exporter.get_finished_spans()
    assert (found.kind, found.status.status_code, found.status.description) == (
        SpanKind.PRODUCER,
        StatusCode.ERROR,
        "why",
    )
    assert found.attributes is not None
    assert found.attributes["error.type"] == "ValueError"


def test_a_span_without_a_parent_begins_a_trace(collected: tuple[OtelTracer, InMemorySpanExporter]) -> None:
    tracer, _ = collected
    with tracer.span("process", "") as span:
        assert is_traceparent(span.traceparent)


def test_appending_has_a_span_of_its_own_that_events_can_carry(
    collected: tuple[OtelTracer, InMemorySpanExporter],
) -> None:
    tracer, exporter = collected
    with tracer.span("process x", PARENT) as work:
        for data in (
            [TaskDone(task="a")],
            [TaskDone(task="a"), TaskDone(task="b")],
            [TaskDone(task="a"), FAILED],
        ):
            with tracer.send(data, work) as sent:
                assert sent.traceparent != work.traceparent
    tracer._provider.force_flush()
    one, two, mixed, _ = exporter.get_finished_spans()
    assert [span.name for span in (one, two, mixed)] == [
        "send swarm.agent.task_done",
        "send swarm.agent.task_done",
        "send swarm.agent",
    ]
    counts = [dict(span.attributes or {}).get("messaging.batch.message_count") for span in (one, two, mixed)]
    assert counts == [None, 2, 2]
    assert {span.kind for span in (one, two, mixed)} == {SpanKind.PRODUCER}
    assert {f"{span.parent.span_id:016x}" for span in (one, two, mixed) if span.parent} == {
        work.traceparent[36:52]
    }


def test_without_a_collector_events_carry_the_span_of_their_cause() -> None:
    tracer = LogTracer()
    with tracer.span("process x", PARENT) as work, tracer.send([FAILED], work) as sent:
        assert sent is work


# -- a collector that is away ------------------------------------------------------------------------------


@pytest.fixture
def told() -> Iterator[list[Any]]:
    """What is logged, however other tests have set up logging."""
    before = structlog.get_config()
    structlog.reset_defaults()
    with capture_logs() as lines:
        yield lines
    structlog.configure(**before)


class Away(InMemorySpanExporter):
    """Takes nothing while it is away, and complains as the SDK's exporters do."""

    away = True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if not self.away:
            return super().export(spans)
        logging.getLogger("opentelemetry.exporter.test").warning("nobody answers")
        return SpanExportResult.FAILURE


def test_trouble_is_said_once_and_its_end_too(monkeypatch: pytest.MonkeyPatch, told: list[Any]) -> None:
    exporter = Away()
    monkeypatch.setattr(tracing, "_exporter", lambda: exporter)
    tracer = OtelTracer("metrics", "host-1", "0.1.0")
    for away in (True, True, False, False, True):
        exporter.away = away
        with tracer.span("process x", PARENT):
            pass
        tracer._provider.force_flush()
    assert [(line["log_level"], line["event"]) for line in told] == [
        ("warning", "traces_not_delivered"),
        ("info", "traces_delivered_again"),
    ]
    assert told[0]["reason"] == "nobody answers"
    tracer.close()


def test_closing_waits_for_a_silent_collector_no_longer_than_it_may(
    monkeypatch: pytest.MonkeyPatch, told: list[Any]
) -> None:
    answers = threading.Event()

    class Silent(InMemorySpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:  # noqa: ARG002
            answers.wait(30)
            return SpanExportResult.FAILURE

    monkeypatch.setattr(tracing, "_exporter", Silent)
    monkeypatch.setattr(tracing, "FLUSH_S", 0.05)
    tracer = OtelTracer("metrics", "host-1", "0.1.0")
    with tracer.span("process x", PARENT):
        pass
    tracer.close()
    answers.set()
    assert [line["event"] for line in told] == ["traces_not_delivered"]


@pytest.mark.parametrize("operation", ["send", "receive", "process", "settle"])
def test_an_operation_has_a_type(operation: str) -> None:
    attributes = messaging(operation, "swarm.x")
    assert attributes["messaging.operation.type"] == operation
    assert "messaging.message.id" not in attributes


# -- what the environment asks for -------------------------------------------------------------------------


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("ENDPOINT", "TRACES_ENDPOINT", "PROTOCOL", "TRACES_PROTOCOL"):
        monkeypatch.delenv(f"OTEL_EXPORTER_OTLP_{name}", raising=False)
    monkeypatch.delenv("OTEL_SDK_DISABLED", raising=False)
    return monkeypatch


def test_without_an_endpoint_nothing_is_exported(environ: pytest.MonkeyPatch) -> None:
    assert isinstance(tracer_for("metrics", "1", "0.1.0"), LogTracer)
    environ.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    environ.setenv("OTEL_SDK_DISABLED", "true")
    assert isinstance(tracer_for("metrics", "1", "0.1.0"), LogTracer)


@pytest.mark.parametrize(
    ("protocol", "module"),
    [
        ("", "opentelemetry.exporter.otlp.proto.http.trace_exporter"),
        ("http/protobuf", "opentelemetry.exporter.otlp.proto.http.trace_exporter"),
        ("grpc", "opentelemetry.exporter.otlp.proto.grpc.trace_exporter"),
    ],
)
@pytest.mark.parametrize("variable", ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"])
def test_the_endpoint_is_spoken_to_as_the_environment_says(
    environ: pytest.MonkeyPatch, variable: str, protocol: str, module: str
) -> None:
    environ.setenv(variable, "http://127.0.0.1:9")
    if protocol:
        environ.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    exporter = tracing._exporter()
    assert type(exporter).__module__.startswith(module)
    exporter.shutdown()
    tracer = tracer_for("metrics", "1", "0.1.0")
    assert isinstance(tracer, OtelTracer)
    tracer.close()
