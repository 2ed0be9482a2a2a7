"""Raft where much goes wrong: seeded worlds, and a network that repeats in any order whatever was ever said."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from swarm_consensus.protocols import MECHANISMS
from swarm_consensus.protocols.core import Decision, Effects, Message, Record, Setup, Snapshot
from swarm_consensus.protocols.raft import Raft
from swarm_consensus.protocols.raft.messages import Append, Appended, Vote
from swarm_consensus.simulator.plan import (
    Action,
    Clock,
    Compact,
    Crash,
    Cut,
    Heal,
    Network,
    Plan,
    Restart,
    Submit,
)
from swarm_consensus.simulator.world import World

RAFT = MECHANISMS["raft"]
BLOCKS, SEEDS = 12, 25


def plan(seed: int) -> Plan:
    """Return a world with some of all faults that Raft must bear, disks that lose what was not synced among them."""
    draw = Random(f"raft {seed}")  # noqa: S311 - seeded, nothing secret
    n, chaos_ms = draw.choice((1, 2, 3, 3, 4, 5, 5)), draw.choice((300, 800, 1500))
    rates = [draw.random() * 0.25 * draw.randrange(2) for _ in range(3)]
    actions: list[Action] = []

    def at() -> int:
        return draw.randrange(1, chaos_ms)

    for _ in range(draw.choice((0, 2, 6))):
        agent, at_ms = draw.randrange(n), at()
        actions += [Crash(at_ms, agent), Restart(at_ms + draw.randrange(1, 250), agent)]
    for _ in range(draw.choice((0, 2, 6))):
        some = tuple(agent for agent in range(n) if draw.random() < 0.4)
        rest = tuple(agent for agent in range(n) if agent not in some)
        at_ms = at()
        actions.append(Cut(at_ms, some, rest))
        if draw.random() < 0.7:
            actions.append(Cut(at_ms, rest, some))
        actions.append(Heal(at_ms + draw.randrange(20, 300)))
    actions += [Compact(at(), draw.randrange(n)) for _ in range(draw.choice((0, 4, 15)))]
    actions += [
        Clock(at(), draw.randrange(n), draw.choice((0.2, 2, 5))) for _ in range(draw.choice((0, 0, 2)))
    ]
    actions += [Submit(at(), f"v{number}", draw.randrange(n)) for number in range(draw.randrange(1, 9))]
    return Plan(
        mechanism="raft",
        n=n,
        seed=seed,
        actions=tuple(sorted(actions, key=lambda action: action.at_ms)),
        network=Network(
            delay_ms=draw.choice(((1, 1), (1, 5), (1, 40))),
            drop=rates[0],
            duplicate=rates[1],
            slow=rates[2],
            slow_ms=draw.choice(((50, 200), (50, 700))),
        ),
        sync_ms=draw.choice(((0, 0), (0, 5), (1, 30))),
        chaos_ms=chaos_ms,
        limit_ms=20_000,
        options={"batch": draw.choice((1, 2, 64)), "window": draw.choice((1, 2, 64))},
    )


@pytest.mark.parametrize("block", range(BLOCKS))
def test_worlds_are_safe_and_decide_everything_once_they_are_well(block: int) -> None:
    for seed in range(block * SEEDS, (block + 1) * SEEDS):
        outcome = World(RAFT, plan(seed)).run()
        assert (seed, outcome.violation, outcome.undecided) == (seed, None, ())


def many_leaders(seed: int) -> Plan:
    """Return a world of figure 8: five agents, cut off one or two at a time, that hardly finish a term."""
    draw = Random(f"leaders {seed}")  # noqa: S311
    actions: list[Action] = [Submit(10, "first", 0)]
    at_ms = 150
    while at_ms < 2700:
        at_ms += draw.randrange(5, 120)
        fate = draw.random()
        if fate < 0.5:
            some = tuple(draw.sample(range(5), draw.choice((1, 2))))
            rest = tuple(agent for agent in range(5) if agent not in some)
            actions += [Cut(at_ms, some, rest), Cut(at_ms, rest, some)]
        elif fate < 0.7:
            actions.append(Heal(at_ms))
        elif fate < 0.85:
            agent = draw.randrange(5)
            actions += [Crash(at_ms, agent), Restart(at_ms + draw.randrange(5, 200), agent)]
        else:
            actions.append(Submit(at_ms, f"v{len(actions)}", draw.randrange(5)))
    return Plan(
        mechanism="raft",
        n=5,
        seed=seed,
        actions=tuple(sorted(actions, key=lambda action: action.at_ms)),
        network=Network(delay_ms=(1, 30), slow=0.2, slow_ms=(50, 600)),
        chaos_ms=3000,
        options={"batch": 1, "election": 4, "heartbeat": 1},
    )


@pytest.mark.parametrize("block", range(4))
def test_leaders_that_come_and_go_replace_nothing_that_was_decided(block: int) -> None:
    for seed in range(block * 15, (block + 1) * 15):
        outcome = World(RAFT, many_leaders(seed)).run()
        assert (seed, outcome.violation, outcome.undecided) == (seed, None, ())


def test_what_may_leave_before_the_disk_has_it_is_the_leader_s_entries_alone() -> None:
    found: dict[str, set[str | None]] = {}
    for kinds in ((Append,), (Append, Appended), (Vote,)):
        hasty = msgspec.structs.replace(RAFT, early=kinds)
        broken = {World(hasty, plan(seed)).run().invariant for seed in range(40)}
        found[kinds[-1].__name__] = broken - {None}
    assert found == {"Append": set(), "Appended": {"stable storage"}, "Vote": {"stable storage"}}


def test_the_worlds_are_as_bad_as_they_should_be() -> None:
    installed = crashed = terms = 0
    for seed in range(60):
        world = World(RAFT, plan(seed), trace=True)
        world.run()
        assert world.trace is not None
        installed += any(seen.what == "snapshot" for seen in world.trace)
        crashed += any(seen.what == "action" and isinstance(seen.detail, Crash) for seen in world.trace)
        terms += max(node.term for node in world.nodes if isinstance(node, Raft)) > 2
    assert min(crashed, terms) >= 10
    assert installed >= 5


class Babel:
    """A network that forgets nothing: whatever was ever sent may arrive at any time, any number of times, or never."""

    def __init__(self, seed: int) -> None:
        self.draw = Random(f"babel {seed}")  # noqa: S311
        self.n = self.draw.choice((2, 3, 3, 5))
        self.members = tuple(range(self.n))
        self.checks = [check(self.members) for check in RAFT.checks]
        self.sent: list[tuple[int, int, Message]] = []
        self.disks: list[list[Record]] = [[] for _ in self.members]
        self.known: list[dict[int, Decision]] = [{} for _ in self.members]
        self.state = [-1] * self.n  # the last slot of the snapshot each was set to
        self.asked: dict[str, int] = {}
        self.answered = self.decided = 0
        self.nodes: list[Raft] = []
        for agent in self.members:
            self.nodes.append(self._node(agent))

    def _node(self, agent: int) -> Raft:
        options = {"election": 5, "heartbeat": 1, "batch": self.draw.choice((1, 2, 9))}
        return Raft(Setup(id=agent, members=self.members, random=self.draw, options=options))

    def out(self, agent: int, effects: Effects) -> None:
        self.disks[agent] += effects.persist
        for check in self.checks:
            check.after(self.nodes[agent], effects)
        self.sent += [(agent, to, message) for to, message in effects.messages]
        if effects.snapshot is not None:
            self.state[agent] = effects.snapshot.slot
            self.known[agent].clear()
        for decision in effects.decisions:
            self.known[agent][decision.slot] = decision
            self.decided = max(self.decided, decision.slot + 1)
        for read in effects.reads:
            # What was decided anywhere when the read began, it must see.
            assert read.slot >= self.asked[read.request] - 1
            assert read.slot <= self.applied(agent)
            self.answered += 1

    def applied(self, agent: int) -> int:
        return max([self.state[agent], *self.known[agent]])

    def crash(self, agent: int) -> None:
        self.nodes[agent] = self._node(agent)
        self.known[agent].clear()
        self.state[agent] = -1
        for check in self.checks:
            check.restarted(self.nodes[agent])
        self.out(agent, self.nodes[agent].restore(self.disks[agent]))

    def something(self, step: int) -> None:
        agent, fate = self.draw.randrange(self.n), self.draw.random()
        node = self.nodes[agent]
        if fate < 0.2:
            self.out(agent, node.tick())
        elif fate < 0.24:
            self.out(agent, node.propose(f"v{step}"))
        elif fate < 0.27:
            self.asked[f"r{step}"] = self.decided
            self.out(agent, node.read(f"r{step}"))
        elif fate < 0.28:
            self.crash(agent)
        elif fate < 0.29 and self.known[agent]:
            slot = self.draw.choice(sorted(self.known[agent]))
            self.out(agent, node.compact(Snapshot(slot, "")))
        elif self.sent:
            # Mostly something of late, so that there is progress; now and then anything.
            lately = 4 * self.n if self.draw.random() < 0.9 else len(self.sent)
            sender, to, message = self.draw.choice(self.sent[-lately:])
            self.out(to, self.nodes[to].step(sender, message))


@pytest.mark.parametrize("seed", range(40))
def test_nothing_ever_said_does_harm_when_it_comes_again(seed: int) -> None:
    babel = Babel(seed)
    for step in range(1500):
        babel.something(step)


def test_in_all_that_noise_there_are_decisions_and_reads() -> None:
    decided = answered = 0
    for seed in range(40, 60):
        babel = Babel(seed)
        for step in range(1500):
            babel.something(step)
        decided += babel.decided
        answered += babel.answered
    assert decided > 20
    assert answered > 20
