"""``swarm_memory_allocation``: the shared memory of a swarm, made by its agents' commits: time and bytes."""

from __future__ import annotations

import gc
import tracemalloc

from swarm_common.events import Samples
from swarm_metrics.primitives.case import Case, Fact, Prepared, require
from swarm_metrics.primitives.harness import name_of
from swarm_primitives.store import Store

_KEYS = 20
"""That each agent writes, in one change."""
_SHARED = "swarm"
"""A key that each agent reads and writes: what one leaves the next goes on with."""

Memory = Store[str, tuple[int, str]]


def fill(agents: int, seed: int) -> Memory:
    """Return the memory of a swarm in which each agent has committed its keys and counted itself in."""
    memory: Memory = Store()
    for agent in range(agents):
        staged = memory.begin()
        for key in range(_KEYS):
            staged[f"agent-{agent}/{key}"] = (seed + agent * _KEYS + key, f"note {key} of agent {agent}")
        count, _ = staged.get(_SHARED) or (0, "")
        staged[_SHARED] = (count + 1, f"agent {agent}")
        memory.commit(staged)
    return memory


def prepare(size: int, seed: int) -> Prepared:
    """Return a swarm of ``size`` agents without memory; an operation is to make it for all of them."""
    made: list[Memory] = []

    def run(loops: int) -> None:
        for _ in range(loops):
            made[:] = [fill(size, seed)]

    def weigh() -> tuple[Samples, ...]:
        made.clear()
        gc.collect()
        tracemalloc.start()
        try:
            made.append(fill(size, seed))
            gc.collect()
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        name = name_of("swarm_memory_allocation", "", size)
        return (Samples(name=f"{name}.bytes", unit="bytes", values=(float(held),), clock="tracemalloc"),)

    def check() -> dict[str, Fact]:
        now = made[0].now
        require(len(now) == size * _KEYS + 1, f"{len(now)} keys of {size} agents")
        require(now[_SHARED] == (size, f"agent {size - 1}"), f"the swarm's own key is {now[_SHARED]}")
        last = (seed + size * _KEYS - 1, f"note {_KEYS - 1} of agent {size - 1}")
        require(now[f"agent-{size - 1}/{_KEYS - 1}"] == last, "the last agent's last key is another's")
        return {"agents": size, "keys": len(now), "version": now.version}

    return Prepared(run=run, check=check, also=weigh)


CASES = (
    Case(
        scenario="swarm_memory_allocation",
        sizes=(10, 50, 100, 200),
        operation=f"the memory of a swarm made: {_KEYS} keys of each agent and one of all, a commit an agent",
        prepare=prepare,
    ),
)
