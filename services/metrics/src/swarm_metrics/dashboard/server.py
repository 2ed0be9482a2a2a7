"""The dashboard's web server: uvicorn in the service's own event loop, stopped with the service."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import structlog
import uvicorn
from starlette.types import ASGIApp

log = structlog.get_logger(__name__)

#: How long after a port was found taken it is tried again.
RETRY_S = 5.0
_GRACE_S = 1
_MOST_CONNECTIONS = 64


class Dashboard:
    """Serves an application on one address."""

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        self.host = host
        self.port = port
        """Where it listens; that of the system's choice once a 0 has been bound."""
        self.listening = asyncio.Event()
        self._stopping = asyncio.Event()
        self._over = asyncio.Event()
        self._over.set()
        self._server = _Server(
            uvicorn.Config(
                app,
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="error",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=_MOST_CONNECTIONS,
                timeout_graceful_shutdown=_GRACE_S,
            )
        )

    async def run(self) -> None:
        """Serve until :meth:`stop`. A port that is taken is said and tried again: scores do not wait for a page."""
        said = False
        while (listener := self._bind(silent=said)) is None:
            said = True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), RETRY_S)
                return
        self._over.clear()
        try:
            self.port = listener.getsockname()[1]
            log.info(
                "dashboard", url=f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}/"
            )
            self.listening.set()
            await self._server.serve(sockets=[listener])
        finally:
            listener.close()
            self._over.set()

    async def stop(self) -> None:
        """Take no more requests, and return when those at hand are answered."""
        self._stopping.set()
        self._server.should_exit = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), _GRACE_S + 1)

    def _bind(self, *, silent: bool) -> socket.socket | None:
        try:
            family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
            return socket.create_server((self.host, self.port), family=family)
        except OSError as error:
            if not silent:
                log.error(  # noqa: TRY400 - what was asked for and why it cannot be is all there is to say
                    "no_dashboard",
                    host=self.host,
                    port=self.port,
                    reason=error.strerror or str(error),
                    hint="free the port or set SWARM_DASHBOARD_PORT; it is tried again",
                )
            return None


class _Server(uvicorn.Server):
    """Leaves the signals to the service."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
