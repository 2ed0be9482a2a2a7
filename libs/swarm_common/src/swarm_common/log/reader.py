"""Reading the log: batches of direct gets for one run, ordered replay with a callback for all of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import msgspec
import nats.errors
from nats.aio.msg import Msg
from nats.js.api import ConsumerConfig, DeliverPolicy

from swarm_common.errors import BrokerUnavailable, NotFound
from swarm_common.log.connection import Connection, Headers
from swarm_common.log.streams import STREAM

if TYPE_CHECKING:
    from swarm_common.log.broker import Broker

_BATCH = 1000
_TIMEOUT_S = 5.0
#: How often the broker says that a replay has nothing new; it is missed after twice to four times as long.
HEARTBEAT_S = 2.0


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
    gets = _GETS.get(broker)
    if gets is None:
        gets = _GETS[broker] = _Gets(broker.nc)
    return await gets.ask(stream, query, timeout_s, single=single)


class _Get(msgspec.Struct):
    """A read that is under way."""

    stream: str
    single: bool
    done: asyncio.Future[bool]
    found: list[Stored] = []


class _Gets:
    """Direct gets over one standing subscription: one of its own for each read cost more than the read itself."""

    def __init__(self, nc: Connection) -> None:
        self._nc = nc
        self._inbox = nc.new_inbox()
        self._asked = 0
        self._under_way: dict[str, _Get] = {}
        self._subscribed = asyncio.ensure_future(self._subscribe())

    async def ask(
        self, stream: str, query: dict[str, object], timeout_s: float, *, single: bool
    ) -> tuple[list[Stored], bool]:
        self._asked += 1
        key = str(self._asked)
        get = self._under_way[key] = _Get(stream, single, asyncio.get_running_loop().create_future())
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(self._subscribed)
                await self._nc.publish(
                    f"$JS.API.DIRECT.GET.{stream}", msgspec.json.encode(query), reply=f"{self._inbox}.{key}"
                )
                more = await get.done
        except (TimeoutError, nats.errors.Error) as error:
            raise BrokerUnavailable(
                f"the broker did not answer a read of {stream} in {timeout_s} s"
            ) from error
        finally:
            del self._under_way[key]
        return get.found, more

    async def _subscribe(self) -> None:
        subscription = await self._nc.subscribe(f"{self._inbox}.*", cb=self._on_message)
        subscription._pending_bytes_limit = 0  # noqa: SLF001 - answers are bounded by their batches; nothing may be dropped

    async def _on_message(self, msg: Msg) -> None:
        get = self._under_way.get(msg.subject[len(self._inbox) + 1 :])
        if get is None or get.done.done():
            return
        headers: Mapping[str, str] = msg.headers or {}
        if isinstance(headers, Headers):
            get.found.append(Stored(int(headers.peek(b"Nats-Sequence")), msg.data, headers))
            if get.single:
                get.done.set_result(False)
        elif headers.get("Status") == "503":
            get.done.set_exception(BrokerUnavailable(f"stream {get.stream} is not there or does not answer"))
        else:  # 204 end of batch, 404 no messages, 408 bad request
            get.done.set_result(int(headers.get("Nats-Num-Pending", "0") or 0) > 0)


_GETS: WeakKeyDictionary[Broker, _Gets] = WeakKeyDictionary()


def seq_of(msg: Msg) -> int:
    """Return the stream sequence of a message that a consumer delivered, from its reply subject."""
    # $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>, or with domain and account
    tokens = msg.reply.split(".")
    return int(tokens[5] if len(tokens) == 9 else tokens[7])


class Replay:
    """An ordered consumer that hands every message to a callback, in order and once, until it is stopped.

    nats-py makes a lost consumer anew, after two missed heartbeats, and from the stream's beginning where it has seen
    no message yet. So messages that were handed on already are dropped here, and a connection that is back makes the
    consumer anew at once.
    """

    def __init__(self, broker: Broker, subject: str, *, after: int = 0, stream: str = STREAM) -> None:
        self._broker = broker
        self._subject = subject
        self._after = after
        self._stream = stream
        self._subscription: Any = None
        self._renewal: asyncio.Task[None] | None = None
        self._ahead = 0
        self._latest = ""

    @property
    def pending(self) -> int:
        """How many messages the log had more when the last one was sent; at the start, those behind ``after``."""
        return int(self._latest.rsplit(".", 1)[1]) if self._latest else self._ahead

    async def start(self, on_message: Callable[[Msg], Awaitable[None] | None]) -> None:
        """Begin; ``on_message`` is called for every message behind ``after``, the live ones included.

        Where it returns something to wait for, the next message is handed on after that; the broker sends a little
        ahead and then waits, too (flow control of the consumer).
        """

        async def deliver(msg: Msg) -> None:
            seq = seq_of(msg)
            if seq > self._after:
                self._after = seq
                self._latest = msg.reply
                if (full := on_message(msg)) is not None:
                    await full

        self._subscription = await self._broker.js.subscribe(
            self._subject,
            stream=self._stream,
            ordered_consumer=True,
            cb=deliver,
            config=ConsumerConfig(
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=self._after + 1,
                idle_heartbeat=HEARTBEAT_S,
            ),
            pending_msgs_limit=0,
            pending_bytes_limit=0,
        )
        self._broker.on_back(self._back)
        # A consumer that was made anew meanwhile is not found by its old name: its messages say how many there are.
        with contextlib.suppress(nats.errors.Error):
            info = await self._subscription.consumer_info()
            self._ahead = (info.num_pending or 0) + (info.delivered.consumer_seq if info.delivered else 0)

    def _back(self) -> None:
        if self._subscription is not None:
            self._renewal = asyncio.get_running_loop().create_task(self._renew(), name="replay-renewal")

    async def _renew(self) -> None:
        """Ask for a new consumer behind what has come: the broker may have forgotten the old one."""
        ordered = self._subscription._sub._jsi  # noqa: SLF001 - nats-py's own way of resetting, without its patience
        with contextlib.suppress(nats.errors.Error, OSError):
            await ordered.reset_ordered_consumer(max(self._after, ordered._sseq) + 1)  # noqa: SLF001

    async def stop(self) -> None:
        """Hand on nothing more."""
        subscription, self._subscription = self._subscription, None
        if self._renewal is not None:
            self._renewal.cancel()
        if subscription is not None and not self._broker.nc.is_closed:
            await subscription.unsubscribe()
