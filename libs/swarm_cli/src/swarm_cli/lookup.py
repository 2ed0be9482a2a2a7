"""Which run is meant: a whole id, the beginning of one, or ``last``; and which runs a session has."""

from __future__ import annotations

from typing import Any

import msgspec

from swarm_common.client import Client
from swarm_common.errors import BrokerUnavailable, NotFound, UsageError
from swarm_common.events import Event
from swarm_common.events.benchmark import Rejected, Started
from swarm_common.log.streams import STREAM

LAST = "last"
_FULL = 16


async def find_run(swarm: Client, name: str) -> str:
    """Return a run's id; raises :class:`NotFound` where no run, and :class:`UsageError` where several begin so."""
    if name == LAST:
        event = await _last_begun(swarm)
        if event is None:
            raise NotFound("this log holds no run yet; `swarm run quick` makes one")
        return event
    found = await begun(swarm, name if len(name) == _FULL else "*")
    matching = sorted(run for run in found if run.startswith(name))
    if not matching or not name:
        raise NotFound(f"no run {name!r} in this log; `swarm runs` lists them")
    if len(matching) > 1:
        shown = ", ".join(matching[:5]) + (", ..." if len(matching) > 5 else "")
        raise UsageError(
            f"{name!r} begins {len(matching)} runs: {shown}; give more of it", field="run", given=name
        )
    return matching[0]


async def begun(swarm: Client, run: str = "*") -> set[str]:
    """Return the runs whose beginning the log holds: all of them, or one if it is there."""
    if run != "*" and not run.isalnum():
        return set()
    names = [await subjects(swarm, f"swarm.benchmark.{run}.{name}") for name in ("started", "rejected")]
    return {subject.split(".")[2] for found in names for subject in found}


async def _last_begun(swarm: Client) -> str | None:
    runs = await begun_events(swarm)
    return runs[-1].run if runs else None


async def begun_events(swarm: Client) -> list[Event]:
    """Return every run's first event (started or rejected), oldest first."""
    events = [event async for event in swarm.log.read("swarm.benchmark.*.started")]
    events += [event async for event in swarm.log.read("swarm.benchmark.*.rejected")]
    return sorted(events, key=lambda event: event.seq)


def session_of(event: Event) -> str:
    """Return the session that a run was asked for in."""
    match event.data:
        case Started():
            return event.data.session
        case Rejected():
            return str(event.data.request.get("session", "default"))
        case _:
            return ""


async def session_runs(swarm: Client, session: str) -> list[str]:
    """Return the runs of a session, oldest first; raises :class:`NotFound` where there are none."""
    events = await begun_events(swarm)
    found = [event.run for event in events if session_of(event) == session]
    if not found:
        names = ", ".join(sorted({session_of(event) for event in events})) or "none"
        raise NotFound(f"no run in session {session!r}; there are {names}")
    return found


async def subjects(swarm: Client, subject: str) -> dict[str, int]:
    """Return the subjects of the log that match, with the number of messages on each."""
    found: dict[str, int] = {}
    while True:
        reply = await swarm.broker.nc.request(
            f"$JS.API.STREAM.INFO.{STREAM}",
            msgspec.json.encode({"subjects_filter": subject, "offset": len(found)}),
            timeout=5.0,
        )
        info: dict[str, Any] = msgspec.json.decode(reply.data)
        if "error" in info:
            raise BrokerUnavailable(
                f"the broker has no log ({info['error'].get('description')}); a service creates it: `swarm up`"
            )
        page = info.get("state", {}).get("subjects") or {}
        found.update(page)
        if not page or len(found) >= info.get("total", 0):
            return found
