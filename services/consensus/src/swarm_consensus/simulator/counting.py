"""Counts the messages of a decision when nothing fails: for each mechanism a formula says how many there are."""

from __future__ import annotations

from random import Random

from swarm_common.errors import SwarmError
from swarm_consensus.protocols.core import Effects, Mechanism, Message, Setup
from swarm_consensus.simulator.keys import signers

_TICKS = 400
"""How long an election may take, and until all know of a decision."""


class _Bare:
    """Nodes whose messages arrive at once, in the order they were sent: nothing but the protocol."""

    def __init__(self, mechanism: Mechanism, n: int) -> None:
        random = Random(n)  # noqa: S311 - seeded, nothing secret
        members, keys = tuple(range(n)), signers(n)
        self.nodes = [
            mechanism.node(
                Setup(id=agent, members=members, random=random, opinion=lambda _: "yes", keys=keys[agent])
            )
            for agent in members
        ]
        self.sent = self.sent_to_decision = 0
        self.decided = [0] * n
        self.waiting: list[tuple[int, int, Message]] = []

    @property
    def leader(self) -> int:
        return self.nodes[0].leader or 0

    def agree_on_whom_to_ask(self) -> bool:
        """Return whether all name the same agent, or, where nobody leads, each itself."""
        named = [node.leader for node in self.nodes]
        return named == list(range(len(named))) or (named[0] is not None and len(set(named)) == 1)

    def carry_out(self, agent: int, effects: Effects) -> None:
        if effects.decisions and not any(self.decided):
            self.sent_to_decision = self.sent  # what the decider tells now comes after its decision
        self.decided[agent] += len(effects.decisions)
        self.sent += len(effects.messages)
        self.waiting.extend((to, agent, message) for to, message in effects.messages)

    def settle(self) -> None:
        at = 0
        while at < len(self.waiting):
            to, sender, message = self.waiting[at]
            self.carry_out(to, self.nodes[to].step(sender, message))
            at += 1
        self.waiting.clear()

    def tick(self) -> None:
        for agent, node in enumerate(self.nodes):
            self.carry_out(agent, node.tick())
            self.settle()

    def propose(self, value: str) -> None:
        self.carry_out(self.leader, self.nodes[self.leader].propose(value))
        self.settle()


def messages_of_a_decision(mechanism: Mechanism, n: int) -> int:
    """Return how many messages one decision of ``n`` agents takes, nothing failing and a leader in office.

    Counted until :attr:`Mechanism.counted_until` says, over the second decision: what the first needs besides, electing
    or preparing, is over then.

    Raises:
        SwarmError: Nobody decided anything.
    """
    swarm = _Bare(mechanism, n)
    for _ in range(_TICKS):  # until somebody leads whom all know
        if swarm.agree_on_whom_to_ask():
            break
        swarm.tick()
    swarm.propose("first")
    for _ in range(_TICKS):
        if all(swarm.decided):
            break
        swarm.tick()
    swarm.decided = [0] * n
    swarm.sent = 0
    swarm.propose("second")
    if not any(swarm.decided):
        raise SwarmError(f"{mechanism.name}: {n} agents have decided nothing")
    return swarm.sent_to_decision if mechanism.counted_until == "decided" else swarm.sent
