"""An arm: one team at work on some questions, in one mode, with one strategy. From turns to tasks and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec

from swarm_common.events import Task
from swarm_common.events.agent import Acted, TasksPosed
from swarm_common.llm import Choices
from swarm_coordinator.plans import SoFar
from swarm_coordinator.suites.coordination.data import Book, Role, Strategy, chosen, strategy_of
from swarm_coordinator.suites.coordination.modes import Mode
from swarm_coordinator.suites.coordination.talk import Question, Spoken, Talk, Team, Turn

POSE = "pose"
#: Seconds that one turn may take, its calls' tries together.
_TURN_S = 300.0
#: What leaves a parameter of a turn at its default.
_LEFT_OUT: tuple[Any, ...] = (None, "", [])
WARM = "warm"


class Cast(msgspec.Struct, frozen=True, kw_only=True):
    """Whose instructions are spoken with in each seat; several workers' roles go round."""

    work: tuple[tuple[str, Role], ...]
    review: tuple[str, Role]
    join: tuple[str, Role]


@cache
def _team(seats: Callable[[int], Team], agents: int) -> Team:
    return seats(agents)


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """One team at work."""

    name: str
    """In the names of its tasks."""
    mode: Mode
    agents: int
    strategy: str
    cast: Cast
    questions: tuple[int, ...]
    """Which of those posed."""
    temperature: float = 0.0
    samples: int = 1

    @property
    def team(self) -> Team:
        """Who sits where."""
        return _team(self.mode.seats, self.agents)

    @property
    def grade(self) -> str:
        """The task that grades it: planned when the arm is done, so its result is the arm's end."""
        return f"{self.name}-grade"


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What all arms of a run share."""

    book: Book
    params: Mapping[str, Any]
    seed: int


def questions_of(posed: TasksPosed) -> tuple[Question, ...]:
    """Return the shapes of the questions that were posed."""
    return tuple(
        Question(
            index=index,
            pieces=len(item.parts),
            stages=len(item.stages),
            choice=isinstance(item.constraint, Choices),
        )
        for index, item in enumerate(posed.items)
    )


def talk_of(arm: Arm, question: Question, setup: Setup, sofar: SoFar) -> Talk:
    """Return a question's talk as far as it has come."""

    def said(turn: str) -> str | None:
        fact = sofar.results.get(task_id(arm, question.index, turn))
        return None if fact is None else _acted(fact.data).text

    return Talk(
        question=question,
        team=arm.team,
        strategy=_strategy(arm, question, setup),
        said=said,
        join=setup.params.get("join", "model"),
        rounds=setup.params.get("rounds", 1),
        samples=arm.samples,
    )


def advance(
    arm: Arm, questions: Sequence[Question], setup: Setup, sofar: SoFar
) -> tuple[tuple[Task, ...], dict[str, str]]:
    """Return the turns that can be taken now, and by question the task that spoke for the swarm where that is over.

    An agent takes one turn at a time. A turn that anybody may take goes to one who is free. Questions are begun
    in their order, no more than agents can be busy with.
    """
    team = arm.team
    answers: dict[str, str] = {}
    wanted: list[tuple[Question, Turn]] = []
    busy: set[str] = set()
    open_: set[int] = set()
    for index in arm.questions:
        question = questions[index]
        say = arm.mode.next(talk_of(arm, question, setup, sofar))
        if isinstance(say, Spoken):
            answers[str(index)] = task_id(arm, index, say.turn)
            continue
        if len(open_) == 2 * len(team.agents):
            break
        open_.add(index)
        for turn in say:
            planned = sofar.planned.get(task_id(arm, index, turn.name))
            if planned is None:
                wanted.append((question, turn))
            else:
                busy.add(str(planned.params["agent"]))
    free = [agent for agent in team.agents if agent not in busy]
    return tuple(_given(arm, wanted, free, setup, len(sofar.planned))), answers


def _given(
    arm: Arm, wanted: Sequence[tuple[Question, Turn]], free: list[str], setup: Setup, turned: int
) -> Iterator[Task]:
    """Give turns to agents who are free, the earlier questions' first; those who may take any go round."""
    for question, turn in wanted:
        if not free:
            return
        if not turn.agent:
            agent = free.pop(turned % len(free))
        elif turn.agent in free:
            agent = turn.agent
            free.remove(agent)
        else:
            continue
        yield act(arm, question, turn, agent, setup)


