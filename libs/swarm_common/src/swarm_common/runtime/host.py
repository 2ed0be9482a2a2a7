"""The host of a service: connects, takes work, publishes what handlers return, drains, and says how it is."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import nats.errors
import nats.micro
import structlog
from nats.aio.msg import Msg
from nats.micro.request import Request
from nats.micro.service import EndpointConfig, ServiceConfig
from nats.micro.service import Service as MicroService

from swarm_common.errors import (
    BrokerUnavailable,
    InvalidEvent,
    StreamFull,
    SwarmError,
    TaskFailed,
    UsageError,
)
from swarm_common.events import Data, Event, lookup
from swarm_common.events.benchmark import TERMINAL, TaskScheduled
from swarm_common.events.envelope import decode, new_event
from swarm_common.events.subjects import scheduled_filter
from swarm_common.events.task import TaskFailedData
from swarm_common.log.broker import Broker
from swarm_common.log.eventlog import IMPORTED, EventLog
from swarm_common.log.streams import ensure_streams
from swarm_common.runtime import deadletters, health, logs, offline
from swarm_common.runtime.consumer import ACK_WAIT_S, Consumer, Deliver, Delivery
from swarm_common.runtime.history import LiveHistory
from swarm_common.runtime.service import Reaction, Service, TaskHandler, Work
from swarm_common.settings import Settings, load_settings
from swarm_common.tracing import Span, messaging, tracer_for

log = structlog.get_logger(__name__)

#: How long a service that is told to stop lets work at hand go on.
GRACE_S = 10.0
#: How long to wait before trying again to append to a log that is full.
FULL_AGAIN_S = 1.0
_BEAT_S = 2.0
_ENDED_KEPT = 10_000


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


class Host:
    """Runs one service until it is told to stop."""

    def __init__(self, service: Service, settings: Settings) -> None:
        self.service = service
        self.settings = settings
        self.stopping = asyncio.Event()
        self.context: Context
        self._handled = 0
        self._failures = 0
        self._at_hand: dict[Delivery, float] = {}
        self._work: set[asyncio.Task[None]] = set()
        self._ended: dict[str, None] = {}
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
        try:
            await ensure_streams(
                broker, max_bytes=self.settings.max_bytes, replicas=self.settings.stream_replicas
            )
            if self.service.lanes():
                # Only how runs end, and only where tasks are done: each message wakes every process that hears of it.
                for name in sorted(TERMINAL):
                    await broker.nc.subscribe(
                        f"swarm.benchmark.*.{name.partition('.')[2]}", cb=self._note_end
                    )
            for hook in self.service.start_hooks:
                await hook(self.context)
            await self._start_consumers()
            await self._announce()
            self.context.spawn(self._beat(), "health")
            log.info("ready", pid=os.getpid())
            await self._until_stopped()
        finally:
            await self._drain()
            await event_log.close()
            await broker.close()
            self.context.tracer.close()
            log.info("stopped", handled=self._handled, failures=self._failures)

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
                self._on_task,
                slots=cpu_slots if lane == "cpu" else self.settings.io_slots,
            )
        if self.service.reactions:
            filters = [
                f"swarm.{name.split('.')[0]}.*.{name.split('.')[1]}" for name in self.service.reactions
            ]
            await self.context.consume(f"{self.service.name}-reactions", filters, self._on_reaction, slots=32)

    async def _note_end(self, msg: Msg) -> None:
        """Remember which runs have ended, so that their tasks are not worked on."""
        self._ended[msg.subject.split(".")[2]] = None
        if len(self._ended) > _ENDED_KEPT:
            del self._ended[next(iter(self._ended))]

    async def _on_task(self, delivery: Delivery) -> None:
        event = await self._open(delivery)
        if event is None:
            return
        if event.run in self._ended:
            await delivery.ack()
            return
        self._spawn_work(self._do_task(delivery, event), delivery)

    async def _on_reaction(self, delivery: Delivery) -> None:
        event = await self._open(delivery)
        if event is not None:
            self._spawn_work(self._do_reaction(delivery, event, self.service.reactions[event.type]), delivery)

    async def _open(self, delivery: Delivery) -> Event | None:
        """Decode a delivery; one that is none of ours to work on is settled here, and ``None`` returned."""
        if delivery.header(IMPORTED):
            await delivery.ack()
            return None
        try:
            event = decode(delivery.data, delivery.seq)
            return event if event.data is not None else await self.context.log.resolve(event)
        except BrokerUnavailable:
            await delivery.nak()
        except SwarmError as error:
            await self._bury(delivery, error)
        return None

    def _spawn_work(self, work: Any, delivery: Delivery) -> None:
        self._at_hand[delivery] = time.monotonic()
        task: asyncio.Task[None] = asyncio.create_task(self._guard(work, delivery))
        self._work.add(task)

        def settle(done: asyncio.Task[None]) -> None:
            self._at_hand.pop(delivery, None)
            self._work.discard(done)

        task.add_done_callback(settle)

    async def _guard(self, work: Any, delivery: Delivery) -> None:
        """Have a delivery come again whose handling failed where nothing should: it would keep its slot for good."""
        try:
            await work
        except Exception:
            log.exception("not_handled", subject=delivery.subject, seq=delivery.seq)
            await delivery.nak()

    async def _do_task(self, delivery: Delivery, event: Event) -> None:
        task = event.data
        assert isinstance(task, TaskScheduled)  # noqa: S101 - the filter delivers nothing else
        handler = self.service.tasks.get(task.kind)
        began = time.perf_counter_ns()
        with self.context.tracer.span(
            "process swarm.benchmark.task_scheduled",
            event.traceparent,
            links=(event.traceparent,),
            attributes=messaging(
                "process", "swarm.benchmark.task_scheduled", event.id, delivery.consumer.name
            )
            | {"swarm.run": event.run, "swarm.task": task.task, "swarm.kind": task.kind},
        ) as span:
            try:
                if delivery.repeated and await self._concluded(event, task):
                    await delivery.ack()
                    return
                if handler is None:
                    raise UsageError(
                        f"{self.service.name} does no {task.kind!r}; it does {', '.join(self.service.tasks)}",
                        field="kind",
                        given=task.kind,
                    )
                data = await self._call(handler, event, task)
                await self._publish(event, task.kind, data, span, began)
            except (BrokerUnavailable, nats.errors.Error) as error:
                span.error(error)
                await self._again(delivery, error)
                return
            except Exception as error:  # noqa: BLE001 - whatever a handler raises becomes an event, a full disk too
                span.error(error)
                if not await self._report_failure(delivery, event, task, error, span, began):
                    return
        self._handled += 1
        await delivery.ack()

    async def _call(self, handler: TaskHandler, event: Event, task: TaskScheduled) -> Sequence[Data]:
        work = Work(event, LiveHistory(self.context.log))
        if task.timeout_s is None:
            return as_events(await handler.handle(work))
        try:
            async with asyncio.timeout(task.timeout_s):
                return as_events(await handler.handle(work))
        except TimeoutError as error:
            raise TaskFailed(f"no result in {task.timeout_s} s", retryable=True) from error

    async def _publish(
        self, cause: Event, handler: str, data: Sequence[Data], span: Span, began_ns: int
    ) -> None:
        """Append what a handler made of its cause, in order; a result that is there already stays the only one."""
        for index, item in enumerate(data):
            with self.context.tracer.send((item,), span) as sent:
                event = new_event(
                    item,
                    run=cause.run,
                    source=self.context.source,
                    cause=cause.id,
                    handler=f"{self.service.name}.{handler}",
                    index=index,
                    correlation=cause.correlation,
                    traceparent=sent.traceparent,
                    tracestate=cause.tracestate,
                    duration_us=(time.perf_counter_ns() - began_ns) // 1000,
                )
                sent.set(messaging__message__id=event.id, swarm__run=event.run)
                await self._append(event, once=isinstance(item, TaskFailedData))

    async def _append(self, event: Event, *, once: bool) -> None:
        """Append an event; where the log is full, keep it until there is room: what was done is not done again."""
        while True:
            try:
                await (self.context.log.append_once(event) if once else self.context.log.append_result(event))
            except StreamFull as error:
                log.warning("log_full", run=event.run, type=event.type, message=str(error))
                await asyncio.sleep(FULL_AGAIN_S)
            else:
                return

    async def _report_failure(
        self, delivery: Delivery, event: Event, task: TaskScheduled, error: Exception, span: Span, began: int
    ) -> bool:
        """Append ``<context>.task_failed``; return whether that worked."""
        self._failures += 1
        log.warning(
            "task_failed",
            run=event.run,
            task=task.task,
            trace_id=event.trace_id,
            error=type(error).__name__,
            message=str(error),
            exc_info=not isinstance(error, SwarmError),
        )
        failed = lookup(f"{self.service.context}.task_failed").cls(
            task=task.task,
            attempt=task.attempt,
            error=type(error).__name__,
            message=str(error).encode("utf-8", "backslashreplace").decode()[:2000],
            retryable=is_retryable(error),
        )
        try:
            await self._publish(event, f"{task.kind}.failed", [failed], span, began)
        except (SwarmError, OSError, nats.errors.Error) as append_error:
            await self._again(delivery, append_error)
            return False
        return True

    async def _do_reaction(self, delivery: Delivery, event: Event, reaction: Reaction) -> None:
        began = time.perf_counter_ns()
        destination = f"swarm.{event.type}"
        with self.context.tracer.span(
            f"process {destination}",
            event.traceparent,
            links=(event.traceparent,),
            attributes=messaging("process", destination, event.id, delivery.consumer.name)
            | {"swarm.run": event.run},
        ) as span:
            try:
                data = as_events(await reaction.handle(Work(event, LiveHistory(self.context.log))))
                await self._publish(event, event.type, data, span, began)
            except (BrokerUnavailable, OSError, nats.errors.Error) as error:
                span.error(error)
                await self._again(delivery, error)
                return
            except Exception as error:
                span.error(error)
                self._failures += 1
                log.exception("reaction_failed", run=event.run, trace_id=event.trace_id, on=event.type)
                if delivery.last or isinstance(error, UsageError):
                    await self._bury(delivery, error)
                else:
                    await delivery.nak()
                return
        self._handled += 1
        await delivery.ack()

    async def _again(self, delivery: Delivery, error: Exception) -> None:
        """Have a delivery come again; the last one goes to the dead letters instead."""
        log.warning(
            "redelivery",
            seq=delivery.seq,
            deliveries=delivery.deliveries,
            reason=str(error) or type(error).__name__,
        )
        if delivery.last:
            with contextlib.suppress(SwarmError):
                # Terminated and not acknowledged: that tells the coordinator, which gives the task another attempt.
                await self._bury(delivery, error, settle=delivery.term)
        else:
            await delivery.nak()

    async def _bury(
        self, delivery: Delivery, error: Exception, settle: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        log.error("dead_letter", subject=delivery.subject, seq=delivery.seq, error=str(error))
        await deadletters.bury(
            self.context.log,
            consumer=delivery.consumer.name,
            subject=delivery.subject,
            seq=delivery.seq,
            body=delivery.data,
            headers=delivery.msg.headers,
            deliveries=delivery.deliveries,
            error=f"{type(error).__name__}: {error}",
        )
        await (settle or delivery.ack)()

    async def _concluded(self, event: Event, task: TaskScheduled) -> bool:
        """Say whether a task that was delivered again has its result, or its run an end."""
        return await LiveHistory(self.context.log).result(event.run, task.task) is not None

    async def _announce(self) -> None:
        """Register with NATS micro: discovery, health and queries."""
        context = self.context
        self._micro = await nats.micro.add_service(
            context.broker.nc,
            ServiceConfig(
                name=f"swarm-{self.service.name}",
                version=self.service.version,
                description=self.service.description or f"Swarmbench {self.service.name}",
                metadata={
                    "instance": context.instance,
                    "pid": str(os.getpid()),
                    "service": self.service.name,
                },
            ),
        )

        def stats(_endpoint: object) -> dict[str, Any]:
            return self.state()

        await self._micro.add_endpoint(
            EndpointConfig(
                name="health", handler=self._answer_health, subject=f"query.{self.service.name}.health"
            )
        )
        self._micro._stats_handler = stats  # noqa: SLF001 - STATS of NATS micro carries our state
        for name, query in self.service.queries.items():
            await self._micro.add_endpoint(
                EndpointConfig(
                    name=name.replace(".", "-"),
                    handler=self._query_handler(query),
                    subject=f"query.{self.service.name}.{name}",
                )
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
            "handled": self._handled,
            "failures": self._failures,
            "reconnects": self.context.broker.reconnects,
            "consumers": [c.name for c in self.context.consumers],
            "consumers_recreated": sum(c.recreated for c in self.context.consumers),
        }

    async def _answer_health(self, request: Request) -> None:
        await request.respond(msgspec.json.encode(self.state()))

    def _query_handler(self, query: Any) -> Any:
        async def handle(request: Request) -> None:
            try:
                given = msgspec.json.decode(request.data or b"{}", type=dict[str, Any])
            except (msgspec.DecodeError, ValueError, RecursionError) as error:
                await refuse(request, "400", f"the query is no JSON object: {error}")
                return
            try:
                answer = msgspec.json.encode(await query(self.context, given))
            except UsageError as error:
                await refuse(request, "400", str(error))
            except SwarmError as error:
                await refuse(request, "500", str(error))
            except Exception as error:
                log.exception("query_failed", subject=request.subject)
                await refuse(request, "500", f"{type(error).__name__}: {error}")
            else:
                await request.respond(answer)

        async def refuse(request: Request, code: str, why: str) -> None:
            await request.respond_error(code, deadletters.ascii_line(why))

        return handle

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
                for delivery, since in list(self._at_hand.items()):
                    if now - since > ACK_WAIT_S / 3 - _BEAT_S:
                        await delivery.in_progress()
            await asyncio.sleep(_BEAT_S)

    async def _drain(self) -> None:
        """Take nothing more, let what is at hand end, give back the rest, stop hooks."""
        for consumer in self.context.consumers:
            await consumer.stop()
        if self._micro is not None:
            with contextlib.suppress(nats.errors.Error, OSError):
                await self._micro.stop()
        if self._work:
            await asyncio.wait(self._work, timeout=GRACE_S)
        for delivery in list(self._at_hand):
            await delivery.nak(0)
        for hook in self.service.stop_hooks:
            with contextlib.suppress(Exception):
                await hook(self.context)
        await self.context.cancel_spawned()


def as_events(returned: Data | Sequence[Data]) -> Sequence[Data]:
    """Return what a handler returned as a sequence."""
    return [returned] if isinstance(returned, Data) else returned


def is_retryable(error: Exception) -> bool:
    """Say whether another attempt may help: not where the request itself is wrong."""
    if isinstance(error, TaskFailed):
        return error.retryable
    return not isinstance(error, UsageError | InvalidEvent)


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
        _run(serve(service, settings))
    except SwarmError as error:
        sys.stderr.write(f"swarm-{service.name}: {error}\n")
        sys.exit(error.exit_code)


def _run(coroutine: Any) -> None:
    import uvloop  # noqa: PLC0415 - only a process that serves needs it

    # What was imported stays: it need not be looked through again and again. Events and states hold no cycles and are
    # not tracked at all (gc=False), so collections can be rare.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(coroutine)
