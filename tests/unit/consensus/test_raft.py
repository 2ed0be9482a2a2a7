"""Raft as its users meet it: what a decision costs, what a read sees, what a disk must hold, what a lie does."""

from __future__ import annotations

from collections import deque
from random import Random

import msgspec
import pytest

from swarm_common.errors import UsageError
from swarm_consensus.protocols import MECHANISMS
from swarm_consensus.protocols.core import Decision, Effects, Message, Record, Setup, Snapshot, Violated
from swarm_consensus.protocols.raft import Raft
from swarm_consensus.protocols.raft.messages import (
    Append,
    Appended,
    Compacted,
    Entry,
    Install,
    RequestVote,
    Stored,
    Vote,
    Voted,
)
from swarm_consensus.simulator.plan import Crash, Cut, Heal, Network, Plan, Restart, Submit
from swarm_consensus.simulator.world import World

RAFT = MECHANISMS["raft"]
INVARIANTS = RAFT.checks[-1]


def node(agent: int, n: int, **options: int) -> Raft:
    return Raft(Setup(id=agent, members=tuple(range(n)), random=Random(agent), options=options))  # noqa: S311 - seeded, nothing secret


class Office:
    """Agents that lose nothing, agent 0 in office; all messages arrive in the order they were sent."""

    def __init__(self, n: int, **options: int) -> None:
        self.nodes = [node(agent, n, **options) for agent in range(n)]
        self.way: deque[tuple[int, int, Message]] = deque()
        self.decisions: list[list[Decision]] = [[] for _ in range(n)]
        self.phases: list[tuple[int, str]] = []
        self.sent = 0
        while self.nodes[0].state == "follower":
            self.out(0, self.nodes[0].tick())
        self.settle()
        assert self.nodes[0].state == "leader"

    def out(self, agent: int, effects: Effects) -> None:
        self.decisions[agent] += effects.decisions
        self.phases += effects.phases
        self.sent += len(effects.messages)
        self.way.extend((agent, to, message) for to, message in effects.messages)

    def deliver(self) -> None:
        sender, to, message = self.way.popleft()
        self.out(to, self.nodes[to].step(sender, message))

    def settle(self) -> None:
        while self.way:
            self.deliver()

    def beat(self) -> None:
        for _ in range(2):
            self.out(0, self.nodes[0].tick())
        self.settle()


@pytest.mark.parametrize("n", range(1, 101))
def test_a_decision_takes_two_messages_a_follower_and_is_quiet_then(n: int) -> None:
    office = Office(n)
    for number in range(3):
        office.sent = 0
        office.out(0, office.nodes[0].propose(f"value {number}"))
        while len(office.decisions[0]) == number:
            office.deliver()
        assert office.sent == RAFT.fault_free(n) == 2 * (n - 1)
        office.settle()
        assert office.sent == 2 * (n - 1)
    office.beat()
    assert [[one.value for one in mine] for mine in office.decisions] == [
        ["value 0", "value 1", "value 2"]
    ] * n


@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_world_counts_the_same(n: int) -> None:
    submissions = tuple(Submit(at_ms=1001 + 100 * number, value=f"v{number}", agent=0) for number in range(3))
    plan = Plan(mechanism="raft", n=n, seed=1, actions=submissions, network=Network(delay_ms=(1, 1)))
    world = World(RAFT, plan, trace=True)
    outcome = world.run()
    assert not outcome.stopped
    assert world.trace is not None
    of_values = [
        seen.detail
        for seen in world.trace
        if seen.what == "sent" and isinstance(seen.detail, Append) and seen.detail.entries[-1:]
        if seen.detail.entries[-1].value is not None
    ]
    assert len(of_values) == 3 * (n - 1)
    assert outcome.decided_ms == {"v0": 2, "v1": 2, "v2": 2}


