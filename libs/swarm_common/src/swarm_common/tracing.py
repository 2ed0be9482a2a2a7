"""One run, one trace: context through headers and envelopes; spans to OTLP only where an endpoint is set.

A real OpenTelemetry span costs tens of microseconds and makes sense only where somebody collects it. Without
``OTEL_EXPORTER_OTLP_ENDPOINT`` a span is its id, so that contexts still chain and ``swarm trace`` still finds, in the
log, who caused what and how long it took. Names and attributes follow the OpenTelemetry semantic conventions for
messaging (status Development, 2026-08): ``send <destination>``, ``process <destination>``. A collector that cannot be
reached costs a run nothing: spans wait in a bounded queue, are sent from a thread, and one line in the log says so.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from swarm_common.ids import new_span_id

if TYPE_CHECKING:
    from swarm_common.events import Data

log = structlog.get_logger(__name__)

#: Spans that wait to be sent; what does not fit is dropped, and said. A busy second of a service has a few thousand.
QUEUE = 8192
_EVERY_MS = 1000
#: How long a process that stops waits until its last spans are sent; less where the last ones were not.
FLUSH_S = 3.0
_FLUSH_IN_TROUBLE_S = 0.2
_SAY_AGAIN_S = 60.0

Attribute = str | int | float | bool | Sequence[str]
Attributes = Mapping[str, Attribute]
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
        self.tell({name.replace("__", "."): value for name, value in attributes.items()})

    def tell(self, attributes: Attributes) -> None:
        """Add attributes by their names."""
        if self._otel is not None:
            for name, value in attributes.items():
                self._otel.set_attribute(name, value)

    def error(self, error: BaseException) -> None:
        """Mark the span as failed."""
        if self._otel is not None:
            from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415 - only where spans are collected

            self._otel.set_attribute("error.type", type(error).__name__)
            self._otel.set_status(Status(StatusCode.ERROR, str(error)))


class Tracer(Protocol):
    """What makes spans."""

    exports: bool
    """Whether anybody collects them."""

    def span(
        self,
        name: str,
        parent: str,
        *,
        kind: str = "consumer",
        links: Sequence[str] = (),
        attributes: Attributes | None = None,
    ) -> contextlib.AbstractContextManager[Span]:
        """Return a span as a context manager. ``parent`` and ``links`` are traceparents; kind is OpenTelemetry's.

        An empty ``parent`` is the span at hand.
        """

    def past(
        self,
        name: str,
        parent: str,
        began_ns: int,
        ended_ns: int,
        *,
        kind: str = "internal",
        attributes: Attributes | None = None,
    ) -> str:
        """Record a span of something that is over, and return its traceparent, for spans below it.

        ``parent`` is a traceparent; empty: the span at hand. Times are nanoseconds of the wall clock.
        """

    def send(self, data: Sequence[Data], cause: Span) -> contextlib.AbstractContextManager[Span]:
        """Return the span of appending events, which the events carry; without a collector, that of their cause."""

    def close(self) -> None:
        """Flush what is collected."""


class LogTracer:
    """Spans that are ids: nothing is exported."""

    exports = False

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

    def past(
        self,
        name: str,  # noqa: ARG002 - the protocol's
        parent: str,
        began_ns: int,  # noqa: ARG002
        ended_ns: int,  # noqa: ARG002
        *,
        kind: str = "internal",  # noqa: ARG002
        attributes: Attributes | None = None,  # noqa: ARG002
    ) -> str:
        return child_of(parent)

    def send(
        self,
        data: Sequence[Data],  # noqa: ARG002 - the protocol's
        cause: Span,
    ) -> contextlib.AbstractContextManager[Span]:
        return contextlib.nullcontext(cause)

    def close(self) -> None:
        """Nothing to flush."""


class OtelTracer:
    """Spans of the OpenTelemetry SDK, sent in batches over OTLP."""

    exports = True

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
        self._exporter = _Exporter(_exporter())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(
            BatchSpanProcessor(
                self._exporter,  # type: ignore[arg-type]  # it has all that is called
                max_queue_size=int(os.environ.get("OTEL_BSP_MAX_QUEUE_SIZE") or QUEUE),
                schedule_delay_millis=_EVERY_MS,
            )
        )
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
        context = self._propagator.extract({"traceparent": parent}) if parent else None
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
            yield Span(_traceparent(otel), otel)

    def past(
        self,
        name: str,
        parent: str,
        began_ns: int,
        ended_ns: int,
        *,
        kind: str = "internal",
        attributes: Attributes | None = None,
    ) -> str:
        otel = self._tracer.start_span(
            name,
            context=self._propagator.extract({"traceparent": parent}) if parent else None,
            kind=self._trace.SpanKind[kind.upper()],
            attributes=dict(attributes or {}),
            start_time=began_ns,
        )
        otel.end(ended_ns)
        return _traceparent(otel)

    def send(self, data: Sequence[Data], cause: Span) -> contextlib.AbstractContextManager[Span]:
        types = {item.type for item in data}
        context = data[0].type.partition(".")[0]
        destination = f"swarm.{data[0].type if len(types) == 1 else context}"
        attributes = messaging("send", destination)
        if len(data) > 1:
            attributes["messaging.batch.message_count"] = len(data)
        return self.span(f"send {destination}", cause.traceparent, kind="producer", attributes=attributes)

    @property
    def sent(self) -> int:
        """How many spans the collector took."""
        return self._exporter.sent

    def flush(self) -> None:
        """Send what waits now, and wait for it."""
        self._provider.force_flush()

    def close(self) -> None:
        """Send what waits, for a moment: nobody waits for a collector that does not answer."""
        sending = threading.Thread(target=self._provider.shutdown, name="last-spans", daemon=True)
        sending.start()
        sending.join(_FLUSH_IN_TROUBLE_S if self._exporter.in_trouble else FLUSH_S)
        if sending.is_alive():
            self._exporter.trouble(f"the collector did not take the last spans in {FLUSH_S} s")
        self._exporter.shutdown()


def _traceparent(otel: Any) -> str:
    found = otel.get_span_context()
    return f"00-{found.trace_id:032x}-{found.span_id:016x}-{'01' if found.trace_flags.sampled else '00'}"


class _Exporter(logging.Handler):
    """An exporter around the SDK's, whose many complaints become one line in the log when trouble begins or ends."""

    def __init__(self, exporter: Any) -> None:
        super().__init__(logging.WARNING)
        self.in_trouble = False
        self.sent = 0
        self._inner = exporter
        self._closed = False
        self._quiet_until = 0.0
        logger = logging.getLogger("opentelemetry")
        logger.addHandler(self)
        logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        """Take a complaint of the SDK or its exporter."""
        self.trouble(record.getMessage())

    def trouble(self, reason: str) -> None:
        """Say that spans are lost, unless that has just been said."""
        if self._closed:
            return
        begins = not self.in_trouble
        self.in_trouble = True
        if begins and time.monotonic() >= self._quiet_until:
            self._quiet_until = time.monotonic() + _SAY_AGAIN_S
            log.warning("traces_not_delivered", reason=reason, hint="runs go on without them")

    def export(self, spans: Sequence[Any]) -> Any:
        result = self._inner.export(spans)
        if result.name == "SUCCESS":
            self.sent += len(spans)
            if self.in_trouble:
                self.in_trouble = False
                log.info("traces_delivered_again")
        return result

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return bool(self._inner.force_flush(timeout_millis))

    def shutdown(self) -> None:
        """End the exporter, also in the middle of its attempts; what it says about that is heard and not repeated."""
        if not self._closed:
            self._closed = True
            self._inner.shutdown()


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
