"""Centralized: a star. The hub hands out pieces, and joins what its workers say; workers speak to nobody else."""

from __future__ import annotations

from swarm_coordinator.suites.coordination.modes.core import Mode
from swarm_coordinator.suites.coordination.phases import all_of, chain, dealt, joined, staged
from swarm_coordinator.suites.coordination.talk import Say, Talk, Team, both


def seats(agents: int) -> Team:
    """Return a hub and its workers."""
    workers = tuple(f"worker-{number}" for number in range(1, agents))
    return Team(agents=("hub", *workers), workers=workers, edges=both("hub", workers), hub="hub")


def following(talk: Talk) -> Say:
    """Workers speak, the hub looks at their work where the strategy wants that, then joins. It ends with its word."""
    team = talk.team
    if staged(talk):  # workers cannot speak to one another: one of them does all stages of a question
        return chain(talk, [(team.workers[talk.question.index % len(team.workers)], team.hub)])
    given = [(unit, worker, team.hub) for unit, worker in dealt(talk, team.workers)]
    turns, outcomes = all_of(talk, given)
    return joined(talk, "join", team.hub, outcomes) if len(outcomes) == len(given) else tuple(turns)


MODE = Mode(
    name="centralized",
    description="A hub hands out pieces and joins what comes back; workers speak to it alone",
    fewest=2,
    seats=seats,
    next=following,
)
