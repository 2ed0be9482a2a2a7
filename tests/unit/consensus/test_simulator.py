"""Given a plan, when its world is run, then everything in it comes from the plan, and fails as the plan says."""

from __future__ import annotations

import os
import subprocess
import sys
from hashlib import sha256
from typing import Any, ClassVar

import msgspec
import pytest

from swarm_consensus.checking.agreement import Agreement
from swarm_consensus.protocols import MECHANISMS
from swarm_consensus.protocols.core import (
    Decision,
    Mechanism,
    Message,
    Node,
    Read,
    Record,
    Setup,
    Snapshot,
    Transition,
    on,
)
from swarm_consensus.simulator.counting import messages_of_a_decision
from swarm_consensus.simulator.draw import FAULTS, OTHERS, draw
from swarm_consensus.simulator.keys import signers
from swarm_consensus.simulator.plan import (
    LEADER,
    AnyAction,
    Clock,
    Compact,
    Crash,
    Cut,
    Heal,
    Mute,
    Network,
    Plan,
    Query,
    Restart,
    Submit,
)
from swarm_consensus.simulator.world import Outcome, Seen, World, opinion_of

# --- the smallest protocol there is: whoever is asked tells all, who decide what they hear --------------------


class Told(Message, frozen=True):
    value: str


class Noted(Record, frozen=True):
    value: str


class Teller(Node):
    TRANSITIONS = (Transition("idle", "never", "idle"),)
    ticks: ClassVar[dict[int, int]] = {}

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.known: list[str] = []

    def _note(self, value: str) -> None:
        if value not in self.known:
            self.known.append(value)
            self._persist(Noted(value))
            self._decide(int(value), value)

    def _on_propose(self, value: str) -> None:
        self._note(value)
        self._broadcast(Told(value))

    @on(Told)
    def _told(self, sender: int, message: Told) -> None:
        del sender
        self._note(message.value)

    def _on_tick(self) -> None:
        self.ticks[self.id] = self.ticks.get(self.id, 0) + 1
        for value in self.known:
            self._broadcast(Told(value))

    def _on_restore(self, persisted: Any) -> None:
        for record in persisted:
            self.known.append(record.value)
            self._decide(int(record.value), record.value)

    def _on_read(self, request: str) -> None:
        self._out.reads.append(Read(request, 0 if self.known else -1))

    def _on_compact(self, snapshot: Snapshot) -> None:
        self._out.snapshot = snapshot


TELLING = msgspec.structs.replace(
    MECHANISMS["voting"],
    name="telling",
    node=Teller,
    messages=(Told,),
    records=(Noted,),
    checks=(Agreement,),
    votes=False,
    lies={"other": lambda message, to, _setup: Told("1") if to == 2 else message},
)


def run(
    *actions: AnyAction, n: int = 3, mechanism: Mechanism = TELLING, trace: bool = True, **more: Any
) -> tuple[Outcome, World]:
    plan = Plan(mechanism="telling", n=n, seed=1, actions=actions, **{"limit_ms": 2_000, **more})
    world = World(mechanism, plan, trace=trace)
    return world.run(), world


def lines(world: World, what: str) -> list[Seen]:
    return [one for one in world.trace or [] if one.what == what]


# --- determinism ----------------------------------------------------------------------------------------------


def trace_hash(name: str, agents: int, fault: str, seed: int) -> str:
    """Return the hash of a world's whole trace, as bytes."""
    world = World(MECHANISMS[name], draw(MECHANISMS[name], agents, fault, seed), trace=True)
    outcome = world.run()
    return sha256(msgspec.msgpack.encode([outcome, world.trace])).hexdigest()


def test_the_same_seed_gives_the_same_trace_byte_for_byte_in_every_process() -> None:
    cells = [(name, 4, fault, 7) for name in MECHANISMS for fault in ("all_but_byzantine", "byzantine")]
    here = [trace_hash(*cell) for cell in cells]
    assert here == [trace_hash(*cell) for cell in cells]
    script = "import sys, test_simulator as t; print(*(t.trace_hash(*c) for c in eval(sys.argv[1])))"
    for hash_seed in ("0", "12345"):
        done = subprocess.run(
            [sys.executable, "-c", script, repr(cells)],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.path.dirname(__file__)},  # noqa: PTH120
        )
        assert done.stdout.split() == here


