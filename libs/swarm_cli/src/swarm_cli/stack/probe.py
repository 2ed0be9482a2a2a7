"""Who is ready? Asked in NATS's own protocol, because importing a client takes as long as a service takes to start.

The protocol is text (docs.nats.io, "Client Protocol"); services answer ``$SRV.PING`` once they take work (NATS ADR-32).
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any, Self

import msgspec

_TICK_S = 0.02
_CONNECT = (
    b'CONNECT {"verbose":false,"pedantic":false,"name":"swarm-probe","lang":"python","version":"1"}\r\n'
)


class Probe:
    """A connection to a broker on this machine. Raises ``OSError`` where none answers."""

    def __init__(self, port: int, timeout_s: float = 1.0) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self._buffer = b""
        try:
            self.info = self._greeting(port, time.monotonic() + timeout_s)
        except (OSError, msgspec.DecodeError):
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def ready(self, enough: Callable[[set[int]], bool], deadline: float) -> set[int]:
        """Ask for the pids of the services that take work, until there are enough or it is past ``deadline``."""
        found: set[int] = set()
        self._socket.sendall(_CONNECT + b"SUB _INBOX.probe 1\r\n")
        while not enough(found) and time.monotonic() < deadline:
            self._socket.sendall(b"PUB $SRV.PING _INBOX.probe 0\r\n\r\n")
            until = time.monotonic() + _TICK_S
            while (line := self._line(until)) is not None:
                if line == b"PING":
                    self._socket.sendall(b"PONG\r\n")
                elif line.startswith(b"{"):
                    found.add(_pid(line))
        return found

    def _greeting(self, port: int, until: float) -> dict[str, Any]:
        """Return what the server says of itself."""
        line = self._line(until)
        if line is None or not line.startswith(b"INFO "):
            raise OSError(f"what listens on port {port} is no NATS server")
        found: dict[str, Any] = msgspec.json.decode(line[5:])
        return found

    def _line(self, until: float) -> bytes | None:
        """Return the next line, or ``None`` where none is complete by then."""
        while b"\r\n" not in self._buffer:
            left = until - time.monotonic()
            if left <= 0:
                return None
            self._socket.settimeout(left)
            try:
                more = self._socket.recv(65536)
            except TimeoutError:
                return None
            if not more:
                raise ConnectionError("the broker closed the connection")
            self._buffer += more
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line


def _pid(line: bytes) -> int:
    try:
        return int(msgspec.json.decode(line).get("metadata", {}).get("pid", 0))
    except (msgspec.DecodeError, ValueError, AttributeError):
        return 0
