"""From the log into the view: events in batches, so that one transaction serves many."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog

from swarm_common.errors import BrokerUnavailable, InvalidEvent, NotFound
from swarm_common.events import Event
from swarm_common.tracing import LogTracer, Tracer, messaging
from swarm_metrics.projection import Projection

log = structlog.get_logger(__name__)

#: A batch is written when it has this many events, or this long after its first one.
BATCH = 500
BATCH_S = 0.05
MOST_WAITING = 4 * BATCH
_PATIENCE_S = 0.5
_MOST_LINKS = 128

Resolve = Callable[[Event], Awaitable[Event]]


class Feed:
    """Collects what the replay delivers and applies it.

    What comes behind sequence ``live`` happens now, and the view's part in it belongs to the run's trace.
    """

    def __init__(
        self, projection: Projection, resolve: Resolve, *, tracer: Tracer | None = None, live: int = 0
    ) -> None:
        self._projection = projection
        self._resolve = resolve
        self._tracer = tracer or LogTracer()
        self._live = live
        self._waiting: list[Event] = []
        self._some = asyncio.Event()
        self._enough = asyncio.Event()
        self._has_room = asyncio.Event()
        self._writing = asyncio.Lock()
        # One thread, so that writes keep their order; and one of its own, for scoring may have taken all others.
        self._thread = ThreadPoolExecutor(1, "view-writer")
        self._hurrying: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many events have been taken and not been written."""
        return len(self._waiting)

    def take(self, event: Event) -> Awaitable[None] | None:
        """Take an event; called by the replay, in the order of the log.

        Where many wait to be written, what is returned is to be waited for before the next one is given: a long log is
        read faster than it is written, and would lie in memory.
        """
        self._waiting.append(event)
        self._some.set()
        if len(self._waiting) >= BATCH:
            self._enough.set()
        return self._room() if len(self._waiting) >= MOST_WAITING else None

    async def _room(self) -> None:
        self._has_room.clear()
        await self._has_room.wait()

    async def run(self) -> None:
        """Write batches for ever."""
        while True:
            await self._some.wait()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._enough.wait(), BATCH_S)
            try:
                await self.flush()
            except BrokerUnavailable as error:
                log.warning("view_waits", reason=str(error))
                await asyncio.sleep(_PATIENCE_S)

    def hurry(self) -> asyncio.Task[None]:
        """Write at once what has been taken so far; who waits for the end may leave, and the writing goes on."""
        if self._hurrying is None or self._hurrying.done():
            self._hurrying = asyncio.create_task(self._hurry(), name="view-hurry")
        return self._hurrying

    async def _hurry(self) -> None:
        with contextlib.suppress(
            BrokerUnavailable
        ):  # what is missing is asked for again, and said to be behind
            await self.flush()

    async def flush(self) -> None:
        """Write what has been taken so far."""
        async with self._writing:
            while self._waiting:
                batch = self._waiting[:BATCH]
                whole = [found for event in batch if (found := await self._whole(event)) is not None]
                with self._traced(whole):
                    await asyncio.get_running_loop().run_in_executor(
                        self._thread, self._projection.apply, whole
                    )
                del self._waiting[: len(batch)]
                if len(self._waiting) < MOST_WAITING:
                    self._has_room.set()
            self._some.clear()
            self._enough.clear()

    def close(self) -> None:
        """End the writing thread, when what it is at is written."""
        self._thread.shutdown()

    @contextlib.contextmanager
    def _traced(self, events: Sequence[Event]) -> Iterator[None]:
        """Give each run in a batch a span, where spans are collected."""
        by_run: dict[str, list[Event]] = {}
        if self._tracer.exports:
            for event in events:
                if event.seq > self._live and event.traceparent:
                    by_run.setdefault(event.run, []).append(event)
        with contextlib.ExitStack() as stack:
            for run, of_run in by_run.items():
                attributes = messaging("process", "swarm.*", group="metrics-view")
                attributes |= {"swarm.run": run, "messaging.batch.message_count": len(of_run)}
                links = [event.traceparent for event in of_run[-_MOST_LINKS:]]
                stack.enter_context(
                    self._tracer.span("process swarm.*", links[-1], links=links, attributes=attributes)
                )
            yield

    async def _whole(self, event: Event) -> Event | None:
        """Return the event with its data, fetched where they lie in the object store.

        Where they are lost the view does without the event, and says so: it must not stand still for ever.
        """
        if event.data is not None:
            return event
        try:
            return await self._resolve(event)
        except (NotFound, InvalidEvent) as error:
            log.warning("event_without_data", id=event.id, type=event.type, run=event.run, reason=str(error))
            return None
