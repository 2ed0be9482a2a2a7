"""Given a cell of the fault matrix, when its worlds are run, then a verdict, and a failure small enough to read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_common.errors import UsageError
from swarm_common.events.consensus import Simulated
from swarm_common.verdicts import verdict
from swarm_consensus.protocols import MECHANISMS
from swarm_consensus.protocols.pbft.node import Replica
from swarm_consensus.protocols.voting import Ask
from swarm_consensus.service import simulate as handler
from swarm_consensus.simulator.__main__ import main
from swarm_consensus.simulator.chart import chart, words
from swarm_consensus.simulator.draw import FAULTS, OTHERS, draw, inside
from swarm_consensus.simulator.plan import Clock, Crash, Cut, Heal, Mute, Network, Plan, Restart, Submit
from swarm_consensus.simulator.run import (
    SimulateParams,
    counterexample,
    invariants_of,
    simulate,
    simulate_params,
)
from swarm_consensus.simulator.shrink import broken_by, minimize, shrink
from swarm_consensus.simulator.world import Seen, World
from swarm_consensus.workers import end_workers

VOTING = MECHANISMS["voting"]
CELL: dict[str, Any] = {"mechanism": "voting", "agents": 4, "fault": "byzantine", "seeds": 40}


def params(**changes: Any) -> SimulateParams:
    return simulate_params(CELL | changes)


def timeless(data: Simulated) -> Simulated:
    return msgspec.structs.replace(data, elapsed_s=0.0)


# --- drawing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [*FAULTS, *OTHERS])
@pytest.mark.parametrize("name", ["voting", "weighted"])
def test_a_seed_gives_one_plan_whose_fault_ends_with_the_chaos(fault: str, name: str) -> None:
    mechanism = MECHANISMS[name]
    for seed in range(40):
        plan = draw(mechanism, 5, fault, seed)
        assert plan == draw(mechanism, 5, fault, seed)
        submits = [action for action in plan.actions if isinstance(action, Submit)]
        assert [submit.at_ms > plan.chaos_ms for submit in submits] == [False, False, True]
        broken = [action for action in plan.actions if isinstance(action, Crash | Cut | Clock)]
        assert all(action.at_ms < plan.chaos_ms + 200 for action in broken)
        assert [action.at_ms for action in plan.actions] == sorted(action.at_ms for action in plan.actions)
        assert msgspec.json.decode(msgspec.json.encode(plan))["mechanism"] == name


def test_what_clients_ask_for_does_not_depend_on_the_fault() -> None:
    asked = {
        tuple((one.at_ms, one.value) for one in draw(VOTING, 5, fault, 3).actions if isinstance(one, Submit))
        for fault in FAULTS
    }
    assert len(asked) == 1


def test_the_faults_do_what_their_names_say() -> None:
    plans = {fault: [draw(VOTING, 5, fault, seed) for seed in range(60)] for fault in (*FAULTS, *OTHERS)}
    assert all(plan.network.drop > 0 for plan in plans["loss"])
    assert all(plan.network.slow > 0 and plan.network.delay_ms[1] >= 20 for plan in plans["delay"])
    assert all(plan.network.duplicate > 0 for plan in plans["duplication"])
    kinds = {"partition": Cut, "one_way_partition": Cut | Mute, "crash": Crash, "clock": Clock}
    for fault, kind in kinds.items():
        assert all(any(isinstance(action, kind) for action in plan.actions) for plan in plans[fault])
    assert any(plan.sync_ms[1] for plan in plans["crash"])
    assert {lie for plan in plans["byzantine"] for lie in plan.liars.values()} == {"silence", *VOTING.lies}
    assert all(plan.liars for plan in plans["all"])
    quiet = [action for plan in plans["none"] for action in plan.actions]
    assert not any(isinstance(action, Crash | Cut | Clock | Heal | Restart) for action in quiet)
    assert all(plan.network == Network(settled_ms=(1, 5)) for plan in plans["none"])
    everything = plans["all_but_byzantine"]
    assert not any(plan.liars for plan in everything)
    assert 10 < sum(plan.network.drop > 0 for plan in everything) < 50


def test_a_cut_of_two_sides_goes_both_ways_and_one_of_one_way_does_not() -> None:
    def ways(fault: str) -> set[bool]:
        found = set()
        for seed in range(60):
            cuts = [action for action in draw(VOTING, 5, fault, seed).actions if isinstance(action, Cut)]
            pairs = {(cut.at_ms, cut.sources, cut.targets) for cut in cuts}
            found |= {(at_ms, targets, sources) in pairs for at_ms, sources, targets in pairs}
        return found

    assert ways("partition") == {True}
    assert ways("one_way_partition") == {False}


def test_what_is_outside_of_a_model_is_said_to_be() -> None:
    assert inside(VOTING, 5, "crash")
    assert not inside(VOTING, 5, "byzantine")
    assert not inside(VOTING, 5, "crash_more")
    for mechanism in MECHANISMS.values():
        assert inside(mechanism, 4, "byzantine") == (mechanism.liars(4) > 0)
        assert not inside(mechanism, 3, "byzantine")


# --- running ---------------------------------------------------------------------------------------------------


def test_a_cell_is_the_same_whenever_it_is_run_and_chunks_of_it_add_up() -> None:
    whole = simulate("t", params(shrink=False))
    assert timeless(whole) == timeless(simulate("t", params(shrink=False)))
    parts = [simulate("t", params(seeds=20, first_seed=first, shrink=False)) for first in (0, 20)]
    for name in ("unsafe", "stopped", "decided", "during", "asked", "deliveries", "messages"):
        assert getattr(whole, name) == sum(getattr(part, name) for part in parts)
    assert not whole.inside
    assert whole.unsafe == whole.invariants["agreement"] > 0
    assert set(whole.invariants) > {"integrity", "validity", "uniqueness"}
    assert whole.decision_ms is not None
    assert whole.decision_ms[0] <= whole.decision_ms[1] <= whole.decision_ms[2]


def test_all_that_is_checked_has_a_name() -> None:
    assert invariants_of(VOTING) == (
        "accuracy", "agreement", "integrity", "quorum", "uniqueness", "validity",
    )  # fmt: skip
    assert {"linearizable reads", "leader completeness", "log matching"} <= set(
        invariants_of(MECHANISMS["raft"])
    )
    assert "linearizable reads" not in invariants_of(MECHANISMS["pbft"])


def test_without_a_fault_all_is_decided_while_it_would_last_and_nothing_fails() -> None:
    data = simulate("t", params(fault="none", agents=3))
    assert (data.unsafe, data.stopped, data.decided, data.asked) == (0, 0, 120, 120)
    assert 70 <= data.during <= 80  # the third value of each world is asked for afterwards
    assert data.counterexamples == ()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"mechanism": "dice"}, "params.mechanism"),
        ({"fault": "flood"}, "fault"),
        ({"agents": 1}, "params.agents"),
        ({"agents": 1000}, "params.agents"),
        ({"seeds": 0}, "params.seeds"),
        ({"values": 0}, "params.values"),
        ({"seeds": "many"}, "params"),
        ({"retries": 3}, "params.retries"),
    ],
)
def test_what_cannot_be_run_is_refused_with_what_is_allowed(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(UsageError) as refused:
        params(**changes)
    assert refused.value.field == field


async def test_the_service_simulates_in_another_process_with_the_same_result(log: Any) -> None:
    try:
        found = await handler(log.task("simulate", task="cell", params=CELL | {"shrink": False}))
    finally:
        await end_workers()
    assert isinstance(found, Simulated)
    assert timeless(found) == timeless(simulate("cell", params(shrink=False)))


# --- verdicts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "held"),
        ({"during": 70}, "slowed"),
        ({"decision_ms": (17.0, 20.0, 30.0)}, "slowed"),
        ({"during": 7}, "stopped"),
        ({"stopped": 1}, "stopped"),
        ({"decision_ms": None}, "stopped"),
        ({"unsafe": 1, "stopped": 1}, "unsafe"),
        ({"seeds": 400, "during": 320}, "held"),
    ],
)
def test_a_verdict_is_held_against_the_cell_without_a_fault(changes: dict[str, Any], expected: str) -> None:
    base = msgspec.structs.replace(
        simulate("t", params(fault="none", seeds=1)), seeds=100, during=80, decision_ms=(8.0, 9.0, 10.0)
    )
    assert verdict(msgspec.structs.replace(base, **changes), base) == expected


# --- shrinking -------------------------------------------------------------------------------------------------


@given(st.frozensets(st.integers(0, 30), min_size=1, max_size=4))
def test_delta_debugging_finds_just_what_is_needed(needed: frozenset[int]) -> None:
    tried = 0

    def fails(parts: Any) -> bool:
        nonlocal tried
        tried += 1
        return needed <= set(parts)

    assert minimize(range(31), fails) == sorted(needed)
    assert tried < 250


def failing(fault: str = "byzantine", agents: int = 5) -> Plan:
    for seed in range(100):
        plan = draw(VOTING, agents, fault, seed)
        if World(VOTING, plan).run().invariant == "agreement":
            return plan
    raise AssertionError("voting withstands liars")


def test_a_failure_is_made_small_and_still_fails_in_the_same_way() -> None:
    before = failing()
    after = shrink(VOTING, before, "agreement")
    outcome = World(VOTING, after).run()
    assert outcome.invariant == "agreement"
    assert (after.n, len(after.actions), len(after.liars)) == (3, 1, 1)
    assert outcome.messages <= 6 < World(VOTING, before).run().messages


def test_shrinking_keeps_to_the_worlds_it_may_run_and_to_what_fails() -> None:
    plan = failing()
    assert shrink(VOTING, plan, "agreement", worlds=0) == plan
    assert shrink(VOTING, plan, "no such invariant", worlds=50) == plan


def test_shrinking_leaves_a_mechanism_as_many_agents_as_its_liars_take() -> None:
    class Half(Replica):
        @staticmethod
        def _quorum_of(n: int) -> int:
            return n // 2

    pbft = msgspec.structs.replace(MECHANISMS["pbft"], node=Half)
    plans = [draw(pbft, 7, "byzantine", seed) for seed in range(60)]
    broken, plan = next((found, one) for one in plans if (found := World(pbft, one).run().invariant))
    after = shrink(pbft, plan, broken)
    assert 4 <= after.n < 7 or len(after.liars) == 2
    assert len(after.liars) <= pbft.liars(after.n)
    assert World(pbft, after).run().invariant == broken


def test_a_swarm_that_stops_can_be_made_small_too() -> None:
    plan = draw(VOTING, 5, "crash_more", 1)
    assert broken_by(World(VOTING, plan).run()) == "progress"
    after = shrink(VOTING, plan, "progress", worlds=60)
    assert broken_by(World(VOTING, after).run()) == "progress"
    assert len(after.actions) < len(plan.actions)


# --- charts ------------------------------------------------------------------------------------------------------


def test_a_counterexample_reads_from_the_question_to_the_violation() -> None:
    found = counterexample(VOTING, failing(), "agreement")
    text = found.chart.splitlines()
    assert text[0].split() == ["ms", "0", "1", "2"]
    assert "a client wants" in text[1]
    assert "violated: agreement: in slot" in text[-1]
    assert any("sends Ask(slot=" in line for line in text)
    assert any("gets Result(slot=" in line for line in text)
    assert len(text) < 30
    again = msgspec.json.decode(found.plan, type=Plan)
    assert (again.n, again.mechanism, found.seed) == (3, "voting", failing().seed)
    assert World(VOTING, again).run().violation == found.what


def test_a_chart_shows_what_led_to_the_end_and_leaves_out_the_rest() -> None:
    other, unrelated = Ask(0, "a"), Ask(1, "b")
    trace = [
        Seen(1, "sent", 2, 3, unrelated, 0),
        Seen(2, "delivered", 3, 2, unrelated),
        Seen(3, "sent", 0, 1, other, 1),
        Seen(4, "delivered", 1, 0, other),
        Seen(5, "violated", 1, -1, "agreement"),
    ]
    assert chart(trace).splitlines() == [
        "    ms  0 1",
        "     3  > .  0 sends Ask(slot=0, question='a') to 1",
        "     4  . <  1 gets Ask(slot=0, question='a') from 0",
        "     5  . !  violated: agreement",
    ]
    assert "question='b'" in chart(trace, everything=True)
    assert "... 2 more" in chart(trace, lines=1)


def test_words_are_short() -> None:
    long = Ask(0, "x" * 500)
    assert len(words(long)) <= 90
    assert words((b"\x01\x02\x03\x04", {1: [2]})) == "[010203, {1: [2]}]"


# --- the command line ------------------------------------------------------------------------------------------


def test_developers_get_a_table_and_one_world_as_a_chart(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["--mechanism", "voting", "--agents", "3", "--fault", "loss,byzantine", "--seeds", "30"]) == 0
    table = capsys.readouterr().out
    assert [line.split()[:6] for line in table.splitlines()[1:]][1][:5] == [
        "voting", "3", "byzantine", "outside", "unsafe",
    ]  # fmt: skip
    assert main(["--mechanism", "voting", "--agents", "3", "--fault", "crash", "--seed", "3", "--trace"]) == 0
    shown = capsys.readouterr().out
    assert "a client wants 'value 0'" in shown
    assert "held: all decided after" in shown
    plan = tmp_path / "plan.json"
    plan.write_text(counterexample(VOTING, failing(), "agreement").plan, encoding="utf-8")
    assert main(["--plan", str(plan)]) == 1
    assert "violated: agreement: in slot" in capsys.readouterr().out
    plan.write_text("{}", encoding="utf-8")
    assert main(["--plan", str(plan)]) == 2
    assert "has no plan of a world" in capsys.readouterr().err
    assert main(["--mechanism", "dice", "--seeds", "1"]) == 2
    assert "there is no mechanism 'dice'" in capsys.readouterr().err
