"""PBFT replicas by hand: messages wait in the order they were sent; a test says what is lost and when time passes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from swarm_consensus.protocols.core import (
    NOTHING,
    Decision,
    Effects,
    Keys,
    Message,
    Record,
    Setup,
    Snapshot,
)
from swarm_consensus.protocols.pbft.node import Replica
from swarm_consensus.simulator.keys import signers

Passes = Callable[[int, int, Message], bool]


class Swarm:
    """``n`` replicas in view 0, nothing on its way."""

    def __init__(
        self, n: int, *, replica: type[Replica] = Replica, keys: list[Keys] | None = None, **options: Any
    ) -> None:
        self.n, self.replica, self.options = n, replica, options
        self.keys = keys or signers(n)
        self.queue: deque[tuple[int, int, Message]] = deque()
        self.sent: list[tuple[int, int, Message]] = []
        self.passes: Passes = lambda sender, to, message: True  # noqa: ARG005
        self.disks: list[list[Record]] = [[] for _ in range(n)]
        self.decided: list[list[Decision]] = [[] for _ in range(n)]
        self.snapshots: list[Snapshot | None] = [None] * n
        self.phases: list[list[tuple[int, str]]] = [[] for _ in range(n)]
        self.down: set[int] = set()
        self.nodes = [self.new(agent) for agent in range(n)]

    def new(self, agent: int) -> Replica:
        return self.replica(
            Setup(
                id=agent,
                members=tuple(range(self.n)),
                random=Random(agent),  # noqa: S311
                keys=self.keys[agent],
                options=self.options,
            )
        )

    def carry_out(self, agent: int, effects: Effects) -> None:
        if effects is NOTHING:
            return
        self.disks[agent].extend(effects.persist)
        if effects.snapshot is not None:
            self.snapshots[agent] = effects.snapshot
        self.decided[agent].extend(effects.decisions)
        self.phases[agent].extend(effects.phases)
        for to, message in effects.messages:
            self.sent.append((agent, to, message))
            if self.passes(agent, to, message):
                self.queue.append((agent, to, message))

    def propose(self, agent: int, *values: str) -> None:
        for value in values:
            self.carry_out(agent, self.nodes[agent].propose(value))

    def give(self, sender: int, to: int, message: Message) -> Effects:
        """Let one message arrive, and carry out what comes of it."""
        effects = self.nodes[to].step(sender, message)
        self.carry_out(to, effects)
        return effects

    def deliver(self) -> None:
        """Let all arrive that is on its way, and all that this leads to."""
        while self.queue:
            sender, to, message = self.queue.popleft()
            if to not in self.down:
                self.give(sender, to, message)

    def tick(self, times: int = 1, *agents: int) -> None:
        """Let time pass, for all or for ``agents``, and deliver after each tick."""
        for _ in range(times):
            for agent in agents or range(self.n):
                if agent not in self.down:
                    self.carry_out(agent, self.nodes[agent].tick())
            self.deliver()

    def crash(self, *agents: int) -> None:
        self.down.update(agents)

    def restart(self, agent: int) -> None:
        self.down.discard(agent)
        self.decided[agent].clear()
        self.nodes[agent] = self.new(agent)
        self.carry_out(agent, self.nodes[agent].restore(list(self.disks[agent])))

    def cut(self, *agents: int) -> None:
        """Lose what is from or to these agents, from now on."""
        away = set(agents)
        self.passes = lambda sender, to, message: sender not in away and to not in away  # noqa: ARG005

    def heal(self) -> None:
        self.passes = lambda sender, to, message: True  # noqa: ARG005

    def values(self, agent: int) -> list[str]:
        return [decision.value for decision in self.decided[agent]]

    def told(self, kind: type[Message]) -> list[tuple[int, int, Message]]:
        """Return what was sent of one kind."""
        return [one for one in self.sent if isinstance(one[2], kind)]
