"""Appending: pipelined, bounded, and in atomic batches where that is cheaper.

A publish costs the broker a write each; an atomic batch (NATS ADR-50) costs a few milliseconds and little an event.
So what is waiting goes out one by one while little is waiting, and as one batch once much is. Every publish has a
deadline: an acknowledgement that was lost with a connection ends in :class:`AppendTimeout`, never in silence.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec
import nats.errors
from nats.aio.msg import Msg

from swarm_common.errors import (
    AppendTimeout,
    BrokerUnavailable,
    Conflict,
    PermissionDenied,
    StreamFull,
    SwarmError,
    UsageError,
)

if TYPE_CHECKING:
    from swarm_common.log.broker import Broker

MSG_ID = "Nats-Msg-Id"
EXPECTED = "Nats-Expected-Last-Subject-Sequence"
EXPECTED_FILTER = "Nats-Expected-Last-Subject-Sequence-Subject"
_BATCH_ID = "Nats-Batch-Id"
_BATCH_SEQUENCE = "Nats-Batch-Sequence"
_BATCH_COMMIT = "Nats-Batch-Commit"

#: The broker takes at most this many messages in one atomic batch (ADR-50).
MOST_IN_BATCH = 1000
#: From this many waiting messages on, one batch is cheaper than single publishes (bench/append.py prints both).
BATCH_FROM = 48
#: Single publishes that may be unacknowledged at once.
IN_FLIGHT = 512
#: Bytes of one grouped batch; a batch is staged by the broker before it is stored.
BATCH_BYTES = 4 * 1024 * 1024
#: Room for the headers that a batch adds to a message.
_BATCH_HEADERS = 128
#: Wrong last sequence (of a subject, of a batch), and a batch with an id that is stored already: somebody was first.
_CONFLICT = {10071, 10164, 10201}
_FULL = {10077, 10047, 10023, 10054}


class Message(msgspec.Struct, frozen=True, gc=False):
    """What goes to the broker: ``headers`` are ASCII."""

    subject: str
    body: bytes
    headers: dict[str, str]


class Ack(msgspec.Struct, frozen=True, gc=False):
    """What the broker answered: ``seq`` is the (last) message's place in the stream."""

    seq: int
    duplicate: bool = False


class _Answer(msgspec.Struct):
    seq: int = 0
    duplicate: bool = False
    error: dict[str, Any] | None = None


_answer = msgspec.json.Decoder(_Answer)


class _Pending(msgspec.Struct):
    future: asyncio.Future[Ack]
    subjects: tuple[str, ...]
    deadline: float
    connection: int
    """Which connection it goes over, counted by reconnects."""

    @property
    def subject(self) -> str:
        return self.subjects[-1]


