"""A file back into the log: the same bytes in the same order, marked so that nobody works on them again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from swarm_common.client import Client
from swarm_common.errors import Conflict, SwarmError
from swarm_common.events import Event
from swarm_common.log.files import Problem, check, read_lines

State = Literal["new", "resumed", "there"]
#: Events and bytes of one atomic batch; the broker takes at most 1,000 events.
_EVENTS = 500
_BYTES = 2 * 1024 * 1024


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one import."""

    events: int
    """How many were appended."""
    blobs: int
    runs: dict[str, State]
    """``there``: identical in the log already; ``resumed``: its beginning was."""


class _Content(msgspec.Struct):
    events: list[Event]
    blobs: list[bytes]


def verify(path: Path, *, force: bool) -> list[Problem]:
    """Return what differs from what was exported; raises :class:`SwarmError` unless it is to be ignored (``force``)."""
    problems = check(path)
    if problems and not force:
        shown = "; ".join(problem_text(problem) for problem in problems[:5])
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise SwarmError(
            f"{path} is not as it was exported: {shown}{more}; nothing was imported (--force imports it all the same)"
        )
    return problems


def problem_text(problem: Problem) -> str:
    """Return a problem in a few words, with its line."""
    event = f" (event {problem.event_id})" if problem.event_id else ""
    return f"line {problem.line}{event}: {problem.what}" if problem.line else problem.what


async def import_file(swarm: Client, path: Path) -> Imported:
    """Append what the log does not hold yet.

    A run whose beginning is there already, of an import that was cut short, goes on where that ended. Raises
    :class:`Conflict` where the log holds other events of a run of the file.
    """
    content = _Content([], [])
    for line in read_lines(path):
        if line.event is None:
            content.blobs.append(line.blob)
        else:
            content.events.append(line.event)
    if not content.events:
        raise SwarmError(f"{path} holds no events")
    states: dict[str, State] = {}
    present: dict[str, int] = {}
    last: dict[str, int] = {}
    for run in dict.fromkeys(event.run for event in content.events):
        own = [event for event in content.events if event.run == run]
        stored = await swarm.log.read_run(run)
        _check_same(run, own, stored)
        present[run], last[run] = len(stored), stored[-1].seq if stored else 0
        states[run] = "there" if len(stored) == len(own) else "resumed" if stored else "new"
    missing = list(_missing(content.events, present))
    if missing:
        for blob in content.blobs:
            await swarm.log.blobs.put(blob)
    for chunk in chunks(missing):
        await swarm.log.import_events(
            chunk, {run: last.pop(run) for run in {one.run for one in chunk} & last.keys()}
        )
    return Imported(events=len(missing), blobs=len(content.blobs) if missing else 0, runs=states)


def _check_same(run: str, own: Sequence[Event], stored: Sequence[Event]) -> None:
    for then, now in zip(own, stored, strict=False):
        if then.raw != now.raw:
            raise Conflict(
                f"run {run} is in this log already, and differs: line {then.seq} of the file is {then.type} {then.id}, "
                f"sequence {now.seq} of the log is {now.type} {now.id}; nothing was imported"
            )
    if len(stored) > len(own):
        raise Conflict(
            f"run {run} is in this log already with {len(stored)} events, the file has {len(own)}; nothing was imported"
        )


def _missing(events: Sequence[Event], present: dict[str, int]) -> Iterator[Event]:
    """Yield the events that are not in the log, in order."""
    left = dict(present)
    for event in events:
        if left[event.run] > 0:
            left[event.run] -= 1
        else:
            yield event


def chunks(events: Sequence[Event], most: int = _EVENTS, most_bytes: int = _BYTES) -> Iterator[list[Event]]:
    """Yield the events in runs that one atomic batch can take."""
    chunk: list[Event] = []
    size = 0
    for event in events:
        if chunk and (len(chunk) == most or size + len(event.raw) > most_bytes):
            yield chunk
            chunk, size = [], 0
        chunk.append(event)
        size += len(event.raw)
    if chunk:
        yield chunk
