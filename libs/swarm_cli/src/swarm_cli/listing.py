"""The list of runs: from metrics' projection where that answers, else from the log itself."""

from __future__ import annotations

from typing import Any

from swarm_cli.lookup import begun, begun_events, session_of
from swarm_common.client import Client
from swarm_common.errors import SwarmError
from swarm_common.events import Event
from swarm_common.events.benchmark import TERMINAL as ENDS
from swarm_common.events.benchmark import Started

#: Fields of a run in the list, in their order.
FIELDS = ("run", "suite", "scenario", "session", "status", "started", "duration_s")


async def list_runs(swarm: Client, session: str | None, limit: int) -> list[dict[str, Any]]:
    """Return runs, the newest first, at most ``limit``."""
    given: dict[str, Any] = {"limit": limit} | ({"session": session} if session else {})
    try:
        answer = await swarm.query("metrics", "runs", given, timeout_s=1.0)
    except SwarmError:
        answer = None
    rows = answer.get("runs") if isinstance(answer, dict) and not answer.get("behind") else None
    if isinstance(rows, list) and all(isinstance(row, dict) and "run" in row for row in rows):
        there = await begun(swarm)
        # A view may still know runs that were archived; the log does not, and the log is the truth.
        if all(row["run"] in there for row in rows):
            return [_normal(row) for row in rows][:limit]
    return await runs_of_log(swarm, session, limit)


async def runs_of_log(swarm: Client, session: str | None, limit: int) -> list[dict[str, Any]]:
    """Return the same from the events that begin and end runs."""
    matching = [event for event in await begun_events(swarm) if session in {None, session_of(event)}]
    newest = matching[-limit:][::-1]
    wanted = {event.run for event in newest}
    ends: dict[str, Event] = {}
    for name in ENDS:
        async for event in swarm.log.read(f"swarm.benchmark.*.{name.partition('.')[2]}"):
            if event.run in wanted:
                ends[event.run] = event
    return [_row(event, ends.get(event.run)) for event in newest]


def _row(first: Event, end: Event | None) -> dict[str, Any]:
    data = first.data
    asked = data if isinstance(data, Started) else None
    request = {} if asked else getattr(data, "request", {})
    return {
        "run": first.run,
        "suite": asked.suite if asked else str(request.get("suite", "")),
        "scenario": asked.scenario if asked else str(request.get("scenario", "")),
        "session": session_of(first),
        "status": "running" if end is None else end.type.partition(".")[2],
        "started": first.time,
        "duration_s": getattr(end.data, "duration_s", None) if end else None,
    }


def _normal(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with every field of the list, whatever else the projection knows."""
    return {**row, **{name: row.get(name, None if name == "duration_s" else "") for name in FIELDS}}