class Publisher:
    """Appends messages over one connection. Not shared between event loops."""

    def __init__(self, broker: Broker, *, timeout_s: float = 5.0, in_flight: int = IN_FLIGHT) -> None:
        self._nc = broker.nc
        self._broker = broker
        self._timeout_s = timeout_s
        self._slots = in_flight
        self._limit = in_flight
        self._pending: dict[str, _Pending] = {}
        self._queue: deque[tuple[Message, asyncio.Future[Ack]]] = deque()
        self._inbox = ""
        self._counter = 0
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._batches = 0
        self._batching = False
        self._closed = False
        broker.on_denied(self._denied)
        broker.on_back(self._back)

    async def start(self) -> None:
        """Subscribe to the acknowledgements."""
        self._inbox = self._nc.new_inbox()
        subscription = await self._nc.subscribe(f"{self._inbox}.*", cb=self._on_ack)
        subscription._pending_bytes_limit = 0  # noqa: SLF001 - acknowledgements are small and must not be dropped
        self._tasks = [
            asyncio.create_task(self._send_loop(), name="publisher"),
            asyncio.create_task(self._deadline_loop(), name="publisher-deadlines"),
        ]

    async def close(self) -> None:
        """Send nothing more; what is not acknowledged yet ends in :class:`AppendTimeout`."""
        self._closed = True
        tasks = list(self._tasks)  # groups take themselves off the list as they end
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for key in list(self._pending):
            self._settle(key, AppendTimeout("the connection was closed before the broker acknowledged"))
        while self._queue:
            _, future = self._queue.popleft()
            if not future.done():
                future.set_exception(AppendTimeout("the connection was closed before the event was sent"))

    def publish(self, message: Message) -> asyncio.Future[Ack]:
        """Queue a message; the future resolves to its :class:`Ack` or fails with an error of the tree."""
        future: asyncio.Future[Ack] = self._loop.create_future()
        try:
            self._check(message)
        except SwarmError as error:
            future.set_exception(error)
            return future
        self._queue.append((message, future))
        self._wake.set()
        return future

    async def publish_atomic(self, messages: list[Message]) -> Ack:
        """Publish several messages as one atomic batch: all are stored, next to each other, or none is."""
        if len(messages) == 1:
            return await self.publish(messages[0])
        if len(messages) > MOST_IN_BATCH:
            raise UsageError(f"{len(messages)} events in one batch; the broker takes at most {MOST_IN_BATCH}")
        for message in messages:
            self._check(message)
        return await self._send_batch(messages)

    def _check(self, message: Message) -> None:
        """Refuse what cannot be sent; the broker would end the connection over a message that is too large."""
        if self._closed:
            raise BrokerUnavailable(f"{message.subject}: not sent, this log is closed")
        size = len(message.body) + sum(len(name) + len(value) + 4 for name, value in message.headers.items())
        if size + _BATCH_HEADERS > self._nc.max_payload:
            raise UsageError(
                f"{message.subject}: {size} bytes with headers; the broker takes at most {self._nc.max_payload}",
                field="data",
            )

    async def _send_loop(self) -> None:
        while True:
            if not self._queue:
                self._wake.clear()
                await self._wake.wait()
                # Let every task of this turn of the loop queue its message before deciding how they go.
                await asyncio.sleep(0)
                continue
            if len(self._queue) >= BATCH_FROM:
                if self._batching:
                    await self._free()
                    continue
                await self._start_group()
            elif self._slots > 0:
                message, future = self._queue.popleft()
                await self._send_single(message, future)
            else:
                await self._free()

    async def _free(self) -> None:
        self._wake.clear()
        await self._wake.wait()

    async def _start_group(self) -> None:
        group: list[tuple[Message, asyncio.Future[Ack]]] = []
        size = 0
        while self._queue and len(group) < MOST_IN_BATCH and size < BATCH_BYTES:
            message, future = self._queue.popleft()
            group.append((message, future))
            size += len(message.body)
        self._batching = True
        task = asyncio.create_task(self._finish_group(group))
        self._tasks.append(task)
        task.add_done_callback(self._tasks.remove)

    async def _finish_group(self, group: list[tuple[Message, asyncio.Future[Ack]]]) -> None:
        try:
            ack = await self._send_batch([message for message, _ in group])
        except SwarmError:
            # One message spoils a batch (a duplicate, a wrong expectation): each then gets its own answer.
            for message, future in group:
                await self._send_single(message, future)
        except asyncio.CancelledError:
            for message, future in group:
                if not future.done():
                    future.set_exception(AppendTimeout(f"{message.subject}: the connection was closed"))
            raise
        else:
            first = ack.seq - len(group) + 1
            for index, (_, future) in enumerate(group):
                if not future.done():
                    future.set_result(Ack(first + index))
        finally:
            self._batching = False
            self._wake.set()

    async def _send_single(self, message: Message, future: asyncio.Future[Ack]) -> None:
        if future.done():
            return
        self._slots -= 1
        await self._send(message, future)

    async def _send_batch(self, messages: list[Message]) -> Ack:
        self._batches += 1
        batch = f"{self._inbox[-22:]}-{self._batches}"
        future: asyncio.Future[Ack] = self._loop.create_future()
        self._slots -= 1
        last = len(messages)
        for index, message in enumerate(messages, 1):
            headers = {**message.headers, _BATCH_ID: batch, _BATCH_SEQUENCE: str(index)}
            if index < last:
                try:
                    await self._nc.send(message.subject, message.body, headers)
                except (nats.errors.Error, OSError) as error:
                    self._slots += 1
                    raise AppendTimeout(f"{message.subject}: {error or type(error).__name__}") from error
            else:
                headers[_BATCH_COMMIT] = "1"
                subjects = tuple(message.subject for message in messages)
                await self._send(Message(message.subject, message.body, headers), future, subjects)
        return await future

    async def _send(
        self, message: Message, future: asyncio.Future[Ack], subjects: tuple[str, ...] = ()
    ) -> None:
        self._counter += 1
        key = str(self._counter)
        deadline = self._loop.time() + self._timeout_s
        # What is sent while the connection is away is buffered and goes over the next one.
        connection = self._broker.reconnects + (0 if self._nc.is_connected else 1)
        self._pending[key] = _Pending(future, subjects or (message.subject,), deadline, connection)
        try:
            await self._nc.send(message.subject, message.body, message.headers, f"{self._inbox}.{key}")
        except (ValueError, TypeError, nats.errors.BadHeaderError, nats.errors.BadSubjectError) as error:
            # It must not end the loop that sends everybody's messages.
            self._settle(key, UsageError(f"{message.subject!r} cannot be sent: {error}", field="headers"))
        except (nats.errors.Error, OSError) as error:
            self._settle(key, AppendTimeout(f"{message.subject}: {error or type(error).__name__}"))

    async def _on_ack(self, msg: Msg) -> None:
        key = msg.subject[len(self._inbox) + 1 :]
        if not msg.data:
            if msg.headers and msg.headers.get("Status") == "503":
                self._settle(key, AppendTimeout("no stream takes this subject at present"))
            return
        answer = _answer.decode(msg.data)
        if answer.error is None:
            self._settle(key, Ack(answer.seq, answer.duplicate))
        else:
            self._settle(
                key, error_of(answer.error, self._pending[key].subject if key in self._pending else "")
            )

    def _settle(self, key: str, outcome: Ack | SwarmError) -> None:
        pending = self._pending.pop(key, None)
        if pending is None:
            return
        self._slots += 1
        self._wake.set()
        if pending.future.done():
            return
        if isinstance(outcome, Ack):
            pending.future.set_result(outcome)
        else:
            pending.future.set_exception(outcome)

    def _denied(self, subject: str) -> None:
        for key, pending in list(self._pending.items()):
            if any(one.lower() == subject for one in pending.subjects):
                self._settle(key, PermissionDenied(f"this identity may not publish to {subject}"))

    def _back(self) -> None:
        """Say of what went over an earlier connection that its acknowledgement will not come."""
        for key, pending in list(self._pending.items()):
            if pending.connection < self._broker.reconnects:
                self._settle(
                    key, AppendTimeout(f"{pending.subject}: the connection broke before the acknowledgement")
                )

    async def _deadline_loop(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            now = self._loop.time()
            # Deadlines are in the order of sending, so the first that is not due ends the search.
            for key, pending in list(self._pending.items()):
                if pending.deadline > now:
                    break
                self._settle(
                    key,
                    AppendTimeout(
                        f"{pending.subject}: the broker did not acknowledge in {self._timeout_s} s"
                    ),
                )


def error_of(error: dict[str, Any], subject: str) -> SwarmError:
    """Return the error of the tree for one that JetStream answered."""
    code, text = int(error.get("err_code", 0)), str(error.get("description", ""))
    if code in _CONFLICT:
        tail = text.rsplit(":", 1)[-1].strip()
        return Conflict(f"{subject}: {text}", last_sequence=int(tail) if tail.isdecimal() else None)
    if code in _FULL or "maximum" in text or "insufficient" in text or "no space" in text:
        return StreamFull(
            f"{subject}: {text}; nothing acknowledged is lost. Free space, or `swarm archive` old runs, then go on"
        )
    return AppendTimeout(f"{subject}: {text} ({code})")
