"""Core NATS for protocol messages: bytes in, a call; one write for all that is to be sent.

nats-py hands each message from a reading task over a queue to a task of its subscription, which is what a program wants
that does long things with messages. Here a message takes microseconds to handle, and that way would be most of what is
measured (``bench/live.py`` prints the round of all agents, which is made of nothing else). So this speaks the little of
the client protocol (docs.nats.io, *NATS Client Protocol*) that is needed: CONNECT, SUB, PUB, MSG, PING, -ERR.

It does not reconnect: who loses the broker in the middle of a measurement has nothing to go on with.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from swarm_common.errors import BrokerUnavailable

Deliver = Callable[[int, bytes, bytes], None]
"""Called with the subscription's number, the subject and the payload."""

_END = b"\r\n"


class Wire(asyncio.Protocol):
    """A connection. Give it ``deliver``; ``settle`` is called when all that one read brought has been delivered."""

    def __init__(
        self, deliver: Deliver, settle: Callable[[], None], lost: Callable[[str], None], *, echo: bool = True
    ) -> None:
        self._deliver = deliver
        self._settle = settle
        self._lost = lost
        self._echo = echo
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._out: list[bytes] = []
        self._pongs: list[asyncio.Future[None]] = []
        self._greeted: asyncio.Future[dict[str, object]] | None = None
        self._refused = ""
        self._closing = False

    async def connect(self, url: str, *, name: str, timeout_s: float = 5.0) -> None:
        """Connect as the user that the URL names.

        Raises:
            BrokerUnavailable: Nobody answers there, or not to this user.
        """
        where = urlsplit(url if "://" in url else f"nats://{url}")
        host, port = where.hostname or "127.0.0.1", where.port or 4222
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_s):
                self._greeted = loop.create_future()
                transport, _ = await loop.create_connection(lambda: self, host, port)
                info = await self._greeted
                if info.get("tls_required") or where.scheme == "tls":
                    transport = await loop.start_tls(  # type: ignore[assignment]
                        transport, self, ssl.create_default_context(), server_hostname=host
                    )
                self._transport = transport
                who: dict[str, object] = {}
                if where.password is not None:
                    who = {"user": where.username, "pass": where.password}
                elif where.username:
                    who = {"auth_token": where.username}
                options = {
                    "verbose": False,
                    "pedantic": False,
                    "name": name,
                    "echo": self._echo,
                    "protocol": 1,
                }
                options |= {"lang": "python", "version": "0", "headers": False, "no_responders": False}
                transport.write(b"CONNECT " + json.dumps(options | who).encode() + _END)
                await self.flushed()
        except (OSError, TimeoutError) as error:
            raise BrokerUnavailable(
                f"no broker answers at {host}:{port}: {error or 'no answer in time'}"
            ) from error

    def subscribe(self, sid: int, subject: str) -> None:
        """Have what is published to ``subject`` delivered under the number ``sid``."""
        self._out.append(b"SUB %b %d\r\n" % (subject.encode(), sid))

    def send(self, subject: bytes, payload: bytes) -> None:
        """Publish with the next :meth:`flush`."""
        self._out.append(b"PUB %b %d\r\n%b\r\n" % (subject, len(payload), payload))

    def flush(self) -> None:
        """Write everything that waits, at once."""
        out = self._out
        if out and self._transport is not None:
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))
            out.clear()

    async def flushed(self) -> None:
        """Return when the broker has taken everything that was sent.

        Raises:
            BrokerUnavailable: It hung up, or refused.
        """
        pong: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pongs.append(pong)
        self._out.append(b"PING\r\n")
        self.flush()
        await pong

    def close(self) -> None:
        """Hang up; what was written is still sent."""
        self._closing = True
        if self._transport is not None:
            with contextlib.suppress(RuntimeError):
                self.flush()
            self._transport.close()

    # --- what asyncio calls -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, which :meth:`connect` gets anyway; with TLS it comes twice."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        reason = self._refused or str(exc or "the broker hung up, as it does on who reads too slowly")
        waiting: list[asyncio.Future[Any]] = [*self._pongs]
        if self._greeted is not None:
            waiting.append(self._greeted)
        for future in waiting:
            if not future.done():
                future.set_exception(BrokerUnavailable(reason))
        self._pongs.clear()
        if not self._closing:
            self._lost(reason)

    def data_received(self, data: bytes) -> None:
        """Deliver every whole message among the bytes; keep the rest."""
        if self._rest:
            data = self._rest + data
        at, end, find, deliver = 0, len(data), data.find, self._deliver
        while at < end:
            line = find(_END, at)
            if line < 0:
                break
            if data.startswith(b"MSG ", at):
                fields = data[at + 4 : line].split(b" ")
                begin = line + 2
                stop = begin + int(fields[-1])
                if stop + 2 > end:
                    break
                deliver(int(fields[1]), fields[0], data[begin:stop])
                at = stop + 2
            else:
                self._said(data[at:line])
                at = line + 2
        self._rest = data[at:]
        self._settle()

    def _said(self, line: bytes) -> None:
        if line.startswith(b"PING"):
            self._out.append(b"PONG\r\n")
            self.flush()
        elif line.startswith(b"PONG"):
            pong = self._pongs.pop(0)
            if not pong.done():
                pong.set_result(None)
        elif line.startswith(b"INFO "):
            if self._greeted is not None and not self._greeted.done():
                self._greeted.set_result(json.loads(line[5:]))
        elif line.startswith(b"-ERR"):
            # It says who may not publish where, and then goes on as if nothing were: for us that is the end.
            self._refused = f"the broker refuses: {line[5:].decode('utf-8', 'replace').strip()}"
            if self._transport is not None:
                self._transport.close()
