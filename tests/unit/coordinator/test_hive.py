"""What the hive's planners ask for, and what they make of what comes back: promises, cells, effects."""

from __future__ import annotations

import asyncio
import math
import random
import struct
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from support.played import completed, play
from swarm_common.errors import UsageError
from swarm_common.events import Array, Data, Metric, Task
from swarm_common.events.consensus import (
    Counterexample,
    EmergenceMeasured,
    KnowledgeSpread,
    Measured,
    QualityMeasured,
    Simulated,
)
from swarm_common.mechanisms import MECHANISMS
from swarm_consensus import protocols, service
from swarm_consensus.live.params import live_params
from swarm_consensus.simulator import draw
from swarm_consensus.simulator.run import simulate_params
from swarm_consensus.society.params import emerge_params, judge_params, spread_params
from swarm_coordinator.decider import judge
from swarm_coordinator.plans import Fact, Finish, SoFar, Step, complete_params, find_scenario
from swarm_coordinator.suites import SUITES
from swarm_coordinator.suites.hive import live, simulate
from swarm_coordinator.suites.hive.params import floats, percentile

HIVE = SUITES["hive"]
#: What reads a task's parameters in the service that does it, by kind.
READERS: dict[str, Callable[[Any], Any]] = {
    "simulate": simulate_params,
    "agree_live": live_params,
    "judge": judge_params,
    "spread": spread_params,
    "emerge": emerge_params,
}


def planned(scenario: str = "", seed: int = 42, **params: Any) -> tuple[Task, ...]:
    case = find_scenario(HIVE, scenario)
    step = HIVE.plan(SoFar(scenario=case.name, params=complete_params(case, params), seed=seed))
    assert isinstance(step, Step)
    return step.tasks


def finished(scenario: str, *results: Data, **params: Any) -> Finish:
    """Return what a planner makes of these results; their order in the mapping is none."""
    case = find_scenario(HIVE, scenario)
    shuffled = list(results)
    random.Random(len(results)).shuffle(shuffled)  # noqa: S311 - a test's order
    facts = {data.task: Fact(f"event-{data.task}", data, "") for data in shuffled}  # type: ignore[attr-defined]
    sofar = SoFar(
        scenario=case.name,
        params=complete_params(case, params),
        seed=42,
        step=1,
        results=facts,
        elapsed_s=2.0,
    )
    finish = HIVE.plan(sofar)
    assert isinstance(finish, Finish)
    msgspec.json.encode(finish.result)
    return finish


def values(finish: Finish) -> dict[str, float | None]:
    return {metric.name: metric.value for metric in finish.metrics}


def metric(finish: Finish, name: str) -> Metric:
    return next(one for one in finish.metrics if one.name == name)


def missed(scenario: str, finish: Finish) -> list[str]:
    targets = find_scenario(HIVE, scenario).targets
    assert targets
    return [one.metric for one in (judge(target, finish.metrics) for target in targets) if not one.met]


# -- simulate ----------------------------------------------------------------------------------------------


def simulated(fault: str = "crash", first_seed: int = 0, **fields: Any) -> Simulated:
    usual: dict[str, Any] = {
        "mechanism": "raft", "agents": 3, "inside": True, "seeds": 10, "unsafe": 0, "stopped": 0, "decided": 30,
        "during": 30, "asked": 30, "decision_ms": (10.0, 20.0, 30.0), "known_ms": (15.0, 25.0, 35.0),
        "deliveries": 1000, "messages": 1200, "invariants": {"agreement": 0}, "elapsed_s": 0.5,
    }  # fmt: skip
    found = usual | fields
    name = f"{found['mechanism']}-{found['agents']}-{fault}-{first_seed}"
    return Simulated(task=name, fault=fault, first_seed=first_seed, **found)


def example(invariant: str = "agreement", seed: int = 7, chart: str = "a\n") -> Counterexample:
    return Counterexample(seed=seed, invariant=invariant, what="x", plan="{}", chart=chart)


def test_every_seed_of_a_cell_is_run_once_however_it_is_cut() -> None:
    tasks = planned(
        "simulate", protocol="pbft", agents=10, seeds=700, faults=["loss", "byzantine"], first_seed=5
    )
    seeds: dict[str, list[int]] = {}
    for task in tasks:
        first = task.params["first_seed"]
        seeds.setdefault(task.params["fault"], []).extend(range(first, first + task.params["seeds"]))
    assert {fault: sorted(found) for fault, found in seeds.items()} == {
        "loss": list(range(5, 705)),
        "byzantine": list(range(5, 705)),
        "none": list(range(5, 705)),
    }
    assert len(tasks) > 4
    assert {task.lane for task in tasks} == {"cpu"}


