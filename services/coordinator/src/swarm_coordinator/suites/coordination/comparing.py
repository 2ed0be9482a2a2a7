"""Arms one after another, for they are timed; each beside one agent alone. What scenarios of arms share."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from swarm_common.events import Metric
from swarm_common.events.agent import Acted, Called
from swarm_coordinator.plans import Finish, SoFar, Step
from swarm_coordinator.suites.coordination.arms import (
    Arm,
    Setup,
    advance,
    grade,
    questions_of,
    task_id,
    tokens_of,
    turns_of,
)
from swarm_coordinator.suites.coordination.measures import Measured, beside, measure
from swarm_coordinator.suites.coordination.params import posed_of
from swarm_coordinator.suites.coordination.telling import verdict
from swarm_coordinator.suites.noop import seconds

#: Samples of one agent with the modes' budget: an odd number, so that two answers never tie.
_FEWEST, _MOST = 3, 25


def step(arms: Iterable[Arm], setup: Setup, sofar: SoFar) -> Step | Finish | None:
    """Return what the first arm that is not done wants; ``None`` where all are graded.

    A budget that is spent ends the run: with the arms that are done, and of the one under way the questions that are.
    """
    if why := stopped_by(sofar):
        return _stop(list(arms), setup, sofar, why)
    for arm in arms:
        if arm.grade in sofar.results:
            continue
        if arm.grade in sofar.planned:
            return Step()
        tasks, answers = advance(arm, questions_of(posed_of(sofar)), setup, sofar)
        if len(answers) == len(arm.questions):
            return Step(tasks=(grade(arm, answers, sofar),))
        return Step(tasks=tasks)
    return None


def stopped_by(sofar: SoFar) -> str:
    """Return why the run stops before its end, as a turn says that found its budget spent; empty where none did."""
    found = (
        (name, fact.data.why)
        for name, fact in sofar.results.items()
        if isinstance(fact.data, Acted) and fact.data.trouble == "budget_spent"
    )
    return min(found, default=("", ""))[1]


def _stop(arms: Sequence[Arm], setup: Setup, sofar: SoFar, why: str) -> Step | Finish:
    """Return what is left to do: wait for turns under way, grade what they answered, and report that."""
    if any(name not in sofar.results for name in sofar.planned):
        return Step()
    posed = questions_of(posed_of(sofar))
    for arm in arms:
        if arm.grade in sofar.results or not (turns := turns_of(arm, sofar)):
            continue
        # A question is told apart by its task's name; one that lacks a turn for the budget's sake was not answered.
        lacking = tuple(name for name, turn in turns.items() if turn.trouble == "budget_spent")
        _, answers = advance(arm, posed, setup, sofar)
        whole = {
            index: name
            for index, name in answers.items()
            if not any(one.startswith(task_id(arm, int(index), "")) for one in lacking)
        }
        if whole:
            return Step(tasks=(grade(arm, whole, sofar),))
    done = [_as_graded(arm, sofar) for arm in arms if arm.grade in sofar.results]
    alone = next((arm for arm in done if arm.name == "alone"), None)
    budget = next((arm for arm in done if arm.name == "budget"), None)
    found = finish(done, sofar, alone=alone, budget=budget, verdicts=[f"Only a part was done: {why}."])
    metric = Metric(
        name="stopped",
        value=1,
        unit="count",
        better="lower",
        n=len(done),
        estimator=f"the run ended before its work was done, after {len(done)} arms, the last in part: {why}",
    )
    return msgspec.structs.replace(found, metrics=(*found.metrics, metric), stopped=why)


def _as_graded(arm: Arm, sofar: SoFar) -> Arm:
    """Return an arm with the questions that were graded."""
    answers = sofar.planned[arm.grade].params["answers"]
    return msgspec.structs.replace(arm, questions=tuple(sorted(map(int, answers))))


def samples_for(arms: Sequence[Arm], alone: Arm, sofar: SoFar) -> int:
    """Return how often one agent can be asked for what the modes' teams spend in the mean: tokens over tokens."""
    one = tokens_of(alone, sofar)
    if not one:
        return _FEWEST
    spent = statistics.fmean([tokens_of(arm, sofar) for arm in arms])
    found = max(_FEWEST, min(_MOST, round(spent / one)))
    return found if found % 2 else found - 1


