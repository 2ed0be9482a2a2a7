"""A server on the loopback that speaks as much of OpenAI's chat completions as we ask for."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Asked(NamedTuple):
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class Reply(NamedTuple):
    """What is sent back: bytes as they are, anything else as JSON."""

    status: int
    body: Any


Answer = Callable[[Asked], Reply]


class Chat:
    """The server's address, what it was asked, and how it answers from now on."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[Asked] = []
        self.redirect = ""
        """Where each answer points to."""
        self.answer: Answer = lambda _: Reply(500, {"error": {"message": "nothing to say"}})
        self.closing = threading.Event()
        """Set when the test is over: an answer that never comes waits for it."""


@contextmanager
def serve() -> Iterator[Chat]:
    """Serve on a free port until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply({})

        def do_POST(self) -> None:
            self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _reply(self, body: dict[str, Any]) -> None:
            asked = Asked(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            chat.asked.append(asked)
            status, found = chat.answer(asked)
            raw = found if isinstance(found, bytes) else json.dumps(found).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                if chat.redirect:
                    self.send_header("Location", chat.redirect)
                self.end_headers()
                self.wfile.write(raw)
            except OSError:  # whoever asked has gone
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    chat = Chat(f"http://127.0.0.1:{server.server_address[1]}/v1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield chat
    finally:
        chat.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


def completion(content: str | None, *, usage: bool = True, model: str = "small-1") -> Reply:
    """Return a chat completion with this content."""
    said = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
    counted = {"usage": {"prompt_tokens": 90, "completion_tokens": 7, "total_tokens": 97}} if usage else {}
    return Reply(200, {"id": "c1", "object": "chat.completion", "model": model, "choices": [said], **counted})
