"""Live metrics: what a service uses right now, on core NATS subjects and never in the log.

Every instance publishes one :class:`LiveMetrics` each ``sample_s`` seconds on ``live.metrics.<service>.<instance>``.
Who listens sees it; nobody waits for it, and a message that is lost is lost. docs/collection.md says what each costs.
"""

from __future__ import annotations

import re

import msgspec

from swarm_common.histograms import EMPTY, Histogram

#: Every instance of every service.
EVERYBODY = "live.metrics.*.*"
_NO_TOKEN = re.compile(r"[^A-Za-z0-9_-]")


class Children(msgspec.Struct, frozen=True, kw_only=True):
    """The processes that a service started, theirs included: where ``cpu`` work is done."""

    processes: int
    cpu_s: float
    """Processor time of all, those that have ended included, since the service began; counted in ticks of 10 ms. A new
    process is found within thirty samples."""
    rss_bytes: int
    """Sum over those that live; pages that they share count once for each."""


class LiveMetrics(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One sample of one instance. What could not be read on its system is ``None``.

    Totals count from the start of the process and go on over lost messages; histograms tell of ``interval_s`` alone, so
    that those of several messages and instances merge (:func:`swarm_common.histograms.merge`).
    """

    service: str
    instance: str
    pid: int
    number: int
    """1, 2, 3...: a gap is a message that was lost."""
    time: str
    """When it was taken, by the clock of that host: RFC 3339, UTC, microseconds."""
    interval_s: float
    """Since the sample before; of the first, since the service began to sample."""
    cpu_s: float
    """Processor time of the process, user and system, since it began."""
    cpu_share: float
    """Processor time of the process in the interval, over the interval: 1 is one whole core."""
    rss_bytes: int | None = None
    """Memory that the process holds in RAM now."""
    rss_peak_bytes: int | None = None
    """The most it ever held."""
    uss_bytes: int | None = None
    """Memory that only this process holds; read every thirtieth sample, the first time with the fourth."""
    threads: int | None = None
    children: Children | None = None
    """``None`` until they were looked for, with the fourth sample."""
    gc_collections: int = 0
    """Garbage collections of the interpreter since sampling began."""
    gc_pause_us: float = 0.0
    """How long they stopped the process in all."""
    gc_pauses_us: Histogram = EMPTY
    """Those of the interval, one by one."""
    loop_lag_us: Histogram = EMPTY
    """How much later than due the event loop ran a timer, several times in the interval."""
    task_us: Histogram = EMPTY
    """Tasks that ended in the interval: from delivery to the appended result."""
    handled: int = 0
    """Tasks and reactions since the service began."""
    failures: int = 0
    in_flight: int = 0
    """Deliveries that are being worked on."""
    sampling_us: float = 0.0
    """What taking the sample before this one cost: processor time of the thread that took it."""


_decoder = msgspec.json.Decoder(LiveMetrics)


def subject_of(service: str, instance: str) -> str:
    """Return the subject of one instance; what cannot stand in a subject, as a dot in a host name, becomes ``_``."""
    return f"live.metrics.{service}.{token_of(instance)}"


def clock_subject(service: str, instance: str) -> str:
    """Return where one instance is asked what its clock shows; the answer is a :class:`ClockReading`."""
    return f"query.{service}.clock.{token_of(instance)}"


def token_of(instance: str) -> str:
    """Return the token of a subject that stands for an instance."""
    return _NO_TOKEN.sub("_", instance)


class ClockReading(msgspec.Struct, frozen=True):
    """What an instance's clock showed: nanoseconds since 1970."""

    received: int
    """When it took the question up."""
    replied: int


def encode(sample: LiveMetrics) -> bytes:
    """Return the JSON of a sample."""
    return msgspec.json.encode(sample)


def decode(body: bytes) -> LiveMetrics | None:
    """Return the sample in a message; ``None`` for a body that is none, as of another version."""
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
