"""Clocks of several hosts: how far each service's is from this machine's, and what that means for a run's waits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import nats.errors

from swarm_common import Client, clock
from swarm_common.events import Event
from swarm_common.live import ClockReading, clock_subject
from swarm_common.timeline import service_of
from swarm_statistics.clocks import Exchange, Offset, between, estimate

#: Each instance is asked so often; the quickest answer counts.
TIMES = 16
_PATIENCE_S = 0.5


class Hop(msgspec.Struct, frozen=True):
    """A wait between two hosts: what of it is only that their clocks differ."""

    offset_us: float
    """How much the clock of who waited is ahead of that of who wrote the cause: the wait is too long by this."""
    bound_us: float
    """The offset is known within this."""


def instance_of(event: Event) -> str:
    """Return who wrote an event: the host's name and the process, ``host-123``."""
    return event.source.rpartition("/")[2]


def host_of(instance: str) -> str:
    """Return the host of an instance."""
    return instance.rpartition("-")[0]


def writers(events: Iterable[Event]) -> dict[str, str]:
    """Return the service of each instance that wrote an event."""
    parts = {instance_of(event): service_of(event) for event in events if event.source.count("/") == 3}
    return dict(sorted(parts.items()))


def several_hosts(instances: Iterable[str]) -> bool:
    """Say whether instances run on more than one host, so that their times come from more than one clock."""
    return len({host_of(instance) for instance in instances}) > 1


async def offsets(swarm: Client, instances: Mapping[str, str]) -> dict[str, Offset]:
    """Return how much the clock of each instance is ahead of ours; one that does not answer is left out."""
    found = await asyncio.gather(*(_offset(swarm, service, name) for name, service in instances.items()))
    return {name: offset for name, offset in zip(instances, found, strict=True) if offset is not None}


async def _offset(swarm: Client, service: str, instance: str) -> Offset | None:
    subject = clock_subject(service, instance)
    exchanges = []
    for _ in range(TIMES):
        asked = clock.now_ns()
        try:
            reply = await swarm.broker.nc.request(subject, b"", timeout=_PATIENCE_S)
        except (nats.errors.Error, TimeoutError):
            break
        heard = clock.now_ns()
        with contextlib.suppress(msgspec.DecodeError):
            there = msgspec.json.decode(reply.data, type=ClockReading)
            exchanges.append(Exchange(asked, there.received, there.replied, heard))
    try:
        return estimate(exchanges)
    except ValueError:
        return None


def hops(events: Sequence[Event], found: Mapping[str, Offset]) -> dict[str, Hop]:
    """Return, by the id of the event, the waits whose two ends were timed by clocks of different hosts."""
    by_id = {event.id: event for event in events}
    hops = {}
    for event in events:
        cause = by_id.get(event.causation)
        if cause is None or host_of(instance_of(cause)) == host_of(instance_of(event)):
            continue
        first, second = found.get(instance_of(cause)), found.get(instance_of(event))
        if first is not None and second is not None:
            apart = between(first, second)
            hops[event.id] = Hop(apart.offset_ns / 1000, apart.bound_ns / 1000)
    return hops
