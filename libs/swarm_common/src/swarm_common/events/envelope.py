"""The envelope: one CloudEvents 1.0 object in structured mode (CloudEvents JSON format 1.0.2, section 3).

``Event.raw`` keeps the very bytes: what is exported is what was stored, fields unknown to this version included.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from swarm_common import clock
from swarm_common.errors import InvalidEvent
from swarm_common.events.registry import Data, decode_data
from swarm_common.ids import derive

SPEC_VERSION = "1.0"
CONTENT_TYPE = "application/cloudevents+json"
SCHEMA = "urn:swarm:"
_MAX_INT = 2**31 - 1
_VERSION = re.compile("[1-9][0-9]{0,8}")

#: Left out when written: a default is known by its identity, another empty ``Raw`` would stand as ``"data":``.
_NO_DATA = msgspec.Raw(b"")


class _Wire(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The attributes in the order in which they are written; names are CloudEvents': lower case and digits."""

    specversion: str
    id: str
    source: str
    type: str
    subject: str = ""
    time: str = ""
    dataschema: str = ""
    correlationid: str = ""
    causationid: str = ""
    traceparent: str = ""
    tracestate: str = ""
    durationus: int | None = None
    dataref: str = ""
    data: msgspec.Raw = _NO_DATA


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An immutable fact: CloudEvents attributes, typed data, and where it was read."""

    id: str
    source: str
    """``/swarm/<service>/<instance>``."""
    type: str
    run: str
    """CloudEvents ``subject``."""
    time: str
    """RFC 3339 with microseconds; the wall clock of the writer."""
    version: int
    data: Data | None
    """``None`` only while a claim-checked event's data have not been fetched; see ``dataref``."""
    correlation: str = ""
    """Id of the request that led to the run."""
    causation: str = ""
    """Id of the event that this one answers."""
    traceparent: str = ""
    tracestate: str = ""
    duration_us: int | None = None
    """From taking up the cause to having this event ready, by the writer's monotonic clock."""
    dataref: str = ""
    """``sha256:<hex>`` where the data lie in the object store (CloudEvents extension *dataref*)."""
    raw: bytes = b""
    """The bytes as stored; empty until encoded."""
    seq: int = 0
    """Position in the log (or line in a file) it was read from; 0 for a new event."""

    @property
    def trace_id(self) -> str:
        return self.traceparent[3:35]

    @property
    def span_id(self) -> str:
        return self.traceparent[36:52]


_encoder = msgspec.json.Encoder()
_wire_decoder = msgspec.json.Decoder(_Wire)


def new_event(
    data: Data,
    *,
    run: str,
    source: str,
    cause: str,
    handler: str,
    index: int | str = 0,
    correlation: str = "",
    traceparent: str = "",
    tracestate: str = "",
    duration_us: int | None = None,
    time_ns: int | None = None,
) -> Event:
    """Return a new event. Its id is derived from cause, handler and index, so writing it twice writes it once."""
    return Event(
        id=derive(cause, handler, index),
        source=source,
        type=data.type,
        run=run,
        time=clock.format_ns(clock.now_ns() if time_ns is None else time_ns),
        version=data.version,
        data=data,
        correlation=correlation,
        causation=cause,
        traceparent=traceparent,
        tracestate=tracestate,
        duration_us=duration_us,
    )


def encode(event: Event) -> bytes:
    """Return the event's bytes: those it was read from, or JSON of a new one."""
    return event.raw or encode_wire(event, _encoder.encode(event.data))


def encode_wire(event: Event, data: bytes, dataref: str = "") -> bytes:
    """Return JSON of the attributes with ``data`` as given, or with a reference in its place."""
    return _encoder.encode(
        _Wire(
            specversion=SPEC_VERSION,
            id=event.id,
            source=event.source,
            type=event.type,
            subject=event.run,
            time=event.time,
            dataschema=f"{SCHEMA}{event.type}:{event.version}",
            correlationid=event.correlation,
            causationid=event.causation,
            traceparent=event.traceparent,
            tracestate=event.tracestate,
            durationus=None if event.duration_us is None else min(event.duration_us, _MAX_INT),
            dataref=dataref,
            data=msgspec.Raw(data) if data else _NO_DATA,
        )
    )


def decode(raw: bytes, seq: int = 0) -> Event:
    """Read an event; raises :class:`InvalidEvent` for bytes that are none, or data that break their schema."""
    try:
        wire = _wire_decoder.decode(raw)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidEvent(
            f"not a CloudEvents JSON object: {error}", field="event", given=_excerpt(raw)
        ) from error
    for name in ("id", "source", "type"):
        if not getattr(wire, name):
            raise InvalidEvent(f"CloudEvents attribute {name} is empty", field=name)
    if wire.specversion != SPEC_VERSION:
        raise InvalidEvent(
            f"CloudEvents specversion {wire.specversion!r}; {SPEC_VERSION} is read here",
            field="specversion",
            given=wire.specversion,
            allowed=SPEC_VERSION,
        )
    version = _version(wire)
    waiting = bool(wire.dataref) and not bytes(wire.data)
    return Event(
        id=wire.id,
        source=wire.source,
        type=wire.type,
        run=wire.subject,
        time=wire.time,
        version=version,
        data=None if waiting else decode_data(wire.type, version, wire.data),
        correlation=wire.correlationid,
        causation=wire.causationid,
        traceparent=wire.traceparent,
        tracestate=wire.tracestate,
        duration_us=wire.durationus,
        dataref=wire.dataref,
        raw=raw,
        seq=seq,
    )


def with_data(event: Event, data: bytes) -> Event:
    """Return a claim-checked event with its data, fetched from where ``dataref`` points."""
    return msgspec.structs.replace(event, data=decode_data(event.type, event.version, data))


def plain(event: Event) -> dict[str, Any]:
    """Return the event as a plain JSON object, for people and programs."""
    value: dict[str, Any] = msgspec.json.decode(encode(event))
    return value


def _version(wire: _Wire) -> int:
    """Return the version that ``dataschema`` names; an event without one is of version 1."""
    prefix = f"{SCHEMA}{wire.type}:"
    if not wire.dataschema:
        return 1
    digits = wire.dataschema.removeprefix(prefix)
    if not wire.dataschema.startswith(prefix) or not _VERSION.fullmatch(digits):
        raise InvalidEvent(
            f"dataschema {wire.dataschema!r} does not fit type {wire.type!r}; expected {prefix}<version>",
            field="dataschema",
            given=wire.dataschema,
        )
    return int(digits)


def _excerpt(raw: bytes, length: int = 80) -> str:
    text = raw[:length].decode("utf-8", "replace")
    return text + ("..." if len(raw) > length else "")