def test_another_seed_gives_another_trace() -> None:
    assert trace_hash("voting", 4, "loss", 1) != trace_hash("voting", 4, "loss", 2)


def test_tracing_changes_nothing() -> None:
    for fault in (*FAULTS, *OTHERS):
        plan = draw(MECHANISMS["weighted"], 4, fault, 3)
        outcomes = [World(MECHANISMS["weighted"], plan, trace=trace).run() for trace in (False, True)]
        assert outcomes[0] == outcomes[1]


# --- exact counts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MECHANISMS)
def test_a_decision_without_faults_takes_exactly_as_many_messages_as_the_formula_says(name: str) -> None:
    """For every number of agents up to 100, counted over one decision with a leader in office."""
    mechanism = MECHANISMS[name]
    sizes = range(2, 101)
    assert [messages_of_a_decision(mechanism, n) for n in sizes] == [mechanism.fault_free(n) for n in sizes]


# --- the network ----------------------------------------------------------------------------------------------


def test_without_noise_every_message_arrives_once_within_the_delay() -> None:
    outcome, world = run(Submit(11, "0", 0), network=Network(delay_ms=(3, 7)))
    sent = {one.other: one.at_ms for one in lines(world, "sent") if one.agent == 0}
    took = [one.at_ms - sent[one.agent] for one in lines(world, "delivered")]
    assert (outcome.stopped, outcome.messages, outcome.deliveries) == (False, 2, 2)
    assert all(3 <= each <= 7 for each in took)


def test_both_ends_of_the_delay_occur_and_so_messages_overtake_each_other() -> None:
    _, world = run(Submit(0, "0", 0), Submit(900, "1", 0), network=Network(delay_ms=(1, 3)), n=5)
    sent = lines(world, "sent")
    arrived = lines(world, "delivered")
    took = {
        arrival.at_ms - departure.at_ms
        for departure in sent
        for arrival in arrived
        if arrival.detail is departure.detail and arrival.agent == departure.other
    }
    assert took == {1, 2, 3}


@pytest.mark.parametrize(
    ("network", "low", "high"),
    [
        (Network(drop=0.3), 0.62, 0.78),
        (Network(duplicate=0.3, slow_ms=(1, 50)), 1.22, 1.38),
        (Network(drop=0.2, duplicate=0.2, slow=0.5), 0.92, 1.08),
    ],
)
def test_as_many_messages_are_lost_and_doubled_as_the_plan_says(
    network: Network, low: float, high: float
) -> None:
    outcome, world = run(
        Submit(0, "0", 0), Submit(1_400, "1", 0), network=network, chaos_ms=1_300, limit_ms=2_000
    )
    during = [one for one in lines(world, "sent") if one.at_ms < 1_200]
    messages = {id(one.detail) for one in during}
    arrived = [one for one in lines(world, "delivered") if id(one.detail) in messages]
    assert len(during) > 500
    assert low < len(arrived) / len(during) < high
    after = [one for one in lines(world, "lost") if one.at_ms > 1_300]
    assert not after
    assert not outcome.stopped


def test_after_the_chaos_messages_take_the_settled_delay() -> None:
    network = Network(delay_ms=(40, 60), settled_ms=(2, 2))
    _, world = run(Submit(0, "0", 0), Submit(500, "1", 0), network=network, chaos_ms=300)
    sent = {(id(one.detail), one.other): one.at_ms for one in lines(world, "sent")}
    took = [
        (one.at_ms, one.at_ms - sent[id(one.detail), one.agent])
        for one in lines(world, "delivered")
        if (id(one.detail), one.agent) in sent
    ]
    assert all(each == 2 for at_ms, each in took if at_ms > 400)
    assert all(each >= 40 for at_ms, each in took if at_ms < 300)


