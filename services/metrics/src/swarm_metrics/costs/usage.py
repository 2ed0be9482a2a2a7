"""What every service used between two moments, by the live metrics that all of them publish."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from swarm_common import live
from swarm_common.events.metrics import Collected, Totals
from swarm_common.events.values import Samples
from swarm_common.live import LiveMetrics

#: How long to listen, in intervals of collection: each instance speaks once in one, and may be late.
_INTERVALS = 1.5
_LATE_S = 0.25
OFF = "collection is switched off (sample_s = 0): nobody says what it uses"


async def collect(nats: Nats, sample_s: float, task: str, before: Collected | None) -> Collected:
    """Return what every instance has used so far, and since ``before`` where that is given."""
    began = time.perf_counter_ns()
    heard = await _listen(nats, sample_s * _INTERVALS + _LATE_S) if sample_s else {}
    instances = tuple(
        _totals(heard[name]) for name in sorted(heard, key=lambda name: (heard[name].service, name))
    )
    samples, reason = ((), "") if before is None else used(before.instances, instances)
    return Collected(
        task=task,
        since="" if before is None else before.task,
        instances=instances,
        samples=samples,
        reason=reason if sample_s else OFF,
        elapsed_s=(time.perf_counter_ns() - began) / 1e9,
    )


async def _listen(nats: Nats, seconds: float) -> dict[str, LiveMetrics]:
    """Return the latest sample of each instance that is heard of."""
    heard: dict[str, LiveMetrics] = {}

    async def hear(message: Msg) -> None:
        if (sample := live.decode(message.data)) is not None:
            heard[sample.instance] = sample

    subscription = await nats.subscribe(live.EVERYBODY, cb=hear)
    try:
        await asyncio.sleep(seconds)  # listening is the work: there is no saying who else would speak
    finally:
        await subscription.unsubscribe()
    return heard


def _totals(sample: LiveMetrics) -> Totals:
    return Totals(
        service=sample.service,
        instance=sample.instance,
        cpu_s=sample.cpu_s,
        children_cpu_s=None if sample.children is None else sample.children.cpu_s,
        rss_peak_bytes=sample.rss_peak_bytes,
        gc_pause_us=sample.gc_pause_us,
        handled=sample.handled,
    )


def used(before: Sequence[Totals], after: Sequence[Totals]) -> tuple[tuple[Samples, ...], str]:
    """Return what each instance used between two moments, and why that cannot be said where it cannot."""
    first, last = ({one.instance: one for one in some} for some in (before, after))
    if not last:
        return (), "no service was heard of"
    if first.keys() != last.keys():
        missing = ", ".join(sorted(first.keys() ^ last.keys()))
        return (), f"not every instance was there at both ends, or heard of: {missing}"
    services: dict[str, list[str]] = {}
    for name, one in last.items():
        services.setdefault(one.service, []).append(name)
    found = []
    for service, names in services.items():
        found.append(_samples("cpu", "s", service, [_cpu(first[name], last[name]) for name in names]))
        pauses = [last[name].gc_pause_us - first[name].gc_pause_us for name in names]
        found.append(_samples("gc_pause", "us", service, pauses))
        peaks = [float(peak) for name in names if (peak := last[name].rss_peak_bytes) is not None]
        if peaks:
            found.append(_samples("rss_peak", "bytes", service, peaks))
    return tuple(found), ""


def _cpu(first: Totals, last: Totals) -> float:
    """Return the processor time between two moments; that of child processes where they were known at both."""
    below = 0.0
    if first.children_cpu_s is not None and last.children_cpu_s is not None:
        below = last.children_cpu_s - first.children_cpu_s
    return last.cpu_s - first.cpu_s + below


_CLOCKS: Mapping[str, str] = {"cpu": "process_time_ns", "gc_pause": "perf_counter_ns", "rss_peak": "VmHWM"}


def _samples(name: str, unit: str, service: str, values: Sequence[float]) -> Samples:
    return Samples(name=name, unit=unit, values=tuple(values), clock=_CLOCKS[name], of=service)
