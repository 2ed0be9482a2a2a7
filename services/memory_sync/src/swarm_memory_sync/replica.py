"""A replica of the memory: what the log says up to its end, read on before every use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from swarm_common.events import Event
from swarm_common.events.memory import Best, Learned, Recalled, Remembered
from swarm_memory_sync import lessons
from swarm_memory_sync.decider import NOTHING, Memory, evolve, recall, remember
from swarm_memory_sync.lessons import NO_LESSONS, Lesson, Lessons

#: Where all ``memory.remembered`` events lie.
SUBJECT = "swarm.memory.*.remembered"
#: Where all ``memory.learned`` events lie: those of a task end with its name.
LEARNED = "swarm.memory.*.learned.*"


class Readable(Protocol):
    """The part of :class:`swarm_common.log.eventlog.EventLog` that a replica needs."""

    def read(self, subject: str, *, after: int = 0) -> AsyncIterator[Event]:
        """Yield the events on ``subject`` behind ``after``."""


class Replica:
    """Reads what is new in the log before it answers, so that every replica knows what the log knows.

    The read is one request that mostly finds nothing. Within a process decisions are made one after the other; two
    replicas that decide at the same moment may both count themselves as the n-th run, and agree again from then on.
    """

    def __init__(self, log: Readable) -> None:
        self._log = log
        self._lock = asyncio.Lock()
        self._memories: dict[str, Memory] = {}
        self._runs: set[str] = set()
        self._seq = 0

    async def recall(self, key: str, task: str) -> Recalled:
        """Return what is known of ``key``."""
        async with self._lock:
            await self._catch_up()
            return recall(self._memories.get(key, NOTHING), key, task)

    async def remember(self, key: str, run: str, value: Best | None) -> Remembered:
        """Decide on a completed run, and know of it from now on: the next may come before this event is stored.

        For a run that is remembered already the answer is stored nowhere: the log holds one event a run.
        """
        async with self._lock:
            await self._catch_up()
            decided = remember(self._memories.get(key, NOTHING), key, value)
            self._learn(run, decided)
            return decided

    async def _catch_up(self) -> None:
        async for event in self._log.read(SUBJECT, after=self._seq):
            if isinstance(event.data, Remembered):
                self._learn(event.run, event.data)
            self._seq = event.seq

    def _learn(self, run: str, data: Remembered) -> None:
        if run not in self._runs:
            self._runs.add(run)
            self._memories[data.key] = evolve(self._memories.get(data.key, NOTHING), data)


class Library:
    """All lessons that the log holds, read on to its end before they are told."""

    def __init__(self, log: Readable) -> None:
        self._log = log
        self._lock = asyncio.Lock()
        self._lessons = NO_LESSONS
        self._seq = 0

    async def lessons(self) -> Lessons:
        """Return what is known now."""
        async with self._lock:
            async for event in self._log.read(LEARNED, after=self._seq):
                if isinstance(event.data, Learned):
                    self._lessons = lessons.evolve(self._lessons, Lesson(event.run, event.id, event.data))
                self._seq = event.seq
            return self._lessons