def act(arm: Arm, question: Question, turn: Turn, agent: str, setup: Setup) -> Task:
    """Return the task of a turn."""
    params = setup.params
    role, instructions, tools = _voice(arm, question, turn, agent, setup)
    hears = tuple(task_id(arm, question.index, name) for name in turn.hears)
    given: dict[str, Any] = {
        "agent": agent,
        "role": role,
        "instructions": instructions,
        "item": question.index,
        "purpose": turn.purpose,
        "parts": list(turn.parts),
        "stage": turn.stage,
        "hears": list(hears),
        # How a piece is answered is no help to whoever joins what was said of pieces.
        "guide": None if turn.seat != "join" else False,
        "tools": list(tools) if params["tools"] else [],
        "executor": "recorded" if params["recording"] else params["executor"],
        "recording": params["recording"],
        "model": params["model"],
        "temperature": arm.temperature,
        "seed": sampling_seed(setup.seed, turn.repeat),
        "max_tokens": params["max_tokens"],
        "repeat": turn.repeat,
        **_means(params),
    }
    needed = {"agent", "item", "executor", "temperature", "max_tokens"}
    return Task(
        id=task_id(arm, question.index, turn.name),
        kind="act",
        service="model_agent",
        params={name: value for name, value in given.items() if name in needed or value not in _LEFT_OUT},
        after=(POSE, *dict.fromkeys(hears)),
        decides=True,
        timeout_s=_TURN_S,
    )


def warm_up(setup: Setup) -> Task:
    """Return a turn that belongs to no arm: a model that starts when first asked does so before anything is timed."""
    params = {
        "agent": WARM,
        "item": 0,
        "purpose": "warm",
        "guide": False,
        "executor": "recorded" if setup.params["recording"] else setup.params["executor"],
        "recording": setup.params["recording"],
        "model": setup.params["model"],
        "temperature": 0.0,
        "max_tokens": setup.params["max_tokens"],
        **_means(setup.params),
    }
    return Task(
        id=WARM,
        kind="act",
        service="model_agent",
        params={name: value for name, value in params.items() if value not in _LEFT_OUT},
        after=(POSE,),
        timeout_s=_TURN_S,
    )


def _means(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a turn may spend, and how much time a recorded one takes."""
    return {
        "budget_usd": params["budget_usd"],
        "consent": params["consent"] or None,
        # Not in the requests of older logs.
        "budget_tokens": params.get("budget_tokens"),
        "honour_latency": params.get("honour_latency") or None,
    }


def sampling_seed(seed: int, repeat: int) -> int:
    """Return the seed of one of several answers to the same question; within 31 bits, as endpoints take it."""
    return (seed + 7919 * repeat) % 2**31


def grade(arm: Arm, answers: Mapping[str, str], sofar: SoFar, name: str = "") -> Task:
    """Return the task that holds an arm's answers against the right ones, as these questions want it."""
    posed = sofar.results[POSE].data
    assert isinstance(posed, TasksPosed)  # noqa: S101 - what concludes it
    return Task(
        id=name or arm.grade,
        kind=posed.graded_by,
        service="model_agent",
        params={"answers": dict(answers)},
        after=(POSE, *dict.fromkeys(answers.values())),
    )


def task_id(arm: Arm, question: int, turn: str) -> str:
    """Return the name of the task of a turn."""
    return f"{arm.name}-q{question}-{turn}"


def turns_of(arm: Arm, sofar: SoFar) -> dict[str, Acted]:
    """Return the turns that an arm took, by task, in the order of their names."""
    names = (name for name in sorted(sofar.results) if name.startswith(f"{arm.name}-q"))
    return {name: _acted(sofar.results[name].data) for name in names}


def tokens_of(arm: Arm, sofar: SoFar) -> int:
    """Return the tokens that an arm's turns took, read and written."""
    head = f"{arm.name}-q"
    return sum(_acted(fact.data).usage.total for name, fact in sofar.results.items() if name.startswith(head))


def _acted(data: object) -> Acted:
    assert isinstance(data, Acted)  # noqa: S101 - what concludes a task of kind act
    return data


def _strategy(arm: Arm, question: Question, setup: Setup) -> Strategy:
    return strategy_of(setup.book, chosen(setup.book, arm.strategy, question.shape))


def _voice(
    arm: Arm, question: Question, turn: Turn, agent: str, setup: Setup
) -> tuple[str, str, tuple[str, ...]]:
    """Return role, instructions and tools of a turn.

    Workers' roles go round by seat. Where anybody may take a job, its role belongs to the job: what is asked must not
    depend on who was free first.
    """
    if turn.seat == "work":
        workers = arm.team.workers
        at = _place(turn) if not turn.agent else workers.index(agent)
        name, role = arm.cast.work[at % len(arm.cast.work)]
    else:
        name, role = arm.cast.review if turn.seat == "review" else arm.cast.join
    words = (role.instructions, _strategy(arm, question, setup).instructions, turn.ask)
    return name, " ".join(word for word in words if word), role.tools


def _place(turn: Turn) -> int:
    return turn.parts[0] if turn.parts else turn.stage or 0
