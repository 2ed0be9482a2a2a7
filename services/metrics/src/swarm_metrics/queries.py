"""What can be asked of the view. Each function answers one query with plain JSON values.

Lists come in pages: ``next`` is the ``cursor`` of the page behind, ``None`` on the last. ``since`` and ``until`` select
runs by when they began. How a query finds its rows is fixed by ``CROSS JOIN``, which SQLite does not reorder: without
statistics of its own it would guess.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from swarm_common.errors import NotFound, UsageError
from swarm_metrics import asking
from swarm_metrics.asking import OF_RUNS, TIMES, Condition

_JSON = frozenset({"params", "targets", "result", "source"})
_FLAGS = frozenset({"deterministic", "timing"})
_LISTED = (
    "run, suite, scenario, session, status, seed, trace, started, ended, duration_s, tasks, digest, reason"
)
_OF_METRICS = OF_RUNS | {"name": "metrics.name"}
#: Fields that select samples.
OF_SAMPLES = OF_RUNS | {"event": "sets.event", "name": "sets.name", "of": "sets.of", "task": "sets.task"}
_MOST_VALUES = 10_000


def runs(connection: sqlite3.Connection, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``runs``, the latest first.

    Each has its ``main`` metric, if it has one, and, while it runs, its ``progress`` in tasks.
    """
    asking.only(given, *OF_RUNS, *TIMES, "limit", "cursor")
    where = asking.condition(given, OF_RUNS)
    if begin := asking.cursor(given, str, str):
        where = where.also("(started, run) < (?, ?)", *begin)
    most = asking.limit(given)
    query = f"SELECT {_LISTED} FROM runs {where.where} ORDER BY started DESC, run DESC LIMIT ?"  # noqa: S608 - values are bound
    found = [_plain(row) for row in connection.execute(query, (*where.values, most + 1))]
    page = _page("runs", found, most, lambda row: (row["started"], row["run"]))
    for row in page["runs"]:
        row["main"] = _main(connection, row["run"])
        row["progress"] = _progress(connection, row["run"]) if row["status"] == "running" else None
    return page


def has_run(connection: sqlite3.Connection, run: str) -> bool:
    """Say whether the view knows a run."""
    return connection.execute("SELECT 1 FROM runs WHERE run = ?", (run,)).fetchone() is not None


