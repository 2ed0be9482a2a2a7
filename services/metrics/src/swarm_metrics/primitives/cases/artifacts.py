"""``artifact_conversion``: events as CloudEvents, as an exported log in JSON Lines with checksums, and back."""

from __future__ import annotations

import hashlib
from io import BytesIO
from random import Random

import msgspec

from swarm_common.clock import format_ns
from swarm_common.events import Event
from swarm_common.events.agent import TaskDone
from swarm_common.events.benchmark import TaskScheduled
from swarm_common.events.envelope import decode, encode, new_event
from swarm_common.log.files import MANIFEST, Writer
from swarm_metrics.primitives.case import Case, Fact, Prepared, require

_BEGAN_NS = 1_700_000_000_000_000_000


def events_of(size: int, seed: int) -> list[Event]:
    """Return the events of ``size`` tasks' artifacts: half of them orders, half of them what came of them."""
    draw = Random(f"{seed}/artifacts/{size}")  # noqa: S311 - seeded, nothing secret
    found: list[Event] = []
    for at in range(size):
        task = f"task-{at // 2}"
        data = (
            TaskDone(task=task, index=at)
            if at % 2
            else TaskScheduled(
                task=task,
                kind="noop",
                service="model_agent",
                params={"index": at, "note": "x" * draw.randrange(100), "share": draw.random()},
                seed=seed,
            )
        )
        event = new_event(
            data,
            run="artifacts",
            source="/swarm/metrics/cases",
            cause=found[-1].id if found else "first",
            handler="artifacts",
            index=at,
            time_ns=_BEGAN_NS + at * 1000,
        )
        found.append(decode(encode(event), at + 1))
    return found


def exported(events: list[Event]) -> bytes:
    """Return events as a file of an export: a CloudEvent a line, then the checksums."""
    stream = BytesIO()
    writer = Writer(stream)
    for event in events:
        writer.add(event)
    writer.close()
    return stream.getvalue()


def imported(file: bytes) -> list[Event]:
    """Return the events of such a file, with typed data; the last line, which is none of them, is left out."""
    return [decode(line, number) for number, line in enumerate(file.splitlines()[:-1], 1)]


def prepare(size: int, seed: int) -> Prepared:
    """Return ``size`` events; an operation is to convert them to a file and back."""
    events = events_of(size, seed)
    found: list[Event] = []

    def run(loops: int) -> None:
        for _ in range(loops):
            found[:] = imported(exported(events))

    def check() -> dict[str, Fact]:
        require(found == events, "what came back is not what went out")
        require([event.raw for event in found] == [event.raw for event in events], "other bytes came back")
        *lines, last = exported(events).splitlines()
        manifest = msgspec.json.decode(last)
        require(manifest["type"] == MANIFEST, "the file has no manifest")
        whole = hashlib.sha256(b"".join(line + b"\n" for line in lines)).hexdigest()
        require(manifest["data"]["sha256"] == whole, "the checksum is not that of the lines")
        require(found[0].time == format_ns(_BEGAN_NS), f"the first is of {found[0].time}")
        return {"artifacts": len(found), "bytes": sum(map(len, lines))}

    return Prepared(run=run, check=check)


CASES = (
    Case(
        scenario="artifact_conversion",
        sizes=(10, 50, 100, 200),
        operation="n events converted to an exported log in JSON Lines, and back to typed events",
        growth="linear",
        prepare=prepare,
    ),
)
