"""A client of a live swarm: it asks one agent, follows hints, and asks again elsewhere when it hears nothing.

Sans-IO like the protocols: whoever runs it sends what :class:`Client` hands to ``send``, gives it the answers, and lets
it look at the clock every tick.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from swarm_consensus.live.telling import Answer
from swarm_consensus.protocols.core import Value

Send = Callable[[int, Value], None]
"""Asks an agent for a value; agent -1: all of them."""


class Client:
    """Asks for one thing at a time.

    ``need`` agents must say the same before it is believed: one where agents only crash, one more than may lie where
    they lie (Castro and Liskov 1999, section 4.1). With ``need`` above one, who hears nothing asks everybody.
    """

    def __init__(
        self, agents: Sequence[int], send: Send, *, need: int, again_s: float, patience_s: float
    ) -> None:
        self.patience_s = patience_s
        self.began_s = 0.0
        """``perf_counter`` at the asking."""
        self.leader = agents[0]
        """Whom it asks first."""
        self.asked: Value | None = None
        """What it waits for."""
        self._agents = agents
        self._send = send
        self._need = need
        self._again_s = again_s
        self._done: Callable[[Answer | None], None] = _nobody
        self._heard: dict[tuple[int, Value, str], set[int]] = {}
        self._due_s = 0.0
        self._silent = -1

    def ask(self, value: Value, done: Callable[[Answer | None], None]) -> None:
        """Ask; ``done`` gets the answer, or ``None`` when patience is over."""
        self.asked = value
        self._done = done
        self._heard.clear()
        self.began_s = time.perf_counter()
        self._try(self.leader)

    def answered(self, answer: Answer) -> None:
        """Take an answer; one to something else, or after the end, is dropped."""
        if answer.asked != self.asked:
            return
        if self._need > 1:
            heard = self._heard.setdefault((answer.slot, answer.value, answer.result), set())
            heard.add(answer.agent)
            if len(heard) < self._need:
                return
        else:
            self.leader = answer.agent
        self._silent = -1
        self._end(answer)

    def elsewhere(self, asked: Value, agent: int) -> None:
        """Ask whom an agent names, at once; where that is nobody, or one who was silent, somebody at the next look."""
        if asked != self.asked:
            return
        if agent >= 0 and agent not in {self.leader, self._silent}:
            self._try(agent)
        else:
            self._due_s = min(self._due_s, time.perf_counter())

    def look(self) -> None:
        """Give up where patience is over; ask elsewhere where it is time."""
        if self.asked is None:
            return
        now_s = time.perf_counter()
        if now_s - self.began_s > self.patience_s:
            self._end(None)
        elif now_s >= self._due_s:
            self._silent = self.leader
            at = self._agents.index(self.leader) if self.leader in self._agents else -1
            following = self._agents[(at + 1) % len(self._agents)]
            self._try(following, everybody=self._need > 1)

    def give_up(self) -> None:
        """End the asking: ``done`` gets ``None``."""
        self._end(None)

    def _try(self, agent: int, *, everybody: bool = False) -> None:
        assert self.asked is not None  # noqa: S101 - only called while something is asked
        self.leader = agent
        self._due_s = time.perf_counter() + self._again_s
        self._send(-1 if everybody else agent, self.asked)

    def _end(self, answer: Answer | None) -> None:
        done, self._done, self.asked = self._done, _nobody, None
        done(answer)


def _nobody(answer: Answer | None) -> None:
    """Take an answer that nobody waits for."""
