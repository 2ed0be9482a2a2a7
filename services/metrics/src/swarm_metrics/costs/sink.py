"""A collector of traces that takes everything and keeps nothing: what is left is what exporting costs the sender."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

_TAKEN = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"
_NAME = b"content-length:"


@contextlib.asynccontextmanager
async def sink() -> AsyncIterator[str]:
    """Take OTLP over HTTP on a free port of 127.0.0.1; give the endpoint's address."""
    server = await asyncio.start_server(_take, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def _take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, ValueError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(_NAME)]
            await reader.readexactly(int(lengths[0][len(_NAME) :]) if lengths else 0)
            writer.write(_TAKEN)
            await writer.drain()
    writer.close()
