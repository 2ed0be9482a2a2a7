"""What `swarm compare` and `swarm history` know of a run, from the log or from a file."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from swarm_cli.lookup import find_run, session_of, session_runs
from swarm_common.client import Client
from swarm_common.errors import InvalidEvent, NotFound, UsageError
from swarm_common.events import Better, Event, Host, Samples
from swarm_common.events.benchmark import Rejected, Started
from swarm_common.log.files import read_events
from swarm_common.runs import RunView, fold

#: Clocks of samples that count and do not time: the same work gives the same numbers, wherever it is done.
_COUNTED = frozenset({"count"})


class Measure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One metric of one run. ``value`` is ``None`` where it could not be measured."""

    name: str
    value: float | None
    unit: str
    better: Better
    timing: bool
    low: float | None = None
    """Ends of the run's own interval."""
    high: float | None = None
    samples: int | None = None
    """Single measurements inside the run: they show its spread, and are no runs."""
    reason: str = ""


class Facts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A run, as far as a comparison asks."""

    run: str
    suite: str = ""
    scenario: str = ""
    params: dict[str, Any] = {}
    seed: int = 0
    session: str = ""
    status: str = "completed"
    started: str = ""
    """RFC 3339."""
    start: str = ""
    """Which start of the services it belongs to; runs of one start share what that start was like."""
    host: Host | None = None
    deterministic: bool = False
    digest: str = ""
    metrics: tuple[Measure, ...] = ()
    reason: str = ""


def facts_of(run: str, events: Sequence[Event]) -> Facts:
    """Return the facts of a run from its events."""
    view = fold(run, events)
    return Facts(
        run=run,
        suite=view.suite,
        scenario=view.scenario,
        params=view.params,
        seed=view.seed,
        session=view.session,
        status=view.status,
        started=view.started,
        start=_start(view),
        host=view.host,
        deterministic=view.deterministic,
        digest=view.digest,
        metrics=measures(view, events),
        reason=view.reason,
    )


def _start(view: RunView) -> str:
    """Return what names a start of the stack: the coordinator's instance and since when it runs."""
    return f"{view.started_by} {view.host.since if view.host is not None else ''}".strip()


def measures(view: RunView, events: Iterable[Event]) -> tuple[Measure, ...]:
    """Return the metrics of a run, and the median of each series of samples that has no metric of its name."""
    found = {
        metric.name: Measure(
            name=metric.name,
            value=metric.value,
            unit=metric.unit,
            better=metric.better,
            timing=metric.timing,
            low=metric.low,
            high=metric.high,
            reason=metric.reason,
        )
        for metric in view.metrics
    }
    series: dict[str, list[Samples]] = {}
    for event in events:
        for samples in getattr(event.data, "samples", None) or ():
            if isinstance(samples, Samples) and samples.values:
                name = f"{samples.name} {samples.of}" if samples.of else samples.name
                series.setdefault(name, []).append(samples)
    for name, parts in series.items():
        values = [value for part in parts for value in part.values]
        if name in found:
            found[name] = msgspec.structs.replace(found[name], samples=len(values))
            continue
        quarters = statistics.quantiles(values, n=4) if len(values) > 1 else None
        found[name] = Measure(
            name=name,
            value=statistics.median(values),
            unit=parts[0].unit,
            better=parts[0].better,
            timing=parts[0].clock not in _COUNTED,
            low=quarters[0] if quarters else None,
            high=quarters[2] if quarters else None,
            samples=len(values),
        )
    return tuple(found.values())


def named(text: str) -> list[str]:
    """Split what a user names a side by: runs, sessions and files, separated by commas."""
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise UsageError(
            f"{text!r} names no run, session or file between two commas", field="base", given=text
        )
    return names


def is_file(name: str) -> bool:
    """Say whether a name means a file and no run."""
    return "/" in name or name.endswith((".jsonl", ".json")) or Path(name).is_file()


def file_facts(path: Path) -> list[Facts]:
    """Return the runs of an exported file, oldest first; raises :class:`InvalidEvent` where it is no such file."""
    try:
        events = list(read_events(path))
    except InvalidEvent as error:
        raise InvalidEvent(
            f"{path} is no file of `swarm export`, nor of `swarm compare --interleave -o`: {error}",
            field="file",
            given=str(path),
        ) from None
    return _by_run(events)


def _by_run(events: Iterable[Event]) -> list[Facts]:
    runs: dict[str, list[Event]] = {}
    for event in events:
        runs.setdefault(event.run, []).append(event)
    return [
        facts_of(run, own)
        for run, own in runs.items()
        if any(isinstance(event.data, Started | Rejected) for event in own)
    ]


async def run_facts(swarm: Client, name: str) -> list[Facts]:
    """Return the runs that a name means: a session's, or the one run that is named so."""
    events = [event async for event in swarm.log.read("swarm.benchmark.*.started")]
    if name in {session_of(event) for event in events}:
        runs = await session_runs(swarm, name)
    else:
        try:
            runs = [await find_run(swarm, name)]
        except NotFound as error:
            raise NotFound(f"{name!r} is no run, no session and no file: {error}") from None
    return [facts_of(run, await swarm.events(run)) for run in runs]


async def all_facts(swarm: Client) -> list[Facts]:
    """Return every run of the log that completed, oldest first; without samples, which only its other events have."""
    ends = {event.run: event async for event in swarm.log.read("swarm.benchmark.*.completed")}
    starts = [event async for event in swarm.log.read("swarm.benchmark.*.started")]
    return [facts_of(event.run, [event, ends[event.run]]) for event in starts if event.run in ends]
