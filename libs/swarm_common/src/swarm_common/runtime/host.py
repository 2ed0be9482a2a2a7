"""The host of a service: connects, has its worker take what comes, drains, and says how it is."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import nats.errors
import structlog
from nats.micro.service import Service as MicroService

from swarm_common.errors import SwarmError, UsageError
from swarm_common.events.benchmark import TERMINAL
from swarm_common.events.subjects import scheduled_filter
from swarm_common.hosts import usable_cores
from swarm_common.log.broker import Broker
from swarm_common.log.eventlog import EventLog
from swarm_common.log.streams import ensure_streams
from swarm_common.runtime import health, logs, offline
from swarm_common.runtime.answers import announce
from swarm_common.runtime.consumer import ACK_WAIT_S
from swarm_common.runtime.context import Context
from swarm_common.runtime.service import Service
from swarm_common.runtime.worker import Worker
from swarm_common.settings import Settings, load_settings

log = structlog.get_logger(__name__)

T = TypeVar("T")

_BEAT_S = 2.0


class Host:
    """Runs one service until it is told to stop."""

    def __init__(self, service: Service, settings: Settings) -> None:
        self.service = service
        self.settings = settings
        self.stopping = asyncio.Event()
        self.context: Context
        self.worker: Worker
        self._micro: MicroService | None = None

    async def run(self) -> None:
        """Serve until :attr:`stopping` is set or the service fails."""
        broker = await Broker.connect(
            self.settings.nats_url or "nats://127.0.0.1:4222",
            name=f"swarm-{self.service.name}",
            wait=True,
            inbox_prefix=f"_INBOX_{self.service.name}",
        )
        event_log = EventLog(broker)
        await event_log.start()
        self.context = Context(self.service, self.settings, broker, event_log)
        self.worker = Worker(self.context)
        try:
            await ensure_streams(
                broker, max_bytes=self.settings.max_bytes, replicas=self.settings.stream_replicas
            )
            if self.service.lanes():
                # Only how runs end, and only where tasks are done: each message wakes every process that hears of it.
                for name in sorted(TERMINAL):
                    await broker.nc.subscribe(
                        f"swarm.benchmark.*.{name.partition('.')[2]}", cb=self.worker.note_end
                    )
            for hook in self.service.start_hooks:
                await hook(self.context)
            await self._start_consumers()
            self._micro = await announce(self.context, self.state)
            self.context.spawn(self._beat(), "health")
            self.context.spawn(self.context.collector.run(self._publish_live, self._counts), "collection")
            log.info("ready", pid=os.getpid())
            await self._until_stopped()
        finally:
            await self._drain()
            await event_log.close()
            await broker.close()
            self.context.tracer.close()
            log.info("stopped", handled=self.worker.handled, failures=self.worker.failures)

    async def _until_stopped(self) -> None:
        stop = asyncio.create_task(self.stopping.wait())
        failed: asyncio.Future[Any] = self.context.failed
        await asyncio.wait((stop, failed), return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if failed.done():
            failed.result()

    async def _start_consumers(self) -> None:
        cpu_slots = self.settings.cpu_workers or usable_cores()
        for lane in self.service.lanes():
            await self.context.consume(
                f"{self.service.name}-{lane}",
                [scheduled_filter(self.service.name, lane)],
                self.worker.on_task,
                slots=cpu_slots if lane == "cpu" else self.settings.io_slots,
            )
        if self.service.reactions:
            filters = [
                f"swarm.{name.split('.')[0]}.*.{name.split('.')[1]}" for name in self.service.reactions
            ]
            await self.context.consume(
                f"{self.service.name}-reactions", filters, self.worker.on_reaction, slots=32
            )

    def state(self) -> dict[str, Any]:
        """Return how the service is: ready, what it holds and has handled."""
        return {
            "service": self.service.name,
            "instance": self.context.instance,
            "pid": os.getpid(),
            "ready": not self.stopping.is_set(),
            "healthy": self.healthy(),
            "in_flight": sum(consumer.in_flight for consumer in self.context.consumers),
            "handled": self.worker.handled,
            "failures": self.worker.failures,
            "reconnects": self.context.broker.reconnects,
            "consumers": [c.name for c in self.context.consumers],
            "consumers_recreated": sum(c.recreated for c in self.context.consumers),
        }

    def _counts(self) -> tuple[int, int, int]:
        return self.worker.handled, self.worker.failures, len(self.worker.at_hand)

    async def _publish_live(self, subject: str, body: bytes) -> None:
        # Not while the connection is away: what waits for it there takes the room of events, and would come late.
        if self.context.broker.nc.is_connected:
            await self.context.broker.nc.publish(subject, body)

    def healthy(self) -> bool:
        """Say whether broker and consumers answer."""
        return self.context.broker.nc.is_connected and all(
            consumer.alive() for consumer in self.context.consumers
        )

    async def _beat(self) -> None:
        """Touch the health file while healthy, and tell the broker that long work goes on."""
        path = Path(self.settings.health_file)
        told = time.monotonic()
        while True:
            if self.healthy():
                with contextlib.suppress(OSError):
                    health.beat(path)
            now = time.monotonic()
            if now - told > ACK_WAIT_S / 3:
                told = now
                await self.worker.tell_of_long_work(ACK_WAIT_S / 3 - _BEAT_S)
            await asyncio.sleep(_BEAT_S)

    async def _drain(self) -> None:
        """Take nothing more, let what is at hand end, give back the rest, stop hooks."""
        for consumer in self.context.consumers:
            await consumer.stop()
        if self._micro is not None:
            with contextlib.suppress(nats.errors.Error, OSError):
                await self._micro.stop()
        await self.worker.drain()
        for hook in self.service.stop_hooks:
            with contextlib.suppress(Exception):
                await hook(self.context)
        await self.context.cancel_spawned()


async def serve(service: Service, settings: Settings) -> None:
    """Run a service until SIGTERM or SIGINT."""
    host = Host(service, settings)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, host.stopping.set)
    await host.run()


def main(service: Service, arguments: Sequence[str] | None = None) -> None:
    """Entry point of every ``python -m swarm_<service>``.

    Without arguments it serves; ``replay FILE`` feeds a recorded log to the service's pure handlers and prints, as JSON
    Lines, what they decide otherwise than the log says.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if arguments[:1] == ["replay"] and len(arguments) == 2:
            sys.exit(asyncio.run(offline.main(service, Path(arguments[1]))))
        if arguments:
            raise UsageError(
                f"unknown arguments {' '.join(arguments)!r}; use none to serve, or `replay FILE`"
            )
        settings = load_settings()
        logs.configure(settings, service=service.name, instance=f"{socket.gethostname()}-{os.getpid()}")
        run_as_services_do(serve(service, settings))
    except SwarmError as error:
        sys.stderr.write(f"swarm-{service.name}: {error}\n")
        sys.exit(error.exit_code)


def run_as_services_do(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the event loop that services have, with garbage collected as rarely as there."""
    import uvloop  # noqa: PLC0415 - only a process that serves needs it

    collect_rarely()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(coroutine)


def collect_rarely() -> None:
    """Have garbage looked for as rarely as it comes here.

    What was imported stays: it need not be looked through again and again. Events and states hold no cycles and are not
    tracked at all (gc=False).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