def test_a_cut_holds_in_one_direction_until_it_is_healed() -> None:
    outcome, world = run(Cut(0, (0,), (1, 2)), Submit(5, "0", 0), Heal(100), chaos_ms=400, retry_ms=10_000)
    lost = lines(world, "lost")
    assert {(one.agent, one.other) for one in lost} == {(0, 1), (0, 2)}
    assert max(one.at_ms for one in lost) < 100 <= outcome.known_ms["0"] + 5 < 120


def test_the_end_of_the_chaos_mends_cuts() -> None:
    outcome, _ = run(Cut(0, (0,), (1, 2)), Submit(5, "0", 0), chaos_ms=400, retry_ms=10_000)
    assert 400 <= outcome.known_ms["0"] + 5 < 420


def test_the_leader_is_found_when_it_is_cut_off() -> None:
    _, world = run(Submit(5, "0", 2), Cut(5, (LEADER,), (0, 1, 2)), chaos_ms=50, retry_ms=10_000)
    assert {one.agent for one in lines(world, "lost")} == {
        2
    }  # whom a client asked last, where all name themselves


def test_who_comes_to_lead_is_cut_off_at_once_where_the_plan_says_so() -> None:
    plan = Plan(
        mechanism="raft", n=3, seed=3, actions=(Mute(0, 1), Submit(400, "0", 0)), chaos_ms=600, limit_ms=5_000
    )
    world = World(MECHANISMS["raft"], plan, trace=True)
    assert not world.run().stopped
    lost = lines(world, "lost")
    first = lost[0].agent
    assert {one.agent for one in lost} == {first}
    assert "Append" in {type(one.detail).__name__ for one in lost}
    appends = [one for one in lines(world, "delivered") if type(one.detail).__name__ == "Append"]
    assert appends[0].other != first  # it won, and nobody heard of it before another had


# --- agents, disks and clocks -----------------------------------------------------------------------------


def test_what_is_not_on_disk_yet_is_lost_in_a_crash_and_was_told_to_nobody() -> None:
    outcome, world = run(
        Submit(5, "0", 0), Crash(20, 0), Restart(60, 0), sync_ms=(30, 30), chaos_ms=100, retry_ms=10_000
    )
    assert not lines(world, "sent")
    assert outcome.undecided == ("0",)
    assert outcome.stopped


def test_what_is_on_disk_is_there_after_a_crash_and_no_message_goes_before_it_is() -> None:
    outcome, world = run(
        Submit(5, "0", 0), Crash(50, 0), Restart(60, 0), sync_ms=(30, 30), chaos_ms=100, retry_ms=10_000
    )
    assert not outcome.stopped
    assert min(one.at_ms for one in lines(world, "sent")) == 35
    assert [one.at_ms for one in lines(world, "decided") if one.agent == 0] == [35, 60]


def test_who_is_down_hears_nothing_and_comes_back_after_the_chaos_if_it_is_of_the_core() -> None:
    outcome, world = run(
        Crash(0, 1), Crash(0, 2), Submit(5, "0", 0), chaos_ms=300, core=(0, 1), retry_ms=10_000
    )
    assert not outcome.stopped
    assert 300 <= outcome.known_ms["0"] + 5 < 320
    assert {one.agent for one in lines(world, "delivered")} == {1}


def test_clocks_run_as_fast_as_the_plan_says_while_there_is_chaos() -> None:
    Teller.ticks.clear()
    run(Clock(0, 1, 3.0), Clock(0, 2, 0.0), Submit(995, "0", 0), chaos_ms=1_000)
    assert [Teller.ticks[agent] for agent in range(2)] == [
        pytest.approx(100, abs=2),
        pytest.approx(300, abs=6),
    ]
    assert Teller.ticks.get(2, 0) <= 2


def test_a_client_asks_elsewhere_while_nobody_has_decided() -> None:
    outcome, world = run(Crash(0, 0), Submit(5, "0", 0), core=(1, 2), chaos_ms=10)
    asked = lines(world, "client")
    assert [one.agent for one in asked] == [1]
    assert not outcome.stopped


def test_a_world_in_which_nothing_is_decided_stops_at_its_limit() -> None:
    outcome, _ = run(Submit(5, "0", 0), Cut(0, (0,), (1, 2)), retry_ms=10_000, limit_ms=700)
    assert (outcome.stopped, outcome.ended_ms, outcome.undecided) == (True, 700, ("0",))


