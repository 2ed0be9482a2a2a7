"""A durable pull consumer that keeps itself alive.

Messages are pulled with standing credit and arrive by callback. What nats-py's ``fetch`` hides is handled here: a
deleted consumer or stream is seen by its status or by missing heartbeats and made anew from the last handled sequence,
with a word in the log; settings that drifted are brought up to date.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec
import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, DeliverPolicy
from nats.js.errors import APIError, NotFoundError

from swarm_common.log.connection import Headers
from swarm_common.log.streams import STREAM, drift

if TYPE_CHECKING:
    from swarm_common.log.broker import Broker

log = structlog.get_logger(__name__)

ACK_WAIT_S = 10.0
MAX_DELIVER = 5
EXPIRES_S = 20.0
HEARTBEAT_S = 2.0
#: Delay before the second, third, ... delivery of what could not be handled for a passing reason, in seconds.
REDELIVERY_S = (0.5, 2.0, 10.0, 30.0)
_DRAIN_S = 2.0
_NS = 1_000_000_000


class Delivery(msgspec.Struct, frozen=True, eq=False):
    """A message at hand, and the ways to settle it."""

    msg: Msg
    seq: int
    """Sequence in the stream."""
    deliveries: int
    consumer: Consumer

    @property
    def subject(self) -> str:
        return self.msg.subject

    @property
    def data(self) -> bytes:
        return self.msg.data

    def header(self, name: str) -> str:
        headers: object = self.msg.headers
        return headers.peek(name.encode()) if isinstance(headers, Headers) else ""

    @property
    def last(self) -> bool:
        """Whether the broker will not deliver it again."""
        return self.deliveries >= MAX_DELIVER

    @property
    def repeated(self) -> bool:
        """Whether it may have been handled before: delivered again, or by a consumer that was made anew."""
        return self.deliveries > 1 or self.seq <= self.consumer.doubtful_until

    async def ack(self) -> None:
        await self._settle(b"+ACK")

    async def nak(self, delay_s: float | None = None) -> None:
        """Ask for it again after a delay (default: by the number of deliveries so far)."""
        delay_s = REDELIVERY_S[min(self.deliveries, len(REDELIVERY_S)) - 1] if delay_s is None else delay_s
        await self._settle(b'-NAK {"delay": %d}' % int(delay_s * _NS))

    async def term(self) -> None:
        """Say that it must not come again."""
        await self._settle(b"+TERM")

    async def in_progress(self) -> None:
        with contextlib.suppress(nats.errors.Error, OSError):
            await self.msg._client.publish(self.msg.reply, b"+WPI")  # noqa: SLF001 - Msg.in_progress flushes nothing more

    async def _settle(self, word: bytes) -> None:
        self.consumer._settled(self)  # noqa: SLF001 - its own delivery
        # A lost acknowledgement means a further delivery, which handling bears: ids are derived.
        with contextlib.suppress(nats.errors.Error, OSError):
            await self.msg._client.publish(self.msg.reply, word)  # noqa: SLF001 - Msg.ack refuses a second settling


Deliver = Callable[[Delivery], Awaitable[None]]


class Consumer:
    """One durable consumer, shared by the replicas of a service. Calls ``deliver`` for one message after another."""

    def __init__(
        self,
        broker: Broker,
        name: str,
        filters: tuple[str, ...],
        deliver: Deliver,
        *,
        slots: int,
        stream: str = STREAM,
    ) -> None:
        self.broker = broker
        self.name = name
        self.stream = stream
        self.slots = slots
        self.doubtful_until = 0
        self.recreated = 0
        self.delivered = 0
        self._filters = filters
        self._deliver = deliver
        self._credit = 0
        self._busy: set[int] = set()
        self._floor = 0
        self._looked = 0.0
        self._heard = 0.0
        self._reconnects = 0
        self._inbox = ""
        self._subscription: Subscription | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._lost = False
        self._stopping = False

    @property
    def in_flight(self) -> int:
        return len(self._busy)

    def config(self) -> ConsumerConfig:
        """Return the consumer as it should be."""
        return ConsumerConfig(
            durable_name=self.name,
            description="Swarmbench",
            deliver_policy=DeliverPolicy.ALL,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ACK_WAIT_S,
            max_deliver=MAX_DELIVER,
            max_ack_pending=max(1000, 4 * self.slots),
            max_waiting=512,
            filter_subject=self._filters[0] if len(self._filters) == 1 else None,
            filter_subjects=list(self._filters) if len(self._filters) > 1 else None,
        )

    async def start(self) -> None:
        """Create or update the consumer, subscribe, and begin to pull."""
        await self._ensure(first=True)
        self._inbox = self.broker.nc.new_inbox()
        subscription = await self.broker.nc.subscribe(self._inbox, cb=self._on_message)
        subscription._pending_bytes_limit = 0  # noqa: SLF001 - bounded by our credit
        self._subscription = subscription
        self._heard = self._looked = asyncio.get_running_loop().time()
        self._reconnects = self.broker.reconnects
        self.broker.on_back(self._wake.set)
        self._supervisor = asyncio.create_task(self._supervise(), name=f"consumer-{self.name}")

    async def stop(self) -> None:
        """Take nothing more. What is at hand goes on; :attr:`in_flight` tells how much that is."""
        self._stopping = True
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
        if self._subscription is not None and not self.broker.nc.is_closed:
            # Drained and not only dropped: what the broker has sent already is given back, not held until ACK_WAIT_S.
            with contextlib.suppress(nats.errors.Error, TimeoutError):
                await asyncio.wait_for(self._subscription.drain(), _DRAIN_S)  # type: ignore[no-untyped-call]

    def alive(self) -> bool:
        """Say whether the broker was heard of lately."""
        return (
            not self._lost
            and self._supervisor is not None
            and not self._supervisor.done()
            and asyncio.get_running_loop().time() - self._heard < 4 * HEARTBEAT_S
        )

    async def lag(self) -> tuple[int, int]:
        """Return (messages not delivered yet, messages delivered and not settled)."""
        info = await self.broker.js.consumer_info(self.stream, self.name)
        return info.num_pending or 0, info.num_ack_pending or 0

    async def _ensure(self, *, first: bool) -> None:
        wanted = self.config()
        try:
            info = await self.broker.js.consumer_info(self.stream, self.name)
        except NotFoundError:
            if not first:
                start = self._floor + 1
                wanted.deliver_policy, wanted.opt_start_seq = DeliverPolicy.BY_START_SEQUENCE, start
                self.recreated += 1
                log.warning("consumer_recreated", consumer=self.name, stream=self.stream, from_seq=start)
            self.doubtful_until = (await self.broker.js.stream_info(self.stream)).state.last_seq
            # Another replica may be first, with its own start: theirs stands.
            with contextlib.suppress(APIError):
                await self.broker.js.add_consumer(self.stream, wanted)
            return
        self._note(info)
        if self._lost:  # another replica made it anew
            self.doubtful_until = (await self.broker.js.stream_info(self.stream)).state.last_seq
        # Where a consumer starts cannot change, and after a re-creation it rightly differs.
        have = info.config
        wanted.deliver_policy, wanted.opt_start_seq = have.deliver_policy, have.opt_start_seq
        differs = drift(have, wanted)
        if differs:
            await self.broker.js.add_consumer(self.stream, wanted)
            log.warning(
                "consumer_updated",
                consumer=self.name,
                drift={k: f"{a} -> {b}" for k, (a, b) in differs.items()},
            )

    def _note(self, info: ConsumerInfo) -> None:
        """Remember up to where all is settled, by any replica: what comes behind would be lost with the consumer."""
        self._looked = asyncio.get_running_loop().time()
        if info.ack_floor is not None:
            self._floor = max(self._floor, info.ack_floor.stream_seq)

    async def _look(self) -> None:
        """See how far the consumer is, and that it is there."""
        try:
            self._note(await self.broker.js.consumer_info(self.stream, self.name))
        except NotFoundError:
            self._lost = True
            await self._recover()

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopping:  # a cancellation may be lost in wait_for (Python issue 86296)
            try:
                silent = loop.time() - self._heard > 3 * HEARTBEAT_S
                if self._lost or silent or self._reconnects != self.broker.reconnects:
                    await self._recover()
                elif loop.time() - self._looked > HEARTBEAT_S:
                    await self._look()
                await self._pull()
            except (TimeoutError, nats.errors.Error, OSError) as error:
                log.warning("consumer_waits", consumer=self.name, reason=str(error) or type(error).__name__)
                await asyncio.sleep(0.5)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), HEARTBEAT_S)
            self._wake.clear()

    async def _recover(self) -> None:
        """Look after the consumer, and ask for messages afresh: earlier requests may be gone."""
        reconnects = self.broker.reconnects
        await self._ensure(first=False)
        if not self.broker.nc.is_connected:
            return
        self._reconnects = reconnects
        self._credit = 0
        self._lost = False
        self._heard = asyncio.get_running_loop().time()

    @property
    def _free(self) -> int:
        """How many slots are neither busy nor promised to the broker."""
        return self.slots - len(self._busy) - self._credit

    def _wanting(self) -> bool:
        """Say whether to ask for more: no slot stays free without credit, and most requests ask for many."""
        return self._free > 0 and (not self._credit or self._free >= self.slots // 2)

    async def _pull(self) -> None:
        """Keep as much credit with the broker as there are free slots; ask again from half of that."""
        free = self._free
        if self._stopping or not self._wanting():
            return
        request = msgspec.json.encode(
            {"batch": free, "expires": int(EXPIRES_S * _NS), "idle_heartbeat": int(HEARTBEAT_S * _NS)}
        )
        self._credit += free
        await self.broker.nc.publish(
            f"$JS.API.CONSUMER.MSG.NEXT.{self.stream}.{self.name}", request, reply=self._inbox
        )

    async def _on_message(self, msg: Msg) -> None:
        self._heard = asyncio.get_running_loop().time()
        if not msg.reply.startswith("$JS.ACK"):
            self._on_status(msg)
            return
        tokens = msg.reply.split(".")
        base = 4 if len(tokens) == 9 else 6
        seq = int(tokens[base + 1])
        self._credit = max(0, self._credit - 1)
        delivery = Delivery(msg, seq, int(tokens[base]), self)
        if self._stopping:
            await delivery.nak(0)  # for another replica
            return
        self._busy.add(seq)
        if not self._credit and self._free >= max(1, self.slots // 8):
            self._wake.set()  # the last credit is used up; a few free slots of many can wait for the next settling
        self.delivered += 1
        try:
            await self._deliver(delivery)
        except Exception:
            log.exception("delivery_failed", consumer=self.name, seq=seq)
            await delivery.nak()

    def _on_status(self, msg: Msg) -> None:
        headers = msg.headers or {}
        status = headers.get("Status", "")
        if status == "100":
            return
        description = headers.get("Description", "").lower()
        left = headers.get("Nats-Pending-Messages", "")
        if left.isdecimal():
            self._credit = max(0, self._credit - int(left))
        elif status in {"404", "408", "409", "503"}:
            self._credit = 0
        if status == "503" or "consumer deleted" in description or "no responders" in description:
            self._lost = True
        self._wake.set()

    def _settled(self, delivery: Delivery) -> None:
        self._busy.discard(delivery.seq)
        if self._wanting():
            self._wake.set()
