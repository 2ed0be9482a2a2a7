"""The streams and their settings, created or brought up to date by whoever may."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import nats.errors
import structlog
from nats.js.api import (
    ConsumerConfig,
    DiscardPolicy,
    ObjectStoreConfig,
    RetentionPolicy,
    StorageType,
    StoreCompression,
    StreamConfig,
)
from nats.js.errors import APIError, BadRequestError, NotFoundError

from swarm_common.errors import BrokerUnavailable, SwarmError
from swarm_common.events.subjects import REQUESTS

if TYPE_CHECKING:
    from swarm_common.log.broker import Broker

log = structlog.get_logger(__name__)

STREAM = "SWARM"
TIMER_STREAM = "SWARM_TIMERS"
DEAD_STREAM = "SWARM_DEAD"
ADVISORY_STREAM = "SWARM_ADVISORIES"
BLOBS = "SWARM_BLOBS"
SNAPSHOTS = "SWARM_SNAPSHOTS"
_DAY_S = 86_400.0


def stream_configs(*, max_bytes: int = -1, replicas: int = 1) -> list[StreamConfig]:
    """Return the streams as they should be; ``max_bytes`` bounds the log, which then refuses rather than forgets."""
    return [
        StreamConfig(
            name=STREAM,
            description="Swarmbench: the log",
            subjects=[REQUESTS, "swarm.>"],
            retention=RetentionPolicy.LIMITS,
            storage=StorageType.FILE,
            discard=DiscardPolicy.NEW,
            max_bytes=max_bytes,
            max_age=0.0,
            max_msgs=-1,
            num_replicas=replicas,
            duplicate_window=600.0,
            deny_delete=True,
            allow_direct=True,
            allow_atomic=True,
            compression=StoreCompression.S2,
        ),
        StreamConfig(
            name=TIMER_STREAM,
            description="Swarmbench: what runs wait for",
            subjects=["timer.>"],
            retention=RetentionPolicy.LIMITS,
            storage=StorageType.FILE,
            max_age=7 * _DAY_S,
            num_replicas=replicas,
            allow_direct=True,
            # A stream of its own: the broker has no schedules in a stream that refuses when full, as the log does.
            allow_msg_schedules=True,
            allow_rollup_hdrs=True,  # the broker sets it with schedules
        ),
        StreamConfig(
            name=DEAD_STREAM,
            description="Swarmbench: what could not be handled, with its original bytes",
            subjects=["dead.>"],
            retention=RetentionPolicy.LIMITS,
            storage=StorageType.FILE,
            max_age=30 * _DAY_S,
            num_replicas=replicas,
            duplicate_window=600.0,
            allow_direct=True,
            allow_rollup_hdrs=True,
            compression=StoreCompression.S2,
        ),
        StreamConfig(
            name=ADVISORY_STREAM,
            description="Swarmbench: deliveries that JetStream gave up",
            subjects=[
                f"$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{STREAM}.>",
                f"$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.{STREAM}.>",
            ],
            retention=RetentionPolicy.LIMITS,
            storage=StorageType.FILE,
            max_age=7 * _DAY_S,
            num_replicas=replicas,
            allow_direct=True,
        ),
    ]


async def ensure_streams(
    broker: Broker, *, max_bytes: int = -1, replicas: int = 1, timeout_s: float = 30.0
) -> None:
    """Create the streams and stores that are missing, and update those whose settings differ.

    Raises :class:`BrokerUnavailable` where JetStream does not answer in ``timeout_s``.
    """
    deadline = asyncio.get_running_loop().time() + timeout_s
    for config in stream_configs(max_bytes=max_bytes, replicas=replicas):
        await _until(deadline, lambda config=config: _ensure_stream(broker, config))
    await _until(deadline, lambda: _ensure_stores(broker, replicas))


async def _until(deadline: float, step: Any) -> None:
    """Repeat ``step`` while JetStream comes up or another instance creates the same thing."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            await step()
        except (TimeoutError, nats.errors.Error) as error:
            if (
                isinstance(error, APIError)
                and error.code not in (None, 503)
                and not isinstance(error, BadRequestError)
            ):
                raise SwarmError(f"JetStream refuses a stream as this version wants it: {error}") from error
            if loop.time() > deadline:
                raise BrokerUnavailable(
                    f"JetStream does not answer: {error or type(error).__name__}"
                ) from error
            await asyncio.sleep(0.1)
        else:
            return


async def _ensure_stream(broker: Broker, config: StreamConfig) -> None:
    wanted = config.as_dict()
    if not config.duplicate_window:
        del wanted["duplicate_window"]  # the broker's own
    try:
        info = await broker.js.stream_info(config.name or "")
    except NotFoundError:
        await broker.js.add_stream(config)
        log.info("stream_created", stream=config.name)
        return
    have = info.config.as_dict()
    drift = {key: (have.get(key), value) for key, value in wanted.items() if have.get(key) != value}
    if drift:
        # Applied only where something differs: an update for nothing has cost others delayed redeliveries.
        await broker.js.update_stream(config)
        log.warning(
            "stream_updated", stream=config.name, drift={k: f"{a} -> {b}" for k, (a, b) in drift.items()}
        )


async def _ensure_stores(broker: Broker, replicas: int) -> None:
    for name in (BLOBS, SNAPSHOTS):
        try:
            await broker.js.stream_info(f"OBJ_{name}")
        except NotFoundError:
            await broker.js.create_object_store(
                name,
                config=ObjectStoreConfig(
                    description="Swarmbench", storage=StorageType.FILE, replicas=replicas
                ),
            )


def drift(have: ConsumerConfig, want: ConsumerConfig) -> dict[str, tuple[Any, Any]]:
    """Return what differs between a durable consumer as it is and as it should be."""
    present, wanted = have.as_dict(), want.as_dict()
    return {
        key: (present.get(key), value) for key, value in wanted.items() if value and present.get(key) != value
    }
