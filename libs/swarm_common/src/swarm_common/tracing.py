"""One run, one trace: context through headers and envelopes; spans to OTLP only where an endpoint is set.

A real OpenTelemetry span costs tens of microseconds and makes sense only where somebody collects it. Without
``OTEL_EXPORTER_OTLP_ENDPOINT`` a span is its id, so that contexts still chain and ``swarm trace`` still finds, in the
log, who caused what and how long it took. Names and attributes follow the OpenTelemetry semantic conventions for
messaging (status Development, 2026-08): ``send <destination>``, ``process <destination>``.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from swarm_common.ids import new_span_id

Attributes = Mapping[str, str | int | float | bool]
_TRACEPARENT = re.compile("00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_LENGTH = 55


class Span:
    """A span in progress: its context, and where details go."""

    __slots__ = ("_otel", "traceparent")

    def __init__(self, traceparent: str, otel: Any = None) -> None:
        self.traceparent = traceparent
        self._otel = otel

    def set(self, **attributes: str | float | bool) -> None:
        """Add attributes; ``__`` in a name stands for a dot."""
        if self._otel is not None:
            for name, value in attributes.items():
                self._otel.set_attribute(name.replace("__", "."), value)

    def error(self, error: BaseException) -> None:
        """Mark the span as failed."""
        if self._otel is not None:
            from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415 - only where spans are collected

            self._otel.set_attribute("error.type", type(error).__name__)
            self._otel.set_status(Status(StatusCode.ERROR, str(error)))


class Tracer(Protocol):
    """What makes spans."""

    def span(
        self,
        name: str,
        parent: str,
        *,
        kind: str = "consumer",
        links: Sequence[str] = (),
        attributes: Attributes | None = None,
    ) -> contextlib.AbstractContextManager[Span]:
        """Return a span as a context manager. ``parent`` and ``links`` are traceparents; kind is OpenTelemetry's."""

    def close(self) -> None:
        """Flush what is collected."""


class LogTracer:
    """Spans that are ids: nothing is exported."""

    @contextlib.contextmanager
    def span(
        self,
        name: str,  # noqa: ARG002 - the protocol's
        parent: str,
        *,
        kind: str = "consumer",  # noqa: ARG002
        links: Sequence[str] = (),  # noqa: ARG002
        attributes: Attributes | None = None,  # noqa: ARG002
    ) -> Iterator[Span]:
        yield Span(child_of(parent))

    def close(self) -> None:
        """Nothing to flush."""


class OtelTracer:
    """Spans of the OpenTelemetry SDK, sent in batches over OTLP."""

    def __init__(self, service: str, instance: str, version: str) -> None:
        from opentelemetry import trace  # noqa: PLC0415 - slow imports, only where spans are collected
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        resource = Resource.create(
            {
                "service.namespace": "swarmbench",
                "service.name": service,
                "service.instance.id": instance,
                "service.version": version,
            }
        )
        self._trace = trace
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(_exporter(), schedule_delay_millis=1000))
        self._tracer = self._provider.get_tracer("swarmbench", version)
        self._propagator = TraceContextTextMapPropagator()

    @contextlib.contextmanager
    def span(
        self,
        name: str,
        parent: str,
        *,
        kind: str = "consumer",
        links: Sequence[str] = (),
        attributes: Attributes | None = None,
    ) -> Iterator[Span]:
        context = self._propagator.extract({"traceparent": parent})
        otel_links = [
            self._trace.Link(
                self._trace.get_current_span(
                    self._propagator.extract({"traceparent": link})
                ).get_span_context()
            )
            for link in links
        ]
        with self._tracer.start_as_current_span(
            name,
            context=context,
            kind=self._trace.SpanKind[kind.upper()],
            links=otel_links,
            attributes=dict(attributes or {}),
        ) as otel:
            found = otel.get_span_context()
            flags = "01" if found.trace_flags.sampled else "00"
            yield Span(f"00-{found.trace_id:032x}-{found.span_id:016x}-{flags}", otel)

    def close(self) -> None:
        self._provider.shutdown()


def _exporter() -> Any:
    """Return the exporter that ``OTEL_EXPORTER_OTLP_PROTOCOL`` names (default ``http/protobuf``)."""
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get(
        "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"
    )
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - extra

        return OTLPSpanExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter as HttpExporter,
    )

    return HttpExporter()


def tracer_for(service: str, instance: str, version: str) -> Tracer:
    """Return the tracer that the environment asks for (OpenTelemetry environment variables)."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or not (
        os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    ):
        return LogTracer()
    return OtelTracer(service, instance, version)


def root(trace_id: str) -> str:
    """Return the traceparent that begins a trace."""
    return f"00-{trace_id}-{new_span_id()}-01"


def child_of(parent: str) -> str:
    """Return a traceparent with the parent's trace and a new span id; a parent that is none begins a trace."""
    if len(parent) != _LENGTH:
        return root(secrets.token_hex(16))
    return f"{parent[:36]}{new_span_id()}{parent[52:]}"


def is_traceparent(text: str) -> bool:
    """Say whether ``text`` is a W3C traceparent, version 00, that names a trace (Trace Context, section 3.2)."""
    return _TRACEPARENT.fullmatch(text) is not None


def messaging(
    operation: str, destination: str, message_id: str = "", group: str = ""
) -> dict[str, str | int]:
    """Return the attributes of a messaging span; ``destination`` is a template with few values."""
    kinds = {"send": "send", "process": "process", "receive": "receive"}
    attributes: dict[str, str | int] = {
        "messaging.system": "nats",
        "messaging.operation.name": operation,
        "messaging.operation.type": kinds.get(operation, operation),
        "messaging.destination.template": destination,
        "messaging.destination.name": destination,
    }
    if message_id:
        attributes["messaging.message.id"] = message_id
    if group:
        attributes["messaging.consumer.group.name"] = group
    return attributes
