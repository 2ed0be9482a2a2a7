"""What becomes of a delivery: it is opened, handled, and its outcome appended before it is acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import nats.errors
import structlog
from nats.aio.msg import Msg

from swarm_common.errors import (
    BrokerUnavailable,
    InvalidEvent,
    StreamFull,
    SwarmError,
    TaskFailed,
    UsageError,
)
from swarm_common.events import Data, Event, lookup
from swarm_common.events.benchmark import TaskScheduled
from swarm_common.events.envelope import decode, new_event
from swarm_common.events.task import TaskFailedData
from swarm_common.log.eventlog import IMPORTED
from swarm_common.runtime import deadletters
from swarm_common.runtime.consumer import Delivery
from swarm_common.runtime.context import Context
from swarm_common.runtime.history import LiveHistory
from swarm_common.runtime.service import Reaction, TaskHandler, Work
from swarm_common.tracing import Span, messaging

log = structlog.get_logger(__name__)

#: How long a service that is told to stop lets work at hand go on.
GRACE_S = 10.0
#: How long to wait before trying again to append to a log that is full.
FULL_AGAIN_S = 1.0
_ENDED_KEPT = 10_000


class Worker:
    """Handles what the consumers of a service deliver."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._service = context.service
        self.handled = 0
        self.failures = 0
        self.at_hand: dict[Delivery, float] = {}
        """Deliveries that are being worked on, and since when (monotonic seconds)."""
        self.ended: dict[str, None] = {}
        """Runs that have ended, the last ten thousand."""
        self._work: set[asyncio.Task[None]] = set()

    async def note_end(self, msg: Msg) -> None:
        """Remember which runs have ended, so that their tasks are not worked on."""
        self.ended[msg.subject.split(".")[2]] = None
        if len(self.ended) > _ENDED_KEPT:
            del self.ended[next(iter(self.ended))]

    async def on_task(self, delivery: Delivery) -> None:
        event = await self._open(delivery)
        if event is None:
            return
        if event.run in self.ended:
            await delivery.ack()
            return
        self._spawn_work(self._do_task(delivery, event), delivery)

    async def on_reaction(self, delivery: Delivery) -> None:
        event = await self._open(delivery)
        if event is not None:
            self._spawn_work(
                self._do_reaction(delivery, event, self._service.reactions[event.type]), delivery
            )

    async def _open(self, delivery: Delivery) -> Event | None:
        """Decode a delivery; one that is none of ours to work on is settled here, and ``None`` returned."""
        if delivery.header(IMPORTED):
            await delivery.ack()
            return None
        try:
            event = decode(delivery.data, delivery.seq)
            return event if event.data is not None else await self._context.log.resolve(event)
        except BrokerUnavailable:
            await delivery.nak()
        except SwarmError as error:
            await self._bury(delivery, error)
        return None

    def _spawn_work(self, work: Any, delivery: Delivery) -> None:
        self.at_hand[delivery] = time.monotonic()
        task: asyncio.Task[None] = asyncio.create_task(self._guard(work, delivery))
        self._work.add(task)

        def settle(done: asyncio.Task[None]) -> None:
            self.at_hand.pop(delivery, None)
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
        handler = self._service.tasks.get(task.kind)
        began = time.perf_counter_ns()
        with self._context.tracer.span(
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
                        f"{self._service.name} does no {task.kind!r}; it does {', '.join(self._service.tasks)}",
                        field="kind",
                        given=task.kind,
                    )
                data = await self._call(handler, event, task, delivery.repeated, span)
                await self._publish(event, task.kind, data, span, began)
            except (BrokerUnavailable, nats.errors.Error) as error:
                span.error(error)
                await self._again(delivery, error)
                return
            except Exception as error:  # noqa: BLE001 - whatever a handler raises becomes an event, a full disk too
                span.error(error)
                if not await self._report_failure(delivery, event, task, error, span, began):
                    return
        self._context.collector.task_ended(began)
        self.handled += 1
        await delivery.ack()

    async def _call(
        self, handler: TaskHandler, event: Event, task: TaskScheduled, repeated: bool, span: Span
    ) -> Sequence[Data]:
        began = time.perf_counter_ns()

        async def append(data: Data) -> None:
            number = getattr(data, "number", 0)
            await self._publish(event, f"{task.kind}.{data.type}.{number}", [data], span, began)

        work = Work(event, LiveHistory(self._context.log), repeated, append)
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
            with self._context.tracer.send((item,), span) as sent:
                event = new_event(
                    item,
                    run=cause.run,
                    source=self._context.source,
                    cause=cause.id,
                    handler=f"{self._service.name}.{handler}",
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
                await (
                    self._context.log.append_once(event) if once else self._context.log.append_result(event)
                )
            except StreamFull as error:
                log.warning("log_full", run=event.run, type=event.type, message=str(error))
                await asyncio.sleep(FULL_AGAIN_S)
            else:
                return

    async def _report_failure(
        self, delivery: Delivery, event: Event, task: TaskScheduled, error: Exception, span: Span, began: int
    ) -> bool:
        """Append ``<context>.task_failed``; return whether that worked."""
        self.failures += 1
        log.warning(
            "task_failed",
            run=event.run,
            task=task.task,
            trace_id=event.trace_id,
            error=type(error).__name__,
            message=str(error),
            exc_info=not isinstance(error, SwarmError),
        )
        failed = lookup(f"{self._service.context}.task_failed").cls(
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
        with self._context.tracer.span(
            f"process {destination}",
            event.traceparent,
            links=(event.traceparent,),
            attributes=messaging("process", destination, event.id, delivery.consumer.name)
            | {"swarm.run": event.run},
        ) as span:
            try:
                data = as_events(await reaction.handle(Work(event, LiveHistory(self._context.log))))
                await self._publish(event, event.type, data, span, began)
            except (BrokerUnavailable, OSError, nats.errors.Error) as error:
                span.error(error)
                await self._again(delivery, error)
                return
            except Exception as error:
                span.error(error)
                self.failures += 1
                log.exception("reaction_failed", run=event.run, trace_id=event.trace_id, on=event.type)
                if delivery.last or isinstance(error, UsageError):
                    await self._bury(delivery, error)
                else:
                    await delivery.nak()
                return
        self.handled += 1
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
            self._context.log,
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
        return await LiveHistory(self._context.log).result(event.run, task.task) is not None

    async def tell_of_long_work(self, longer_than_s: float) -> None:
        """Tell the broker that work goes on which began more than ``longer_than_s`` ago."""
        now = time.monotonic()
        for delivery, since in list(self.at_hand.items()):
            if now - since > longer_than_s:
                await delivery.in_progress()

    async def drain(self) -> None:
        """Let what is at hand end, for a while, and give back the rest."""
        if self._work:
            await asyncio.wait(self._work, timeout=GRACE_S)
        for delivery in list(self.at_hand):
            await delivery.nak(0)


def as_events(returned: Data | Sequence[Data]) -> Sequence[Data]:
    """Return what a handler returned as a sequence."""
    return [returned] if isinstance(returned, Data) else returned


def is_retryable(error: Exception) -> bool:
    """Say whether another attempt may help: not where the request itself is wrong."""
    if isinstance(error, TaskFailed):
        return error.retryable
    return not isinstance(error, UsageError | InvalidEvent)
