"""Exported logs: JSON Lines of CloudEvents, the very bytes of the log, and back.

What an event references by claim check stands before it as an event ``swarm.blob`` with ``data_base64`` (CloudEvents
JSON format, section 3.1.1), and so does a file of the user's before the start of the run that works on it. The last
line, ``swarm.manifest``, holds a checksum a line, so that an altered line is named. Events of several runs may stand in
one file, in the order of the log.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from swarm_common import clock
from swarm_common.errors import InvalidEvent, NotFound
from swarm_common.events.envelope import SPEC_VERSION, Event, decode, encode, with_data
from swarm_common.log.blobs import reference

BLOB = "swarm.blob"
MANIFEST = "swarm.manifest"
_CHECK = 16


class Line(msgspec.Struct, frozen=True):
    """One line of a file: an event, or a blob that later events refer to."""

    number: int
    event: Event | None
    blob: bytes = b""


class Problem(msgspec.Struct, frozen=True):
    """A line that is not as it was written."""

    line: int
    what: str
    event_id: str = ""


class _Head(msgspec.Struct):
    type: str = ""
    id: str = ""
    data_base64: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")


class _Manifest(msgspec.Struct):
    lines: list[str]
    sha256: str


_head = msgspec.json.Decoder(_Head)


class Writer:
    """Writes an export line by line; :meth:`close` adds the manifest."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._checks: list[str] = []
        self._whole = hashlib.sha256()
        self._blobs: set[str] = set()
        self.events = 0

    def add(self, event: Event, blob: bytes = b"") -> None:
        """Write an event; ``blob`` holds the data of a claim-checked one."""
        if event.dataref:
            self.add_blob(event.dataref, blob, "application/json")
        self.events += 1
        self._line(encode(event))

    def add_blob(self, ref: str, data: bytes, content_type: str = "application/octet-stream") -> None:
        """Write bytes that events refer to, once however often they do."""
        if ref in self._blobs:
            return
        self._blobs.add(ref)
        self._line(
            msgspec.json.encode(
                {
                    "specversion": SPEC_VERSION,
                    "id": ref,
                    "source": "/swarm/blobs",
                    "type": BLOB,
                    "datacontenttype": content_type,
                    "data_base64": base64.b64encode(data).decode(),
                }
            )
        )

    def close(self) -> None:
        """Write the manifest."""
        body = {
            "specversion": SPEC_VERSION,
            "id": f"sha256:{self._whole.hexdigest()}",
            "source": "/swarm/export",
            "type": MANIFEST,
            "time": clock.format_ns(clock.now_ns()),
            "data": {"lines": self._checks, "sha256": self._whole.hexdigest()},
        }
        self._stream.write(msgspec.json.encode(body) + b"\n")

    def _line(self, raw: bytes) -> None:
        if b"\n" in raw or b"\r" in raw:
            raw = msgspec.json.format(raw, indent=-1)
        self._checks.append(_check(raw))
        self._whole.update(raw + b"\n")
        self._stream.write(raw + b"\n")


def write_events(path: Path, events: Iterable[Event]) -> int:
    """Write events (with their data at hand) to a file and return how many there were."""
    with path.open("wb") as stream:
        writer = Writer(stream)
        for event in events:
            writer.add(event, msgspec.json.encode(event.data) if event.dataref else b"")
        writer.close()
        return writer.events


def read_lines(path: Path) -> Iterator[Line]:
    """Yield the lines of a file but its manifest.

    Raises :class:`InvalidEvent` naming the line that is no event, :class:`NotFound` where there is no such file.
    """
    blobs: dict[str, bytes] = {}
    for number, raw in _raw_lines(path):
        head = _read_head(raw, number)
        if head.type == MANIFEST:
            continue
        if head.type == BLOB:
            blob = _decode_base64(head.data_base64)
            if reference(blob) != head.id:
                raise InvalidEvent(
                    f"line {number}: the blob's bytes are not those of {head.id}", field="data_base64"
                )
            blobs[head.id] = blob
            yield Line(number, None, blob)
            continue
        try:
            event = decode(raw, number)
            if event.data is None:
                if event.dataref not in blobs:
                    raise InvalidEvent(
                        f"the blob {event.dataref} is not in the file before it", field="dataref"
                    )
                event = with_data(event, blobs[event.dataref])
        except InvalidEvent as error:
            raise InvalidEvent(
                f"{path.name}, line {number}: {error}", field=error.field, given=error.given
            ) from error
        yield Line(number, event)


