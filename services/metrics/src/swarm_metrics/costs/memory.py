"""What it costs to keep a view of the log over sessions: the service's own projection, on a file of its own.

Work comes in equal portions: runs are made as events, encoded, kept in a file as the log does, decoded, applied to the
view, and asked for. After each portion memory is read. Then sessions change: the view is opened again as it lies there,
and for comparison made anew from the log.
"""

from __future__ import annotations

import gc
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

import msgspec

from swarm_common.events import Event, decode, encode
from swarm_common.runtime.collecting import GcPauses
from swarm_common.runtime.host import collect_rarely
from swarm_common.runtime.processes import OwnProcess
from swarm_metrics import queries
from swarm_metrics.costs.runs import run_events
from swarm_metrics.projection import Projection

T = TypeVar("T")

#: Runs in a portion of single work.
RUNS = 3
#: All garbage is collected each so many portions, so that every block of samples holds a collection.
COLLECT_EVERY = 8
_TURNS, _REBUILDS, _BATCH, _MOST_PLACES = 20, 3, 500, 5


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be measured."""

    portions: int
    work: int
    """1, or 2 for twice the runs in each portion."""
    directory: str
    """Where view and log may lie; whoever orders removes it."""
    explain: bool = False
    """Trace allocations: what grew is told, and times are of no use."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where memory was taken that was not given back."""

    where: str
    bytes: int
    blocks: int


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What was found."""

    events: int
    event_bytes: int
    rows: int
    """Runs in the view."""
    view_bytes: int
    rss: list[int]
    """Bytes after each portion; empty where the system does not tell."""
    collections: list[int]
    """Portions after which all garbage was collected."""
    times: dict[str, list[float]]
    """By what was timed: microseconds."""
    pause_share: float
    """The part of the time of all work that collections took which came by themselves."""
    grew: list[Place]


def work(order: Order) -> Found:
    """Measure as ordered."""
    view, log = Path(order.directory) / "view.sqlite", Path(order.directory) / "log.jsonl"
    collect_rarely()  # as services do
    found = _portions(order, view, log)
    if not order.explain:
        found.times["rebuild"] = [_rebuilt(log, view.with_name(f"anew-{turn}")) for turn in range(_REBUILDS)]
        for _ in range(_TURNS):
            for name, took in _reopened(view).items():
                found.times.setdefault(name, []).append(took)
    return found


def _timed(times: list[float], part: Callable[[], T], many: int = 1) -> T:
    began = time.perf_counter_ns()
    done = part()
    times.append((time.perf_counter_ns() - began) / 1000 / many)
    return done


def _portions(order: Order, view: Path, log: Path) -> Found:
    """Do the work, portion after portion, and read memory after each."""
    times: dict[str, list[float]] = {name: [] for name in ("encode", "decode", "write", "query", "collect")}
    rss, collections, explained = [], [], _Explained() if order.explain else None
    process, pauses, kept = OwnProcess(), GcPauses(), Projection(view)
    many = size = 0
    began = time.perf_counter_ns()
    pauses.begin()
    with log.open("wb") as stream:
        for portion in range(order.portions):
            lines = _portion(order, portion, kept, many, times)
            stream.writelines(line + b"\n" for line in lines)
            many, size = many + len(lines), size + sum(map(len, lines))
            if portion % COLLECT_EVERY == COLLECT_EVERY - 1:
                pauses.end()
                _timed(times["collect"], gc.collect)
                pauses.begin()
                collections.append(portion)
            if (memory := process.rss_bytes()) is not None:
                rss.append(memory)
            if explained is not None and portion == order.portions // 3:
                explained.begin()
    took_us = (time.perf_counter_ns() - began) / 1000
    pauses.end()
    grew = [] if explained is None else explained.end()
    process.close()
    kept.close()
    return Found(
        events=many,
        event_bytes=size,
        rows=order.portions * RUNS * order.work,
        view_bytes=view.stat().st_size,
        rss=rss,
        collections=collections,
        times=times,
        pause_share=pauses.total_us / (took_us - sum(times["collect"])),
        grew=grew,
    )


def _portion(
    order: Order, portion: int, kept: Projection, seq: int, times: dict[str, list[float]]
) -> Sequence[bytes]:
    """Do one portion of work; return the lines of the log that it made."""
    first = portion * RUNS * order.work
    made = [event for number in range(first, first + RUNS * order.work) for event in run_events(number)]
    lines = _timed(times["encode"], lambda: [encode(event) for event in made], len(made))
    read = _timed(times["decode"], lambda: list(_decoded(lines, seq)), len(made))
    _timed(times["write"], lambda: kept.apply(read), len(made))
    _timed(times["query"], lambda: queries.runs(kept.connection, {"limit": 20}))
    return lines


def _decoded(lines: Sequence[bytes], seq: int) -> Iterator[Event]:
    return (decode(line, seq + number) for number, line in enumerate(lines, 1))


def _reopened(view: Path) -> dict[str, float]:
    """Open the view as another session finds it; return how long that, its first answer and the next took."""
    times: dict[str, list[float]] = {"open": [], "first": [], "again": []}
    kept = _timed(times["open"], lambda: Projection(view))
    for name in ("first", "again"):
        _timed(times[name], lambda: queries.runs(kept.connection, {"limit": 20}))
    kept.close()
    return {name: took[0] for name, took in times.items()}


def _rebuilt(log: Path, view: Path) -> float:
    """Make the view anew from the log; return the microseconds to its first answer."""
    times: list[float] = []

    def rebuild() -> Projection:
        fresh, seq = Projection(view), 0
        with log.open("rb") as stream:
            while lines := [line.rstrip(b"\n") for line in islice(stream, _BATCH)]:
                fresh.apply(_decoded(lines, seq))
                seq += len(lines)
        queries.runs(fresh.connection, {"limit": 20})
        return fresh

    _timed(times, rebuild).close()
    return times[0]


class _Explained:
    """What grew from the end of the warm-up to the end: by the line of code that took it, and by the type of objects.

    Lines are those of ``tracemalloc``; types are of objects that the collector of garbage tracks, less what they hold.
    """

    def __init__(self) -> None:
        tracemalloc.start()

    def begin(self) -> None:
        self._before, self._types = tracemalloc.take_snapshot(), _by_type()

    def end(self) -> list[Place]:
        gc.collect()
        after, types = tracemalloc.take_snapshot(), _by_type()
        tracemalloc.stop()
        grown_types = [
            Place(where=f"objects of type {name}", bytes=size, blocks=many)
            for name, (many, size) in _less(types, self._types).items()
        ]
        return self._lines(after) + sorted(grown_types, key=lambda one: -one.bytes)[:_MOST_PLACES]

    def _lines(self, after: tracemalloc.Snapshot) -> list[Place]:
        grown = [one for one in after.compare_to(self._before, "lineno") if one.size_diff > 0]
        return [
            Place(
                where=f"{_short(one.traceback[0].filename)}:{one.traceback[0].lineno}",
                bytes=one.size_diff,
                blocks=one.count_diff,
            )
            for one in grown[:_MOST_PLACES]
        ]


def _by_type() -> dict[str, tuple[int, int]]:
    """Return how many objects of each type the collector of garbage tracks, and their bytes."""
    found: dict[str, tuple[int, int]] = {}
    for one in gc.get_objects():
        kind = type(one)
        name = f"{kind.__module__}.{kind.__qualname__}"
        many, size = found.get(name, (0, 0))
        found[name] = many + 1, size + sys.getsizeof(one, 0)
    return found


def _less(
    after: dict[str, tuple[int, int]], before: dict[str, tuple[int, int]]
) -> dict[str, tuple[int, int]]:
    """Return by how much each type grew, of those that did."""
    found = {}
    for name, (many, size) in after.items():
        before_many, before_size = before.get(name, (0, 0))
        if size > before_size and not name.startswith("tracemalloc."):
            found[name] = many - before_many, size - before_size
    return found


def _short(filename: str) -> str:
    """Return a file's name without where it is installed, which is nobody's business."""
    return "/".join(Path(filename).parts[-2:])
