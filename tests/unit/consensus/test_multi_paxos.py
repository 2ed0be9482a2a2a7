"""Given agents of whom one leads, then decisions take one round, and a new leader keeps what was chosen before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import msgspec
import pytest

from support.paxos_worlds import Wire, storm
from swarm_consensus.protocols.ballots import (
    Accept,
    Accepted,
    Chosen,
    Learn,
    Prepare,
    Promise,
    Promised,
    Proposal,
    Refuse,
    Voted,
)
from swarm_consensus.protocols.multi_paxos import MECHANISM, Alive, Heartbeat, Known, MultiPaxos
from swarm_consensus.simulator.draw import FAULTS, draw
from swarm_consensus.simulator.plan import Network, Plan, Submit
from swarm_consensus.simulator.world import World


def led(n: int, leader: int = 0) -> Wire:
    wire = Wire(MECHANISM, n)
    wire.elect(leader)
    return wire


@pytest.mark.parametrize("n", range(1, 101))
def test_a_decision_takes_two_messages_an_agent_and_one_more_to_tell(n: int) -> None:
    wire = led(n)
    before, phases = wire.sent, len(wire.phases)
    wire.propose(0, "v")
    wire.flow(until=lambda: bool(wire.decided[0]))
    assert wire.sent - before == MECHANISM.fault_free(n) == 2 * (n - 1)
    wire.flow()
    wire.tick(0)
    wire.flow()
    assert wire.sent - before == 3 * (n - 1)
    assert [wire.values(agent) for agent in wire.members] == [["v"]] * n
    assert wire.phases[phases:] == [(0, 0, "accept"), (0, 0, "learn")]


def test_all_name_the_leader_and_who_does_not_lead_takes_no_values() -> None:
    wire = Wire(MECHANISM, 3)
    assert [node.leader for node in wire.nodes] == [None, None, None]
    wire.elect(1)
    assert [node.leader for node in wire.nodes] == [1, 1, 1]
    wire.propose(0, "v")
    assert wire.wire == []
    wire.propose(1, "v")
    wire.flow()
    assert wire.decided[1][0].certificate == {"ballot": 1, "accepted_by": [0, 1]}


def test_one_prepare_serves_all_slots_and_many_are_on_their_way_at_once() -> None:
    wire = Wire(MECHANISM, 3, {"pipeline": 4})
    wire.elect(0)
    for number in range(10):
        wire.propose(0, f"v{number}")
    assert len(wire.take(lambda _s, to, _m: to == 2)) == 4
    wire.flow()
    wire.tick(0)
    wire.flow()
    assert wire.values(0) == wire.values(1) == [f"v{number}" for number in range(10)]
    assert not any(isinstance(message, Prepare) for _, _, message in wire.wire)


def test_decisions_come_in_the_order_of_slots_whatever_the_order_of_votes() -> None:
    wire = led(3)
    wire.propose(0, "a")
    wire.propose(0, "b")
    wire.arrive((1, 0, Accepted(1, 0)))
    assert wire.values(0) == []
    wire.flow()
    assert wire.values(0) == ["a", "b"]


def test_promise_and_vote_stand_in_the_same_effects_as_what_tells_of_them() -> None:
    node = Wire(MECHANISM, 3).nodes[1]
    promised = node.step(0, Prepare(0, 3))
    assert promised.persist == [Promised(-1, 3)]
    assert promised.messages == [(0, Promise(0, 3))]
    voted = node.step(0, Accept(4, 3, "v"))
    assert voted.persist == [Voted(4, 3, "v")]
    assert voted.messages == [(0, Accepted(4, 3))]
    again = node.step(0, Accept(4, 3, "v"))
    assert (again.persist, again.messages) == ([], [(0, Accepted(4, 3))])


def test_a_new_leader_keeps_what_was_chosen_and_fills_gaps_with_no_ops() -> None:
    wire = led(5)
    for value in "abc":
        wire.propose(0, value)
    wire.take(lambda _s, _t, message: isinstance(message, Accept) and message.slot == 1)
    wire.take(lambda _s, to, message: isinstance(message, Accept) and message.slot == 2 and to != 1)
    wire.flow({0, 1, 2})
    wire.take(lambda *_: True)
    assert wire.values(0) == ["a"]
    wire.elect(1, {1, 2, 3})  # agent 0 is cut off, having heard that slot 0 is decided
    wire.propose(1, "d")
    wire.flow({1, 2, 3})
    assert wire.values(1) == ["a", "", "c", "d"]
    wire.tick(1)
    wire.flow({1, 2, 3})
    assert wire.values(3) == ["a", "", "c", "d"]


def test_the_value_of_the_highest_ballot_is_taken_over() -> None:
    wire = Wire(MECHANISM, 5)
    node = wire.nodes[4]
    while node.state != "candidate":
        wire.tick(4)
    node.step(0, Promise(0, 4, (Proposal(0, 1, "lower"), Proposal(1, 3, "higher"))))
    effects = node.step(1, Promise(0, 4, (Proposal(0, 2, "higher"), Proposal(1, 0, "lower"))))
    proposed = {message for _, message in effects.messages if isinstance(message, Accept)}
    assert proposed == {Accept(0, 4, "higher"), Accept(1, 4, "higher")}


def test_a_former_leader_that_wakes_up_decides_nothing_and_follows() -> None:
    wire = led(3)
    wire.elect(1, {1, 2})
    wire.propose(1, "new")
    wire.flow({1, 2})
    wire.propose(0, "old")
    wire.flow()
    assert wire.nodes[0].state == "follower"
    wire.tick(1, 4)
    wire.flow()
    assert wire.nodes[0].leader == 1
    assert wire.values(0) == wire.values(1) == ["new"]


def test_a_leader_that_learns_of_a_higher_ballots_choice_steps_down_before_it_tells() -> None:
    """Followers hold other votes of its ballot: "all below slot 1 is decided" would have them decide those."""
    wire = led(5)
    wire.propose(0, "old")
    wire.flow({0, 1}, until=lambda: any(isinstance(message, Accepted) for *_, message in wire.wire))
    wire.take(lambda *_: True)  # agent 1 alone has voted for "old"
    wire.elect(2, {2, 3, 4})
    wire.propose(2, "new")
    wire.flow({2, 3, 4})
    wire.arrive((2, 0, Learn((Proposal(0, 2, "new"),))))
    assert wire.nodes[0].state == "follower"
    wire.tick(0, 5)
    wire.flow({0, 1})
    assert wire.values(0) == ["new"]
    assert wire.values(1) == []


def test_who_hears_the_leader_promises_nobody_else() -> None:
    wire = led(3)
    wire.arrive((2, 1, Prepare(0, 5)))
    wire.arrive((2, 0, Prepare(0, 5)))
    assert wire.wire == []
    wire.tick(1, 16)
    wire.arrive((2, 1, Prepare(0, 5)))
    assert wire.wire == [(1, 2, Promise(0, 5))]


def test_a_leader_that_is_not_answered_gives_up() -> None:
    wire = led(3)
    wire.tick(0, 15)
    assert wire.nodes[0].leader == 0
    wire.take(lambda *_: True)
    wire.tick(0, 17)
    assert wire.nodes[0].leader is None


def test_a_leader_is_refused_by_who_has_promised_more_and_leads_again_over_it() -> None:
    wire = led(3)
    while wire.nodes[2].state != "candidate":
        wire.tick(2)  # it was cut off, and now has promised itself a higher ballot
    wire.take(lambda *_: True)
    wire.propose(0, "v")
    for _ in range(60):
        wire.flow()
        for agent in wire.members:
            wire.tick(agent)
        for agent in wire.members:
            if wire.nodes[agent].leader == agent and "v" not in wire.values(agent):
                wire.propose(agent, "v")
    assert "v" in wire.values(2)
    assert wire.values(0) == wire.values(1) == wire.values(2)


def test_who_lags_says_so_and_is_told_all_it_lacks() -> None:
    wire = led(3)
    for number in range(700):
        wire.propose(0, f"v{number}")
        wire.flow({0, 1})
    assert len(wire.values(2)) == 0
    wire.tick(0, 4)
    wire.flow()
    assert wire.values(2) == wire.values(0)
    assert len(wire.values(2)) == 700


def test_a_lost_vote_request_is_sent_again() -> None:
    wire = led(3)
    wire.propose(0, "v")
    wire.take(lambda *_: True)
    wire.tick(0, 5)
    wire.flow()
    assert wire.values(0) == ["v"]


def test_after_a_crash_of_all_nothing_is_lost_and_no_ballot_used_again() -> None:
    wire = led(3)
    for value in "ab":
        wire.propose(0, value)
        wire.flow()
    wire.tick(0, 4)
    wire.propose(0, "c")
    wire.flow(until=lambda: any(isinstance(message, Accepted) for *_, message in wire.wire))
    wire.take(lambda *_: True)
    for agent in wire.members:
        wire.restart(agent)
    assert wire.values(0) == ["a", "b"]  # what it had noted; the rest is in votes
    wire.elect(0)
    wire.tick(0)
    wire.flow()
    assert {record.ballot for record in wire.disks[0] if isinstance(record, Promised)} == {0, 3}
    assert wire.values(0) == wire.values(2) == ["a", "b", "c"]


def test_restored_are_choices_it_was_told_and_votes_below_what_it_knew() -> None:
    node = Wire(MECHANISM, 3).nodes[1]
    records = [
        Promised(-1, 2),
        Voted(0, 2, "a"),
        Chosen(1, 5, "b"),
        Voted(2, 6, "c"),
        Known(2),
        Voted(2, 9, "d"),
    ]
    effects = node.restore(records)
    assert [(one.slot, one.value) for one in effects.decisions] == [(0, "a"), (1, "b")]
    assert node.step(0, Prepare(2, 8)).messages == [(0, Refuse(2, 8, 9))]
    assert node.step(0, Prepare(2, 12)).messages == [(0, Promise(2, 12, (Proposal(2, 9, "d"),), 2))]


def test_a_read_waits_for_a_majority_that_still_hears_the_leader() -> None:
    wire = led(3)
    wire.propose(0, "v")
    wire.flow()
    wire.do(0, wire.nodes[0].read("r"))
    assert wire.reads == []
    wire.arrive((1, 0, Alive(0, 1)))  # an answer to an earlier heartbeat says nothing of now
    assert wire.reads == []
    wire.flow()
    assert [(read.request, read.slot) for read in wire.reads] == [("r", 0)]
    wire.do(1, wire.nodes[1].read("elsewhere"))
    wire.flow()
    assert len(wire.reads) == 1


def test_a_new_leader_reads_only_when_what_it_took_over_is_decided() -> None:
    wire = led(3)
    wire.propose(0, "v")
    wire.flow({0, 1})
    for other in (1, 2):
        wire.tick(other, 16)
    while wire.nodes[1].state != "candidate":
        wire.tick(1)
    wire.flow({1, 2}, until=lambda: wire.nodes[1].state == "leader")
    wire.do(1, wire.nodes[1].read("r"))
    accepts = wire.take(lambda _s, _t, message: isinstance(message, Accept))
    wire.flow({1, 2})
    assert wire.reads == []
    wire.arrive(*[one for one in accepts if one[1] == 2])
    wire.flow({1, 2})
    assert [read.slot for read in wire.reads] == [0]


def test_a_follower_is_as_patient_as_its_leaders_answers_are_slow() -> None:
    wire = led(3)
    wire.arrive((0, 1, Heartbeat(0, 0, 7, 10)))
    wire.wire.clear()
    wire.tick(1, 150)
    assert wire.nodes[1].state == "follower"
    wire.arrive((0, 1, Heartbeat(0, 0, 8, 1)))
    wire.tick(1, 40)
    assert wire.nodes[1].state == "candidate"


class _Watched(MultiPaxos):
    taken: ClassVar[set[tuple[str, str, str]]] = set()
    TRANSITIONS = MultiPaxos.TRANSITIONS

    def _become(self, target: str, trigger: str) -> None:
        source = self.state
        super()._become(target, trigger)
        self.taken.add((source, trigger, target))


def test_every_row_of_the_table_is_taken_and_no_other() -> None:
    mechanism = msgspec.structs.replace(MECHANISM, node=_Watched)
    for seed in range(40):
        World(mechanism, storm("multi_paxos", seed)).run()
    assert _Watched.taken == {(row.source, row.trigger, row.target) for row in MultiPaxos.TRANSITIONS}


@pytest.mark.parametrize("n", [25, 100])
@pytest.mark.parametrize(("delay_ms", "limit_ms"), [((1, 5), 2_000), ((100, 300), 20_000)])
def test_all_propose_at_once_and_all_is_decided(n: int, delay_ms: tuple[int, int], limit_ms: int) -> None:
    actions = tuple(Submit(10, f"v{agent}", agent) for agent in range(n))
    network = Network(delay_ms=delay_ms)
    plan = Plan(mechanism="multi_paxos", n=n, seed=n, actions=actions, network=network, limit_ms=limit_ms)
    outcome = World(MECHANISM, plan).run()
    assert (outcome.violation, outcome.undecided) == (None, ())


def _plans() -> Iterator[Plan]:
    for seed in range(150):
        yield storm("multi_paxos", seed)
    for fault in ("none", *FAULTS, "all_but_byzantine"):
        if fault != "byzantine":
            for seed in range(20):
                yield draw(MECHANISM, (2, 3, 4, 5, 7)[seed % 5], fault, seed)


def test_no_fault_of_its_model_breaks_it_and_afterwards_all_know_all() -> None:
    for plan in _plans():
        outcome = World(MECHANISM, plan).run()
        assert (outcome.violation, outcome.stopped) == (None, False), plan


@pytest.mark.parametrize("behaviour", ["equivocation", "wrong_value"])
def test_liars_are_outside_its_model_and_it_shows(behaviour: str) -> None:
    found = set()
    for seed in range(60):
        plan = storm("multi_paxos", seed)
        outcome = World(MECHANISM, msgspec.structs.replace(plan, liars={0: behaviour}, limit_ms=2_500)).run()
        found.add(outcome.invariant)
    assert found & {"agreement", "learning", "P2b"}