def test_the_matrix_has_eight_faults_five_protocols_and_seven_sizes_and_a_base_line() -> None:
    for size in simulate.WORLDS:
        cells = {
            (task.params["mechanism"], task.params["agents"], task.params["fault"])
            for task in planned("simulate", size=size)
        }
        assert len(cells) == 5 * 7 * (8 + 1)
    nightly = planned("simulate", size="nightly", protocol="raft", faults="crash")
    worlds: dict[int, int] = {}
    for task in nightly:
        if task.params["fault"] == "crash":
            agents = task.params["agents"]
            worlds[agents] = worlds.get(agents, 0) + task.params["seeds"]
    assert [worlds[n] for n in (3, 4, 5, 7)] == [1000] * 4
    assert worlds[100] >= 1


def test_two_runs_with_different_seeds_have_no_world_in_common() -> None:
    first, second = (
        {(t.id, t.params["first_seed"]) for t in planned("simulate", seed=seed, protocol="raft")}
        for seed in (1, 2)
    )
    assert not first & second
    assert planned("simulate", seed=1, first_seed=3) == planned("simulate", seed=2, first_seed=3)


def test_the_dearest_worlds_come_first_so_that_no_core_waits_for_them() -> None:
    tasks = planned("simulate")
    cost = [simulate.world_cost(t.params["mechanism"], t.params["agents"]) * t.params["seeds"] for t in tasks]
    assert cost == sorted(cost, reverse=True)


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"protocol": "rafter"}, "params.protocol"),
        ({"mechanisms": ["raft", "zab"]}, "params.mechanisms"),
        ({"protocol": "raft", "mechanisms": "paxos"}, "params.protocol"),
        ({"seeds": 0}, "params.seeds"),
        ({"seeds": "many"}, "params.seeds"),
        ({"agents": 2}, "params.agents"),
        ({"agents": [5, 101]}, "params.agents"),
        ({"faults": "meteor"}, "params.faults"),
        ({"size": "long"}, "params.size"),
        ({"first_seed": -1}, "params.first_seed"),
    ],
)
def test_what_cannot_be_simulated_is_refused_by_name(params: dict[str, Any], field: str) -> None:
    with pytest.raises(UsageError) as raised:
        planned("simulate", **params)
    assert raised.value.field == field
    assert raised.value.allowed


def test_both_names_of_a_protocol_mean_the_same() -> None:
    assert planned("simulate", protocol="raft") == planned("simulate", mechanisms="raft")
    assert planned("simulate", protocol="raft") == planned(
        "simulate", protocol="raft,raft", mechanisms="raft"
    )


def test_chunks_are_put_together_as_if_they_were_one() -> None:
    chunks = [
        simulated(
            first_seed=0, decided=10, decision_ms=(10.0, 20.0, 30.0), invariants={"agreement": 1}, unsafe=1
        ),
        simulated(first_seed=10, decided=30, decision_ms=(40.0, 50.0, 60.0), invariants={"validity": 2}),
        simulated(first_seed=20, decided=0, decision_ms=None, stopped=2, seeds=5),
    ]
    whole = simulate.together(chunks)
    assert (whole.seeds, whole.unsafe, whole.stopped, whole.deliveries) == (25, 1, 2, 3000)
    assert whole.decision_ms == (40.0, 50.0, 60.0)
    assert whole.invariants == {"agreement": 1, "validity": 2}


def test_one_unsafe_world_inside_a_model_misses_the_target_and_outside_it_does_not() -> None:
    base = simulated("none")
    good = finished("simulate", base, simulated(), simulated("byzantine", inside=False, unsafe=4))
    assert missed("simulate", good) == []
    assert values(good)["unsafe_outside"] == 4
    bad = finished("simulate", base, simulated(unsafe=1, first_seed=0), simulated(first_seed=10))
    assert missed("simulate", bad) == ["unsafe_inside"]
    assert metric(bad, "unsafe_inside").n == 30
    assert set(metric(bad, "unsafe_inside").source) == {
        "event-raft-3-crash-0",
        "event-raft-3-crash-10",
        "event-raft-3-none-0",
    }


def test_a_world_that_never_gets_well_inside_a_model_misses_the_target() -> None:
    stuck = finished("simulate", simulated("none"), simulated(stopped=1))
    assert missed("simulate", stuck) == ["stuck_inside"]


