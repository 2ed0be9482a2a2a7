"""Headers: read lazily, and as nats-py reads them; written plainly where they are plain."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client as NatsClient

from swarm_common.log.connection import Connection, Headers

names = st.text("ABCabc-19", min_size=1, max_size=8)
values = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=12)
lines = st.tuples(names, st.sampled_from([": ", ":", ":  ", " : "]), values).map("".join).map(str.encode)
junk = st.binary(max_size=12).filter(lambda raw: b"\r\n" not in raw)


def block(parts: list[bytes]) -> bytes:
    return b"".join(part + b"\r\n" for part in [b"NATS/1.0", *parts, b""])


@given(st.lists(lines | junk, max_size=6))
def test_headers_are_read_as_nats_py_reads_them(parts: list[bytes]) -> None:
    raw = block(parts)
    theirs = NatsClient._parse_header_lines(raw[len(b"NATS/1.0\r\n") :])
    ours = Headers(raw)
    assert dict(ours) == theirs
    assert len(ours) == len(theirs)
    for name in theirs:
        assert name in ours
        assert ours[name] == ours.get(name) == theirs[name]


@given(st.lists(st.tuples(names, st.text("xyz 19:", max_size=8)), max_size=6), names)
def test_one_header_is_found_without_reading_the_others(pairs: list[tuple[str, str]], name: str) -> None:
    raw = block([f"{key}: {value}".encode() for key, value in pairs])
    last = dict(pairs).get(name, "")
    assert Headers(raw).peek(name.encode()) == last


def test_of_two_headers_of_a_name_the_last_counts() -> None:
    # A stored message may carry what an earlier read put there (nats-server issue 4573).
    headers = Headers(block([b"Nats-Sequence: 999", b"Nats-Sequence: 7"]))
    assert headers.peek(b"Nats-Sequence") == headers["Nats-Sequence"] == "7"


def test_what_is_not_there() -> None:
    headers = Headers(block([b"A: x-B: y"]))
    assert headers
    assert headers.peek(b"B") == ""
    assert "B" not in headers
    assert 5 not in headers
    assert headers.get("B", "other") == "other"
    with pytest.raises(KeyError):
        headers["B"]


class Wire(Connection):
    """A connection that keeps what it would have sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.published: list[dict[str, Any]] = []
        self._status = NatsClient.CONNECTED

    async def _send_command(self, cmd: bytes, priority: bool = False) -> None:  # noqa: ARG002 - nats-py's
        self.sent.append(cmd)

    async def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        self.published.append({"subject": subject, "payload": payload, "reply": reply, "headers": headers})


async def test_a_message_goes_out_with_its_lengths() -> None:
    wire = Wire()
    await wire.send("swarm.x", b"body", {"A": "1", "B": "2"}, "inbox.1")
    (command,) = wire.sent
    head, _, rest = command.partition(b"\r\n")
    verb, subject, reply, header_size, total = head.split(b" ")
    assert (verb, subject, reply) == (b"HPUB", b"swarm.x", b"inbox.1")
    assert rest[: int(header_size)] == b"NATS/1.0\r\nA: 1\r\nB: 2\r\n\r\n"
    assert rest[int(header_size) : int(total)] == b"body"
    assert rest[int(total) :] == b"\r\n"


@pytest.mark.parametrize("value", ["ä", "a\nb", "a\r\nEvil: 1"])
async def test_what_is_no_plain_line_goes_the_way_of_nats_py(value: str) -> None:
    wire = Wire()
    await wire.send("swarm.x", b"body", {"A": value})
    assert wire.sent == []
    assert wire.published == [
        {"subject": "swarm.x", "payload": b"body", "reply": "", "headers": {"A": value}}
    ]


async def test_a_connection_that_is_away_buffers_as_nats_py_does() -> None:
    wire = Wire()
    wire._status = NatsClient.RECONNECTING
    await wire.send("swarm.x", b"body", {"A": "1"})
    assert (wire.sent, len(wire.published)) == ([], 1)


async def test_status_lines_are_read_at_once() -> None:
    wire = Connection()
    found = await wire._process_headers(bytearray(b"NATS/1.0 404 No Messages\r\n\r\n"))
    assert found is not None
    assert (found["Status"], found["Description"]) == ("404", "No Messages")
    with_more = await wire._process_headers(
        b"NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 3\r\n\r\n"
    )
    assert with_more is not None
    assert (with_more["Status"], with_more["Nats-Pending-Messages"]) == ("408", "3")
    plain = await wire._process_headers(b"NATS/1.0\r\nA: b\r\n\r\n")
    assert isinstance(plain, Headers)
    assert await wire._process_headers(b"") is None
