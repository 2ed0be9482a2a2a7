"""What the dashboard answers: two pages and the view's queries as JSON. It reads and does nothing else.

The pages are one file of HTML, with its style and script inline and named in the Content-Security-Policy by their
hashes: nothing else is run, and nothing is fetched from elsewhere. The script writes texts as text nodes, so that what
stands in the log can never become markup.
"""

from __future__ import annotations

import base64
import hashlib
import html
import ipaddress
import os
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from swarm_common.errors import NotFound, SwarmError, UsageError
from swarm_metrics import queries, summaries
from swarm_metrics.schema import VERSION
from swarm_metrics.view import Query, state

Ask = Callable[[Query, Mapping[str, Any]], Awaitable[tuple[Any, int]]]
"""Answers a query of the view with all in it that has arrived, and says how many events it is behind the log."""

Scrape = Callable[[str], Awaitable[tuple[bytes, str]]]
"""Returns what Prometheus is told in the format that an ``Accept`` header asks for, and its content type."""

PATHS = (
    "/, /runs/<run>, /api/runs, /api/runs/<run>, /api/sessions, /api/metrics, /api/history, /api/samples, /api/summary,"
    " /metrics, /healthz"
)
#: Queries that are answered as they are under ``/api/``, and where in the answer their rows are.
_QUERIES: dict[str, tuple[Query, str]] = {
    "runs": (queries.runs, "runs"),
    "sessions": (queries.sessions, "sessions"),
    "metrics": (queries.metrics, "metrics"),
    "history": (queries.history, "history"),
    "samples": (queries.samples, "samples"),
    "summary": (summaries.summary, "summary"),
}
_HERE = Path(__file__).parent
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
_CSP = (
    "default-src 'none'; script-src '{script}'; style-src '{style}'; connect-src 'self'; img-src data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def application(ask: Ask, *, connected: Callable[[], bool], scrape: Scrape) -> ASGIApp:
    """Return the ASGI application over the view; ``connected`` says whether the log answers."""
    page, policy = assemble(os.environ.get("SWARM_JAEGER_URL", ""))
    pages = _HEADERS | {"Content-Security-Policy": policy}

    async def index(_request: Request) -> Response:
        return Response(page, media_type="text/html", headers=pages)

    async def run_page(request: Request) -> Response:
        name = request.path_params["run"]
        known, _ = await ask(lambda connection, _: queries.has_run(connection, name), {})
        return Response(page, 200 if known else 404, media_type="text/html", headers=pages)

    def listed(name: str) -> Callable[[Request], Awaitable[Response]]:
        query, rows = _QUERIES[name]

        async def answer(request: Request) -> Response:
            return await _answer(request, ask, query, _asked(request), rows)

        return answer

    async def run(request: Request) -> Response:
        _asked(request, known=())
        return await _answer(request, ask, queries.run, {"run": request.path_params["run"]})

    async def prometheus(request: Request) -> Response:
        body, content_type = await scrape(request.headers.get("accept", ""))
        return Response(body, headers=_HEADERS | {"Content-Type": content_type})

    async def healthz(_request: Request) -> Response:
        if not connected():
            return _json({"status": "the broker does not answer"}, 503)
        (_, position), behind = await ask(lambda connection, _: state(connection), {})
        return _json({"status": "ok", "position": position, "behind": behind})

    app = Starlette(
        routes=[
            Route("/", index),
            Route("/runs/{run}", run_page),
            *(Route(f"/api/{name}", listed(name)) for name in _QUERIES),
            Route("/api/runs/{run}", run),
            Route("/metrics", prometheus),
            Route("/healthz", healthz),
        ],
        exception_handlers={
            UsageError: _refused(400),
            NotFound: _refused(404),
            SwarmError: _refused(503),
            HTTPException: _no_such_page,
        },
    )
    app.router.redirect_slashes = False
    return Guard(app)


class Guard:
    """Refuses requests that name a host which could be anybody's.

    A page of a foreign site may have its own name point to this machine and then read what is served here (DNS
    rebinding). An address, ``localhost`` or a name without a dot belongs to no such site.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if scope["type"] == "http" and not _is_near(Request(scope).headers.get("host", "")):
            refusal = _json(
                {"error": "ask by address or as localhost: other names could be a foreign site's"}, 403
            )
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _is_near(host: str) -> bool:
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    name = name.strip("[]").lower().rstrip(".")
    if "." not in name and ":" not in name:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name.endswith(".localhost")
    return True


def assemble(traces: str = "") -> tuple[str, str]:
    """Return the page, self-contained, and its Content-Security-Policy.

    ``traces`` is where Jaeger is found; anything but an http address counts as none.
    """
    style, script = (_read(name) for name in ("page.css", "page.js"))
    where = traces.rstrip("/") if traces.startswith(("http://", "https://")) else ""
    page = _read("page.html").replace("{traces}", html.escape(where))
    page = page.replace("{style}", style).replace("{script}", script)
    return page, _CSP.format(style=_hash(style), script=_hash(script))


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _asked(request: Request, known: tuple[str, ...] | None = None) -> dict[str, Any]:
    """Return what a query string asks for; what there is to ask for, the queries know."""
    asked: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        if known is not None and name not in known:
            raise UsageError(f"unknown field {name!r}; there is none here", field=name, given=name)
        if name in asked:
            raise UsageError(f"{name} is given twice; once is allowed", field=name, given=value)
        asked[name] = _number(value) if name in {"limit", "quantiles"} else value
    return asked


def _number(value: str) -> Any:
    """Return the number or list of numbers that a text is, else the text, which the query then refuses."""
    try:
        return msgspec.json.decode(value, type=int | list[float])
    except msgspec.DecodeError:
        return value


async def _answer(
    request: Request, ask: Ask, query: Query, given: Mapping[str, Any], rows: str = ""
) -> Response:
    """Answer a query; where the view stands as it stood when the same was asked last, say that alone.

    Of an answer in pages, its ``rows`` are sent, and where the next page begins stands in a header.
    """
    known = request.headers.get("if-none-match")

    def tagged(connection: sqlite3.Connection, given: Mapping[str, Any]) -> tuple[str, Any]:
        name, position = state(connection)
        text = f"{VERSION} {name} {position} {request.url.path}?{request.url.query}"
        tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
        return tag, None if tag == known else query(connection, given)

    (tag, answer), behind = await ask(tagged, given)
    headers = {"ETag": tag, "X-Swarm-Behind": str(behind)}
    if answer is None:
        return Response(status_code=304, headers=_HEADERS | headers)
    if rows and answer.get("next"):
        headers["X-Swarm-Next"] = answer["next"]
    return _json(answer[rows] if rows else answer, headers=headers)


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        msgspec.json.encode(value),
        status,
        media_type="application/json",
        headers=_HEADERS | dict(headers or {}),
    )


def _refused(status: int) -> Callable[[Request, Exception], Response]:
    def refuse(_request: Request, error: Exception) -> Response:
        return _json({"error": str(error)}, status)

    return refuse


def _no_such_page(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    said = {
        404: f"there is no such page; there are {PATHS}",
        405: "the dashboard is read-only; GET is allowed",
    }
    headers = (error.headers if isinstance(error, HTTPException) else None) or {}
    return _json({"error": said.get(status, str(error))}, status, headers)
