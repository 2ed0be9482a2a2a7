"""The samples that events tell, as rows: every value, and what a run's values of one quantity come to."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Sequence

import msgspec

from swarm_common.events import Event, Samples
from swarm_common.events.agent import ModelTrained
from swarm_metrics import spread

Key = tuple[str, str, str, str, str, str]
"""Run, name, of, unit, clock, better."""


class _Tally(msgspec.Struct):
    n: int
    total: float
    low: float
    high: float
    counts: dict[int, int]


class SampleRows:
    """Writes samples within one transaction; :meth:`flush` ends what it keeps of it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._tallies: dict[Key, _Tally] = {}

    def write(self, event: Event) -> None:
        """Write the samples of an event. An event that came before, as in an import, is not counted again."""
        found = [one for one in _told_by(event, self._kind_of) if one.values]
        if not found or self._known(event.id):
            return
        task = getattr(event.data, "task", "")
        for part, one in enumerate(found):
            self._connection.execute(
                "INSERT INTO sets VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    event.seq,
                    part,
                    event.run,
                    event.id,
                    task,
                    one.name,
                    one.of,
                    one.unit,
                    one.clock,
                    one.better,
                    event.time,
                    len(one.values),
                ),
            )
            self._connection.executemany(
                "INSERT INTO samples VALUES (?, ?, ?, ?)",
                [(event.seq, part, place, value) for place, value in enumerate(one.values)],
            )
            self._count((event.run, one.name, one.of, one.unit, one.clock, one.better), one.values)

    def forget(self, run: str) -> None:
        """Remove all samples of a run."""
        execute = self._connection.execute
        if execute("SELECT 1 FROM sets WHERE run = ? LIMIT 1", (run,)).fetchone() is None:
            return
        execute("DELETE FROM samples WHERE (seq, part) IN (SELECT seq, part FROM sets WHERE run = ?)", (run,))
        execute("DELETE FROM sets WHERE run = ?", (run,))
        execute("DELETE FROM summaries WHERE run = ?", (run,))
        self._tallies = {key: tally for key, tally in self._tallies.items() if key[0] != run}

    def flush(self) -> None:
        """Write the summaries that have changed."""
        self._connection.executemany(
            "INSERT OR REPLACE INTO summaries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (*key, tally.n, tally.total, tally.low, tally.high, spread.pack(tally.counts))
                for key, tally in self._tallies.items()
            ],
        )
        self._tallies.clear()

    def _count(self, key: Key, values: Sequence[float]) -> None:
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = self._stored(key)
        tally.n += len(values)
        # One addition an event, in the order of the log: wherever a transaction ends, the sum is the same to the bit.
        tally.total += math.fsum(values)
        low, high = min(values), max(values)
        tally.low, tally.high = min(tally.low, low), max(tally.high, high)
        counts, bucket = tally.counts, spread.bucket
        for value in values:
            index = bucket(value)
            counts[index] = counts.get(index, 0) + 1

    def _stored(self, key: Key) -> _Tally:
        row = self._connection.execute(
            "SELECT n, total, low, high, spread FROM summaries WHERE (run, name, of, unit, clock, better)"
            " = (?, ?, ?, ?, ?, ?)",
            key,
        ).fetchone()
        if row is None:
            return _Tally(0, 0.0, math.inf, -math.inf, {})
        return _Tally(row["n"], row["total"], row["low"], row["high"], spread.unpack(row["spread"]))

    def _known(self, event: str) -> bool:
        found = self._connection.execute("SELECT 1 FROM sets WHERE event = ? LIMIT 1", (event,))
        return found.fetchone() is not None

    def _kind_of(self, run: str, task: str) -> str:
        """Return the kind of a task; empty where nothing says that it was scheduled."""
        found = self._connection.execute("SELECT kind FROM tasks WHERE run = ? AND task = ?", (run, task))
        row = found.fetchone()
        return "" if row is None else str(row["kind"])


def _told_by(event: Event, kind_of: Callable[[str, str], str]) -> list[Samples]:
    """Return what an event tells: how long its task took, how long fits took, and its own ``samples``."""
    data = event.data
    found = []
    if data is not None and data.concludes and event.duration_us is not None:
        kind = kind_of(event.run, getattr(data, "task", ""))
        found.append(Samples(name="duration", unit="us", values=(event.duration_us,), of=kind))
    if isinstance(data, ModelTrained):
        found += _of_training(data)
    own = getattr(data, "samples", ())
    return found + [one for one in own if isinstance(one, Samples)] if isinstance(own, tuple) else found


def _of_training(data: ModelTrained) -> list[Samples]:
    seconds = {
        "fit": ((data.fit_s,), "perf_counter_ns"),
        "score": ((data.score_s,), "perf_counter_ns"),
        "cpu": ((data.cpu_s,), "process_time_ns"),
        "wait": ((data.waited_s,), "perf_counter_ns"),
        "fold": (data.fold_s, "perf_counter_ns"),
    }
    return [
        Samples(name=name, unit="s", values=values, clock=clock, of=data.model)
        for name, (values, clock) in seconds.items()
    ]