def test_many_proposals_at_once_are_decided_in_their_order() -> None:
    office = Office(5)
    values = [f"value {number}" for number in range(1000)]
    for value in values:
        office.out(0, office.nodes[0].propose(value))
    office.settle()
    office.beat()
    assert [[one.value for one in mine] for mine in office.decisions] == [values] * 5
    assert [one.slot for one in office.decisions[3]] == list(range(1000))
    assert office.sent < 5 * 1000  # most went in batches: the window was full


def test_phases_and_certificate_tell_how_a_decision_came_about() -> None:
    office = Office(3)
    office.out(0, office.nodes[0].propose("a"))
    office.settle()
    assert office.phases == [(0, "replicate"), (0, "commit")]
    assert office.decisions[0] == [Decision(0, "a", {"term": 1, "index": 2, "leader": 0, "acked": [0, 1]})]


def test_a_majority_must_be_well_and_nobody_may_lie() -> None:
    assert [RAFT.crashes(n) for n in (1, 2, 3, 4, 5, 100)] == [0, 0, 1, 1, 2, 49]
    assert RAFT.liars(100) == 0


def test_who_does_not_lead_does_nothing_and_names_the_leader() -> None:
    office = Office(3)
    assert office.nodes[1].propose("a") == Effects()
    assert [one.leader for one in office.nodes] == [0, 0, 0]
    assert node(0, 3).leader is None


def test_alone_it_decides_on_the_strength_of_its_own_disk() -> None:
    alone = node(0, 1)
    while alone.state != "leader":
        alone.tick()
    effects = alone.propose("a")
    assert [type(record) for record in effects.persist] == [Stored]
    assert [(one.slot, one.value) for one in effects.decisions] == [(0, "a")]
    assert effects.phases == [(0, "replicate"), (0, "commit")]
    again = node(0, 1)
    again.restore([Voted(1, 0), Stored(1, (Entry(1, -1, None),)), *effects.persist])
    decided: list[Decision] = []
    while not decided:
        decided += again.tick().decisions
    assert [(one.slot, one.value) for one in decided] == [(0, "a")]


def test_an_empty_value_is_a_value() -> None:
    office = Office(3)
    office.out(0, office.nodes[0].propose(""))
    office.settle()
    assert [(one.slot, one.value) for one in office.decisions[0]] == [(0, "")]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"election": 0}, "election"),
        ({"heartbeat": 10}, "heartbeat"),
        ({"batch": -1}, "batch"),
        ({"window": 1.5}, "window"),
    ],
)
def test_options_that_make_no_sense_are_said_so(options: dict[str, int], field: str) -> None:
    with pytest.raises(UsageError) as caught:
        node(0, 3, **options)
    assert caught.value.field == field
    assert caught.value.allowed


def test_a_snapshot_of_what_is_not_decided_is_refused() -> None:
    office = Office(3)
    office.out(0, office.nodes[0].propose("a"))
    with pytest.raises(UsageError, match="slot 0 is not decided at agent 0"):
        office.nodes[0].compact(Snapshot(0, "state"))
    office.settle()
    assert office.nodes[0].compact(Snapshot(0, "state")).persist == [Compacted(2, 1, 0, "state")]


def test_a_large_state_is_not_sent_again_while_it_is_on_its_way() -> None:
    leader, follower = node(0, 3), node(2, 3)
    leader.restore([Voted(1, 0), Compacted(5, 1, 4, "state")])
    while leader.state != "precandidate":
        leader.tick()
    leader.step(1, Vote(2, granted=True, pre=True))
    sent = leader.step(1, Vote(2, granted=True, pre=False)).messages
    states = 0
    for _ in range(9):  # ticks; an election time-out is ten
        for to, message in sent:
            answers = [(0, Appended(2, 6, 0))] if to == 1 else follower.step(0, message).messages
            for _, answer in answers:
                found = [message for _, message in leader.step(to, answer).messages]
                states += sum(isinstance(message, Install) for message in found)
        sent = leader.tick().messages
    assert states == 1


