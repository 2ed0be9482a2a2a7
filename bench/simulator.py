"""The simulator with all invariants on: deliveries and worlds a second of one core, and messages counted exactly.

A world is drawn from its seed, built, and run until what was asked for in it is decided, as in the fault matrix: seeds
go through the seven faults that are inside every mechanism's model. Rates are by CPU time of this process, which works
alone and on one core, so that other programs count less. A count is right where the messages of one decision are as
many as the mechanism's formula says; every number of agents from 2 to 100 is counted.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence

from kit.cli import alone
from kit.measure import Bench, Row

from swarm_consensus.protocols import MECHANISMS
from swarm_consensus.simulator.counting import messages_of_a_decision
from swarm_consensus.simulator.draw import FAULTS, draw
from swarm_consensus.simulator.world import World

#: Agents and mechanism of a rate, and the worlds a second promised; 0: none promised.
WORLDS = (("raft", 3, 1_000), ("raft", 5, 300))
DELIVERIES_S = 100_000
SIZES = range(2, 101)
_FAULTS = tuple(fault for fault in FAULTS if fault != "byzantine")


def _rates(name: str, agents: int, worlds: int, repeats: int) -> tuple[list[float], list[float]]:
    """Return worlds and deliveries a second, one figure a repeat."""
    mechanism = MECHANISMS[name]
    per_world, per_delivery = [], []
    for turn in range(-1, repeats):
        gc.collect()
        gc.disable()
        deliveries, began = 0, time.process_time()
        for seed in range(worlds):
            plan = draw(mechanism, agents, _FAULTS[seed % len(_FAULTS)], seed)
            outcome = World(mechanism, plan).run()
            assert outcome.violation is None  # noqa: S101 - a rate of worlds that break off is none
            deliveries += outcome.deliveries
        took_s = time.process_time() - began
        gc.enable()
        if turn >= 0:
            per_world.append(worlds / took_s)
            per_delivery.append(deliveries / took_s)
    return per_world, per_delivery


def run(quick: bool) -> tuple[Sequence[Row], Sequence[str]]:
    repeats, worlds = (3, 70) if quick else (9, 210)
    rows = []
    for name, agents, promised in WORLDS:
        samples, _ = _rates(name, agents, worlds, repeats)
        rows.append(
            Row(
                name=f"{name}, {agents} agents",
                what="worlds a second, drawn and run",
                unit="1/s",
                samples=tuple(samples),
                target=f">= {promised:,}",
            )
        )
    for name in MECHANISMS:
        _, samples = _rates(name, 7, worlds // 3, repeats)
        rows.append(
            Row(
                name=f"{name}, deliveries",
                what="a second, 7 agents, invariants after each",
                unit="1/s",
                samples=tuple(samples),
                target=f">= {DELIVERIES_S:,}" if name == "raft" else "",
            )
        )
    for name, mechanism in MECHANISMS.items():
        found = {n: messages_of_a_decision(mechanism, n) for n in SIZES}
        right = sum(found[n] == mechanism.fault_free(n) for n in SIZES)
        rows.append(
            Row(
                name=f"{name}, counts",
                what=f"of {len(SIZES)} sizes exact; of 4, 10 and 100 agents: {found[4]}, {found[10]}, {found[100]}",
                unit="sizes",
                samples=(float(right),),
                target=f">= {len(SIZES)}",
            )
        )
    return rows, [f"faults in turn: {', '.join(_FAULTS)}; CPU time, garbage collected between repeats"]


BENCH = Bench("simulator", "simulated swarms, checked after every step", run)

if __name__ == "__main__":
    alone(BENCH)
