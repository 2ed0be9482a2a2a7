"""One connection to the broker, and a watchdog for it.

nats-py's read loop can end on an unexpected exception while ``is_connected`` stays true, and nothing reconnects; a
permission error arrives apart from the publish that caused it and looks like a time-out. Both are mended here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import nats
import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from swarm_common.errors import BrokerUnavailable
from swarm_common.log.connection import Connection

log = structlog.get_logger(__name__)

#: How often the watchdog asks the broker for a PONG, and how long it waits for one.
WATCH_EVERY_S = 5.0
WATCH_PATIENCE_S = 3.0

DeniedHook = Callable[[str], None]


class Broker:
    """A connection that says when it is gone and comes back by itself."""

    def __init__(self, nc: Connection, url: str) -> None:
        self.nc = nc
        self.url = url
        self.js: JetStreamContext = nc.jetstream()
        self.reconnects = 0
        self._back_hooks: list[Callable[[], None]] = []
        self._denied_hooks: list[DeniedHook] = []
        self._watchdog: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._refusal = ""

    @classmethod
    async def connect(
        cls, url: str, *, name: str, timeout_s: float = 5.0, wait: bool = False, inbox_prefix: str = "_INBOX"
    ) -> Broker:
        """Connect to ``url``.

        With ``wait`` (services) a broker that is away is waited for; without it (commands)
        :class:`BrokerUnavailable` is raised after ``timeout_s``.
        """
        nc = Connection()
        broker = cls(nc, url)
        told = ""
        while True:
            try:
                await asyncio.wait_for(broker._connect(name, inbox_prefix, timeout_s), timeout_s)
                break
            except (TimeoutError, OSError, nats.errors.Error) as error:
                with contextlib.suppress(Exception):
                    await nc.close()
                reason = broker._refusal or _reason(error)
                if not wait:
                    raise BrokerUnavailable(
                        f"no broker answers at {redact(url)} ({reason}); start one with `swarm up`, "
                        "or set SWARM_NATS_URL to one that runs"
                    ) from error
                if reason != told:
                    told = reason
                    log.warning("waiting_for_broker", url=redact(url), reason=told)
                await asyncio.sleep(0.25)
        broker._watchdog = asyncio.create_task(broker._watch(), name="broker-watchdog")
        return broker

    async def _connect(self, name: str, inbox_prefix: str, timeout_s: float) -> None:
        await self.nc.connect(
            servers=[self.url],
            name=name,
            connect_timeout=max(1, int(timeout_s)),
            inbox_prefix=inbox_prefix.encode(),
            allow_reconnect=True,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.25,  # type: ignore[arg-type]  # seconds; only handed to asyncio.sleep
            ping_interval=20,
            pending_size=16 * 1024 * 1024,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnect,
            reconnected_cb=self._on_reconnect,
        )

    def on_denied(self, hook: DeniedHook) -> None:
        """Call ``hook(subject)`` when the broker refuses a publish; the subject comes in lower case."""
        self._denied_hooks.append(hook)

    def on_back(self, hook: Callable[[], None]) -> None:
        """Call ``hook()`` whenever the connection is back."""
        self._back_hooks.append(hook)

    async def close(self) -> None:
        """Flush and close; a broker that is away does not hold this up for long."""
        if self._watchdog is not None:
            self._watchdog.cancel()
        if self.nc.is_connected:
            await _try(self.nc.flush(), 2.0)
        await _try(self.nc.close(), 2.0)
        if self._asking is not None:
            self._asking.cancel()

    async def _watch(self) -> None:
        while not self.nc.is_closed:
            await asyncio.sleep(WATCH_EVERY_S)
            await self.check()

    async def check(self, patience_s: float = WATCH_PATIENCE_S) -> bool:
        """Ask for a PONG; where none comes although the client thinks itself connected, reconnect by force."""
        if not self.nc.is_connected:
            return False
        try:
            # Where its loops have ended, nats-py's flush waits for no PONG and says that all is well.
            if any(task is None or task.done() for task in (self.nc._reading_task, self.nc._flusher_task)):  # noqa: SLF001
                raise nats.errors.StaleConnectionError
            # Shielded: of a PING whose asker is gone nats-py would still set the PONG's result, fail and print so.
            self._asking = asyncio.create_task(self.nc.flush(timeout=int(patience_s + 1)))
            self._asking.add_done_callback(lambda done: done.cancelled() or done.exception())
            await asyncio.wait_for(asyncio.shield(self._asking), patience_s)
        except (TimeoutError, nats.errors.Error, OSError) as error:
            if self.nc.is_closed or self.nc.is_reconnecting:
                return False
            log.warning("connection_silent", url=redact(self.url), reason=_reason(error))
            await self._force_reconnect()
            return False
        return True

    async def _force_reconnect(self) -> None:
        before = self.reconnects
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self.nc._process_op_err(nats.errors.StaleConnectionError()), 2.0)  # noqa: SLF001
        if (
            self.reconnects == before and self.nc.is_connected
        ):  # pragma: no cover - a second way for other versions
            with contextlib.suppress(Exception):
                await self.nc.force_reconnect()

    async def _on_error(self, error: Exception) -> None:
        text = str(error)
        if "permissions violation for publish" in text.lower():
            subject = text.split('"')[1] if '"' in text else text.rsplit(" ", 1)[-1]
            log.error("permission_denied", subject=subject)
            for hook in self._denied_hooks:
                hook(subject.lower())
            return
        if self._watchdog is None:  # still connecting: told once, by whoever waits for it
            if "authorization" not in self._refusal.lower():  # which the broker follows up by hanging up
                self._refusal = text
            return
        log.warning("broker_error", error=type(error).__name__, message=text)

    async def _on_disconnect(self) -> None:
        if not self.nc.is_closed:
            log.warning("broker_away", url=redact(self.url))

    async def _on_reconnect(self) -> None:
        self.reconnects += 1
        log.info("broker_back", url=redact(self.url), reconnects=self.reconnects)
        for hook in self._back_hooks:
            hook()


def redact(url: str) -> str:
    """Return a URL without what stands before the ``@``: passwords do not belong in logs."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "nats", url
    return f"{scheme}://{rest.rsplit('@', 1)[-1]}"


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError | nats.errors.TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__


async def _try(doing: Coroutine[Any, Any, None], timeout_s: float) -> None:
    """Do something for so long at most, whatever comes of it.

    In a task: waiting within nats-py may end in a cancellation of its own, which would end ours.
    """
    task = asyncio.create_task(doing)
    await asyncio.wait([task], timeout=timeout_s)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    task.cancel()


@contextlib.asynccontextmanager
async def connected(url: str, *, name: str, timeout_s: float = 5.0) -> AsyncIterator[Broker]:
    """Connect for the length of a ``with`` block."""
    broker = await Broker.connect(url, name=name, timeout_s=timeout_s)
    try:
        yield broker
    finally:
        await broker.close()


def header(msg: Msg, name: str, default: str = "") -> str:
    """Return a header of a message."""
    headers: dict[str, Any] | None = msg.headers
    return str(headers.get(name, default)) if headers else default
