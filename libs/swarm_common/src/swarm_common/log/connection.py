"""nats-py's client with headers that are read when somebody looks at them.

``DIRECT.GET`` answers carry about ten headers of which one or two matter; parsing all of them was the largest part of
reading a run (``bench/replay.py`` prints what reading costs).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nats.aio.client import Client as NatsClient

_LINE_END = b"\r\n"
_VERSION = b"NATS/1.0\r\n"


class Headers(Mapping[str, str]):
    """The headers of a message. One is found by a search in the bytes; all are parsed, once, when that is asked for."""

    __slots__ = ("_parsed", "_raw")

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._parsed: dict[str, str] | None = None

    def __getitem__(self, name: str) -> str:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __bool__(self) -> bool:
        return True

    def __contains__(self, name: object) -> bool:
        # Most messages have none of what is looked for, and the bytes say so at once.
        return isinstance(name, str) and name.encode() in self._raw and name in self._all()

    def peek(self, name: bytes) -> str:
        """Return a header that the broker wrote as ``Name: value``, the last one of that name; empty if there is none.

        The last: a stored message may carry headers of an earlier read (nats-server issue 4573).
        """
        start = self._raw.rfind(b"\n" + name + b": ")
        if start < 0:
            return ""
        start += len(name) + 3
        return self._raw[start : self._raw.find(_LINE_END, start)].decode("utf-8", "replace")

    def _all(self) -> dict[str, str]:
        if self._parsed is None:
            self._parsed = NatsClient._parse_header_lines(self._raw[len(_VERSION) :])  # noqa: SLF001 - the parser itself
        return self._parsed


class Connection(NatsClient):
    """A client with lazy headers; everything else is nats-py's."""

    async def send(self, subject: str, body: bytes, headers: Mapping[str, str], reply: str = "") -> None:
        """Publish with headers as they are: plain ASCII. What cannot go so goes nats-py's way."""
        block = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        if not self.is_connected or not block.isascii() or block.count("\n") != len(headers):
            await self.publish(subject, body, reply=reply, headers=dict(headers))
            return
        size = len(block) + len(_VERSION) + len(_LINE_END)
        command = f"HPUB {subject} {reply} {size} {size + len(body)}\r\nNATS/1.0\r\n{block}\r\n"
        await self._send_command(b"".join((command.encode(), body, _LINE_END)))
        if self._flush_queue is not None and self._flush_queue.empty():
            await self._flush_pending()

    async def _process_headers(self, headers: bytes) -> Mapping[str, str] | None:  # type: ignore[override]
        """Return the headers of a message, lazily, or of a status line, at once."""
        if headers and headers.startswith(_VERSION):
            return Headers(bytes(headers))
        found: Mapping[str, str] | None = await super()._process_headers(headers)
        return found