# --- what is checked ---------------------------------------------------------------------------------------


class Twisted(Teller):
    """Decides its own name in slot 0, whatever it is told."""

    def _note(self, value: str) -> None:
        if not self.known:
            self.known.append(value)
            self._decide(0, str(self.id))


class Inventive(Teller):
    def _note(self, value: str) -> None:
        super()._note(value)
        self._decide(7, "nobody asked for this")


def test_a_violation_ends_the_world_and_says_what_where_and_when() -> None:
    mechanism = msgspec.structs.replace(TELLING, node=Twisted)
    outcome, world = run(Submit(5, "0", 0), mechanism=mechanism)
    assert outcome.invariant == "agreement"
    assert outcome.violation is not None
    assert "slot 0" in outcome.violation
    assert f"at {outcome.ended_ms} ms" in outcome.violation
    assert world.trace
    assert (world.trace[-1].what, outcome.stopped) == ("violated", False)


class Broken(Teller):
    def _on_tick(self) -> None:
        raise KeyError("a bug")


def test_a_node_that_fails_says_in_which_world() -> None:
    with pytest.raises(KeyError) as error:
        run(Submit(25, "0", 0), mechanism=msgspec.structs.replace(TELLING, node=Broken))
    assert "after 10 ms in the world of Plan(mechanism='telling', n=3, seed=1" in error.value.__notes__[0]


def test_what_is_decided_must_have_been_asked_for_unless_somebody_lies() -> None:
    mechanism = msgspec.structs.replace(TELLING, node=Inventive)
    assert run(Submit(5, "0", 0), mechanism=mechanism)[0].invariant == "validity"
    assert run(Submit(5, "0", 0), mechanism=mechanism, liars={2: "silence"})[0].invariant is None


def test_a_read_has_to_see_what_was_decided_when_it_was_asked_for() -> None:
    well, _ = run(Submit(5, "0", 0), Query(20, 1), chaos_ms=50)
    assert well.invariant is None
    stale, _ = run(Cut(0, (0,), (1, 2)), Submit(5, "0", 0), Query(20, 1), chaos_ms=50)
    assert stale.invariant == "linearizable reads"


def test_a_snapshot_holds_the_prefix_that_an_agent_has_decided() -> None:
    _, world = run(Submit(5, "0", 0), Submit(6, "1", 0), Submit(7, "3", 0), Compact(40, 0), chaos_ms=60)
    assert [one.detail for one in lines(world, "snapshot")] == [1]
    snapshot = world.snapshots[0]
    assert snapshot is not None
    assert [one.value for one in msgspec.json.decode(snapshot.state, type=list[Decision])] == ["0", "1"]


def test_a_liar_says_what_its_behaviour_makes_of_it_and_a_silent_one_nothing() -> None:
    _, world = run(Submit(5, "0", 0), liars={0: "other"}, limit_ms=30, retry_ms=10_000)
    assert {(one.other, one.detail.value) for one in lines(world, "sent") if one.agent == 0} == {
        (1, "0"),
        (2, "1"),
    }
    outcome, world = run(Submit(5, "0", 0), liars={0: "silence"}, retry_ms=50)
    assert not [one for one in lines(world, "sent") if one.agent == 0]
    assert outcome.decided_ms == {"0": 50}  # the client asks somebody else
    assert not outcome.stopped


# --- keys and opinions ---------------------------------------------------------------------------------------


def test_a_signature_is_the_signers_own_over_these_bytes() -> None:
    keys = signers(3)
    signature = keys[1].sign(b"yes")
    assert keys[0].verify(1, b"yes", signature)
    assert not keys[0].verify(2, b"yes", signature)
    assert not keys[0].verify(1, b"no", signature)


def test_two_of_three_opinions_are_yes_in_the_mean() -> None:
    said = [opinion_of(3, agent, f"question {number}") for agent in range(30) for number in range(100)]
    assert 0.63 < said.count("yes") / len(said) < 0.7
