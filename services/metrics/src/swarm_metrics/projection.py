"""The SQLite view of the log. Rows come from events and from nothing else: delete the file, replay, have it back.

Rows and the position they stand for are written in one transaction, so a crash at any point leaves a view that is true
up to its position, and going on from there gives what one pass would have given.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from swarm_common.errors import InvalidEvent
from swarm_common.events import Event
from swarm_common.events.benchmark import (
    Cancelled,
    Completed,
    Failed,
    Rejected,
    Started,
    TaskAbandoned,
    TaskScheduled,
)
from swarm_common.events.task import TaskFailedData
from swarm_metrics.samples import SampleRows
from swarm_metrics.schema import SCHEMA, TABLES, VERSION


class Projection:
    """The connection that writes a view, and may read it. Use it from one thread at a time."""

    def __init__(self, path: str | Path = ":memory:") -> None:
        self.path = str(path)
        self.connection = sqlite3.connect(
            path, isolation_level=None, cached_statements=64, check_same_thread=False
        )
        self.connection.row_factory = sqlite3.Row
        # The view can be had again, so it need not survive a power cut; the order of its writes must, and does.
        self.connection.executescript(f"PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; {SCHEMA}")

    @property
    def position(self) -> int:
        """Sequence of the last event that was applied; 0 before the first."""
        row = self.connection.execute("SELECT seq FROM position").fetchone()
        return int(row["seq"]) if row else 0

    @property
    def log(self) -> str:
        """Which log the view is of; empty where nobody has said."""
        row = self.connection.execute("SELECT log FROM position").fetchone()
        return str(row["log"]) if row else ""

    def apply(self, events: Iterable[Event]) -> int:
        """Apply events in the order of the log, all or none, and return how many were new.

        Events at or before the position are skipped, so applying a stretch twice changes nothing. Raises
        :class:`InvalidEvent` for an event whose data have not been fetched.
        """
        execute = self.connection.execute
        samples = SampleRows(self.connection)
        applied = 0
        execute("BEGIN IMMEDIATE")
        try:
            position = self.position
            for event in events:
                if event.seq <= position:
                    continue
                if event.type == Started.type:
                    # A run begins once in a log. Where it begins again, it was archived and brought back from a file.
                    _forget(execute, samples, event.run)
                _write(execute, event)
                samples.write(event)
                position = event.seq
                applied += 1
            samples.flush()
            execute("UPDATE position SET seq = ?", (position,))
        except BaseException:
            execute("ROLLBACK")
            raise
        execute("COMMIT")
        return applied

    def begin(self, log: str) -> None:
        """Say which log events come from; a view of another log is emptied."""
        if self.log not in {"", log}:
            for table in TABLES:
                self.connection.execute(f"DELETE FROM {table}")  # noqa: S608 - our own table names
            self.connection.execute("UPDATE position SET seq = 0")
        self.connection.execute("UPDATE position SET log = ?", (log,))

    def dump(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return every table's rows in the order of their keys, for comparisons."""
        return {
            table: [tuple(row) for row in self.connection.execute(f"SELECT * FROM {table}")]  # noqa: S608
            for table in (*TABLES, "position")
        }

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


def file_in(directory: str) -> Path:
    """Return where a view lies in a directory, which is made where it is missing.

    A new schema gets a file of its own, so old and new can stand side by side.
    """
    path = Path(directory).expanduser()
    path.mkdir(parents=True, exist_ok=True)
    return path / f"metrics-{VERSION}.sqlite"


def beside(path: Path) -> Projection:
    """Return an empty view beside the one at ``path``, to be filled and put in its place."""
    fresh = path.with_suffix(".rebuilt")
    for left in _files_of(fresh):
        left.unlink(missing_ok=True)
    return Projection(str(fresh))


def put_in_place(fresh: Projection, path: Path) -> None:
    """Close a view and put its file in the place of the one at ``path``, which nobody may have open."""
    fresh.connection.execute("PRAGMA journal_mode = DELETE")  # one file, to be renamed
    fresh.close()
    for left in _files_of(path)[1:]:
        left.unlink(missing_ok=True)  # the other file's write-ahead log is no part of this one
    Path(fresh.path).replace(path)


def rebuild(path: Path, events: Iterable[Event], log: str = "") -> None:
    """Make a view from all events beside the one at ``path``, then put it in its place."""
    fresh = beside(path)
    try:
        fresh.begin(log)
        fresh.apply(events)
    except BaseException:
        fresh.close()
        raise
    put_in_place(fresh, path)


def _files_of(path: Path) -> list[Path]:
    return [path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))]


Execute = Callable[..., Any]