def read_events(path: Path) -> Iterator[Event]:
    """Yield the events of a file with their data; ``seq`` is the line."""
    for line in read_lines(path):
        if line.event is not None:
            yield line.event


def check(path: Path) -> list[Problem]:
    """Hold a file against its manifest; returns the lines that differ, or one problem of line 0 where there is none."""
    raws = list(_raw_lines(path))
    manifest = _manifest(raws)
    if manifest is None:
        return [
            Problem(
                0, "the file has no manifest as its last line: it was cut, or not written by `swarm export`"
            )
        ]
    lines = raws[:-1]
    found = list(_differences(lines, manifest.lines))
    whole = hashlib.sha256(b"".join(raw + b"\n" for _, raw in lines)).hexdigest()
    if not found and whole != manifest.sha256:
        found.append(Problem(0, "the lines do not add up to what was exported"))
    return found


def _differences(lines: list[tuple[int, bytes]], expected: list[str]) -> Iterator[Problem]:
    """Yield what was altered, added or taken away, by walking both sides together."""
    here = [_check(raw) for _, raw in lines]
    at_here, at_expected = _places(here), _places(expected)
    i = j = 0
    while i < len(here) or j < len(expected):
        if i < len(here) and j < len(expected) and here[i] == expected[j]:
            i, j = i + 1, j + 1
            continue
        later_here = _first_from(at_here, expected[j], i) if j < len(expected) else None
        later_expected = _first_from(at_expected, here[i], j) if i < len(here) else None
        if later_here is None and later_expected is None and i < len(here) and j < len(expected):
            yield Problem(lines[i][0], "differs from what was exported", _id_of(lines[i][1]))
            i, j = i + 1, j + 1
        elif j == len(expected) or later_here is not None:
            for number, raw in lines[i : later_here if later_here is not None else len(here)]:
                yield Problem(number, "was not exported", _id_of(raw))
            i = later_here if later_here is not None else len(here)
        else:
            end = later_expected if later_expected is not None else len(expected)
            number = lines[i][0] if i < len(here) else lines[-1][0] + 1 if lines else 1
            yield Problem(number, f"{end - j} exported before it {'is' if end - j == 1 else 'are'} missing")
            j = end


def _places(checks: list[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for place, one in enumerate(checks):
        found.setdefault(one, []).append(place)
    return found


def _first_from(places: dict[str, list[int]], one: str, start: int) -> int | None:
    return next((place for place in places.get(one, ()) if place >= start), None)


def _manifest(raws: list[tuple[int, bytes]]) -> _Manifest | None:
    if not raws:
        return None
    try:
        head = _head.decode(raws[-1][1])
        return msgspec.json.decode(head.data, type=_Manifest) if head.type == MANIFEST else None
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None


def _raw_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        stream = path.open("rb")
    except OSError as error:
        raise NotFound(f"{path}: {error.strerror}") from error
    with stream:
        for number, raw in enumerate(stream, 1):
            if raw.strip():
                yield number, raw.rstrip(b"\r\n")


def _read_head(raw: bytes, number: int) -> _Head:
    try:
        return _head.decode(raw)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidEvent(f"line {number} is no JSON object: {error}", field="event") from error


def _decode_base64(text: str) -> bytes:
    """Return the bytes; none where the text is no base64, which fits no reference."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""


def _id_of(raw: bytes) -> str:
    try:
        return _head.decode(raw).id
    except (msgspec.DecodeError, ValueError, RecursionError):
        return ""


def _check(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:_CHECK]


def chain(previous: str, raw: bytes) -> str:
    """Return the next link of a run's chain: sha256 over the link before and the event's bytes, in hexadecimal."""
    return hashlib.sha256(previous.encode() + raw).hexdigest()
