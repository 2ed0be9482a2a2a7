"""A run of the coordination suite in one process: the planner decides, hand-made agents speak, real graders grade.

Turns in flight are taken in an order drawn from a seed, each for as long as ``seconds`` says, so that whoever is free
first is drawn, too: every order is one that a swarm could have had.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from swarm_common.events import Data, Event, encode
from swarm_common.events.agent import Acted, Item, TasksPosed
from swarm_common.events.benchmark import TaskScheduled
from swarm_common.events.envelope import new_event
from swarm_common.llm import Usage
from swarm_coordinator.decider import decide
from swarm_coordinator.moment import Moment
from swarm_coordinator.requests import Request, begin
from swarm_coordinator.state import RunState, evolve
from swarm_coordinator.suites import SUITES
from swarm_model_agent.families import posing
from swarm_model_agent.params import read

RUN = "run-1"
_NOW_NS = 1_800_000_000_000_000_000
_TURN_S = 0.25

Speak = Callable[[dict[str, Any], Item, Sequence[Acted]], str]
"""What an agent says: of the turn's parameters, the question, and what it heard."""


def play(
    scenario: str,
    params: Mapping[str, Any],
    speak: Speak,
    *,
    seed: int = 42,
    order: int = 0,
    posed: Sequence[Item] = (),
    budget: int | None = None,
) -> list[Event]:
    """Return the events of a run, from its request to its end.

    ``posed`` are questions in place of a family's; after ``budget`` turns the others find the run's budget spent.
    """
    body = {"suite": "coordination", "scenario": scenario, "params": dict(params), "seed": seed}
    log: list[Event] = []
    now = _NOW_NS

    def record(data: Data, cause: str) -> Event:
        new = new_event(
            data, run=RUN, source="/swarm/test/1", cause=cause, handler="test", index=len(log), time_ns=now
        )
        log.append(replace(new, raw=encode(new), seq=len(log) + 1))
        return log[-1]

    begun = begin(Request(id="request-1", body=body), SUITES, Moment(now, 0.0), "test")
    state = evolve(RunState(run=RUN), record(begun, "request-1"))
    drawn = random.Random(order)  # noqa: S311 - a simulation
    results: dict[str, Data] = {}
    open_: list[Event] = []
    while not state.over and state.started is not None:
        moment = Moment(now, (now - _NOW_NS) / 1e9)
        decided = decide(state, moment, SUITES)
        assert decided or open_, "nothing is left to do and the run is not over"
        for data in decided:
            event = record(data, state.last_id)
            state = evolve(state, event)
            if isinstance(event.data, TaskScheduled):
                open_.append(event)
        if not decided:
            event = open_.pop(drawn.randrange(len(open_)))
            task = event.data
            assert isinstance(task, TaskScheduled)
            now += int(_TURN_S * 1e9)
            turns = sum(isinstance(data, Acted) for data in results.values())
            spent = budget is not None and turns >= budget
            results[task.task] = _done(task, results, speak, posed, spent=spent)
            state = evolve(state, record(results[task.task], event.id))
    return log


def _done(
    task: TaskScheduled, results: Mapping[str, Data], speak: Speak, posed: Sequence[Item], *, spent: bool
) -> Data:
    inputs = [results[name] for name in task.needs]
    questions = [data for data in inputs if isinstance(data, TasksPosed)]
    acted = {data.task: data for data in inputs if isinstance(data, Acted)}
    if task.kind == "pose":
        if posed:
            return TasksPosed(task=task.task, family="handmade", split="test", chance=0.5, items=tuple(posed))
        return posing.pose(task.task, read(task.params, posing.PoseParams))
    if task.kind == "grade":
        return posing.graded(task.task, read(task.params, posing.GradeParams), questions[0], acted)
    item = questions[0].items[task.params["item"]]
    heard = [acted[name] for name in task.params.get("hears", ())]
    text = "" if spent else speak(task.params, item, heard)
    return Acted(
        task=task.task,
        agent=task.params["agent"],
        role=task.params.get("role", "agent"),
        item=item.id,
        purpose=task.params.get("purpose", "answer"),
        heard=tuple(task.params.get("hears", ())),
        parts=tuple(task.params.get("parts", ())),
        text=text,
        calls=1,
        usage=Usage(input=10 + 5 * len(heard) + 10 * len(task.params.get("parts", ())), output=1),
        trouble="budget_spent" if spent else None if text else "timeout",
        why="nothing is left" if spent else "",
        model_s=0.8 * _TURN_S,
        elapsed_s=_TURN_S,
        worker="test",
    )