def chaos(seed: int, n: int = 3) -> Plan:
    """Return a world in which much goes wrong for a second."""
    draw = Random(seed)  # noqa: S311 - seeded, nothing secret
    actions: list[Crash | Restart | Cut | Heal | Submit] = []
    for _ in range(4):
        agent, at_ms = draw.randrange(n), draw.randrange(1000)
        actions += [Crash(at_ms, agent), Restart(at_ms + draw.randrange(1, 200), agent)]
        some = tuple(agent for agent in range(n) if draw.random() < 0.5)
        rest = tuple(agent for agent in range(n) if agent not in some)
        at_ms = draw.randrange(1000)
        actions += [Cut(at_ms, some, rest), Cut(at_ms, rest, some), Heal(at_ms + draw.randrange(300))]
    actions += [Submit(draw.randrange(1000), f"v{number}", draw.randrange(n)) for number in range(5)]
    return Plan(
        mechanism="raft",
        n=n,
        seed=seed,
        actions=tuple(sorted(actions, key=lambda action: action.at_ms)),
        network=Network(drop=0.1, duplicate=0.1, slow=0.1),
        chaos_ms=1200,
    )


def test_every_way_of_the_table_is_taken_and_no_other() -> None:
    taken: set[tuple[str, str, str]] = set()

    class Watched(Raft):
        def _become(self, target: str, trigger: str) -> None:
            taken.add((self.state, trigger, target))
            super()._become(target, trigger)

    watched = msgspec.structs.replace(RAFT, node=Watched)
    for seed in range(60):
        assert World(watched, chaos(seed, 4)).run().violation is None
    assert taken == {(row.source, row.trigger, row.target) for row in Raft.TRANSITIONS}


@pytest.mark.parametrize("seed", range(40))
def test_a_disk_holds_all_that_must_outlive_a_crash(seed: int) -> None:
    world = World(RAFT, chaos(seed))
    world.run()
    for agent, lives in enumerate(world.nodes):
        if not isinstance(lives, Raft):
            continue
        for records in (world._disks[agent], lives.persisted()):
            again = node(agent, 3)
            again.restore(records)
            assert (again.term, again.vote) == (lives.term, lives.vote)
            assert (again.log.base, again.log.last, again.log.last_term) == (
                lives.log.base,
                lives.log.last,
                lives.log.last_term,
            )
            assert again.log.entries == lives.log.entries


@pytest.mark.parametrize("lie", sorted(RAFT.lies))
def test_who_believes_a_lying_leader_is_lost(lie: str) -> None:
    broken = set()
    for seed in range(60):
        plan = msgspec.structs.replace(chaos(seed), liars={seed % 3: lie}, chaos_ms=600, limit_ms=3000)
        broken.add(World(RAFT, plan).run().invariant)
    assert broken & {"agreement", "log matching", "commit durability", "state machine safety"}


# --- the invariants themselves: each is broken by hand ----------------------------------------------------


class Swarm:
    """Disks written by hand."""

    def __init__(self, n: int = 3) -> None:
        self.check = INVARIANTS(tuple(range(n)))
        self.nodes = [node(agent, n) for agent in range(n)]

    def does(self, agent: int, *what: Record | Decision | tuple[int, Message]) -> None:
        effects = Effects()
        for one in what:
            if isinstance(one, Record):
                effects.persist.append(one)
            elif isinstance(one, Decision):
                effects.decisions.append(one)
            else:
                effects.messages.append(one)
        self.check.after(self.nodes[agent], effects)

    def leads(self, agent: int, term: int) -> None:
        self.does(agent, Voted(term, agent), (1 - agent, Append(term, 0, 0, (), 0, 0)))

    def breaks(self, invariant: str, agent: int, *what: Record | Decision | tuple[int, Message]) -> None:
        with pytest.raises(Violated) as caught:
            self.does(agent, *what)
        assert caught.value.invariant == invariant


def entries(*terms: int) -> tuple[Entry, ...]:
    return tuple(Entry(term, at, f"value {at} of {term}") for at, term in enumerate(terms))


def decided(slot: int, index: int, term: int) -> Decision:
    return Decision(slot, f"value {slot} of {term}", {"index": index, "term": term})


