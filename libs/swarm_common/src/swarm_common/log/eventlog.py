"""EventLog: append, read and replay events. The one way in and out of the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
from nats.aio.msg import Msg

from swarm_common.errors import AppendTimeout, BrokerUnavailable, Conflict, InvalidEvent
from swarm_common.events.envelope import CONTENT_TYPE, Event, decode, encode_wire, with_data
from swarm_common.events.registry import Data, decode_data
from swarm_common.events.subjects import REQUESTS, run_filter, subject_of
from swarm_common.log.blobs import CLAIM_CHECK_BYTES, Blobs
from swarm_common.log.publisher import EXPECTED, EXPECTED_FILTER, MSG_ID, Ack, Message, Publisher
from swarm_common.log.reader import Replay, Stored, read_last, read_stored, seq_of
from swarm_common.log.streams import STREAM

if TYPE_CHECKING:
    from swarm_common.log.broker import Broker

#: Marks messages that came from a file: projections read them, nobody works on them.
IMPORTED = "Swarm-Imported"
_ATTEMPTS = 5


Unreadable = Callable[[Stored, InvalidEvent], None]


class Expected(msgspec.Struct, frozen=True):
    """Optimistic concurrency: the last sequence under ``filter`` must be ``seq`` (0: there is nothing yet)."""

    seq: int
    filter: str


class EventLog:
    """The log over one connection."""

    def __init__(self, broker: Broker, *, timeout_s: float = 5.0) -> None:
        self.broker = broker
        self.blobs = Blobs(broker)
        self._timeout_s = timeout_s
        self._publisher = Publisher(broker, timeout_s=timeout_s)

    async def start(self) -> EventLog:
        await self._publisher.start()
        return self

    async def close(self) -> None:
        await self._publisher.close()

    async def append(self, events: Sequence[Event], expected: Expected | None = None) -> int:
        """Append events of one run, all or none, and return the sequence of the last.

        Raises :class:`~swarm_common.errors.Conflict` where ``expected`` no longer holds. An append whose
        acknowledgement was lost is looked up by its id, so a retry writes nothing twice.
        """
        messages = [await self._message(event) for event in events]
        if expected is not None:
            messages[0].headers[EXPECTED] = str(expected.seq)
            messages[0].headers[EXPECTED_FILTER] = expected.filter
        for attempt in range(_ATTEMPTS):
            try:
                ack = await self._publisher.publish_atomic(messages)
            except Conflict:
                found = await self._stored(events, expected)
                if found is None:
                    raise
                return found
            except AppendTimeout:
                if attempt == _ATTEMPTS - 1:
                    raise
                found = await self._stored_or_none(events, expected)
                if found is not None:
                    return found
            else:
                return ack.seq
        raise AssertionError  # pragma: no cover

    async def append_result(self, event: Event) -> Ack:
        """Append the one result of a task; a second one is not stored, and its :class:`Ack` says ``duplicate``.

        The broker holds this for good, not only for its duplicate window: the subject must be empty. Where something
        lies there that is no event, the result goes behind it.
        """
        message = await self._message(event)
        message.headers[EXPECTED] = "0"
        for attempt in range(_ATTEMPTS):
            try:
                return await self._publisher.publish(message)
            except Conflict as conflict:
                behind = await self._no_event_on(message.subject)
                if behind is None:
                    return Ack(conflict.last_sequence or 0, duplicate=True)
                message.headers[EXPECTED] = str(behind)
            except AppendTimeout:
                if attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError  # pragma: no cover

    async def _no_event_on(self, subject: str) -> int | None:
        """Return the sequence of the last message on a subject if it is no event, else ``None``."""
        stored = await read_last(self.broker, subject)
        if stored is None:
            return None
        try:
            decode_stored(stored)
        except InvalidEvent:
            return stored.seq
        return None

    async def append_once(self, event: Event) -> Ack:
        """Append an event that its id alone keeps from being stored twice within the broker's duplicate window."""
        message = await self._message(event)
        for attempt in range(_ATTEMPTS):
            try:
                return await self._publisher.publish(message)
            except AppendTimeout:
                if attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError  # pragma: no cover

    def publish(self, message: Message) -> asyncio.Future[Ack]:
        """Publish a message that is no event of a run: a request, a timer."""
        return self._publisher.publish(message)

    async def import_events(self, events: Sequence[Event], last: Mapping[str, int] | None = None) -> int:
        """Append events read from a file, all or none, with their very bytes; nobody works on them again.

        ``last`` says, by run, behind which sequence of the log the first of these events belongs (0: the run is new);
        raises :class:`~swarm_common.errors.Conflict` where somebody else wrote to one. The broker is not told the
        events' ids: it may still know them, of a run that was archived a moment ago, and would refuse them.
        """
        left = dict(last or {})
        messages = []
        for event in events:
            headers = {"Content-Type": CONTENT_TYPE, IMPORTED: "1"}
            if event.run in left:
                headers[EXPECTED], headers[EXPECTED_FILTER] = str(left.pop(event.run)), run_filter(event.run)
            subject = REQUESTS if event.type == REQUESTS else subject_of(event.run, _data_of(event))
            messages.append(Message(subject, event.raw, headers))
        return (await self._publisher.publish_atomic(messages)).seq

    async def read_run(
        self, run: str, *, after: int = 0, unreadable: Unreadable | None = None
    ) -> list[Event]:
        """Return a run's events behind sequence ``after``, in the order of the log."""
        return [event async for event in self.read(run_filter(run), after=after, unreadable=unreadable)]

    async def read(
        self, subject: str, *, after: int = 0, unreadable: Unreadable | None = None
    ) -> AsyncIterator[Event]:
        """Yield the events that match ``subject``, up to the end of the log as it is now.

        What is no event goes to ``unreadable``; without it :class:`InvalidEvent` is raised.
        """
        async for stored in read_stored(self.broker, subject, after=after):
            try:
                event = await self.resolve(decode_stored(stored))
            except InvalidEvent as error:
                if unreadable is None:
                    raise
                unreadable(stored, error)
            else:
                yield event

    async def last(self, subject: str) -> Event | None:
        """Return the last event on a subject, or ``None``."""
        stored = await read_last(self.broker, subject)
        return None if stored is None else await self.resolve(decode_stored(stored))

    async def resolve(self, event: Event) -> Event:
        """Return the event with its data, fetched from the object store where they are claim-checked."""
        if event.data is not None:
            return event
        return with_data(event, await self.blobs.get(event.dataref))

    async def replay(
        self, on_event: Callable[[Event], Awaitable[None] | None], *, subject: str = "swarm.>", after: int = 0
    ) -> Replay:
        """Call ``on_event`` for every event behind ``after``, in order, and go on with live ones until stopped.

        Claim-checked events come without their data. What ``on_event`` returns is waited for before the next event, so
        that a reader who has too much at hand is given no more.
        """
        replay = Replay(self.broker, subject, after=after)

        def deliver(msg: Msg) -> Awaitable[None] | None:
            return on_event(decode(msg.data, seq_of(msg)))

        await replay.start(deliver)
        return replay

    async def last_seq(self) -> int:
        """Return the sequence of the log's last message."""
        return int((await self.broker.js.stream_info(STREAM)).state.last_seq)

    async def _message(self, event: Event) -> Message:
        """Return the message of an event; raises :class:`InvalidEvent` for data that nobody could read again."""
        data = msgspec.json.encode(event.data)
        # A struct takes any value when it is made, and NaN becomes null: only decoding tells.
        decode_data(event.type, event.version, data)
        if len(data) > CLAIM_CHECK_BYTES:
            body = encode_wire(event, b"", dataref=await self.blobs.put(data))
        else:
            body = encode_wire(event, data)
        headers = {MSG_ID: event.id, "Content-Type": CONTENT_TYPE}
        if event.traceparent:
            headers["traceparent"] = event.traceparent
        if event.tracestate:
            headers["tracestate"] = event.tracestate
        return Message(subject_of(event.run, _data_of(event)), body, headers)

    async def _stored(self, events: Iterable[Event], expected: Expected | None) -> int | None:
        """Return where the last of these events lies in the log, if it does: all of a batch is there, or nothing."""
        *_, last = events
        after = expected.seq if expected else 0
        subject = subject_of(last.run, _data_of(last))
        async for stored in read_stored(self.broker, subject, after=after, timeout_s=self._timeout_s):
            if stored.headers.get(MSG_ID) == last.id:
                return stored.seq
        return None

    async def _stored_or_none(self, events: Iterable[Event], expected: Expected | None) -> int | None:
        try:
            return await self._stored(events, expected)
        except BrokerUnavailable:
            return None


def decode_stored(stored: Stored) -> Event:
    """Decode a message read from the stream."""
    return decode(stored.data, stored.seq)


def _data_of(event: Event) -> Data:
    if event.data is None:
        raise InvalidEvent(f"{event.type} {event.id} has no data", field="data")
    return event.data
