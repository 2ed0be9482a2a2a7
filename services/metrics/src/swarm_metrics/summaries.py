"""What many samples come to: count, mean, least, greatest and quantiles of each quantity."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping
from typing import Any

import msgspec

from swarm_metrics import asking
from swarm_metrics.asking import OF_RUNS, TIMES, Condition
from swarm_metrics.spread import RELATIVE_ERROR, Spread

_GROUP = ("name", "of", "unit", "clock", "better")
_FIELDS = (*OF_RUNS, "name", "of")
#: Up to so many values are read and sorted; of more, quantiles come from the spreads that are kept of each run.
EXACT = 20_000

Group = tuple[str, ...]


class _Sum(msgspec.Struct):
    n: int = 0
    total: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    spreads: list[bytes] = []


def summary(connection: sqlite3.Connection, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``summary``: a row for each quantity (name, of, unit, clock), with ``quantiles`` by share.

    ``relative_error`` is the most by which a quantile differs from the value of its rank (the nearest rank: the least
    value that so large a share of the values does not exceed): 0 where the values themselves were read.
    """
    asking.only(given, *_FIELDS, *TIMES, "quantiles")
    shares = asking.shares(given)
    sums = _sums(connection, _condition(given, "summaries"))
    exact = sum(one.n for one in sums.values()) <= EXACT
    values = _values(connection, _condition(given, "sets")) if exact else {}
    found = []
    for group in sorted(sums):
        one = sums[group]
        if exact:
            ordered = values[group]
            quantiles = [ordered[max(1, math.ceil(share * one.n)) - 1] for share in shares]
        else:
            spread = Spread(one.spreads)
            quantiles = [min(one.high, max(one.low, spread.quantile(share))) for share in shares]
        found.append(
            {
                **dict(zip(_GROUP, group, strict=True)),
                "n": one.n,
                "mean": one.total / one.n,
                "low": one.low,
                "high": one.high,
                "quantiles": {f"{share:g}": value for share, value in zip(shares, quantiles, strict=True)},
                "relative_error": 0.0 if exact else RELATIVE_ERROR,
            }
        )
    return {"summary": found}


def summaries_query(where: Condition) -> str:
    """Return the statement that finds what runs' samples come to."""
    columns = ", ".join(f"summaries.{name}" for name in _GROUP)
    return (
        f"SELECT {columns}, n, total, low, high, spread FROM runs CROSS JOIN summaries USING (run)"  # noqa: S608
        f" {where.where} ORDER BY runs.started, runs.run"
    )


def sets_query(where: Condition) -> str:
    """Return the statement that finds the sets whose values are to be read."""
    columns = ", ".join(f"sets.{name}" for name in _GROUP)
    return (
        f"SELECT sets.seq, sets.part, {columns} FROM runs CROSS JOIN sets USING (run)"  # noqa: S608 - values are bound
        f" {where.where}"
    )


#: The statement that reads the values of one of them.
VALUES_QUERY = "SELECT value FROM samples WHERE seq = ? AND part = ?"


def _condition(given: Mapping[str, Any], table: str) -> Condition:
    return asking.condition(given, OF_RUNS | {"name": f"{table}.name", "of": f"{table}.of"})


def _sums(connection: sqlite3.Connection, where: Condition) -> dict[Group, _Sum]:
    found: dict[Group, _Sum] = {}
    for *group, n, total, low, high, spread in _bare(connection).execute(
        summaries_query(where), where.values
    ):
        one = found.setdefault(tuple(group), _Sum())
        one.n += n
        one.total += total
        one.low, one.high = min(one.low, low), max(one.high, high)
        one.spreads.append(spread)
    return found


def _bare(connection: sqlite3.Connection) -> sqlite3.Cursor:
    """Return a cursor that gives tuples: rows with names cost as much again as reading them."""
    cursor = connection.cursor()
    cursor.row_factory = None
    return cursor


def _values(connection: sqlite3.Connection, where: Condition) -> dict[Group, list[float]]:
    """Return the values themselves, sorted: all that the sets hold, read set by set."""
    found: dict[Group, list[float]] = {}
    read = _bare(connection)
    for seq, part, *group in read.execute(sets_query(where), where.values).fetchall():
        values = found.setdefault(tuple(group), [])
        values += [value for (value,) in read.execute(VALUES_QUERY, (seq, part))]
    return {group: sorted(values) for group, values in found.items()}