def test_one_vote_a_term() -> None:
    swarm = Swarm()
    swarm.does(0, Voted(1, 1), (1, Vote(1, granted=True, pre=False)))
    swarm.does(0, (1, Vote(1, granted=True, pre=False)))
    swarm.does(0, (2, Vote(1, granted=True, pre=True)))
    swarm.does(0, (2, Vote(1, granted=False, pre=False)))
    swarm.does(0, Voted(2, 2), (2, Vote(2, granted=True, pre=False)))
    swarm.breaks("one vote a term", 0, Voted(2, 0), (1, RequestVote(2, 0, 0, pre=False)))


def test_stable_storage() -> None:
    swarm = Swarm()
    swarm.breaks("stable storage", 0, (1, Vote(1, granted=True, pre=False)))
    swarm.breaks("stable storage", 0, Voted(1, None), (1, Vote(1, granted=True, pre=False)))
    swarm.does(1, Voted(1, 0), Stored(1, entries(1)), (0, Appended(1, 1, 0)))
    swarm.breaks("stable storage", 1, (0, Appended(1, 2, 0)))
    swarm.breaks("stable storage", 1, (0, Appended(2, 1, 0)))
    swarm.does(2, Voted(1, None), Compacted(5, 1, 3, "state"), (0, Appended(1, 5, 0)))


def test_election_safety() -> None:
    swarm = Swarm()
    swarm.leads(0, 1)
    swarm.leads(0, 1)
    swarm.leads(1, 2)
    swarm.breaks("election safety", 1, (0, Append(1, 0, 0, (), 0, 0)))


def test_leader_append_only() -> None:
    swarm = Swarm()
    swarm.does(0, Stored(1, entries(1, 1)))
    swarm.does(0, Stored(2, entries(1, 2)[1:]))  # a follower may
    swarm.leads(0, 2)
    swarm.breaks("leader append-only", 0, Stored(2, entries(1, 2)[1:]))


def test_log_matching() -> None:
    swarm = Swarm()
    swarm.does(0, Stored(1, entries(1, 1, 2)))
    swarm.does(1, Stored(1, entries(1, 1)))
    swarm.breaks("log matching", 1, Stored(3, (Entry(2, 2, "another"),)))
    swarm.does(2, Stored(1, entries(1)))
    swarm.breaks("log matching", 2, Stored(2, (Entry(2, 1, "other"), Entry(2, 2, "value 2 of 2"))))


def test_leader_completeness() -> None:
    swarm = Swarm()
    for agent in (0, 1):
        swarm.does(agent, Voted(1, 0), Stored(1, entries(1)))
    swarm.does(0, decided(0, 1, 1))
    swarm.does(2, Voted(2, 2))
    swarm.breaks("leader completeness", 2, (0, Append(2, 0, 0, (), 0, 0)))


def test_leader_completeness_looks_ahead() -> None:
    swarm = Swarm(5)
    for agent in (0, 1, 2):
        swarm.does(agent, Stored(1, entries(1, 2)))
    swarm.does(3, Stored(1, entries(1)))
    swarm.does(4, Stored(1, entries(1, 3)))
    swarm.breaks("leader completeness", 0, decided(0, 1, 1), decided(1, 2, 2))  # figure 8


def test_state_machine_safety() -> None:
    swarm = Swarm()
    for agent in (0, 1, 2):
        swarm.does(agent, Stored(1, entries(1, 1)))
    swarm.does(0, decided(0, 1, 1))
    swarm.does(1, decided(0, 1, 1))
    swarm.breaks("state machine safety", 2, decided(0, 2, 1))
    swarm.breaks("state machine safety", 0, decided(2, 3, 1))  # slot 1 is left out


def test_commit_durability() -> None:
    swarm = Swarm()
    swarm.does(0, Stored(1, entries(1)))
    swarm.breaks("commit durability", 0, decided(0, 1, 1))
    snapshots = Swarm()
    snapshots.does(0, Stored(1, entries(1, 1)))
    snapshots.does(1, Compacted(2, 1, 1, "state"))
    snapshots.does(0, decided(0, 1, 1))
