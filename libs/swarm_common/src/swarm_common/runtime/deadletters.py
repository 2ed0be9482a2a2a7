"""Dead letters: what could not be handled, with its original bytes, until somebody redrives it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import msgspec
from nats.js.errors import NotFoundError

from swarm_common.errors import NotFound
from swarm_common.ids import derive, is_token
from swarm_common.log.blobs import CLAIM_CHECK_BYTES, Blobs
from swarm_common.log.publisher import MSG_ID, Message
from swarm_common.log.reader import Stored, read_stored
from swarm_common.log.streams import DEAD_STREAM, STREAM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swarm_common.log.broker import Broker
    from swarm_common.log.eventlog import EventLog

_PREFIX = "Swarm-Dead-"
_DATAREF = f"{_PREFIX}Dataref"
_LONGEST = 1000


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A letter: what arrived, where, and why it could not be handled."""

    id: str
    """Its sequence in the dead-letter stream, as text: what `swarm dead-letters show` takes."""
    subject: str
    seq: int
    """Sequence of the original in the log."""
    consumer: str
    deliveries: int
    error: str
    time: str
    size_bytes: int
    body: bytes


async def bury(
    log: EventLog,
    *,
    consumer: str,
    subject: str,
    seq: int,
    body: bytes,
    headers: Mapping[str, str] | None,
    deliveries: int,
    error: str,
) -> None:
    """Write a dead letter; the same message of the same consumer is buried once."""
    tokens = subject.split(".")
    run = tokens[2] if len(tokens) > 3 and is_token(tokens[2]) else "none"
    # A body as large as the broker allows does not fit beside what a letter adds to it.
    dataref = await log.blobs.put(body) if len(body) > CLAIM_CHECK_BYTES else ""
    originals = {key: value for key, value in (headers or {}).items() if not key.startswith(_PREFIX)}
    message = Message(
        f"dead.{consumer}.{run}",
        b"" if dataref else body,
        {
            MSG_ID: derive(f"{STREAM}:{seq}:{originals.get(MSG_ID, '')}", consumer, 0),
            f"{_PREFIX}Stream": STREAM,
            f"{_PREFIX}Subject": subject,
            f"{_PREFIX}Seq": str(seq),
            f"{_PREFIX}Consumer": consumer,
            f"{_PREFIX}Deliveries": str(deliveries),
            f"{_PREFIX}Error": ascii_line(error),
            f"{_PREFIX}Headers": msgspec.json.encode(_ascii_values(originals)).decode(),
        },
    )
    if dataref:
        message.headers[_DATAREF] = dataref
    await log.publish(message)


async def letters(broker: Broker, *, after: int = 0) -> AsyncIterator[DeadLetter]:
    """Yield the dead letters, oldest first."""
    async for stored in read_stored(broker, "dead.>", after=after, stream=DEAD_STREAM):
        yield await _letter(broker, stored)


async def letter(broker: Broker, ident: str) -> DeadLetter:
    """Return one letter; raises :class:`NotFound`."""
    return await _letter(broker, await _stored(broker, ident))


async def redrive(log: EventLog, ident: str) -> DeadLetter:
    """Send a letter's original bytes to their subject once more, then remove the letter."""
    stored = await _stored(log.broker, ident)
    found = await _letter(log.broker, stored)
    headers = _originals(stored)
    # The broker still knows the original's id for a while and would take this for a duplicate.
    headers[MSG_ID] = derive(headers.get(MSG_ID, f"{STREAM}:{found.seq}"), "redrive", ident)
    await log.publish(Message(found.subject, found.body, headers))
    with contextlib.suppress(NotFoundError):
        await log.broker.js.delete_msg(DEAD_STREAM, int(ident))
    return found


def _originals(stored: Stored) -> dict[str, str]:
    found: dict[str, Any] = msgspec.json.decode(stored.headers.get(f"{_PREFIX}Headers", "{}"))
    return {
        k: str(v)
        for k, v in found.items()
        if not k.startswith(("Nats-Expected", "Nats-Batch", "Nats-Schedule"))
    }


async def _stored(broker: Broker, ident: str) -> Stored:
    if ident.isdecimal():
        async for stored in read_stored(broker, "dead.>", after=int(ident) - 1, stream=DEAD_STREAM):
            if stored.seq == int(ident):
                return stored
            break
    raise NotFound(f"no dead letter {ident!r}; `swarm dead-letters` lists them")


async def _letter(broker: Broker, stored: Stored) -> DeadLetter:
    def value(name: str) -> str:
        return stored.headers.get(_PREFIX + name, "")

    dataref = stored.headers.get(_DATAREF, "")
    body = await Blobs(broker).get(dataref) if dataref else stored.data
    return DeadLetter(
        id=str(stored.seq),
        subject=value("Subject"),
        seq=int(value("Seq") or 0),
        consumer=value("Consumer"),
        deliveries=int(value("Deliveries") or 0),
        error=value("Error"),
        time=stored.time,
        size_bytes=len(body),
        body=body,
    )


def _ascii_values(headers: Mapping[str, str]) -> dict[str, str]:
    return {ascii_line(key): ascii_line(str(value)) for key, value in headers.items()}


def ascii_line(text: str) -> str:
    """Return text that can stand in a header: printable ASCII, one line, bounded."""
    return text.encode("ascii", "backslashreplace").decode().replace("\r", " ").replace("\n", " ")[:_LONGEST]
