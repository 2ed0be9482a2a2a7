"""What can be asked of the view. Each function answers one query with plain JSON values."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

import msgspec

from swarm_common.errors import NotFound, UsageError

_JSON = frozenset({"params", "targets", "result", "source"})
_FLAGS = frozenset({"deterministic", "timing"})
_LIMIT = 100
_MOST = 10_000
_STATUSES = ("running", "completed", "failed", "cancelled", "rejected")


def runs(connection: sqlite3.Connection, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return runs, the latest first: ``{"session": ..., "status": ..., "limit": 100}``, all optional.

    Each has its ``main`` metric, if it has one, and, while it runs, its ``progress`` in tasks.
    """
    _only(given, "session", "status", "limit")
    if given.get("status") and given["status"] not in _STATUSES:
        allowed = ", ".join(_STATUSES)
        raise UsageError(
            f"status is {given['status']!r}; allowed are {allowed}", field="status", allowed=allowed
        )
    where, values = _where(given, {"session": "session", "status": "status"})
    columns = "run, suite, scenario, session, status, seed, trace, started, ended, duration_s, tasks, digest, reason"
    query = f"SELECT {columns} FROM runs {where} ORDER BY started DESC, run LIMIT ?"  # noqa: S608 - values are bound
    found = [_plain(row) for row in connection.execute(query, (*values, _limit(given)))]
    for row in found:
        row["main"] = _main(connection, row["run"])
        row["progress"] = _progress(connection, row["run"]) if row["status"] == "running" else None
    return found


def has_run(connection: sqlite3.Connection, run: str) -> bool:
    """Say whether the view knows a run."""
    return connection.execute("SELECT 1 FROM runs WHERE run = ?", (run,)).fetchone() is not None


def run(connection: sqlite3.Connection, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that is known of a run, with its tasks and metrics: ``{"run": ...}``. Raises :class:`NotFound`."""
    _only(given, "run")
    name = given.get("run")
    row = connection.execute("SELECT * FROM runs WHERE run = ?", (str(name),)).fetchone()
    if row is None:
        raise NotFound(f"no run {name!r} in the view; `swarm runs` lists those there are")
    tasks = connection.execute("SELECT * FROM tasks WHERE run = ?", (name,))
    found = connection.execute("SELECT * FROM metrics WHERE run = ?", (name,))
    return {
        **_plain(row),
        "work": [_plain(task) for task in tasks],
        "metrics": [_plain(metric) for metric in found],
    }


def metrics(connection: sqlite3.Connection, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return metrics over runs: ``{"run": ..., "session": ..., "name": ..., "limit": 100}``, all optional."""
    _only(given, "run", "session", "name", "limit")
    where, values = _where(given, {"run": "metrics.run", "session": "runs.session", "name": "metrics.name"})
    query = (
        "SELECT metrics.*, suite, scenario, session, started FROM metrics JOIN runs USING (run)"  # noqa: S608 - values are bound
        f" {where} ORDER BY runs.started DESC, metrics.run, place LIMIT ?"
    )
    return [_plain(row) for row in connection.execute(query, (*values, _limit(given)))]


def samples(connection: sqlite3.Connection, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return single measurements of a run: ``{"run": ..., "name": ..., "limit": 100}``; the run is needed."""
    _only(given, "run", "name", "limit")
    if "run" not in given:
        raise UsageError("name the run whose samples are wanted", field="run")
    where, values = _where(given, {"run": "run", "name": "name"})
    rows = connection.execute(f"SELECT * FROM samples {where} LIMIT ?", (*values, _limit(given)))  # noqa: S608
    return [_plain(row) for row in rows]


def _main(connection: sqlite3.Connection, run: str) -> dict[str, Any] | None:
    """Return a run's main metric: the first that has a value, a better direction, and does not tell of time."""
    row = connection.execute(
        "SELECT name, value, unit, low, high FROM metrics WHERE run = ? AND value IS NOT NULL AND NOT timing"
        " AND better != 'neither' ORDER BY place LIMIT 1",
        (run,),
    ).fetchone()
    return None if row is None else _plain(row)


def _progress(connection: sqlite3.Connection, run: str) -> dict[str, Any]:
    query = "SELECT count(*) AS scheduled, count(*) FILTER (WHERE status = 'done') AS done FROM tasks WHERE run = ?"
    return _plain(connection.execute(query, (run,)).fetchone())


def _where(given: Mapping[str, Any], columns: Mapping[str, str]) -> tuple[str, list[str]]:
    asked = {column: str(given[name]) for name, column in columns.items() if given.get(name)}
    clause = " AND ".join(f"{column} = ?" for column in asked)
    return (f"WHERE {clause}" if clause else ""), list(asked.values())


def _limit(given: Mapping[str, Any]) -> int:
    limit = given.get("limit", _LIMIT)
    if not isinstance(limit, int) or not 1 <= limit <= _MOST:
        raise UsageError(f"limit is {limit!r}; allowed is 1 to {_MOST}", field="limit", given=str(limit))
    return limit


def _only(given: Mapping[str, Any], *known: str) -> None:
    for name in given:
        if name not in known:
            raise UsageError(f"unknown field {name!r}; there are {', '.join(known)}", field=name, given=name)


def _plain(row: sqlite3.Row) -> dict[str, Any]:
    found = dict(zip(row.keys(), row, strict=True))
    for name, value in found.items():
        if value is not None and name in _JSON:
            found[name] = msgspec.json.decode(value)
        elif value is not None and name in _FLAGS:
            found[name] = bool(value)
    return found
