"""How a part of a question goes through the phases of a strategy, whoever the mode gives it to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from swarm_coordinator.suites.coordination.talk import Say, Spoken, Talk, Turn, Unit, most, same


def units(talk: Talk) -> tuple[Unit, ...]:
    """Return the parts into which the strategy splits a question that has pieces; otherwise the whole."""
    question = talk.question
    if talk.strategy.split == "pieces" and question.pieces > 1:
        return tuple(Unit(name=f"p{piece}", parts=(piece,)) for piece in range(question.pieces))
    return (whole(talk),)


def whole(talk: Talk) -> Unit:
    """Return the question as one part, with all its pieces."""
    return Unit(name="all", parts=tuple(range(talk.question.pieces)))


def staged(talk: Talk) -> bool:
    """Say whether the question is worked on stage by stage."""
    return talk.strategy.split == "pieces" and talk.question.stages > 0


def dealt(talk: Talk, workers: Sequence[str]) -> list[tuple[Unit, str]]:
    """Return who gets what: pieces go round, another worker first for each question; a whole question goes to all."""
    parts = units(talk)
    if len(parts) > 1:
        first = talk.question.index
        return [(unit, workers[(first + place) % len(workers)]) for place, unit in enumerate(parts)]
    return [(Unit(name=f"all{at}", parts=parts[0].parts), worker) for at, worker in enumerate(workers)]


def work(
    talk: Talk, unit: Unit, agent: str, other: str, before: str = ""
) -> tuple[tuple[Turn, ...], str | None]:
    """Return the turns that a part wants now, and the turn that is its outcome once there is one.

    ``before`` is the outcome of the stage before: heard last in every phase.
    """
    turns = list(_phases(talk, unit, agent, other, before))
    names = [turn.name for turn in turns]
    if talk.strategy.accept == "agreement":
        for at, turn in enumerate(turns):
            if talk.said(turn.name) is None:
                return (turn,), None
            if at and same(talk, names[at - 1 : at + 1]):
                return (), turn.name
        return (), names[-1]
    missing = [turn for turn in turns if talk.said(turn.name) is None]
    if missing:
        return tuple(turn for turn in missing if talk.over(turn.hears)), None
    return (), names[-1] if talk.strategy.accept == "last" else most(talk, names)


def _phases(talk: Talk, unit: Unit, agent: str, other: str, before: str) -> Iterator[Turn]:
    names: list[str] = []
    for at, phase in enumerate(talk.strategy.phases):
        heard = {"nothing": [], "last": names[-1:], "all": list(names)}[phase.hears]
        mine = phase.by == "worker"
        turn = Turn(
            name=f"{unit.name}-{phase.purpose}{at}",
            agent=agent if mine else other,
            purpose=phase.purpose,
            seat="work" if mine else "review",
            parts=unit.parts,
            stage=unit.stage,
            hears=(*heard, *([before] if before else [])),
            ask=phase.ask,
        )
        names.append(turn.name)
        yield turn


def all_of(talk: Talk, given: Sequence[tuple[Unit, str, str]]) -> tuple[list[Turn], list[str]]:
    """Return the turns that several parts (part, worker, who looks at its work) want now, and the outcomes so far."""
    turns: list[Turn] = []
    outcomes: list[str] = []
    for unit, agent, other in given:
        wanted, outcome = work(talk, unit, agent, other)
        turns += wanted
        outcomes += [] if outcome is None else [outcome]
    return turns, outcomes


def chain(talk: Talk, seats: Sequence[tuple[str, str]]) -> Say:
    """Return the talk of a question in stages: each is done by the next seat, on the outcome of the one before."""
    before = ""
    for stage in range(talk.question.stages):
        agent, other = seats[stage % len(seats)]
        turns, outcome = work(talk, Unit(name=f"s{stage}", stage=stage), agent, other, before)
        if outcome is None:
            return turns
        before = outcome
    return Spoken(before)


def joined(talk: Talk, name: str, agent: str, outcomes: Sequence[str], *, relay: bool = False) -> Say:
    """Return what becomes of several outcomes. One alone stands as it is, unless it must be relayed to be heard."""
    if len(outcomes) == 1 and not relay:
        return Spoken(outcomes[0])
    if talk.join == "vote":
        return Spoken(most(talk, outcomes))
    if talk.said(name) is not None:
        return Spoken(name)
    return (Turn(name=name, agent=agent, purpose="join", seat="join", hears=tuple(outcomes)),)


def exchange(talk: Talk, name: str, peers: Sequence[str], outcomes: Sequence[tuple[str, str]]) -> Say:
    """Return the talk among peers: each hears what all have (its own first) and votes, until nothing changes.

    ``outcomes`` are (peer, turn). It ends when all say the same, when nobody changed since the exchange before, or
    after as many exchanges as the talk allows: what most said last is taken.
    """
    if len(outcomes) == 1:
        return Spoken(outcomes[0][1])
    said = list(outcomes)
    last: list[str] = []
    for number in range(talk.rounds):
        votes = [
            Turn(
                name=f"{name}{number}-{at}",
                agent=peer,
                purpose="vote",
                seat="join",
                hears=_own_first(peer, said),
            )
            for at, peer in enumerate(peers)
        ]
        missing = tuple(vote for vote in votes if talk.said(vote.name) is None)
        if missing:
            return missing
        names = [vote.name for vote in votes]
        unchanged = bool(last) and all(same(talk, pair) for pair in zip(last, names, strict=True))
        last = names
        said = [(vote.agent, vote.name) for vote in votes]
        if same(talk, names) or unchanged:
            break
    return Spoken(most(talk, last))


def _own_first(peer: str, said: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    mine = [turn for who, turn in said if who == peer]
    return (*mine, *(turn for who, turn in said if who != peer))