def _write(execute: Execute, event: Event) -> None:
    if event.data is None:
        raise InvalidEvent(f"event {event.id} has no data; fetch them first", field="data")
    row = _ROWS.get(event.type)
    if row is not None:
        row(execute, event, event.data)
    elif event.data.concludes:
        _concluded(execute, event, event.data)
    elif isinstance(event.data, TaskFailedData):
        _task_failed(execute, event, event.data)


def _forget(execute: Execute, samples: SampleRows, run: str) -> None:
    if execute("SELECT 1 FROM runs WHERE run = ?", (run,)).fetchone() is None:
        return
    samples.forget(run)
    execute("DELETE FROM metrics WHERE run = ?", (run,))
    execute("DELETE FROM tasks WHERE run = ?", (run,))


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _started(execute: Execute, event: Event, data: Started) -> None:
    execute(
        "INSERT OR REPLACE INTO runs (run, suite, scenario, session, status, seed, params, request, trace, started,"
        " deterministic) VALUES (?, ?, ?, ?, 'running', ?, ?, ?, ?, ?, ?)",
        (
            event.run,
            data.suite,
            data.scenario,
            data.session,
            data.seed,
            _json(data.params),
            data.request_id,
            event.trace_id,
            event.time,
            data.deterministic,
        ),
    )


def _completed(execute: Execute, event: Event, data: Completed) -> None:
    execute(
        "UPDATE runs SET status = 'completed', ended = ?, duration_s = ?, tasks = ?, attempts = ?, events = ?,"
        " digest = ?, targets = ?, result = ? WHERE run = ?",
        (
            event.time,
            data.duration_s,
            data.tasks,
            data.attempts,
            data.events,
            data.digest,
            _json(data.targets),
            _json(data.result),
            event.run,
        ),
    )
    for index, metric in enumerate(data.metrics):
        execute(
            "INSERT OR REPLACE INTO metrics VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                event.run,
                index,
                metric.name,
                metric.value,
                metric.unit,
                metric.better,
                metric.n,
                metric.low,
                metric.high,
                metric.estimator,
                metric.timing,
                _json(metric.source),
                metric.reason,
            ),
        )


def _failed(execute: Execute, event: Event, data: Failed) -> None:
    reason = f"{data.reason}: {data.error}" if data.error else data.reason
    _ended(execute, event, "failed", reason, data.duration_s)


def _cancelled(execute: Execute, event: Event, data: Cancelled) -> None:
    _ended(execute, event, "cancelled", data.reason, data.duration_s)


def _ended(execute: Execute, event: Event, status: str, reason: str, duration_s: float) -> None:
    execute(
        "UPDATE runs SET status = ?, ended = ?, duration_s = ?, reason = ? WHERE run = ?",
        (status, event.time, duration_s, reason, event.run),
    )


def _rejected(execute: Execute, event: Event, data: Rejected) -> None:
    asked = data.request
    execute(
        "INSERT OR REPLACE INTO runs (run, suite, scenario, session, status, request, trace, started, ended, reason)"
        " VALUES (?, ?, ?, ?, 'rejected', ?, ?, ?, ?, ?)",
        (
            event.run,
            str(asked.get("suite", "")),
            str(asked.get("scenario", "")),
            str(asked.get("session", "")),
            event.correlation,
            event.trace_id,
            event.time,
            event.time,
            data.reason,
        ),
    )


def _scheduled(execute: Execute, event: Event, data: TaskScheduled) -> None:
    execute(
        "INSERT INTO tasks (run, task, kind, service, lane, status, attempts, scheduled) VALUES (?, ?, ?, ?, ?,"
        " 'scheduled', ?, ?) ON CONFLICT DO UPDATE SET status = 'scheduled', attempts = excluded.attempts",
        (event.run, data.task, data.kind, data.service, data.lane, data.attempt, event.time),
    )


def _concluded(execute: Execute, event: Event, data: Any) -> None:
    execute(
        "UPDATE tasks SET status = 'done', concluded = ?, event = ?, duration_us = ? WHERE run = ? AND task = ?",
        (event.time, event.id, event.duration_us, event.run, data.task),
    )


def _task_failed(execute: Execute, event: Event, data: TaskFailedData) -> None:
    execute(
        "UPDATE tasks SET status = 'failed', failures = failures + 1, error = ? WHERE run = ? AND task = ?",
        (f"{data.error}: {data.message}", event.run, data.task),
    )


def _abandoned(execute: Execute, event: Event, data: TaskAbandoned) -> None:
    execute(
        "UPDATE tasks SET status = 'abandoned', error = ? WHERE run = ? AND task = ?",
        (data.reason, event.run, data.task),
    )


_ROWS: dict[str, Callable[[Execute, Event, Any], None]] = {
    Started.type: _started,
    Completed.type: _completed,
    Failed.type: _failed,
    Cancelled.type: _cancelled,
    Rejected.type: _rejected,
    TaskScheduled.type: _scheduled,
    TaskAbandoned.type: _abandoned,
}