def run(connection: sqlite3.Connection, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that is known of a run, with its tasks and metrics: ``{"run": ...}``. Raises :class:`NotFound`."""
    asking.only(given, "run")
    name = asking.text(given, "run")
    row = connection.execute("SELECT * FROM runs WHERE run = ?", (name,)).fetchone()
    if row is None:
        raise NotFound(f"no run {name!r} in the view; `swarm runs` lists those there are")
    tasks = connection.execute("SELECT * FROM tasks WHERE run = ?", (name,))
    found = connection.execute("SELECT * FROM metrics WHERE run = ?", (name,))
    return {
        **_plain(row),
        "work": [_plain(task) for task in tasks],
        "metrics": [_plain(metric) for metric in found],
    }


def sessions(connection: sqlite3.Connection, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``sessions`` in the order of their names: how many runs of which status, their suites, first and last."""
    asking.only(given, "session", *TIMES, "limit", "cursor")
    where = asking.condition(given, {"session": "session"})
    if begin := asking.cursor(given, str):
        where = where.also("session > ?", *begin)
    most = asking.limit(given)
    counts = ", ".join(
        f"count(*) FILTER (WHERE status = '{status}') AS {status}" for status in asking.STATUSES
    )
    query = (
        f"SELECT session, count(*) AS runs, {counts}, min(started) AS first, max(started) AS last,"  # noqa: S608
        f" json_group_array(DISTINCT suite) AS suites FROM runs {where.where} GROUP BY session ORDER BY session LIMIT ?"
    )
    found = []
    for row in connection.execute(query, (*where.values, most + 1)):
        plain = dict(row)
        plain["statuses"] = {status: plain.pop(status) for status in asking.STATUSES if plain[status]}
        for status in asking.STATUSES:
            plain.pop(status, None)
        plain["suites"] = sorted(msgspec.json.decode(plain["suites"]))
        found.append(plain)
    return _page("sessions", found, most, lambda row: (row["session"],))


def metrics(connection: sqlite3.Connection, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``metrics`` over runs, those of the latest run first, in the order in which the run tells them."""
    asking.only(given, *_OF_METRICS, *TIMES, "limit", "cursor")
    where = asking.condition(given, _OF_METRICS)
    if begin := asking.cursor(given, str, str, int):
        started, run, place = begin
        where = where.also("(runs.started, runs.run) <= (?, ?)", started, run)
        where = where.also("NOT (runs.run = ? AND place <= ?)", run, place)
    most = asking.limit(given)
    query = (
        "SELECT metrics.*, suite, scenario, session, started FROM runs CROSS JOIN metrics USING (run)"  # noqa: S608
        f" {where.where} ORDER BY runs.started DESC, runs.run DESC, place LIMIT ?"
    )
    found = [_plain(row) for row in connection.execute(query, (*where.values, most + 1))]
    return _page("metrics", found, most, lambda row: (row["started"], row["run"], row["place"]))


def history(connection: sqlite3.Connection, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return one metric's values over runs as ``history``, the oldest first; those not measured are left out."""
    asking.only(given, "metric", *OF_RUNS, *TIMES, "limit", "cursor")
    name = asking.text(given, "metric")
    if not name:
        raise UsageError("name the metric whose history is wanted", field="metric", allowed="a metric's name")
    where = asking.condition(given, OF_RUNS).also("metrics.name = ?", name).also("value IS NOT NULL")
    if begin := asking.cursor(given, str, str, int):
        started, run, place = begin
        where = where.also("(runs.started, runs.run) >= (?, ?)", started, run)
        where = where.also("NOT (runs.run = ? AND place <= ?)", run, place)
    most = asking.limit(given, usual=asking.MOST)
    query = (
        "SELECT run, place, suite, scenario, session, seed, started, value, low, high, n, unit, better, timing,"  # noqa: S608
        f" estimator FROM runs CROSS JOIN metrics USING (run) {where.where}"
        " ORDER BY runs.started, runs.run, place LIMIT ?"
    )
    found = [_plain(row) for row in connection.execute(query, (*where.values, most + 1))]
    page = _page("history", found, most, lambda row: (row["started"], row["run"], row["place"]))
    return {"metric": name, **page}


def samples(connection: sqlite3.Connection, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``samples``: single measurements, in the order of runs, names, and the log.

    A row is what one event tells of one quantity, with its ``values`` from the ``place``-th on (of 0, 1, ...);
    ``limit`` counts values.
    """
    asking.only(given, *OF_SAMPLES, *TIMES, "limit", "cursor")
    left = asking.limit(given, most=_MOST_VALUES)
    begin = asking.cursor(given, str, str, str, int, int, int)
    found: list[dict[str, Any]] = []
    following = _sets(connection, given, begin)
    for row in following:
        key = (row["started"], row["run"], row["name"], row["seq"], row["part"])
        place = begin[5] if begin and key == begin[:5] else 0
        if place >= row["n"]:
            continue
        if not left or len(found) == asking.MOST:
            return _samples_page(found, more=True)
        values = connection.execute(
            "SELECT value FROM samples WHERE seq = ? AND part = ? AND place >= ? ORDER BY place LIMIT ?",
            (row["seq"], row["part"], place, left),
        )
        found.append({**dict(row), "place": place, "values": [value for (value,) in values]})
        left -= len(found[-1]["values"])
        if place + len(found[-1]["values"]) < row["n"]:
            return _samples_page(found, more=True)
    return _samples_page(found, more=False)


def _sets(
    connection: sqlite3.Connection, given: Mapping[str, Any], begin: tuple[Any, ...] | None
) -> Iterator[sqlite3.Row]:
    """Yield the sets that are asked for, from where a page begins."""
    where = asking.condition(given, OF_SAMPLES)
    if event := asking.text(given, "event"):
        row = connection.execute("SELECT run FROM sets WHERE event = ?", (event,)).fetchone()
        where = where.also("runs.run = ?", row["run"] if row else "")
    if begin is None:
        return _sets_where(connection, where)
    # Two conditions that an index can begin at, where one with OR would read all that went before.
    rest = where.also("runs.run = ?", begin[1]).also(
        "(sets.name, sets.seq, sets.part) >= (?, ?, ?)", *begin[2:5]
    )
    behind = where.also("(runs.started, runs.run) > (?, ?)", *begin[:2])
    return itertools.chain(_sets_where(connection, rest), _sets_where(connection, behind))


def _sets_where(connection: sqlite3.Connection, where: Condition) -> Iterator[sqlite3.Row]:
    yield from connection.execute(sets_query(where), where.values)


def sets_query(where: Condition) -> str:
    """Return the statement that finds sets of samples in the order of runs, names, and the log."""
    return (
        "SELECT sets.*, suite, scenario, session, started FROM runs CROSS JOIN sets USING (run)"  # noqa: S608
        f" {where.where} ORDER BY runs.started, runs.run, sets.name, sets.seq, sets.part"
    )


def _samples_page(found: list[dict[str, Any]], *, more: bool) -> dict[str, Any]:
    fit = asking.fitting(found)
    follows = None
    if (more or fit < len(found)) and found:
        last = found[fit - 1]
        place = last["place"] + len(last["values"])
        follows = asking.after(last["started"], last["run"], last["name"], last["seq"], last["part"], place)
    return {"samples": found[:fit], "next": follows}


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


def _page(name: str, found: list[dict[str, Any]], most: int, key: Any) -> dict[str, Any]:
    """Return a page of what was found, which is one row more where others follow."""
    fit = min(most, asking.fitting(found))
    return {name: found[:fit], "next": asking.after(*key(found[fit - 1])) if fit < len(found) else None}


def _plain(row: sqlite3.Row) -> dict[str, Any]:
    found = dict(zip(row.keys(), row, strict=True))
    for name, value in found.items():
        if value is not None and name in _JSON:
            found[name] = msgspec.json.decode(value)
        elif value is not None and name in _FLAGS:
            found[name] = bool(value)
    return found
