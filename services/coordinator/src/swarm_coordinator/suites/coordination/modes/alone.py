"""One agent, asked once or several times: what every mode is held against. And members who never speak together."""

from __future__ import annotations

from swarm_coordinator.suites.coordination.modes.core import Mode
from swarm_coordinator.suites.coordination.talk import Say, Spoken, Talk, Team, Turn, most


def seats(agents: int) -> Team:
    """Return agents who hear nobody."""
    names = ("alone",) if agents == 1 else tuple(f"member-{number}" for number in range(1, agents + 1))
    return Team(agents=names, workers=names, edges=frozenset())


def following(talk: Talk) -> Say:
    """Each answers the whole question; it ends with what most of the answers say."""
    parts = tuple(range(talk.question.pieces))
    turns = tuple(
        Turn(name=f"{agent}-{at}", agent=agent, purpose="answer", seat="work", parts=parts, repeat=at)
        for agent in talk.team.agents
        for at in range(talk.samples)
    )
    names = [turn.name for turn in turns]
    if talk.over(names):
        return Spoken(most(talk, names))
    return tuple(turn for turn in turns if talk.said(turn.name) is None)


ALONE = Mode(
    name="alone",
    description="One agent, the whole question",
    fewest=1,
    seats=seats,
    next=following,
)
