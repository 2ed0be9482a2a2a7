"""What a query may be given: fields, their types and limits, times, and where a page begins."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from swarm_common import clock
from swarm_common.errors import UsageError

STATUSES = ("running", "completed", "failed", "cancelled", "rejected")
#: Rows of a page unless told otherwise, and at most.
LIMIT = 100
MOST = 1000
#: A page ends before its JSON has more bytes than this: the broker passes on 1 MiB at once.
MOST_BYTES = 700_000

#: Columns that a field of a query selects by.
OF_RUNS = {
    "run": "runs.run",
    "session": "runs.session",
    "suite": "runs.suite",
    "scenario": "runs.scenario",
    "status": "runs.status",
}
#: Those that select runs by when they began.
TIMES = {"since": ">=", "until": "<"}


class Condition(msgspec.Struct, frozen=True):
    """A condition of SQL, with what is bound in it."""

    text: str
    values: tuple[Any, ...] = ()

    @property
    def where(self) -> str:
        return f"WHERE {self.text}" if self.text else ""

    def also(self, text: str, *values: Any) -> Condition:
        """Return the condition that this and another hold."""
        return Condition(f"{self.text} AND {text}" if self.text else text, (*self.values, *values))


def condition(given: Mapping[str, Any], columns: Mapping[str, str]) -> Condition:
    """Return the condition that the given fields set; an empty text sets none. Times are when the run began."""
    found = Condition("")
    for field, column in columns.items():
        if value := text(given, field):
            if field == "status" and value not in STATUSES:
                raise _wrong(field, value, ", ".join(STATUSES))
            found = found.also(f"{column} = ?", value)
    for field, operator in TIMES.items():
        if value := moment(given, field):
            found = found.also(f"runs.started {operator} ?", value)
    return found


def only(given: Mapping[str, Any], *known: str) -> None:
    """Raise :class:`UsageError` for a field that the query does not have."""
    for name in given:
        if name not in known:
            allowed = ", ".join(known) or "none"
            raise UsageError(
                f"unknown field {name!r}; there are {allowed}", field=name, given=name, allowed=allowed
            )


def text(given: Mapping[str, Any], field: str) -> str:
    """Return a field that is a text; empty where it is not given."""
    value = given.get(field)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _wrong(field, value, "a text")
    return value


def moment(given: Mapping[str, Any], field: str) -> str:
    """Return a time as the view holds it, in UTC with microseconds; empty where it is not given."""
    value = text(given, field)
    if not value:
        return ""
    try:
        return clock.format_ns(clock.parse_ns(value))
    except (ValueError, OverflowError) as error:
        raise _wrong(field, value, "an RFC 3339 time, such as 2026-11-21T10:00:00Z") from error


def limit(given: Mapping[str, Any], *, usual: int = LIMIT, most: int = MOST) -> int:
    """Return how many rows a page has at most."""
    value = given.get("limit", usual)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise _wrong("limit", value, f"1 to {most}; `next` of a page leads on")
    return value


def shares(given: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the quantiles that are asked for, as shares."""
    value = given.get("quantiles", (0.5, 0.9, 0.99))
    good = isinstance(value, list | tuple) and 1 <= len(value) <= 20
    if not good or not all(
        isinstance(one, int | float) and not isinstance(one, bool) and 0 <= one <= 1 for one in value
    ):
        raise _wrong("quantiles", value, "a list of 1 to 20 numbers from 0 to 1")
    return tuple(float(one) for one in value)


def cursor(given: Mapping[str, Any], *kinds: type) -> tuple[Any, ...] | None:
    """Return where a page begins, as :func:`after` put it; ``None`` for the first page."""
    value = text(given, "cursor")
    if not value:
        return None
    try:
        found = msgspec.json.decode(base64.urlsafe_b64decode(value.encode()))
    except (ValueError, msgspec.DecodeError):
        found = None
    if (
        not isinstance(found, list)
        or len(found) != len(kinds)
        or not all(isinstance(one, kind) for one, kind in zip(found, kinds, strict=True))
    ):
        raise _wrong("cursor", value, "the `next` of the page before, of the same query")
    return tuple(found)


def after(*key: Any) -> str:
    """Return the cursor of the page behind a row with this key."""
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).decode()


def fitting(rows: Sequence[dict[str, Any]]) -> int:
    """Return how many rows fit into one answer; at least one, where there is one."""
    size = 0
    for count, row in enumerate(rows):
        size += len(msgspec.json.encode(row))
        if count and size > MOST_BYTES:
            return count
    return len(rows)


def _wrong(field: str, given: Any, allowed: str) -> UsageError:
    return UsageError(
        f"{field} is {given!r}; allowed is {allowed}", field=field, given=str(given), allowed=allowed
    )