def test_the_verdicts_are_held_against_the_same_swarm_without_faults() -> None:
    finish = finished(
        "simulate",
        simulated("none"),
        simulated("none", agents=5, decision_ms=(100.0, 200.0, 300.0)),
        simulated("loss"),
        simulated("delay", decision_ms=(25.0, 90.0, 99.0)),
        simulated("delay", agents=5, decision_ms=(150.0, 200.0, 300.0)),
        simulated("partition", during=1),
        simulated("byzantine", unsafe=1, inside=False, counterexamples=(example(),)),
    )
    found = {(row["fault"], row["agents"]): row["verdict"] for row in finish.result["matrix"]}
    assert found == {
        ("none", 3): "held",
        ("none", 5): "held",
        ("loss", 3): "held",
        ("delay", 3): "slowed",
        ("delay", 5): "held",
        ("partition", 3): "stopped",
        ("byzantine", 3): "unsafe",
    }
    assert list(found)[:2] == [("none", 3), ("loss", 3)]


def test_counterexamples_are_kept_one_a_kind_the_smallest_swarm_and_the_shortest_chart() -> None:
    finish = finished(
        "simulate",
        simulated("none"),
        simulated("none", agents=4),
        simulated("crash", unsafe=1, counterexamples=(example("log matching"),)),
        simulated(
            "byzantine", inside=False, unsafe=2, counterexamples=(example(chart="long\nchart\n"), example())
        ),
        simulated(
            "byzantine", agents=4, inside=False, unsafe=1, counterexamples=(example(), example("validity"))
        ),
    )
    found = [
        (row["fault"], row["agents"], row["invariant"], row["chart"])
        for row in finish.result["counterexamples"]
    ]
    assert found == [
        ("crash", 3, "log matching", "a\n"),
        ("byzantine", 3, "agreement", "a\n"),
        ("byzantine", 4, "validity", "a\n"),
    ]


# -- live --------------------------------------------------------------------------------------------------


def array(*numbers: float) -> Array:
    return Array("<f4", (len(numbers),), struct.pack(f"<{len(numbers)}f", *numbers))


def measured(mechanism: str = "raft", fault: str = "none", agents: int = 4, **fields: Any) -> Measured:
    usual: dict[str, Any] = {
        "inside": True, "processes": 2, "asked": 10, "decisions": 10, "unanswered": 0,
        "latency_us": array(*range(100, 201)), "first_us": 900.0, "round_us": array(50.0, 100.0, 900.0),
        "messages_a_decision": 6.0, "throughput_s": 500.0, "gap_us": None, "agreement": 1.0, "violations": (),
        "linearizable": True, "history_operations": 40, "elapsed_s": 1.0,
    }  # fmt: skip
    name = f"{mechanism}-{agents}-{fault}"
    return Measured(task=name, mechanism=mechanism, agents=agents, fault=fault, **(usual | fields))


def test_the_default_is_all_five_small_and_raft_at_five_too() -> None:
    cells = [(t.params["mechanism"], t.params["agents"], t.params["fault"]) for t in planned()]
    assert len(cells) == 6 * 3
    assert {(mechanism, agents) for mechanism, agents, _ in cells} == {
        ("voting", 4), ("weighted", 4), ("raft", 4), ("raft", 5), ("paxos", 4), ("pbft", 4),
    }  # fmt: skip
    assert {fault for *_, fault in cells} == {"none", "leader_crash", "byzantine"}
    case = find_scenario(HIVE, "")
    assert (case.name, case.parallel, case.deterministic) == ("live", {"agree_live": 1}, False)


def test_every_parameter_of_live_reaches_the_agents() -> None:
    given = {"decisions": 11, "rounds": 12, "clients": 13, "fsync": True}
    tasks = planned("live", mechanisms="multi_paxos", agents="3,7", faults=["crashes", "crashes"], **given)
    assert [task.params for task in tasks] == [
        {"mechanism": "multi_paxos", "agents": agents, "fault": "crashes", **given} for agents in (3, 7)
    ]


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"mechanisms": "zab"}, "params.mechanisms"),
        ({"mechanisms": "pbft", "agents": 2}, "params.agents"),
        ({"agents": [4, 1000]}, "params.agents"),
        ({"faults": "loss"}, "params.faults"),
        ({"decisions": 0}, "params.decisions"),
        ({"clients": 0}, "params.clients"),
        ({"fsync": "yes"}, "params.fsync"),
    ],
)
def test_what_cannot_be_run_live_is_refused_by_name(params: dict[str, Any], field: str) -> None:
    with pytest.raises(UsageError) as raised:
        planned("live", **params)
    assert raised.value.field == field


