"""Wake-ups of one run are handled together and one lot after the other; those of several runs side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from support.waiting import until
from swarm_coordinator.wakeups import Wakeups


class Slow:
    """A handler that waits until it is let go."""

    def __init__(self) -> None:
        self.lots: list[tuple[str, list[Any]]] = []
        self.gate = asyncio.Event()
        self.running: set[str] = set()

    async def __call__(self, run: str, deliveries: Sequence[Any]) -> None:
        assert run not in self.running
        self.running.add(run)
        self.lots.append((run, list(deliveries)))
        await self.gate.wait()
        self.running.remove(run)


async def test_what_comes_while_a_lot_is_handled_is_the_next_lot() -> None:
    handle = Slow()
    wakeups: Any = Wakeups(handle)
    wakeups.add("a", 1)
    await until(lambda: handle.running)
    wakeups.add("a", 2)
    wakeups.add("a", 3)
    wakeups.add("b", 4)
    await until(lambda: handle.running == {"a", "b"})
    assert wakeups.held() == [1, 4, 2, 3]
    handle.gate.set()
    await until(lambda: not wakeups.busy)
    assert sorted(handle.lots) == [("a", [1]), ("a", [2, 3]), ("b", [4])]
    assert wakeups.held() == []


async def test_many_are_each_handled_once() -> None:
    seen: list[int] = []

    async def handle(run: str, deliveries: Sequence[Any]) -> None:
        await asyncio.sleep(0)
        seen.extend(deliveries)
        assert {int(run) for _ in deliveries} == {delivery % 7 for delivery in deliveries}

    wakeups: Any = Wakeups(handle)
    for number in range(1000):
        wakeups.add(str(number % 7), number)
        if number % 50 == 0:
            await asyncio.sleep(0)
    await until(lambda: not wakeups.busy)
    assert sorted(seen) == list(range(1000))
