"""What a run will ask for, before it begins: its planner is led through with agents who never agree.

So no talk ends early, and the number of turns is the most that the plan can lead to. Tokens are estimated: four
characters to a token of what is asked, and answers as long as they may be. Tools double the calls: a turn that uses
one asks twice, and some ask more often.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from swarm_common.errors import SwarmError
from swarm_common.events import Data, Task
from swarm_common.events.agent import Acted, Grade, Graded, Item, TasksPosed
from swarm_common.llm import Choices, Usage
from swarm_coordinator.plans import Fact, Finish, SoFar, Suite

CHARACTERS = 4
"""Of a token, in English."""
_ANSWER = 16
"""Tokens of what others said, where an agent hears them: answers are mostly a word."""
#: Steps of a plan that does not end.
_MOST_STEPS = 100_000
ASSUMED = (
    f"the most turns that the plan can lead to, a token for {CHARACTERS} characters asked, answers of the full "
    "max_tokens"
)


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """A question by its lengths in characters."""

    question: int
    parts: tuple[int, ...] = ()
    stages: tuple[int, ...] = ()
    choice: bool = False


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What a run asks for at most, in calls and in estimated tokens."""

    calls: int
    read: int
    written: int
    assumed: str = ASSUMED


def estimate(
    suite: Suite, scenario: str, params: Mapping[str, Any], seed: int, shapes: tuple[Shape, ...], guide: int
) -> Estimate:
    """Return what a run asks for.

    Args:
        suite: Whose planner is led through.
        scenario: Its name.
        params: Complete.
        seed: Of the run.
        shapes: Of its questions; where the run has more than these, what they take is multiplied.
        guide: Characters that stand before each question.

    Raises:
        UsageError: The parameters do not fit together.
    """
    items = params["items"]
    few = min(items, max(len(shapes), params.get("each", 1)))
    times = 1.0 if scenario == "grid" else items / few  # the grid's cells are as many whatever the questions
    asked = [shapes[number % len(shapes)] for number in range(few)]
    led = _Led(suite, scenario, {**params, "items": few}, seed, asked, guide)
    calls, read, written = led.through()
    tools = 2 if params["tools"] else 1
    return Estimate(
        calls=round(calls * times) * tools,
        read=round(read * times) * tools,
        written=round(written * times) * tools,
        assumed=ASSUMED + ("; two calls a turn, since agents have tools" if tools == 2 else ""),
    )


class _Led:
    """A run in which every turn takes its estimated tokens and says something of its own."""

    def __init__(
        self,
        suite: Suite,
        scenario: str,
        params: Mapping[str, Any],
        seed: int,
        shapes: list[Shape],
        guide: int,
    ) -> None:
        self._suite = suite
        self._shapes = shapes
        self._guide = guide
        self._results: dict[str, Fact] = {}
        self._planned: dict[str, Task] = {}
        self._sofar = SoFar(
            scenario=scenario, params=params, seed=seed, results=self._results, planned=self._planned
        )

    def through(self) -> tuple[int, int, int]:
        """Return turns, and tokens read and written, of the whole run."""
        for step in range(_MOST_STEPS):
            answer = self._suite.plan(msgspec.structs.replace(self._sofar, step=step))
            if isinstance(answer, Finish):
                break
            for task in answer.tasks:
                self._planned[task.id] = task
                self._results[task.id] = Fact(event="", data=self._done(task), digest="", at_ns=step)
        else:  # pragma: no cover - a planner that never ends
            raise SwarmError(f"the plan does not end within {_MOST_STEPS} steps")
        turns = [fact.data for fact in self._results.values() if isinstance(fact.data, Acted)]
        return (
            len(turns),
            sum(turn.usage.input for turn in turns),
            sum(turn.usage.output for turn in turns),
        )

    def _done(self, task: Task) -> Data:
        if task.kind == "act":
            return self._acted(task)
        if task.kind == "grade":
            grades = tuple(Grade(item=name, said="", score=0.0) for name in task.params["answers"])
            return Graded(task=task.id, grades=grades)
        items = tuple(_item(number, shape) for number, shape in enumerate(self._shapes))
        return TasksPosed(task=task.id, family="", split="", chance=0.0, items=items)

    def _acted(self, task: Task) -> Acted:
        params = task.params
        shape = self._shapes[params["item"]]
        hears = params.get("hears", ())
        characters = len(params.get("instructions", "")) + _content(shape, params)
        if params.get("guide", True):
            characters += self._guide
        read = -(-characters // CHARACTERS) + _ANSWER * len(hears)
        return Acted(
            task=task.id,
            agent=params["agent"],
            role=params.get("role", "agent"),
            item=str(params["item"]),
            purpose=params.get("purpose", "answer"),
            heard=tuple(hears),
            text=task.id,
            calls=1,
            usage=Usage(input=read, output=params["max_tokens"]),
            model_s=1.0,
            elapsed_s=1.0,
            worker="",
        )


def _content(shape: Shape, params: Mapping[str, Any]) -> int:
    """Return the characters of the question as a turn is given it."""
    if params.get("stage") is not None:
        return shape.stages[int(params["stage"])]
    parts: list[int] = [shape.parts[part] for part in params.get("parts", ())]
    return parts[0] if len(parts) == 1 else shape.question + sum(parts)


def _item(number: int, shape: Shape) -> Item:
    return Item(
        id=str(number),
        question="",
        parts=("",) * len(shape.parts),
        stages=("",) * len(shape.stages),
        constraint=Choices(("",)) if shape.choice else None,
        answer="",
        checker="exact",
    )