def test_a_cell_is_told_in_rounds_of_its_own_agents() -> None:
    finish = finished("live", measured())
    found = values(finish)
    assert found["decision_p50.raft.4"] == 150.0
    assert found["decision_p99.raft.4"] == pytest.approx(199.0)
    assert found["rounds.raft.4"] == 1.5
    assert found["messages.raft.4"] == 6.0
    assert all(one.timing for one in finish.metrics if "." in one.name)
    assert missed("live", finish) == []


@pytest.mark.parametrize(
    ("fields", "targets"),
    [
        ({"violations": ("agreement: x",)}, ["unsafe_inside"]),
        ({"agreement": 0.99}, ["unsafe_inside"]),
        ({"linearizable": False}, ["unsafe_inside", "not_linearizable_inside"]),
        ({"decisions": 0, "unanswered": 10, "latency_us": None, "agreement": None}, ["stopped_inside"]),
        ({"unanswered": 6}, ["stopped_inside"]),
        ({"unanswered": 1}, []),
        ({"linearizable": None}, []),
    ],
)
def test_what_is_promised_and_not_kept_misses_a_target(fields: dict[str, Any], targets: list[str]) -> None:
    assert missed("live", finished("live", measured(), measured(fault="leader_crash", **fields))) == targets
    outside = finished("live", measured(), measured(fault="leader_crash", inside=False, **fields))
    assert missed("live", outside) == []
    assert values(outside)["failed_outside"] == (1 if targets else 0)


def test_what_was_not_measured_is_null_with_a_reason() -> None:
    nothing = measured(decisions=0, latency_us=None, throughput_s=None, agreement=None, unanswered=10)
    finish = finished("live", nothing)
    for name in ("decision_p50.raft.4", "rounds.raft.4", "throughput.raft.4", "agreement"):
        assert metric(finish, name).value is None
        assert metric(finish, name).reason
    late = finished("live", measured(fault="crashes", gap_us=None))
    assert metric(late, "gap.raft.4.crashes").reason == "not measured under crashes"


def test_live_rows_are_in_the_order_of_the_table() -> None:
    finish = finished(
        "live",
        measured("pbft"),
        measured("voting"),
        measured(agents=5),
        measured(fault="byzantine"),
        measured(),
    )
    assert [(row["mechanism"], row["agents"], row["fault"]) for row in finish.result["live"]] == [
        ("voting", 4, "none"),
        ("raft", 4, "none"),
        ("raft", 4, "byzantine"),
        ("raft", 5, "none"),
        ("pbft", 4, "none"),
    ]


def test_floats_and_percentiles_without_numpy() -> None:
    assert floats(array(1.5, 2.5)) == [1.5, 2.5]
    assert floats(None) == []
    assert percentile([], 0.5) is None
    assert percentile([3.0], 0.99) == 3.0
    assert percentile([4.0, 1.0, 2.0, 3.0], 0.5) == 2.5


def test_a_live_verdict_is_the_worst_that_is_true() -> None:
    assert live.verdict(measured(violations=("x",), decisions=0)) == "unsafe"
    assert live.verdict(measured(unanswered=1)) == "slowed"
    assert live.verdict(measured()) == "held"


# -- what a swarm knows ------------------------------------------------------------------------------------


def test_every_mechanism_judges_in_every_world() -> None:
    tasks = planned("decision_quality", trials=20, competence=0.7, earlier=9, agents=[5, 31])
    assert len(tasks) == 5 * 3 * 2
    assert {task.kind for task in tasks} == {"judge"}
    assert all(
        {"trials": 20, "competence": 0.7, "earlier": 9}.items() <= task.params.items() for task in tasks
    )


def test_quality_stands_beside_theory_and_single_agents() -> None:
    data = QualityMeasured(
        task="t", mechanism="voting", agents=5, world="condorcet", trials=100, right=70, low=0.6, high=0.78,
        best_agent=0.65, mean_agent=0.6, expected=0.68, expected_by="Condorcet's sum", optimum=0.68, made_of="votes",
        undecided=0, messages=900, elapsed_s=0.1,
    )  # fmt: skip
    finish = finished("decision_quality", data)
    assert metric(finish, "quality.voting.condorcet.5").value == 0.7
    (row,) = finish.result["quality"]
    assert (row["expected"], row["over_mean"]) == (0.68, pytest.approx(0.1))


