"""Servers on the loopback that speak the documented protocols of OpenAI and Anthropic, their failures included."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple


class Asked(NamedTuple):
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class Reply(NamedTuple):
    """What is sent back; ``cut`` sends only so many bytes of the body it promised, and hangs up."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = {}
    cut: int | None = None
    never: bool = False
    """Nothing is ever sent."""


Script = Callable[[int, Asked], Reply]
"""What to reply to the n-th request, from 0."""


class Endpoint:
    """A server's address, and what it was asked."""

    def __init__(self, url: str, script: Script) -> None:
        self.url = url
        self.script = script
        self.asked: list[Asked] = []


@asynccontextmanager
async def serving(script: Script) -> AsyncIterator[Endpoint]:
    """Serve on a free port until the block ends."""
    writers: set[asyncio.StreamWriter] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        try:
            while await one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # whoever asked has gone
        finally:
            writers.discard(writer)
            writer.close()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])
        }
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        asked = Asked(head[0].split()[1], headers, json.loads(body))
        endpoint.asked.append(asked)
        reply = endpoint.script(len(endpoint.asked) - 1, asked)
        if reply.never:
            await reader.read()
            return False
        lines = {"content-type": "application/json", "content-length": str(len(reply.body)), **reply.headers}
        writer.write(f"HTTP/1.1 {reply.status} said\r\n".encode())
        writer.write("".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode() + b"\r\n")
        writer.write(reply.body[: reply.cut])
        await writer.drain()
        return reply.cut is None

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    endpoint = Endpoint(f"http://127.0.0.1:{port}", script)
    try:
        yield endpoint
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await server.wait_closed()


def as_json(body: Any, **more: Any) -> Reply:
    """Return a reply of JSON."""
    return Reply(json.dumps(body).encode(), **more)


def completion(
    text: str | None, *, finish: str = "stop", usage: Mapping[str, Any] | None = None, **message: Any
) -> Reply:
    """Return a chat completion of OpenAI's protocol."""
    said = {"role": "assistant", "content": text, **message}
    counted = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120} if usage is None else usage
    choice = {"index": 0, "finish_reason": finish, "message": said, "logprobs": None}
    return as_json(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "m-1-dated",
            "choices": [choice],
            "usage": counted,
        }
    )


def wants(tool: str, **arguments: str) -> Reply:
    """Return a chat completion that asks for a tool."""
    function = {"name": tool, "arguments": json.dumps(arguments)}
    called = {"id": "c", "type": "function", "function": function}
    return completion(None, finish="tool_calls", tool_calls=[called])


def message(
    *content: Mapping[str, Any], stop: str = "end_turn", usage: Mapping[str, Any] | None = None
) -> Reply:
    """Return a message of Anthropic's protocol."""
    counted = {"input_tokens": 100, "output_tokens": 20} if usage is None else usage
    return as_json(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "m-1-dated",
            "content": list(content),
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": counted,
        }
    )
