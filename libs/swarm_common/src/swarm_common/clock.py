"""Wall-clock times for people and logs; durations come from ``time.perf_counter_ns`` and from nowhere else."""

from __future__ import annotations

import time
from datetime import UTC, datetime

_NS = 1_000_000_000


def now_ns() -> int:
    """Return the wall clock in nanoseconds since 1970 (UTC)."""
    return time.time_ns()


_last = (-1, "")


def format_ns(ns: int) -> str:
    """Return an RFC 3339 time in UTC with microseconds: ``2026-11-21T10:00:00.000123Z``."""
    global _last  # noqa: PLW0603 - the text of the last second, formatted once and not per event
    second, rest = divmod(ns, _NS)
    known, prefix = _last  # one name for both: threads must not see one second with another's text
    if second != known:
        prefix = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        _last = (second, prefix)
    return f"{prefix}.{rest // 1000:06d}Z"


def parse_ns(text: str) -> int:
    """Return nanoseconds since 1970 of an RFC 3339 time; a time without offset counts as UTC.

    Raises ``ValueError`` where the text is no such time.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * _NS + delta.microseconds * 1000
