"""What a mode is told and what it answers: a question's shape, who sits where, what was said, and who speaks next.

A mode is a pure function ``Talk -> Say``: it is asked again after every turn, until it names the turn whose word is
the swarm's. It never sees a model, a task or a clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from swarm_coordinator.suites.coordination.data import Strategy

Edge = tuple[str, str]
"""Who speaks, and who hears."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What a planner knows of a question: its shape, never its words."""

    index: int
    """Among those posed."""
    pieces: int = 0
    stages: int = 0
    choice: bool = False
    """Whether the answer is one of a few given ones."""

    @property
    def shape(self) -> str:
        """``stages``, ``pieces``, ``choice`` or ``open``: the first that fits."""
        if self.stages:
            return "stages"
        if self.pieces > 1:
            return "pieces"
        return "choice" if self.choice else "open"


class Team(msgspec.Struct, frozen=True, kw_only=True):
    """Who sits where, and who may speak to whom."""

    agents: tuple[str, ...]
    workers: tuple[str, ...]
    """Those who are given questions and pieces."""
    edges: frozenset[Edge]
    """All that may be said: everybody remembers their own words without an edge."""
    hub: str = ""
    """Who joins in the end; empty where nobody is above the others."""
    groups: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Of a tree: a lead and its workers; of a hybrid: the leaf's name and its peers."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """An agent is to speak."""

    name: str
    """Within the question."""
    agent: str
    """Empty: whoever is free first."""
    purpose: str
    seat: str
    """``work``, ``review`` or ``join``: whose role it takes."""
    parts: tuple[int, ...] = ()
    stage: int | None = None
    hears: tuple[str, ...] = ()
    """Turns of the same question, in the order in which they are told."""
    ask: str = ""
    repeat: int = 0


class Spoken(msgspec.Struct, frozen=True):
    """The talk is over: this turn's word is the swarm's."""

    turn: str


Say = tuple[Turn, ...] | Spoken


class Talk(msgspec.Struct, frozen=True, kw_only=True):
    """One question among one team, as far as it has come."""

    question: Question
    team: Team
    strategy: Strategy
    said: Callable[[str], str | None]
    """By turn: its words; ``None`` until they are said."""
    join: str = "model"
    """``model``: who joins asks its model; ``vote``: it takes what most say."""
    rounds: int = 2
    """Most exchanges among peers."""
    samples: int = 1
    """Of one agent alone."""

    def over(self, turns: Sequence[str]) -> bool:
        """Say whether all these turns were taken."""
        return all(self.said(turn) is not None for turn in turns)


class Unit(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of work that is handed out: one piece, one stage, or the whole question."""

    name: str
    parts: tuple[int, ...] = ()
    stage: int | None = None


def most(talk: Talk, turns: Sequence[str]) -> str:
    """Return the first of the turns that say what most of them say; silence counts only where all are silent."""
    words = {turn: " ".join((talk.said(turn) or "").split()).casefold() for turn in turns}
    counted = Counter(word for word in words.values() if word)
    if not counted:
        return turns[0]
    highest = max(counted.values())
    return next(turn for turn in turns if counted[words[turn]] == highest and words[turn])


def same(talk: Talk, turns: Sequence[str]) -> bool:
    """Say whether all these turns say the same."""
    return len({" ".join((talk.said(turn) or "").split()).casefold() for turn in turns}) <= 1


def everybody(agents: Sequence[str]) -> frozenset[Edge]:
    """Return the edges among agents who all speak to all."""
    return frozenset((one, other) for one in agents for other in agents if one != other)


def both(one: str, others: Sequence[str]) -> frozenset[Edge]:
    """Return the edges between one agent and others, to and fro."""
    return frozenset(edge for other in others for edge in ((one, other), (other, one)))
