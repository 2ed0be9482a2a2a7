"""What the agents of a swarm weigh: the bytes that a world of them holds when it has decided."""

from __future__ import annotations

import gc
import time
import tracemalloc
from typing import Annotated

import msgspec
from msgspec import Meta

from swarm_common.errors import TaskFailed
from swarm_common.events import Samples
from swarm_common.events.consensus import Weighed
from swarm_common.events.measuring import Clock
from swarm_common.hosts import this_host
from swarm_consensus.simulator.draw import draw
from swarm_consensus.simulator.run import mechanism_of
from swarm_consensus.simulator.world import World

_FEW = 3
"""Agents of the world that is run before anything is counted: what modules make at their first use is not a swarm's."""


class WeighParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which swarm is weighed."""

    scenario: str
    mechanism: str = "raft"
    size: Annotated[int, Meta(ge=2, le=1000)]
    """Agents."""
    values: Annotated[int, Meta(ge=1, le=1000)] = 10
    """How many they decide, so that their logs are not empty."""
    repeats: Annotated[int, Meta(ge=1, le=100)] = 3


def weigh(task: str, params: WeighParams, seed: int) -> Weighed:
    """Return how many bytes the agents' state takes: nodes, logs, disks and decisions, as ``tracemalloc`` counts them.

    What is counted is all that a world has allocated and still holds when its messages are gone: the agents, and the
    little that the world keeps of them. The interpreter's own pools round sizes up; that is not in it. Nothing is
    promised of the growth: each agent of Raft has a set of all members.

    Raises:
        TaskFailed: A swarm did not decide what it was asked.
    """
    began, host = time.perf_counter_ns(), this_host()
    _decided(params, _FEW, seed)
    swarms, decided = [], 0
    for number in range(params.repeats):
        gc.collect()
        tracemalloc.start()
        try:
            world = _decided(params, params.size, seed + number)
            gc.collect()
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        swarms.append(float(held))
        decided += sum(len(each) for each in world.decisions)
        del world
    name = f"{params.scenario}.{params.size}"
    return Weighed(
        task=task,
        scenario=params.scenario,
        size=params.size,
        operation=f"bytes of {params.size} agents of {params.mechanism} that have decided {params.values} values",
        checked={"agents": params.size, "decisions": decided, "mechanism": params.mechanism},
        samples=(Samples(name=name, unit="bytes", values=tuple(swarms), clock="tracemalloc"),),
        timings=(),
        host=host,
        load_end=this_host().load,
        clock=Clock(cost_ns=0.0, resolution_ns=0.0),
        elapsed_s=(time.perf_counter_ns() - began) / 1e9,
    )


def _decided(params: WeighParams, agents: int, seed: int) -> World:
    """Return a world whose agents have decided all that they were asked."""
    mechanism = mechanism_of(params.mechanism)
    world = World(mechanism, draw(mechanism, agents, "none", seed, values=params.values))
    outcome = world.run()
    if outcome.violation or outcome.undecided or len(outcome.decided_ms) != params.values:
        raise TaskFailed(f"a swarm of {agents} did not decide: {outcome.violation or outcome.undecided}")
    return world
