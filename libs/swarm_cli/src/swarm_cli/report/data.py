"""The report as data: JSON, CSV, SQLite."""

from __future__ import annotations

import contextlib
import csv
import io
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from swarm_common.events import Event
from swarm_common.events.envelope import plain
from swarm_common.runs import RunView

METRIC_FIELDS = (
    "run", "suite", "scenario", "session", "status", "metric", "value", "unit", "better", "n", "low", "high",
    "estimator", "reason", "target_op", "target", "met",
)  # fmt: skip

_SCHEMA = """
CREATE TABLE run (run TEXT PRIMARY KEY, suite TEXT, scenario TEXT, session TEXT, status TEXT, trace_id TEXT,
  started TEXT, ended TEXT, duration_s REAL, digest TEXT, seed INTEGER, params TEXT, result TEXT, reason TEXT);
CREATE TABLE metrics (run TEXT, suite TEXT, scenario TEXT, session TEXT, status TEXT, metric TEXT, value REAL,
  unit TEXT, better TEXT, n INTEGER, low REAL, high REAL, estimator TEXT, reason TEXT, target_op TEXT,
  target REAL, met INTEGER);
CREATE TABLE tasks (run TEXT, task TEXT, kind TEXT, service TEXT, status TEXT, attempts INTEGER, scheduled TEXT,
  concluded TEXT, duration_us INTEGER, source TEXT, event TEXT, error TEXT);
CREATE TABLE suggestions (run TEXT, kind TEXT, subject TEXT, text TEXT, saves_cpu_s REAL, gain REAL);
CREATE TABLE events (seq INTEGER PRIMARY KEY, id TEXT, run TEXT, type TEXT, source TEXT, time TEXT,
  duration_us INTEGER, causation TEXT, traceparent TEXT, data TEXT);
CREATE INDEX events_by_type ON events (type);
"""


def as_json(view: RunView, events: Sequence[Event]) -> bytes:
    """Return summary and events as one JSON document."""
    document = {"summary": view.summary(), "events": [_event(event) for event in events]}
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def as_csv(view: RunView, _events: Sequence[Event]) -> bytes:
    """Return the metrics, a row each (several where a metric has several targets), with a header."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(METRIC_FIELDS)
    writer.writerows(metric_rows(view))
    return text.getvalue().encode()


def metric_rows(view: RunView) -> list[tuple[Any, ...]]:
    """Return the metrics as rows of :data:`METRIC_FIELDS`."""
    head = (view.run, view.suite, view.scenario, view.session, view.status)
    rows: list[tuple[Any, ...]] = []
    for one in view.metrics:
        own = (one.name, one.value, one.unit, one.better, one.n, one.low, one.high, one.estimator, one.reason)
        judged: list[tuple[Any, ...]] = [
            (t.op, t.target, t.met) for t in view.targets if t.metric == one.name
        ]
        rows += [(*head, *own, *target) for target in judged or [(None, None, None)]]
    return rows


def write_sqlite(path: Path, view: RunView, events: Sequence[Event]) -> None:
    """Write a SQLite database with the tables run, metrics, tasks, suggestions, events; an old one is replaced."""
    path.unlink(missing_ok=True)
    tables: dict[str, Sequence[tuple[Any, ...]]] = {
        "run": [_run_row(view)],
        "metrics": metric_rows(view),
        "tasks": [(view.run, *msgspec.structs.astuple(task)) for task in view.tasks.values()],
        "suggestions": [
            (view.run, one.kind, one.subject, one.text, one.saves_cpu_s, one.gain) for one in view.suggestions
        ],
        "events": [_event_row(event) for event in events],
    }
    with contextlib.closing(sqlite3.connect(path)) as base, base:
        base.executescript(_SCHEMA)
        for name, rows in tables.items():
            if rows:
                marks = ", ".join("?" * len(rows[0]))
                base.executemany(f"INSERT INTO {name} VALUES ({marks})", rows)  # noqa: S608 - names of our own


def _run_row(view: RunView) -> tuple[Any, ...]:
    return (
        view.run, view.suite, view.scenario, view.session, view.status, view.trace_id, view.started, view.ended,
        view.duration_s, view.digest or None, view.seed, _text(view.params), _text(view.result), view.reason,
    )  # fmt: skip


def _event_row(event: Event) -> tuple[Any, ...]:
    return (
        event.seq, event.id, event.run, event.type, event.source, event.time, event.duration_us, event.causation,
        event.traceparent, _text(event.data),
    )  # fmt: skip


def _event(event: Event) -> dict[str, Any]:
    """Return the event as JSON, with its data where they lay apart."""
    found = plain(event)
    if event.dataref:
        found["data"] = msgspec.to_builtins(event.data)
    return found


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
