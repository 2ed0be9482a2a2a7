"""Given the fault matrix, when a fixed share of its worlds is run, then nothing is broken inside the fault models.

And outside of them something is: a matrix in which all held everywhere would say little of its faults.
"""

from __future__ import annotations

import pytest

from swarm_common.events.consensus import Simulated
from swarm_common.verdicts import verdict
from swarm_consensus.protocols import MECHANISMS
from swarm_consensus.simulator.draw import FAULTS, draw, inside
from swarm_consensus.simulator.run import SimulateParams, simulate
from swarm_consensus.simulator.world import World

SEEDS = {3: 12, 4: 8, 5: 8, 7: 5, 10: 2}
"""Worlds of a cell, by the number of agents."""


def cell(mechanism: str, agents: int, fault: str, seeds: int, *, first_seed: int = 0) -> Simulated:
    return simulate(
        "cell",
        SimulateParams(
            mechanism=mechanism,
            agents=agents,
            fault=fault,
            seeds=seeds,
            first_seed=first_seed,
            shrink=inside(MECHANISMS[mechanism], agents, fault),
        ),
    )


@pytest.mark.parametrize("agents", SEEDS)
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_inside_the_fault_models_all_invariants_hold_and_all_is_decided_in_the_end(
    mechanism: str, agents: int
) -> None:
    for fault in (*FAULTS, "all_but_byzantine", "all"):
        if inside(MECHANISMS[mechanism], agents, fault):
            data = cell(mechanism, agents, fault, SEEDS[agents])
            failed = "\n".join(f"seed {one.seed}: {one.what}\n{one.chart}" for one in data.counterexamples)
            assert (data.unsafe, data.stopped) == (0, 0), f"{mechanism}, {agents} agents, {fault}: {failed}"
            assert data.decided == data.asked


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_without_a_fault_everything_is_decided_while_it_would_last_and_that_is_the_base_line(
    mechanism: str,
) -> None:
    base = cell(mechanism, 5, "none", 10)
    assert (base.unsafe, base.stopped, verdict(base, base)) == (0, 0, "held")
    assert base.during >= 0.7 * (base.asked - base.seeds)  # elections take their time at the beginning


@pytest.mark.parametrize("agents", [4, 7])
@pytest.mark.parametrize("name", [name for name in MECHANISMS if not MECHANISMS[name].liars(4)])
def test_outside_its_model_every_mechanism_is_unsafe_with_liars(name: str, agents: int) -> None:
    assert not inside(MECHANISMS[name], agents, "byzantine")
    data = cell(name, agents, "byzantine", 40)
    assert data.unsafe, f"{name} withstands liars"
    assert {one.invariant for one in data.counterexamples} <= set(data.invariants) | {"progress"}


@pytest.mark.parametrize("name", ["voting", "weighted"])
def test_voting_comes_apart_where_its_collector_equivocates(name: str) -> None:
    mechanism = MECHANISMS[name]
    for seed in range(60):
        plan = draw(mechanism, 4, "byzantine", seed)
        if "equivocation" in plan.liars.values() and World(mechanism, plan).run().invariant == "agreement":
            return
    pytest.fail("no equivocation breaks agreement")


@pytest.mark.parametrize("agents", [4, 5, 7])
def test_one_liar_more_than_it_allows_breaks_pbft(agents: int) -> None:
    assert cell("pbft", agents, "byzantine_more", 60).unsafe


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_one_crash_more_than_it_allows_stops_a_mechanism_and_does_no_harm(mechanism: str) -> None:
    data = cell(mechanism, 5, "crash_more", 4)
    assert (data.unsafe, data.stopped, data.inside) == (0, 4, False)
    assert data.counterexamples == ()
