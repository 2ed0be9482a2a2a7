"""Paxos under a test's hands: a wire to script what arrives when, and worlds in which proposers meet often."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from swarm_consensus.protocols.core import Decision, Effects, Mechanism, Message, Node, Read, Record, Setup
from swarm_consensus.simulator.plan import (
    Action,
    Clock,
    Crash,
    Cut,
    Heal,
    Network,
    Plan,
    Query,
    Restart,
    Submit,
)

Sent = tuple[int, int, Message]
"""From whom, to whom, what."""


class Wire:
    """Agents and what is on its way between them: nothing arrives before the test says so. All checks are on."""

    def __init__(self, mechanism: Mechanism, n: int, options: Mapping[str, Any] | None = None) -> None:
        self.mechanism = mechanism
        self.members = tuple(range(n))
        self.options = options or {}
        self.checks = [check(self.members) for check in mechanism.checks]
        self.disks: list[list[Record]] = [[] for _ in self.members]
        self.decided: list[dict[int, Decision]] = [{} for _ in self.members]
        self.reads: list[Read] = []
        self.phases: list[tuple[int, int, str]] = []
        self.wire: list[Sent] = []
        self.sent = 0
        self.nodes: list[Any] = [self._made(agent) for agent in self.members]

    def _made(self, agent: int) -> Node:
        random = Random(agent)  # noqa: S311 - seeded, nothing secret
        return self.mechanism.node(Setup(id=agent, members=self.members, random=random, options=self.options))

    def do(self, agent: int, effects: Effects) -> None:
        self.disks[agent].extend(effects.persist)
        for check in self.checks:
            check.after(self.nodes[agent], effects)
        self.decided[agent].update({one.slot: one for one in effects.decisions})
        self.reads += effects.reads
        self.phases += [(agent, *phase) for phase in effects.phases]
        self.wire += [(agent, to, message) for to, message in effects.messages]
        self.sent += len(effects.messages)

    def propose(self, agent: int, value: str) -> None:
        self.do(agent, self.nodes[agent].propose(value))

    def tick(self, agent: int, times: int = 1) -> None:
        for _ in range(times):
            self.do(agent, self.nodes[agent].tick())

    def restart(self, agent: int) -> None:
        """Crash, and come back with what is on the disk."""
        self.nodes[agent] = self._made(agent)
        self.decided[agent].clear()
        for check in self.checks:
            check.restarted(self.nodes[agent])
        self.do(agent, self.nodes[agent].restore(list(self.disks[agent])))

    def take(self, which: Callable[[int, int, Message], bool]) -> list[Sent]:
        """Take messages off the wire, in their order."""
        found = [one for one in self.wire if which(*one)]
        self.wire = [one for one in self.wire if not which(*one)]
        return found

    def arrive(self, *messages: Sent) -> None:
        for sender, to, message in messages:
            self.do(to, self.nodes[to].step(sender, message))

    def flow(self, among: set[int] | None = None, *, until: Callable[[], bool] = lambda: False) -> None:
        """Let all arrive that is on its way among these, and what it leads to; the rest is lost."""
        while self.wire and not until():
            sender, to, message = self.wire.pop(0)
            if among is None or (sender in among and to in among):
                self.arrive((sender, to, message))

    def elect(self, agent: int, among: set[int] | None = None) -> None:
        """Have an agent lead, with the promises of those who no longer hear another."""
        for other in among or self.members:
            self.nodes[other]._quiet = 1_000_000
        while self.nodes[agent].state == "follower":
            self.tick(agent)
        self.flow(among)
        assert self.nodes[agent].state == "leader"

    def values(self, agent: int) -> list[str]:
        return [self.decided[agent][slot].value for slot in sorted(self.decided[agent])]


def storm(mechanism: str, seed: int) -> Plan:
    """Return a world in which proposers meet often: impatient, cut off every moment, over a slow and lossy network."""
    random = Random(seed)  # noqa: S311
    n = random.choice((3, 5, 5))
    chaos_ms = 1500
    actions: list[Action] = [Submit(random.randrange(300), f"v{agent}", agent) for agent in range(n)]
    for at_ms in range(100, chaos_ms, random.choice((100, 200, 300))):
        side = tuple(random.sample(range(n), random.randint(1, n - 1)))
        other = tuple(agent for agent in range(n) if agent not in side)
        actions += [Cut(at_ms, side, other), Heal(at_ms + random.randint(30, 250))]
        if random.random() < 0.5:
            actions.append(Cut(at_ms, other, side))
        if random.random() < 0.3:
            agent = random.randrange(n)
            actions += [Crash(at_ms, agent), Restart(at_ms + random.randint(10, 100), agent)]
    if random.random() < 0.3:
        actions.append(Clock(100, random.randrange(n), 0.2))
    actions += [Query(random.randrange(300, chaos_ms), random.randrange(n)) for _ in range(10)]
    return Plan(
        mechanism=mechanism,
        n=n,
        seed=seed,
        actions=tuple(sorted(actions, key=lambda action: action.at_ms)),
        network=Network(drop=random.choice((0, 0.1, 0.3)), slow=random.choice((0.1, 0.4)), slow_ms=(20, 200)),
        sync_ms=random.choice(((0, 0), (1, 20))),
        chaos_ms=chaos_ms,
        options={"patience": random.choice((2, 4, 8)), "heartbeat": 1, "retry": random.choice((2, 5))},
    )
