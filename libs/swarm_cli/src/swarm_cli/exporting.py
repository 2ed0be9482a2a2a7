"""Runs of the log to a file, in the order of the log, with what their events refer to."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from swarm_common.client import Client
from swarm_common.datafiles import references
from swarm_common.errors import InvalidEvent, NotFound, SwarmError
from swarm_common.events import Event
from swarm_common.events.benchmark import Started
from swarm_common.log.files import Writer
from swarm_common.runs import fold


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What was written."""

    runs: tuple[str, ...]
    events: int
    open: tuple[str, ...]
    """Runs that were not over: their export is a beginning."""
    absent: tuple[str, ...] = ()
    """Files that runs were to work on and that the object store does not hold, as requests name them."""


async def export_runs(
    swarm: Client, runs: Sequence[str], stream: BinaryIO, *, files: bool = True
) -> Exported:
    """Write runs to a stream, with the files of users that they work on unless those are not wanted.

    Raises :class:`NotFound` for a run that is not in the log.
    """
    absent: dict[str, None] = {}
    by_run = {run: await swarm.events(run) for run in runs}
    writer = Writer(stream)
    for event in sorted(
        (event for events in by_run.values() for event in events), key=lambda event: event.seq
    ):
        if files and isinstance(event.data, Started):
            for file in references(event.data.params):
                try:
                    writer.add_blob(file.ref, await swarm.log.blobs.get(file.ref))
                except (NotFound, InvalidEvent):  # it never came, so the run did not work on it
                    absent[str(file)] = None
        writer.add(event, await _blob(swarm, event))
    writer.close()
    unfinished = tuple(run for run, events in by_run.items() if not fold(run, events).over)
    return Exported(runs=tuple(runs), events=writer.events, open=unfinished, absent=tuple(absent))


async def _blob(swarm: Client, event: Event) -> bytes:
    """Return the very bytes that an event refers to, if it does."""
    return await swarm.log.blobs.get(event.dataref) if event.dataref else b""


@contextlib.contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Open a file that appears under its name only once it is complete and on the disk."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(path)
    except OSError as error:
        raise SwarmError(f"{path}: {error.strerror or error}") from error
    finally:
        scratch.unlink(missing_ok=True)
