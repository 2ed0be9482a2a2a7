"""``semaphore_coordination``: turns taken under a semaphore that fewer may hold than want it."""

from __future__ import annotations

import asyncio
import time

from swarm_metrics.primitives.case import Case, Fact, Prepared, require

_WORKERS_A_PERMIT = 4
"""More workers than permits: three of four wait at any time."""
_TURNS = 5
"""How often each worker has its turn in a loop."""


class _Seen:
    """What the workers saw of each other."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self.turns = 0
        self.waited = 0
        self.loops = 0


async def _worker(semaphore: asyncio.Semaphore, seen: _Seen) -> None:
    for _ in range(_TURNS):
        if semaphore.locked():
            seen.waited += 1
        async with semaphore:
            seen.inside += 1
            seen.most = max(seen.most, seen.inside)
            # Another's turn, so that the permit is held while others ask for one.
            await asyncio.sleep(0)
            seen.turns += 1
            seen.inside -= 1


def prepare(size: int, _seed: int) -> Prepared:
    """Return ``size`` permits and four times as many workers; an operation is one turn: acquire, hold, release."""
    workers = size * _WORKERS_A_PERMIT
    seen = _Seen()
    # A loop of its own, as the services' threads have: no other's tasks are in it.
    loop = asyncio.new_event_loop()

    async def turns(loops: int) -> int:
        elapsed = 0
        for _ in range(loops):
            semaphore = asyncio.Semaphore(size)
            tasks = [loop.create_task(_worker(semaphore, seen)) for _ in range(workers)]
            began = time.perf_counter_ns()
            await asyncio.gather(*tasks)
            elapsed += time.perf_counter_ns() - began
        seen.loops += loops
        return elapsed

    def check() -> dict[str, Fact]:
        require(seen.most == size, f"{seen.most} were inside at once with {size} permits")
        require(seen.inside == 0, f"{seen.inside} never came out")
        require(seen.turns == seen.loops * workers * _TURNS, f"{seen.turns} turns in {seen.loops} loops")
        require(seen.waited > 0, "nobody had to wait")
        return {"permits": size, "workers": workers, "most_inside": seen.most, "turns": workers * _TURNS}

    return Prepared(
        run=lambda loops: loop.run_until_complete(turns(loops)),
        operations=workers * _TURNS,
        check=check,
        teardown=loop.close,
    )


CASES = (
    Case(
        scenario="semaphore_coordination",
        sizes=(5, 10, 20, 50),
        operation="one turn: a permit asked for, held and given back, with four workers a permit",
        growth="constant",
        prepare=prepare,
    ),
)
