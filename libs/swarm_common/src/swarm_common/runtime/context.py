"""What hooks, queries and the host of a service share: its connection, its log, and what runs beside."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from typing import Any

from swarm_common.errors import SwarmError
from swarm_common.log.broker import Broker
from swarm_common.log.eventlog import EventLog
from swarm_common.runtime.collecting import Collector
from swarm_common.runtime.consumer import Consumer, Deliver
from swarm_common.runtime.service import Service
from swarm_common.settings import Settings
from swarm_common.tracing import tracer_for


class Context:
    """What hooks and queries of a service get to see."""

    def __init__(self, service: Service, settings: Settings, broker: Broker, event_log: EventLog) -> None:
        self.service = service
        self.settings = settings
        self.broker = broker
        self.log = event_log
        self.instance = f"{socket.gethostname()}-{os.getpid()}"
        self.source = f"/swarm/{service.name}/{self.instance}"
        self.consumers: list[Consumer] = []
        self.collector = Collector(service.name, self.instance, settings.sample_s)
        self.tracer = tracer_for(f"swarm-{service.name}", self.instance, service.version)
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._running: set[asyncio.Task[None]] = set()

    async def consume(
        self, name: str, filters: Sequence[str], deliver: Deliver, *, slots: int, stream: str = ""
    ) -> Consumer:
        """Start a durable consumer of this service's own; it is supervised and drained with the others."""
        more = {"stream": stream} if stream else {}
        consumer = Consumer(self.broker, name, tuple(filters), deliver, slots=slots, **more)
        await consumer.start()
        self.consumers.append(consumer)
        return consumer

    def spawn(self, coroutine: Any, name: str) -> asyncio.Task[None]:
        """Run something beside; what it raises stops the service, so that its supervisor starts it afresh."""
        task: asyncio.Task[None] = asyncio.create_task(coroutine, name=name)
        self._running.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and task.exception() is not None and not self.failed.done():
            self.failed.set_exception(task.exception() or SwarmError("unknown"))

    async def cancel_spawned(self) -> None:
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
