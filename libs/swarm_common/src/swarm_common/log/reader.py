"""Reading the log: batches of direct gets for one run, ordered replay with a callback for all of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING

import msgspec
import nats.errors
from nats.aio.msg import Msg
from nats.js.api import ConsumerConfig, DeliverPolicy

from swarm_common.errors import BrokerUnavailable, NotFound
from swarm_common.log.connection import Headers
from swarm_common.log.streams import STREAM

if TYPE_CHECKING:
    from swarm_common.log.broker import Broker

_BATCH = 1000
_TIMEOUT_S = 5.0


class Stored(msgspec.Struct, frozen=True, gc=False):
    """A message as the stream holds it."""

    seq: int
    data: bytes
    headers: Headers

    @property
    def subject(self) -> str:
        return self.headers.peek(b"Nats-Subject")

    @property
    def time(self) -> str:
        """RFC 3339: when the broker stored it."""
        return self.headers.peek(b"Nats-Time-Stamp")


async def read_stored(
    broker: Broker, subject: str, *, after: int = 0, stream: str = STREAM, timeout_s: float = _TIMEOUT_S
) -> AsyncIterator[Stored]:
    """Yield the messages that match ``subject`` behind sequence ``after``, in order, up to the stream's end.

    Uses ``DIRECT.GET`` with ``next_by_subj`` (NATS ADR-31). Raises :class:`BrokerUnavailable` when no answer comes.
    """
    while True:
        batch, more = await _direct_batch(
            broker, stream, {"seq": after + 1, "batch": _BATCH, "next_by_subj": subject}, timeout_s
        )
        for stored in batch:
            yield stored
        if not more or not batch:
            return
        after = batch[-1].seq


async def read_last(broker: Broker, subject: str, *, stream: str = STREAM) -> Stored | None:
    """Return the last message on ``subject`` (no wildcards), or ``None``."""
    batch, _ = await _direct_batch(broker, stream, {"last_by_subj": subject}, _TIMEOUT_S, single=True)
    return batch[0] if batch else None


async def read_at(broker: Broker, seq: int, *, stream: str = STREAM) -> Stored:
    """Return the message at a sequence; raises :class:`NotFound`."""
    batch, _ = await _direct_batch(broker, stream, {"seq": seq}, _TIMEOUT_S, single=True)
    if not batch:
        raise NotFound(f"{stream} holds no message {seq}")
    return batch[0]


async def _direct_batch(
    broker: Broker, stream: str, query: dict[str, object], timeout_s: float, *, single: bool = False
) -> tuple[list[Stored], bool]:
    """Ask once; return the messages and whether the stream has more of them."""
    nc = broker.nc
    inbox = nc.new_inbox()
    done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    found: list[Stored] = []

    async def on_message(msg: Msg) -> None:
        headers: Mapping[str, str] = msg.headers or {}
        if not isinstance(headers, Headers):
            status = headers.get("Status")
            if not done.done():
                if status == "503":
                    done.set_exception(BrokerUnavailable(f"stream {stream} is not there or does not answer"))
                else:  # 204 end of batch, 404 no messages, 408 bad request
                    done.set_result(int(headers.get("Nats-Num-Pending", "0") or 0) > 0)
            return
        found.append(Stored(int(headers.peek(b"Nats-Sequence")), msg.data, headers))
        if single and not done.done():
            done.set_result(False)

    subscription = await nc.subscribe(inbox, cb=on_message)
    subscription._pending_bytes_limit = 0  # noqa: SLF001 - the answer is bounded by the batch; nothing may be dropped
    try:
        await nc.publish(f"$JS.API.DIRECT.GET.{stream}", msgspec.json.encode(query), reply=inbox)
        more = await asyncio.wait_for(done, timeout_s)
    except (TimeoutError, nats.errors.Error) as error:
        raise BrokerUnavailable(f"the broker did not answer a read of {stream} in {timeout_s} s") from error
    finally:
        if not nc.is_closed:
            await subscription.unsubscribe()
    return found, more


def seq_of(msg: Msg) -> int:
    """Return the stream sequence of a message that a consumer delivered, from its reply subject."""
    # $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>, or with domain and account
    tokens = msg.reply.split(".")
    return int(tokens[5] if len(tokens) == 9 else tokens[7])


class Replay:
    """An ordered consumer that hands every message to a callback, in order, until it is stopped."""

    def __init__(self, broker: Broker, subject: str, *, after: int = 0, stream: str = STREAM) -> None:
        self._broker = broker
        self._subject = subject
        self._after = after
        self._stream = stream
        self._subscription: object | None = None

    async def start(self, on_message: Callable[[Msg], None]) -> None:
        """Begin; ``on_message`` is called for every message behind ``after``, the live ones included."""

        async def deliver(msg: Msg) -> None:
            on_message(msg)

        self._subscription = await self._broker.js.subscribe(
            self._subject,
            stream=self._stream,
            ordered_consumer=True,
            cb=deliver,
            config=ConsumerConfig(
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=self._after + 1,
                idle_heartbeat=2.0,
            ),
            pending_msgs_limit=0,
            pending_bytes_limit=0,
        )

    async def stop(self) -> None:
        if self._subscription is not None and not self._broker.nc.is_closed:
            await self._subscription.unsubscribe()  # type: ignore[attr-defined]
            self._subscription = None
