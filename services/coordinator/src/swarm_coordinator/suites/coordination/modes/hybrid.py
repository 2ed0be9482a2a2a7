"""Hybrid: a tree whose leaves are meshes. Peers of a leaf vote among themselves; the root joins the leaves' words."""

from __future__ import annotations

import math

from swarm_coordinator.suites.coordination.modes.core import Mode
from swarm_coordinator.suites.coordination.phases import all_of, chain, dealt, exchange, joined, staged
from swarm_coordinator.suites.coordination.talk import Say, Spoken, Talk, Team, Turn, both, everybody


def seats(agents: int) -> Team:
    """Return a root and leaves, about as many as the square root of the peers."""
    peers = tuple(f"peer-{number}" for number in range(1, agents))
    leaves = max(2, round(math.sqrt(len(peers))))
    groups = tuple((f"leaf-{at + 1}", peers[at::leaves]) for at in range(leaves))
    edges = both("root", peers).union(*(everybody(members) for _, members in groups))
    return Team(agents=("root", *peers), workers=peers, edges=edges, hub="root", groups=groups)


def following(talk: Talk) -> Say:
    """Each leaf talks as a mesh does; it ends with the root's word on what the leaves said."""
    team = talk.team
    next_of = {
        peer: members[(at + 1) % len(members)]
        for _, members in team.groups
        for at, peer in enumerate(members)
    }
    if staged(talk):  # the stages go round within a leaf
        members = team.groups[talk.question.index % len(team.groups)][1]
        return chain(talk, [(peer, next_of[peer]) for peer in members])
    given = dealt(talk, team.workers)
    turns: list[Turn] = []
    spoken: list[str] = []
    for leaf, members in team.groups:
        mine = [(unit, peer, next_of[peer]) for unit, peer in given if peer in members]
        if not mine:
            continue
        wanted, outcomes = all_of(talk, mine)
        found: Say = tuple(wanted)
        if len(outcomes) == len(mine):
            said = [(peer, turn) for (_, peer, _), turn in zip(mine, outcomes, strict=True)]
            found = exchange(talk, f"{leaf}-vote", members, said)
        if isinstance(found, Spoken):
            spoken.append(found.turn)
        else:
            turns += found
    return tuple(turns) if turns else joined(talk, "join", team.hub, spoken)


MODE = Mode(
    name="hybrid",
    description="A tree whose leaves are meshes: peers of a leaf vote, the root joins the leaves' words",
    fewest=5,
    seats=seats,
    next=following,
)
