"""What must hold of every mechanism: agreement and integrity (Cachin, Guerraoui, Rodrigues 2011, section 5.1)."""

from __future__ import annotations

from typing import ClassVar

from swarm_consensus.protocols.core import Effects, Node, Value, Violated
from swarm_primitives.claims import Claims


class Agreement:
    """No two honest agents decide differently in a slot: *uniform agreement*."""

    decisions_only: ClassVar = True

    def __init__(self, honest: tuple[int, ...]) -> None:
        self._honest = frozenset(honest)
        self._decided: Claims[int, Value, int] = Claims()

    def after(self, node: Node, effects: Effects) -> None:
        """Hold each decision against the first in its slot."""
        for decision in effects.decisions:
            if first := self._decided.claim(decision.slot, decision.value, node.id):
                value, agent = first
                raise Violated(
                    "agreement",
                    f"in slot {decision.slot} agent {agent} decided {value!r}, agent {node.id} {decision.value!r}",
                )

    def restarted(self, node: Node) -> None:
        """Forget nothing: what was decided before a crash stays decided."""


class Integrity:
    """No honest agent decides twice in a slot in one life: *integrity*."""

    decisions_only: ClassVar = True

    def __init__(self, honest: tuple[int, ...]) -> None:
        self._decided: dict[int, set[int]] = {agent: set() for agent in honest}

    def after(self, node: Node, effects: Effects) -> None:
        """Take note of each decision."""
        if not effects.decisions:
            return
        mine = self._decided[node.id]
        for decision in effects.decisions:
            if decision.slot in mine:
                raise Violated("integrity", f"agent {node.id} decided slot {decision.slot} twice")
            mine.add(decision.slot)

    def restarted(self, node: Node) -> None:
        """A new life may learn again what was decided."""
        self._decided[node.id].clear()