def finish(
    arms: Sequence[Arm],
    sofar: SoFar,
    *,
    alone: Arm | None = None,
    budget: Arm | None = None,
    more: Mapping[str, Any] | None = None,
    metrics: Sequence[Metric] = (),
    verdicts: Sequence[str] = (),
) -> Finish:
    """Return what the arms measured, each beside one agent alone, asked once and asked as often as tokens allow."""
    single = None if alone is None else measure(alone, sofar)
    again = None if budget is None else measure(budget, sofar)
    found = [beside(measure(arm, sofar), single, again, sofar.seed) for arm in arms]
    posed = posed_of(sofar)
    told = [verdict(one, single) for one in found if single is not None and one.name != "alone"]
    return Finish(
        result={
            "coordination": {
                "family": posed.family,
                "split": posed.split,
                "chance": posed.chance,
                "questions": len(posed.items),
                "model": _model(sofar),
                "arms": [msgspec.to_builtins(one) for one in found],
                "verdicts": [*verdicts, *told],
                **(more or {}),
            }
        },
        metrics=(*_whole(found), *metrics, *_each(found), seconds(sofar.elapsed_s)),
    )


def _model(sofar: SoFar) -> str:
    """Return which model answered: all that did, by the endpoints' own names."""
    names = {
        fact.data.answered_by
        for facts in sofar.facts.values()
        for fact in facts
        if isinstance(fact.data, Called) and fact.data.answered_by
    }
    return ", ".join(sorted(names))


def _whole(found: Sequence[Measured]) -> Iterator[Metric]:
    source = tuple(one.source for one in found)
    for name, value, how in (
        ("turns", sum(one.turns for one in found), "turns of agents, all arms together"),
        ("calls", sum(one.calls for one in found), "calls of a model"),
        ("silent", sum(one.silent for one in found), "turns in which an agent's model gave no answer"),
        ("off_graph", sum(one.off_graph for one in found), "messages in the log that a mode does not allow"),
        ("tokens", sum(one.tokens for one in found), "read and written, cached ones included"),
    ):
        yield Metric(
            name=name, value=value, unit="count", better="lower", n=len(found), estimator=how, source=source
        )


def _each(found: Sequence[Measured]) -> Iterator[Metric]:
    for one in found:
        yield Metric(
            name=f"quality.{one.name}",
            value=one.quality,
            unit="ratio",
            n=one.n,
            low=one.low,
            high=one.high,
            estimator=one.how,
            source=(one.source,),
        )
        if one.gain is not None:
            yield Metric(
                name=f"gain.{one.name}",
                value=one.gain,
                unit="ratio",
                n=one.n,
                low=one.gain_low,
                high=one.gain_high,
                estimator="quality minus that of one agent alone, on the same questions; 95 %",
                source=(one.source,),
            )
        yield _count(one, "messages", one.messages, "what agents heard of others")
        yield _count(one, "tokens", one.tokens, "read and written, cached ones included")
        yield _timed(one, "makespan", one.makespan_s, "s", "first turn's beginning to last one's end")
        yield _timed(one, "overhead", one.overhead, "ratio", "share of the makespan without a model call")
        yield _timed(one, "idle", one.idle, "ratio", "share of the agents' time without a turn")
        yield _timed(
            one, "balance", one.balance, "ratio", "tokens of an agent: mean over largest", better="higher"
        )


def _count(one: Measured, name: str, value: int, how: str) -> Metric:
    return Metric(
        name=f"{name}.{one.name}",
        value=value,
        unit="count",
        better="lower",
        n=one.n,
        estimator=how,
        source=(one.source,),
    )


def _timed(
    one: Measured, name: str, value: float | None, unit: str, how: str, *, better: Any = "lower"
) -> Metric:
    return Metric(
        name=f"{name}.{one.name}",
        value=value,
        unit=unit,
        better=better,
        n=one.turns,
        estimator=how,
        timing=True,
        source=(one.source,),
        reason="" if value is not None else "no time passed, or no tokens were counted",
    )
