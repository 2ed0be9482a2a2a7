"""A replica of the memory: what the log says up to its end, read on before every use.

What is known is held in a :class:`~swarm_primitives.store.Store`: an event's changes are staged and become visible all
at once, its place in the log with them, and who asks has a snapshot of one moment, whatever is read meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol, TypeAlias

from swarm_common.events import Event
from swarm_common.events.memory import Best, Learned, Recalled, Remembered
from swarm_memory_sync import lessons
from swarm_memory_sync.decider import NOTHING, evolve, recall, remember
from swarm_memory_sync.lessons import NO_LESSONS, Lesson, Lessons
from swarm_primitives.snapshots import Snapshot
from swarm_primitives.store import Staged, Store

Key: TypeAlias = tuple[str, str]
"""What is known: of which kind, and its name."""
_POSITION: Key = ("position", "")
_LESSONS: Key = ("lessons", "")

#: Where all ``memory.remembered`` events lie.
SUBJECT = "swarm.memory.*.remembered"
#: Where all ``memory.learned`` events lie: those of a task end with its name.
LEARNED = "swarm.memory.*.learned.*"


class Readable(Protocol):
    """The part of :class:`swarm_common.log.eventlog.EventLog` that a replica needs."""

    def read(self, subject: str, *, after: int = 0) -> AsyncIterator[Event]:
        """Yield the events on ``subject`` behind ``after``."""


class View:
    """What the log says on a subject, up to its end."""

    def __init__(self, log: Readable, subject: str, fold: Callable[[Staged[Key, Any], Event], None]) -> None:
        self.store: Store[Key, Any] = Store()
        self._log = log
        self._subject = subject
        self._fold = fold
        self._reading = asyncio.Lock()

    async def read_on(self) -> Snapshot[Key, Any]:
        """Read what is new, an event at a time, and return what is known now.

        Where the log cannot be read to its end, what was read stays, and the next goes on from there.
        """
        async with self._reading:  # two would read the same events
            async for event in self._log.read(self._subject, after=self.store.now.get(_POSITION, 0)):
                staged = self.store.begin()
                self._fold(staged, event)
                staged[_POSITION] = event.seq
                self.store.commit(staged)
        return self.store.now


class Replica:
    """Reads what is new in the log before it answers, so that every replica knows what the log knows.

    The read is one request that mostly finds nothing. Within a process decisions are made one after the other; two
    replicas that decide at the same moment may both count themselves as the n-th run, and agree again from then on.
    """

    def __init__(self, log: Readable) -> None:
        self._view = View(log, SUBJECT, _remembered)

    async def recall(self, key: str, task: str) -> Recalled:
        """Return what is known of ``key``."""
        known = await self._view.read_on()
        return recall(known.get(("memory", key), NOTHING), key, task)

    async def remember(self, key: str, run: str, value: Best | None) -> Remembered:
        """Decide on a completed run, and know of it from now on: the next may come before this event is stored.

        For a run that is remembered already the answer is stored nowhere: the log holds one event a run.
        """
        await self._view.read_on()
        staged = self._view.store.begin()
        decided = remember(staged.get(("memory", key), NOTHING), key, value)
        _learn(staged, run, decided)
        self._view.store.commit(staged)
        return decided


class Library:
    """All lessons that the log holds, read on to its end before they are told."""

    def __init__(self, log: Readable) -> None:
        self._view = View(log, LEARNED, _learned)

    async def lessons(self) -> Lessons:
        """Return what is known now."""
        known = await self._view.read_on()
        found: Lessons = known.get(_LESSONS, NO_LESSONS)
        return found


def _remembered(staged: Staged[Key, Any], event: Event) -> None:
    if isinstance(event.data, Remembered):
        _learn(staged, event.run, event.data)


def _learn(staged: Staged[Key, Any], run: str, data: Remembered) -> None:
    if ("run", run) not in staged:
        staged["run", run] = True
        key = ("memory", data.key)
        staged[key] = evolve(staged.get(key, NOTHING), data)


def _learned(staged: Staged[Key, Any], event: Event) -> None:
    if isinstance(event.data, Learned):
        known = staged.get(_LESSONS, NO_LESSONS)
        staged[_LESSONS] = lessons.evolve(known, Lesson(event.run, event.id, event.data))
