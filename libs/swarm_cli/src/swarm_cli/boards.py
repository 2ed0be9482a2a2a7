"""What `swarm watch` keeps of what it sees: of each service what it uses, of a run how it goes on. No terminal here."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

import msgspec

from swarm_cli import render
from swarm_cli.progress import counts, describe
from swarm_common import clock
from swarm_common.events import Event, Metric
from swarm_common.histograms import EMPTY, Histogram, merge, quantile
from swarm_common.live import LiveMetrics
from swarm_common.runs import RunView, new_view

#: How many values a sparkline has.
WIDTH = 30
#: An instance that is silent for so many of its intervals is not shown.
_MISSED = 5
_MOST_EVENTS = 200


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """What a service's instances use together."""

    instances: int
    cpu: float
    """Processor time a second, that of their child processes included: 1 is one core."""
    rss_bytes: int | None
    lag_us: float | None
    """99 of 100 timers were late by no more than this, in the last interval."""
    in_flight: int
    handled: int
    failures: int


class _Instance(msgspec.Struct):
    heard: float
    sample: LiveMetrics
    children_cpu: float = 0.0


class Services:
    """What each service uses now, and what it used before. Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._instances: dict[tuple[str, str], _Instance] = {}
        self._past: dict[str, deque[Use | None]] = {}

    def hear(self, sample: LiveMetrics, now: float) -> None:
        """Take what an instance tells."""
        key = (sample.service, sample.instance)
        before = self._instances.get(key)
        share = 0.0
        if before and before.sample.children and sample.children and sample.interval_s > 0:
            # Their total is read at each sample, but may be of fewer processes: one that ended leaves its time behind.
            share = max(0.0, sample.children.cpu_s - before.sample.children.cpu_s) / sample.interval_s
        self._instances[key] = _Instance(now, sample, share)

    def tick(self, now: float) -> None:
        """Add what each service uses now to its past."""
        self._instances = {
            key: one
            for key, one in self._instances.items()
            if now - one.heard <= _MISSED * max(one.sample.interval_s, 0.1)
        }
        for service in {service for service, _ in self._instances} | set(self._past):
            past = self._past.setdefault(service, deque(maxlen=WIDTH))
            past.append(_together(one for (name, _), one in self._instances.items() if name == service))

    def past(self) -> dict[str, list[Use | None]]:
        """Return what each service used, by name, the latest last; ``None`` where nothing was heard of it."""
        return {service: list(self._past[service]) for service in sorted(self._past)}


def _together(instances: Iterable[_Instance]) -> Use | None:
    found = list(instances)
    if not found:
        return None
    lag: Histogram = EMPTY
    for one in found:
        lag = merge(lag, one.sample.loop_lag_us)
    known = [one.sample.rss_bytes for one in found if one.sample.rss_bytes is not None]
    below = [one.sample.children.rss_bytes for one in found if one.sample.children]
    return Use(
        instances=len(found),
        cpu=sum(one.sample.cpu_share + one.children_cpu for one in found),
        rss_bytes=sum(known) + sum(below) if known else None,
        lag_us=quantile(lag, 0.99),
        in_flight=sum(one.sample.in_flight for one in found),
        handled=sum(one.sample.handled for one in found),
        failures=sum(one.sample.failures for one in found),
    )


class Events:
    """The latest events, as lines."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_MOST_EVENTS)
        self.seen = 0

    def add(self, event: Event, *, with_run: bool) -> None:
        """Take an event."""
        self.seen += 1
        self._lines.append(event_line(event, with_run=with_run))

    def last(self, most: int) -> list[str]:
        """Return at most so many lines, the latest last."""
        return list(self._lines)[-most:] if most > 0 else []


def event_line(event: Event, *, with_run: bool) -> str:
    """Return an event as a line: when, where in the log, what, by whom."""
    who = event.source.removeprefix("/swarm/")
    run = f"{event.run}  " if with_run else ""
    return printable(f"{render.clock_time(event.time)}  {event.seq:>8}  {run}{describe(event)}  [{who}]")


def printable(text: str) -> str:
    """Return a text without what steers a terminal: it comes from a log that others write to."""
    return "".join(one if one.isprintable() else "·" for one in text)


def live_line(sample: LiveMetrics) -> str:
    """Return what an instance tells of itself as a line."""
    rss = "-" if sample.rss_bytes is None else render.size(sample.rss_bytes)
    lag = quantile(sample.loop_lag_us, 0.99)
    return (
        f"{render.clock_time(sample.time)}  live  {sample.service}/{sample.instance}  cpu {sample.cpu_share:.0%}"
        f"  rss {rss}  lag p99 {'-' if lag is None else render.microseconds(lag)}  in flight {sample.in_flight}"
        f"  handled {sample.handled}  failures {sample.failures}"
    )


class Progress:
    """How a run goes on: its view, when its tasks ended, and the metrics that its events have told so far."""

    def __init__(self, run: str) -> None:
        self.view: RunView = new_view(run)
        self.metrics: dict[str, Metric] = {}
        self._began_ns = 0
        self._now_ns = 0
        self._ended_ns: list[int] = []

    def apply(self, event: Event) -> None:
        """Take an event of the run."""
        self.view.apply(event)
        told = getattr(event.data, "metrics", ())
        for one in told if isinstance(told, tuple) else ():
            if isinstance(one, Metric):
                self.metrics[one.name] = one
        try:
            at = clock.parse_ns(event.time)
        except ValueError:
            return
        self._began_ns = self._began_ns or at
        self._now_ns = max(self._now_ns, at)
        if event.data is not None and event.data.concludes:
            self._ended_ns.append(at)

    @property
    def counts(self) -> str:
        """How many tasks are done, of how many."""
        return counts(self.view)

    def throughput(self) -> tuple[list[float], float]:
        """Return tasks a second in equal stretches, from the first to the last event, and how long each is in s."""
        return rates([at - self._began_ns for at in self._ended_ns], self._now_ns - self._began_ns)


def rates(ended_ns: Sequence[int], whole_ns: int, width: int = WIDTH) -> tuple[list[float], float]:
    """Return how many ended a second in ``width`` equal stretches of ``whole_ns``, and how long each is in seconds."""
    if whole_ns <= 0:
        return [], 0.0
    found = [0] * width
    for at in ended_ns:
        found[min(width - 1, max(0, at * width // whole_ns))] += 1
    length_s = whole_ns / width / 1e9
    return [count / length_s for count in found], length_s
