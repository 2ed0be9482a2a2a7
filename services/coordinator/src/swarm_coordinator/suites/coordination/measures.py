"""What an arm's turns tell: quality, cost, time, who spoke to whom. Times are by the clocks of those who recorded."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from swarm_common.events.agent import Graded
from swarm_coordinator.plans import SoFar
from swarm_coordinator.suites.coordination.arms import Arm, turns_of
from swarm_coordinator.suites.coordination.intervals import difference, share


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One arm's figures. Times are in seconds; ``None``: not measured."""

    name: str
    mode: str
    strategy: str
    roles: tuple[str, ...]
    agents: int
    samples: int = 1
    n: int
    """Questions."""
    scores: tuple[float, ...] = ()
    """By question, in the order of ``questions``."""
    questions: tuple[int, ...] = ()
    quality: float
    low: float
    high: float
    how: str
    """How value and interval were made."""
    gain: float | None = None
    """Over one agent alone, on the same questions."""
    gain_low: float | None = None
    gain_high: float | None = None
    budget_gain: float | None = None
    """Over one agent that spent as many tokens."""
    budget_low: float | None = None
    budget_high: float | None = None
    turns: int
    calls: int
    silent: int
    """Turns in which an agent could say nothing."""
    messages: int
    """What agents heard of others."""
    off_graph: int
    """Messages that the mode does not allow."""
    tokens: int
    cached: float | None = None
    """Share of the tokens read that the endpoint still had: a later arm is faster by what an earlier one read."""
    cost_usd: float | None = None
    makespan_s: float
    """From the first turn's beginning to the last one's end."""
    overhead: float | None
    """Share of the makespan in which no model call was under way."""
    idle: float | None
    """Share of all agents' time in which they took no turn."""
    balance: float | None
    """Mean over largest: tokens of an agent. 1 where all have the same."""
    bottleneck: str
    """The agent with the most time in its turns."""
    bottleneck_share: float | None
    """Of the makespan."""
    edges: tuple[tuple[str, str, int], ...] = ()
    """Who was heard by whom, how often; from the log."""
    seats: tuple[str, ...] = ()
    allowed: tuple[tuple[str, str], ...] = ()
    """The mode's graph."""
    source: str = ""
    """The event of its grades."""


def measure(arm: Arm, sofar: SoFar) -> Measured:
    """Return what an arm that was graded measured."""
    graded = sofar.results[arm.grade]
    assert isinstance(graded.data, Graded)  # noqa: S101 - what concludes a task of kind grade
    scores = tuple(grade.score for grade in graded.data.grades)
    quality = share(scores, sofar.seed, arm.name)
    turns = turns_of(arm, sofar)
    team = arm.team
    speaker = {name: turn.agent for name, turn in turns.items()}
    heard = Counter(
        (speaker[name], turn.agent)
        for turn in turns.values()
        for name in turn.heard
        if speaker[name] != turn.agent
    )
    ends = {name: sofar.results[name].at_ns / 1e9 for name in turns}
    first = min(ends[name] - turn.elapsed_s for name, turn in turns.items())
    makespan = max(ends.values()) - first
    busy = dict.fromkeys(team.agents, 0.0)
    tokens = dict.fromkeys(team.agents, 0)
    for turn in turns.values():
        busy[turn.agent] += turn.elapsed_s
        tokens[turn.agent] += turn.usage.total
    at_work = covered(
        # A recorded answer says how long it took then; it cannot have taken longer than the turn.
        (ends[name] - min(turn.model_s, turn.elapsed_s), ends[name])
        for name, turn in turns.items()
    )
    most = max(team.agents, key=lambda agent: busy[agent])
    costs = [turn.cost_usd for turn in turns.values() if turn.cost_usd is not None]
    total = sum(tokens.values())
    read = sum(turn.usage.read for turn in turns.values())
    return Measured(
        name=arm.name,
        mode=arm.mode.name,
        strategy=arm.strategy,
        roles=tuple(dict.fromkeys(turn.role for turn in turns.values())),
        agents=len(team.agents),
        samples=arm.samples,
        n=len(scores),
        scores=scores,
        questions=arm.questions,
        quality=quality.value,
        low=quality.low,
        high=quality.high,
        how=quality.how,
        turns=len(turns),
        calls=sum(turn.calls for turn in turns.values()),
        silent=sum(turn.trouble is not None for turn in turns.values()),
        messages=heard.total(),
        off_graph=sum(count for edge, count in heard.items() if edge not in team.edges),
        tokens=total,
        cached=sum(turn.usage.cache_read for turn in turns.values()) / read if read else None,
        cost_usd=math.fsum(costs) if costs else None,
        makespan_s=makespan,
        overhead=max(0.0, 1 - at_work / makespan) if makespan > 0 else None,
        idle=max(0.0, 1 - sum(busy.values()) / (len(team.agents) * makespan)) if makespan > 0 else None,
        balance=total / len(team.agents) / max(tokens.values()) if total else None,
        bottleneck=most,
        bottleneck_share=min(1.0, busy[most] / makespan) if makespan > 0 else None,
        edges=tuple((one, other, heard[one, other]) for one, other in sorted(heard)),
        seats=team.agents,
        allowed=tuple(sorted(team.edges)),
        source=graded.event,
    )


def beside(one: Measured, alone: Measured | None, budget: Measured | None, seed: int) -> Measured:
    """Return an arm's figures with its gains over one agent, asked once and asked as often as the tokens allow."""
    found = one
    if alone is not None and alone.name != one.name:
        gain = difference(one.scores, scores_on(alone, one.questions), seed, f"{one.name}/alone")
        found = msgspec.structs.replace(found, gain=gain.value, gain_low=gain.low, gain_high=gain.high)
    if budget is not None and one.name not in {budget.name, "alone"}:
        gain = difference(one.scores, scores_on(budget, one.questions), seed, f"{one.name}/budget")
        found = msgspec.structs.replace(
            found, budget_gain=gain.value, budget_low=gain.low, budget_high=gain.high
        )
    return found


def scores_on(one: Measured, questions: Sequence[int]) -> list[float]:
    """Return an arm's scores on some of its questions."""
    by_question = dict(zip(one.questions, one.scores, strict=True))
    return [by_question[question] for question in questions]


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Return how much time lies within one span or more."""
    total, until = 0.0, -math.inf
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total