def test_gossip_is_told_beside_the_bound() -> None:
    tasks = planned("knowledge", ways="pull", agents="8", repetitions=3, loss=0.5)
    assert [task.params for task in tasks] == [{"way": "pull", "agents": 8, "repetitions": 3, "loss": 0.5}]
    data = KnowledgeSpread(
        task="t", way="pull", agents=8, loss=0.5, rounds=(4, 5, 6), messages=(40, 50, 60), curve=(0.5, 1.0),
        bound=3.0, expected=None, elapsed_s=0.1,
    )  # fmt: skip
    finish = finished("knowledge", data)
    rounds = metric(finish, "rounds.pull.8")
    assert rounds.value == 5.0
    assert rounds.low == pytest.approx(5 - 1.96 / math.sqrt(3))
    (row,) = finish.result["spread"]
    assert (row["bound"], row["most_rounds"], row["messages_an_agent"]) == (3.0, 6, 6.25)


@pytest.mark.parametrize(
    ("low", "high", "p", "said"),
    [
        (0.2, 0.6, 0.01, "more than by chance"),
        (-0.6, -0.2, 0.01, "less than by chance"),
        (-0.1, 0.3, 0.01, "no effect shown"),
        (0.1, 0.3, 0.2, "no effect shown"),
    ],
)
def test_an_effect_is_shown_only_where_interval_and_test_agree(
    low: float, high: float, p: float, said: str
) -> None:
    data = EmergenceMeasured(
        task="t", phenomenon="cascades", agents=9, observed=(0.5, 0.6), null=(0.4, 0.5),
        effect=(low + high) / 2, low=low, high=high, p_value=p, measure="m", null_model="n", elapsed_s=0.1,
    )  # fmt: skip
    finish = finished("emergence", data)
    assert finish.result["emergence"][0]["verdict"] == said
    assert metric(finish, "effect.cascades.9").value == (low + high) / 2


def test_each_phenomenon_gets_the_parameters_that_it_has() -> None:
    tasks = planned("emergence", agents=9, learning=0.5, jobs=3, accuracy=0.8)
    assert {task.params["phenomenon"]: task.params for task in tasks} == {
        "specialisation": {
            "phenomenon": "specialisation", "agents": 9, "repetitions": 200, "learning": 0.5, "jobs": 3,
        },
        "cascades": {"phenomenon": "cascades", "agents": 9, "repetitions": 200, "accuracy": 0.8},
    }  # fmt: skip


# -- what the other services have --------------------------------------------------------------------------


def test_every_mechanism_offered_is_one_that_consensus_has_under_that_name() -> None:
    assert {name: mechanism.name for name, mechanism in protocols.MECHANISMS.items()} == {
        name: name for name in MECHANISMS
    }


def test_what_is_offered_is_what_the_handlers_take() -> None:
    assert set(draw.FAULTS) == set(simulate.FAULTS)
    assert {simulate.BASE, *simulate.OTHERS} == set(draw.OTHERS)
    for scenario in ("simulate", "live", "decision_quality", "knowledge", "emergence"):
        for task in planned(scenario):
            READERS[task.kind](task.params)


# -- whole runs, in one process ----------------------------------------------------------------------------


@pytest.fixture
def _without_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    async def here(function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)

    monkeypatch.setattr(service, "in_a_process", here)


@pytest.mark.usefixtures("_without_processes")
def test_a_simulation_ends_with_the_same_whichever_chunk_is_done_first() -> None:
    params = {"protocol": ["voting", "raft"], "agents": 3, "faults": ["crash", "byzantine"], "seeds": 30}
    runs = [completed(asyncio.run(play("simulate", params, suite="hive", order=order))) for order in (1, 2)]
    assert runs[0].digest == runs[1].digest
    assert runs[0].result == runs[1].result
    cells = {(row["mechanism"], row["fault"]): row for row in runs[0].result["matrix"]}
    assert cells["voting", "byzantine"]["verdict"] == "unsafe"
    assert not cells["voting", "byzantine"]["inside"]
    assert cells["raft", "crash"]["unsafe"] == cells["raft", "crash"]["stuck"] == 0
    assert all(target.met for target in runs[0].targets)
    assert runs[0].result["counterexamples"]


@pytest.mark.usefixtures("_without_processes")
@pytest.mark.parametrize(
    ("changed", "kept"),
    [
        ({"seeds": 11}, {"seeds": 10}),
        ({"first_seed": 7}, {"first_seed": 8}),
        ({"faults": "loss"}, {"faults": "delay"}),
        ({"agents": 4}, {"agents": 5}),
        ({"protocol": "paxos"}, {"protocol": "multi_paxos"}),
    ],
)
def test_every_parameter_of_a_simulation_changes_what_is_done(
    changed: dict[str, Any], kept: dict[str, Any]
) -> None:
    usual = {"protocol": "raft", "agents": 3, "faults": "loss", "seeds": 5}
    digests = {
        completed(asyncio.run(play("simulate", usual | more, suite="hive"))).digest
        for more in (changed, kept)
    }
    assert len(digests) == 2
