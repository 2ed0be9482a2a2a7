"""Distributed: a queue. Whoever is free takes the next job of any question; the joining of outcomes is a job, too."""

from __future__ import annotations

from swarm_coordinator.suites.coordination.modes.core import Mode
from swarm_coordinator.suites.coordination.phases import all_of, chain, joined, staged, units
from swarm_coordinator.suites.coordination.talk import Say, Talk, Team, everybody

#: Nobody in particular: the first who is free.
ANYBODY = ""


def seats(agents: int) -> Team:
    """Return workers; what one of them put into the queue any other may take out."""
    workers = tuple(f"worker-{number}" for number in range(1, agents + 1))
    return Team(agents=workers, workers=workers, edges=everybody(workers))


def following(talk: Talk) -> Say:
    """Every part is one job and goes to one worker. It ends with the word of whoever took the joining."""
    if staged(talk):
        return chain(talk, [(ANYBODY, ANYBODY)])
    given = [(unit, ANYBODY, ANYBODY) for unit in units(talk)]
    turns, outcomes = all_of(talk, given)
    return joined(talk, "join", ANYBODY, outcomes) if len(outcomes) == len(given) else tuple(turns)


MODE = Mode(
    name="distributed",
    description="Workers pull from a shared queue: the next job goes to whoever is free",
    fewest=1,
    seats=seats,
    next=following,
)
