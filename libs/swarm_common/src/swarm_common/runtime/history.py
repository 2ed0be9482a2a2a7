"""Histories: where handlers find their inputs, live or recorded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from swarm_common.events import Data, Event, lookup
from swarm_common.events.registry import is_registered
from swarm_common.events.subjects import numbered_filter, type_filter
from swarm_common.log.eventlog import decode_stored
from swarm_common.log.reader import read_stored

if TYPE_CHECKING:
    from swarm_common.log.eventlog import EventLog


class LiveHistory:
    """Reads the log on the broker."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    async def run(self, run: str) -> Sequence[Event]:
        return await self._log.read_run(run)

    async def result(self, run: str, task: str) -> Event | None:
        async for stored in read_stored(self._log.broker, f"swarm.*.{run}.*.{task}"):
            _, context, _, name, *_ = stored.subject.split(".")
            event_type = f"{context}.{name}"
            if is_registered(event_type) and lookup(event_type).cls.concludes:
                return await self._log.resolve(decode_stored(stored))
        return None

    async def numbered(self, run: str, task: str, kind: type[Data]) -> Sequence[Event]:
        return [
            await self._log.resolve(decode_stored(stored))
            async for stored in read_stored(self._log.broker, numbered_filter(kind.type, run, task))
        ]

    async def since(self, run: str, kind: type[Data], mark: int) -> tuple[Sequence[Event], int]:
        found = []
        async for stored in read_stored(self._log.broker, f"{type_filter(kind.type, run)}.>", after=mark):
            found.append(await self._log.resolve(decode_stored(stored)))
            mark = stored.seq
        return found, mark


class RecordedHistory:
    """Looks into a list of events, such as an exported file."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._runs: dict[str, list[Event]] = defaultdict(list)
        self._results: dict[tuple[str, str], Event] = {}
        for event in events:
            self._runs[event.run].append(event)
            if event.data is not None and event.data.concludes:
                self._results.setdefault((event.run, event.data.task), event)  # type: ignore[attr-defined]

    async def run(self, run: str) -> Sequence[Event]:
        return self._runs[run]

    async def result(self, run: str, task: str) -> Event | None:
        return self._results.get((run, task))

    async def numbered(self, run: str, task: str, kind: type[Data]) -> Sequence[Event]:
        return [
            event
            for event in self._runs[run]
            if isinstance(event.data, kind) and getattr(event.data, "task", "") == task
        ]

    async def since(self, run: str, kind: type[Data], mark: int) -> tuple[Sequence[Event], int]:
        events = self._runs[run]
        return [event for event in events[mark:] if isinstance(event.data, kind)], len(events)
