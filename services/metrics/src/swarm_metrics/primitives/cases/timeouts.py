"""``timeout_overhead``: what a timeout costs that is kept, and how far from its time one expires that is not.

On the event loop that the services run on (uvloop), whose timers count whole milliseconds from the time at which its
turn began: a timeout expires some tenths of a millisecond late, or early.
"""

from __future__ import annotations

import asyncio
import time

import uvloop

from swarm_common.events import Samples
from swarm_metrics.primitives.case import Case, Fact, Prepared, require
from swarm_metrics.primitives.harness import name_of

_KEPT = 100
"""Timeouts of a loop that do not expire."""
_FEW = 0.01
"""As large a part of those may expire after all."""
_WAITS = 50
"""Waits of a loop that do, at once."""
_APART_S = 0.0002
"""From the beginning of one to that of the next, so that they do not expire in the same moment."""
_MOST = 10
"""Samples of those that expire: each takes as long as the timeout."""


def prepare_kept(size: int, _seed: int) -> Prepared:
    """Return a turn of the loop under a timeout of ``size`` ms: an operation sets it, takes the turn, and ends it."""
    loop = uvloop.new_event_loop()
    limit_s = size / 1e3
    seen = {"kept": 0, "expired": 0, "loops": 0}

    async def turns(loops: int) -> None:
        for _ in range(loops):
            for _ in range(_KEPT):
                try:
                    async with asyncio.timeout(limit_s):
                        await asyncio.sleep(0)
                        seen["kept"] += 1
                except TimeoutError:
                    seen["expired"] += 1
        seen["loops"] += loops

    def check() -> dict[str, Fact]:
        # A machine that is in use takes the processor away for longer than the shortest of them lasts, now and then.
        few = seen["expired"] <= _FEW * seen["kept"]
        require(few, f"{seen['expired']} of {seen['kept']} turns of the loop took {size} ms")
        require(seen["kept"] + seen["expired"] == seen["loops"] * _KEPT, "some ended neither way")
        return {"milliseconds": size, "kept": _KEPT}

    return Prepared(
        run=lambda loops: loop.run_until_complete(turns(loops)),
        operations=_KEPT,
        check=check,
        teardown=loop.close,
    )


def prepare_expired(size: int, _seed: int) -> Prepared:
    """Return waits for what never comes; an operation's time is how far from ``size`` ms after its begin it ended."""
    loop = uvloop.new_event_loop()
    off_ns: list[int] = []
    seen = {"waits": 0, "expired": 0}

    async def wait() -> None:
        seen["waits"] += 1
        began = time.perf_counter_ns()
        try:
            async with asyncio.timeout(size / 1e3):
                await loop.create_future()
        except TimeoutError:
            off_ns.append(abs(time.perf_counter_ns() - began - size * 1_000_000))
            seen["expired"] += 1

    async def waits(loops: int) -> int:
        before = len(off_ns)
        for _ in range(loops):
            async with asyncio.TaskGroup() as group:
                for _ in range(_WAITS):
                    group.create_task(wait())
                    await asyncio.sleep(_APART_S)
        return sum(off_ns[before:])

    def check() -> dict[str, Fact]:
        require(seen["expired"] > 0, "no timeout expired")
        require(seen["expired"] == seen["waits"], f"{seen['expired']} of {seen['waits']} timeouts expired")
        return {"milliseconds": size, "waits": _WAITS}

    def single() -> tuple[Samples, ...]:
        name = name_of("timeout_overhead", "expired", size)
        # The first loop starts the timers' machinery.
        return (
            Samples(name=f"{name}.single", unit="us", values=tuple(off / 1e3 for off in off_ns[_WAITS:])),
        )

    return Prepared(
        run=lambda loops: loop.run_until_complete(waits(loops)),
        operations=_WAITS,
        check=check,
        also=single,
        teardown=loop.close,
    )


CASES = (
    Case(
        scenario="timeout_overhead",
        variant="kept",
        sizes=(10, 50, 100, 500),
        operation="a turn of the event loop under a timeout that does not expire",
        growth="constant",
        prepare=prepare_kept,
    ),
    Case(
        scenario="timeout_overhead",
        variant="expired",
        sizes=(10, 50, 100, 500),
        operation="how far from its time a timeout expires, early or late",
        growth="constant",
        most_samples=_MOST,
        prepare=prepare_expired,
    ),
)
