"""Hierarchical: a tree. Workers speak to their lead, leads to the root; each joins what it heard from below."""

from __future__ import annotations

import math

from swarm_coordinator.suites.coordination.modes.core import Mode
from swarm_coordinator.suites.coordination.phases import all_of, chain, dealt, joined, staged
from swarm_coordinator.suites.coordination.talk import Say, Spoken, Talk, Team, Turn, both


def seats(agents: int) -> Team:
    """Return a root, leads (about the square root of those below it), and workers shared among them."""
    below = agents - 1
    leads = tuple(f"lead-{number}" for number in range(1, max(2, round(math.sqrt(below))) + 1))
    workers = tuple(f"worker-{number}" for number in range(1, below - len(leads) + 1))
    groups = tuple((lead, workers[at :: len(leads)]) for at, lead in enumerate(leads))
    edges = both("root", leads).union(*(both(lead, members) for lead, members in groups))
    return Team(agents=("root", *leads, *workers), workers=workers, edges=edges, hub="root", groups=groups)


def following(talk: Talk) -> Say:
    """Each lead joins its workers' outcomes as soon as it has them; it ends with the root's word on the leads'."""
    team = talk.team
    lead_of = {worker: lead for lead, members in team.groups for worker in members}
    if staged(talk):  # one worker does all stages of a question, under its lead's eyes
        worker = team.workers[talk.question.index % len(team.workers)]
        return chain(talk, [(worker, lead_of[worker])])
    given = dealt(talk, team.workers)
    turns: list[Turn] = []
    spoken: list[str] = []
    for lead, members in team.groups:
        mine = [(unit, worker, lead) for unit, worker in given if worker in members]
        if not mine:
            continue
        wanted, outcomes = all_of(talk, mine)
        found: Say = tuple(wanted)
        if len(outcomes) == len(
            mine
        ):  # the root cannot hear a worker: a lead speaks even where it has one alone
            found = joined(talk, f"join-{lead}", lead, outcomes, relay=True)
        if isinstance(found, Spoken):
            spoken.append(found.turn)
        else:
            turns += found
    return tuple(turns) if turns else joined(talk, "join", team.hub, spoken)


MODE = Mode(
    name="hierarchical",
    description="A tree: workers speak to their lead, leads to the root, and each joins what comes from below",
    fewest=5,
    seats=seats,
    next=following,
)
