"""Wake-ups: messages that say that a run has something new, handled together by run, runs side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from swarm_common.runtime.consumer import Delivery

Handle = Callable[[str, Sequence[Delivery]], Awaitable[None]]


class Wakeups:
    """Collects deliveries by run; while one lot is handled the next gathers, so the busier, the larger the lots."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._waiting: dict[str, list[Delivery]] = {}
        self._working: dict[str, asyncio.Task[None]] = {}
        self._at_hand: dict[str, Sequence[Delivery]] = {}

    def add(self, run: str, delivery: Delivery) -> None:
        """Take a delivery for a run."""
        self._waiting.setdefault(run, []).append(delivery)
        if run not in self._working:
            self._working[run] = asyncio.create_task(self._work(run))

    @property
    def busy(self) -> bool:
        return bool(self._working)

    def held(self) -> list[Delivery]:
        """Return every delivery that is not settled yet."""
        lots = (*self._at_hand.values(), *self._waiting.values())
        return [delivery for lot in lots for delivery in lot]

    async def _work(self, run: str) -> None:
        try:
            while run in self._waiting:
                self._at_hand[run] = self._waiting.pop(run)
                await self._handle(run, self._at_hand[run])
        finally:
            del self._working[run]
            self._at_hand.pop(run, None)
