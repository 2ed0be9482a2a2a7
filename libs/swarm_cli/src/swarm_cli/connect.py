"""How a command gets to the broker: the one that settings name, or the embedded one."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar
from urllib.parse import urlsplit

from swarm_cli import context
from swarm_cli.stack.layout import Layout, is_running
from swarm_common.client import Client, broker_url
from swarm_common.errors import BrokerUnavailable
from swarm_common.log.broker import redact
from swarm_common.runtime import logs
from swarm_common.settings import Settings, load_settings

T = TypeVar("T")
#: How long a broker that does not answer is waited for.
PATIENCE_S = 4.0
_KNOCK_S = 2.0


@contextlib.asynccontextmanager
async def client(settings: Settings | None = None) -> AsyncIterator[Client]:
    """Connect for the length of a ``with`` block.

    Raises :class:`BrokerUnavailable` within five seconds where no broker answers, at once where the embedded stack is
    meant and does not run.
    """
    settings = settings or context.settings()
    if not settings.nats_url and not is_running(Layout(settings.home_path)):
        raise BrokerUnavailable(
            f"no broker answers: the embedded stack under {settings.home} does not run; start it with `swarm up`, "
            "or set SWARM_NATS_URL to a broker that runs"
        )
    url = broker_url(settings)
    await _knock(url)
    logs.configure(load_settings({"log_level": "error", "log_format": "text"}, environ={}))
    async with Client(settings=settings, timeout_s=PATIENCE_S) as found:
        yield found


async def _knock(url: str) -> None:
    """Raise :class:`BrokerUnavailable` at once where nothing listens: a client would go on trying."""
    parts = urlsplit(url if "://" in url else f"nats://{url}")
    try:
        async with asyncio.timeout(_KNOCK_S):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port or 4222)
        writer.close()
    except (OSError, ValueError) as error:
        reason = (
            "no answer in time"
            if isinstance(error, TimeoutError)
            else getattr(error, "strerror", "") or error
        )
        raise BrokerUnavailable(
            f"no broker answers at {redact(url)} ({reason}); start one with `swarm up`, "
            "or set SWARM_NATS_URL to one that runs"
        ) from error


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end.

    SIGTERM and SIGINT cancel it, so that it can put things in order; then ``KeyboardInterrupt`` is raised.
    """

    async def with_signals() -> T:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - we are in one
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work

    try:
        return asyncio.run(with_signals())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
