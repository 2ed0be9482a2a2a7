"""Mesh: all speak to all. Peers look at their pieces, tell everybody, and vote on the question; nobody is above."""

from __future__ import annotations

from swarm_coordinator.suites.coordination.modes.core import Mode
from swarm_coordinator.suites.coordination.phases import all_of, chain, dealt, exchange, staged
from swarm_coordinator.suites.coordination.talk import Say, Talk, Team, everybody


def seats(agents: int) -> Team:
    """Return peers."""
    peers = tuple(f"peer-{number}" for number in range(1, agents + 1))
    return Team(agents=peers, workers=peers, edges=everybody(peers))


def following(talk: Talk) -> Say:
    """Peers speak, then vote on what all said. It ends by the rule of :func:`exchange`: no echo goes on."""
    peers = talk.team.workers
    following_one = dict(zip(peers, (*peers[1:], peers[0]), strict=True))
    if staged(talk):  # the next stage goes to the next peer
        first = talk.question.index
        turned = [peers[(first + at) % len(peers)] for at in range(len(peers))]
        return chain(talk, [(peer, following_one[peer]) for peer in turned])
    given = [(unit, peer, following_one[peer]) for unit, peer in dealt(talk, peers)]
    turns, outcomes = all_of(talk, given)
    if len(outcomes) < len(given):
        return tuple(turns)
    return exchange(
        talk, "vote", peers, [(peer, turn) for (_, peer, _), turn in zip(given, outcomes, strict=True)]
    )


MODE = Mode(
    name="mesh",
    description="Peers exchange with all, then vote",
    fewest=2,
    seats=seats,
    next=following,
)
