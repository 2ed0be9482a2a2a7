"""Given agents that propose at once, crash and lose messages, then one value a slot is chosen, and all learn it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import msgspec
import pytest

from support.paxos_worlds import Wire, storm
from swarm_consensus.protocols.ballots import (
    Accept,
    Accepted,
    Learn,
    Prepare,
    Promise,
    Promised,
    Proposal,
    Refuse,
    Voted,
    next_ballot,
    owner,
)
from swarm_consensus.protocols.core import Message
from swarm_consensus.protocols.paxos import MECHANISM, Known, Paxos
from swarm_consensus.simulator.draw import FAULTS, draw
from swarm_consensus.simulator.plan import Network, Plan, Submit
from swarm_consensus.simulator.world import World


def to(agent: int, kind: type[Message]) -> object:
    return lambda _sender, receiver, message: receiver == agent and isinstance(message, kind)


def test_a_ballot_belongs_to_one_agent_and_the_next_is_higher() -> None:
    members = (3, 5, 9)
    for above in range(-1, 20):
        for place, agent in enumerate(members):
            ballot = next_ballot(above, place, 3)
            assert owner(ballot, members) == agent
            assert above < ballot <= above + 3


@pytest.mark.parametrize("n", range(1, 101))
def test_a_decision_takes_four_messages_an_agent_and_one_more_to_tell(n: int) -> None:
    wire = Wire(MECHANISM, n)
    wire.propose(0, "v")
    wire.flow(until=lambda: bool(wire.decided[0]))
    told = n - 1
    assert wire.sent - told == MECHANISM.fault_free(n) == 4 * (n - 1)
    wire.flow()
    assert wire.sent == 5 * (n - 1)
    assert [wire.values(agent) for agent in wire.members] == [["v"]] * n
    assert wire.phases == [(0, 0, "prepare"), (0, 0, "accept"), (0, 0, "learn")]


def test_the_certificate_names_the_ballot_and_who_has_accepted() -> None:
    wire = Wire(MECHANISM, 5)
    wire.propose(2, "v")
    wire.flow()
    assert wire.decided[2][0].certificate == {"ballot": 2, "accepted_by": [0, 1, 2]}
    assert wire.decided[4][0].certificate == {"ballot": 2}


def test_promise_and_vote_stand_in_the_same_effects_as_what_tells_of_them() -> None:
    wire = Wire(MECHANISM, 3)
    node = wire.nodes[1]
    promised = node.step(0, Prepare(0, 3))
    assert promised.persist == [Promised(0, 3)]
    assert promised.messages == [(0, Promise(0, 3))]
    voted = node.step(0, Accept(0, 3, "v"))
    assert voted.persist == [Voted(0, 3, "v")]
    assert voted.messages == [(0, Accepted(0, 3))]
    again = node.step(0, Accept(0, 3, "v"))  # a duplicate: answered, and not written again
    assert (again.persist, again.messages) == ([], [(0, Accepted(0, 3))])


def test_an_old_proposer_that_wakes_up_is_refused_and_adopts_what_was_chosen() -> None:
    wire = Wire(MECHANISM, 3)
    wire.propose(0, "old")
    wire.flow({0, 1}, until=lambda: wire.nodes[0].state == "accepting")
    late = wire.take(lambda *_: True)  # it falls asleep before any vote request leaves
    wire.propose(2, "new")
    wire.flow({1, 2}, until=lambda: False)
    wire.tick(2, 40)
    wire.flow({1, 2})
    wire.tick(2, 60)
    wire.flow({1, 2})
    assert wire.values(2) == ["new"]
    wire.arrive(*[one for one in late if isinstance(one[2], Accept)])
    answers = wire.take(lambda _s, receiver, _m: receiver == 0)
    assert answers
    wire.arrive(*answers)
    wire.flow()
    wire.tick(0, 60)
    wire.flow()
    assert wire.values(0) == ["new", "old"]
    assert wire.values(1) == ["new", "old"]


def test_a_proposer_adopts_the_value_of_the_highest_ballot_that_a_majority_tells_of() -> None:
    wire = Wire(MECHANISM, 5)
    node = wire.nodes[4]
    wire.do(4, node.propose("mine"))
    ballot = 4
    node.step(1, Promise(0, ballot, (Proposal(0, 1, "lower"),)))
    effects = node.step(2, Promise(0, ballot, (Proposal(0, 3, "higher"),)))
    assert {message for _, message in effects.messages} == {Accept(0, ballot, "higher")}
    assert effects.persist == [Voted(0, ballot, "higher")]


def test_promises_to_another_ballot_or_slot_and_those_that_come_twice_count_for_nothing() -> None:
    wire = Wire(MECHANISM, 5)
    node = wire.nodes[0]
    node.propose("v")
    for sender, message in (
        (1, Promise(0, 0)),
        (1, Promise(0, 0)),
        (2, Promise(0, 5)),
        (2, Promise(1, 0)),
    ):
        node.step(sender, message)
        assert node.state == "preparing"
    node.step(2, Promise(0, 0))
    assert node.state == "accepting"
    for sender, message in (
        (1, Accepted(0, 0)),
        (1, Accepted(0, 0)),
        (2, Accepted(0, 5)),
        (2, Accepted(1, 0)),
    ):
        assert not node.step(sender, message).decisions
    assert [one.value for one in node.step(2, Accepted(0, 0)).decisions] == ["v"]
    assert not node.step(3, Accepted(0, 0)).decisions


def test_duelling_proposers_both_end() -> None:
    """The anomaly of section 2.4: each prepares when the other has, and so on; waiting for random times ends it."""
    wire = Wire(MECHANISM, 3)
    wire.propose(0, "a")
    wire.propose(1, "b")
    for _ in range(200):
        wire.flow()
        for agent in wire.members:
            wire.tick(agent)
    assert sorted(wire.values(0)) == ["a", "b"]
    assert wire.values(0) == wire.values(1) == wire.values(2)


def test_a_value_that_was_asked_for_twice_meanwhile_is_decided_once_and_later_again() -> None:
    wire = Wire(MECHANISM, 3)
    wire.propose(0, "v")
    wire.propose(0, "v")
    wire.flow()
    assert wire.values(0) == ["v"]
    wire.propose(0, "v")
    wire.flow()
    assert wire.values(2) == ["v", "v"]


def test_after_a_crash_a_ballot_is_never_used_again() -> None:
    wire = Wire(MECHANISM, 3)
    wire.propose(1, "v")
    before = {message.ballot for _, _, message in wire.take(lambda *_: True)}
    wire.restart(1)
    wire.propose(1, "w")
    after = {message.ballot for _, _, message in wire.wire}
    assert before == {1}
    assert after == {4}


def test_after_a_crash_promises_and_votes_hold() -> None:
    wire = Wire(MECHANISM, 3)
    wire.arrive((0, 1, Prepare(0, 6)))
    wire.restart(1)
    wire.wire.clear()
    wire.arrive((2, 1, Prepare(0, 5)))
    assert wire.wire == [(1, 2, Refuse(0, 5, 6))]
    wire = Wire(MECHANISM, 3)
    wire.propose(0, "v")
    wire.flow({0, 1}, until=lambda: any(isinstance(one[2], Accepted) for one in wire.wire))
    wire.restart(1)
    wire.wire.clear()
    wire.arrive((2, 1, Prepare(0, 5)))
    assert wire.wire == [(1, 2, Promise(0, 5, (Proposal(0, 0, "v"),)))]


def test_what_a_dead_proposer_left_behind_is_finished_by_those_who_know_of_it() -> None:
    wire = Wire(MECHANISM, 3)
    wire.propose(0, "v")
    wire.flow(until=lambda: any(isinstance(one[2], Accepted) for one in wire.wire))
    wire.wire.clear()  # agent 0 is gone, and with it whoever could tell
    for _ in range(60):
        for agent in (1, 2):
            wire.tick(agent)
        wire.flow({1, 2})
    assert wire.values(1) == wire.values(2) == ["v"]


def test_who_missed_everything_is_told_when_it_asks() -> None:
    wire = Wire(MECHANISM, 3, {"gossip": 3})
    for number in range(5):
        wire.propose(0, f"v{number}")
        wire.flow({0, 1})
    assert wire.values(1) == [f"v{number}" for number in range(5)]
    assert wire.values(2) == []
    wire.tick(2, 6)
    wire.flow()
    assert wire.values(2) == wire.values(0)


def test_who_is_asked_and_lacks_more_asks_back() -> None:
    wire = Wire(MECHANISM, 3)
    wire.propose(0, "v")
    wire.flow({0, 1})
    wire.arrive((0, 2, Known(1)))
    wire.flow()
    assert wire.values(2) == ["v"]


def test_a_leader_hint_is_the_agent_itself() -> None:
    assert [node.leader for node in Wire(MECHANISM, 3).nodes] == [0, 1, 2]


def test_a_late_proposer_is_told_what_was_decided_in_its_slot() -> None:
    wire = Wire(MECHANISM, 3)
    wire.propose(0, "v")
    wire.flow({0, 1})
    wire.arrive((2, 0, Prepare(0, 8)))
    assert wire.wire == [(0, 2, Learn((Proposal(0, 0, "v"),)))]


class _Watched(Paxos):
    taken: ClassVar[set[tuple[str, str, str]]] = set()
    TRANSITIONS = Paxos.TRANSITIONS

    def _become(self, target: str, trigger: str) -> None:
        source = self.state
        super()._become(target, trigger)
        self.taken.add((source, trigger, target))


def test_every_row_of_the_table_is_taken_and_no_other() -> None:
    mechanism = msgspec.structs.replace(MECHANISM, node=_Watched)
    for seed in range(40):
        World(mechanism, storm("paxos", seed)).run()
    wire = Wire(msgspec.structs.replace(mechanism, checks=()), 3)
    wire.arrive(
        (2, 0, Learn((Proposal(7, 2, "a lie"),)))
    )  # nothing stands before it, and nothing is to be proposed
    for _ in range(60):
        wire.tick(0)
        wire.flow()
    assert wire.nodes[0].state == "idle"
    assert _Watched.taken == {(row.source, row.trigger, row.target) for row in Paxos.TRANSITIONS}


@pytest.mark.parametrize(
    ("n", "delay_ms", "limit_ms"),
    [(25, (1, 5), 2_000), (25, (20, 80), 20_000), (100, (1, 5), 6_000)],
)
def test_all_propose_at_once_and_all_is_decided(n: int, delay_ms: tuple[int, int], limit_ms: int) -> None:
    """Fixed backoff windows decide nothing at 100 agents (duelling proposers)."""
    actions = tuple(Submit(10, f"v{agent}", agent) for agent in range(n))
    network = Network(delay_ms=delay_ms)
    plan = Plan(mechanism="paxos", n=n, seed=n, actions=actions, network=network, limit_ms=limit_ms)
    world = World(MECHANISM, plan)
    outcome = world.run()
    assert (outcome.violation, outcome.undecided) == (None, ())
    assert len(world.decisions[0]) == n


def _plans() -> Iterator[Plan]:
    for seed in range(150):
        yield storm("paxos", seed)
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
        plan = draw(MECHANISM, 3, "loss", seed)
        outcome = World(MECHANISM, msgspec.structs.replace(plan, liars={0: behaviour})).run()
        found.add(outcome.invariant)
    assert found & {"agreement", "learning", "P2b"}
