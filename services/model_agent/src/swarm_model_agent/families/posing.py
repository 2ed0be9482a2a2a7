"""The tasks `pose`, `pose_file` and `grade`: questions are drawn, and answers held against the right ones."""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Annotated

import msgspec
from msgspec import Meta

from swarm_common.errors import InvalidEvent, UsageError
from swarm_common.events.agent import Acted, Grade, Graded, Item, TasksPosed
from swarm_common.llm import Choices
from swarm_model_agent.families import apart, family_of
from swarm_model_agent.families.apart.grading import Answer, scores
from swarm_model_agent.families.checking import CHECKERS, TAKES, fits, grade
from swarm_model_agent.families.core import SPLITS, draw

#: Of a user's file: longer lines are no questions.
_LONGEST_LINE = 64 * 1024
_MOST_LINES = 10_000


class PoseParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which questions."""

    family: str = ""
    split: str = "test"
    count: Annotated[int, Meta(ge=1)] = 20
    seed: int = 42
    file: str = ""
    """For `pose_file`: name and content of the user's questions, ``tasks.jsonl@sha256:<hex>``."""


class GradeParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which answers."""

    answers: dict[str, str]
    """By the index of the question among those posed: the task whose agent spoke for the swarm."""


class _Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of a user's file."""

    input: str
    answer: str
    checker: str = "exact"
    choices: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    id: str = ""


def pose(task: str, params: PoseParams) -> TasksPosed:
    """Return questions of a family; raises :class:`UsageError` for a family, split or number that there is not."""
    if apart.is_apart(params.family):
        items = apart.draw(params.family, params.split, params.count, params.seed)
        return TasksPosed(
            task=task,
            family=params.family,
            split=params.split,
            chance=0.0,
            items=items,
            graded_by="grade_apart",
        )
    family = family_of(params.family)
    items = draw(family, params.split, params.count, params.seed)
    return TasksPosed(task=task, family=family.name, split=params.split, chance=family.chance, items=items)


def pose_file(task: str, params: PoseParams, path: Path, name: str) -> TasksPosed:
    """Return questions of a user's file.

    A line is a JSON object with ``input``, ``answer`` and, where wanted, ``checker``, ``choices``, ``parts``, ``id``.
    Lines are dealt out to the splits by their place: no two splits share one. A file of one or two is not dealt out.

    Raises:
        UsageError: A line is no question, or the split has fewer than ``count``.
    """
    items = read_items(path.read_bytes(), name)
    place = SPLITS.index(params.split) if params.split in SPLITS else -1
    if place < 0:
        raise UsageError(
            f"params.split is {params.split!r}; there are {', '.join(SPLITS)}", field="params.split"
        )
    mine = items if len(items) < len(SPLITS) else items[place :: len(SPLITS)]
    if params.count > len(mine):
        raise UsageError(
            f"params.items is {params.count}; {name} has {len(items)} questions, {len(mine)} of them in split "
            f"{params.split}: ask for fewer with -p items={max(1, len(mine))}, or write more",
            field="params.items",
            given=str(params.count),
            allowed=f"1 to {len(mine)}",
        )
    drawn = Random(f"{params.seed}/{name}/{params.split}").sample(mine, params.count)  # noqa: S311 - seeded
    return TasksPosed(task=task, family=name, split=params.split, chance=_chance(drawn), items=tuple(drawn))


def read_items(body: bytes, name: str) -> list[Item]:
    """Return the questions of a file; raises :class:`UsageError` that names the line and what is wrong with it."""
    found: list[Item] = []
    places: dict[str, int] = {}
    for number, line in enumerate(body.removeprefix(codecs.BOM_UTF8).splitlines(), start=1):
        if not line.strip():
            continue
        if len(found) == _MOST_LINES:
            raise UsageError(
                f"{name}, line {number}: a file has {_MOST_LINES} questions at most; leave the others out",
                field="params.tasks",
            )
        if len(line) > _LONGEST_LINE:
            raise UsageError(
                f"{name}, line {number}: it has {len(line)} bytes; a question has {_LONGEST_LINE} at most, and stands "
                "in one line by itself",
                field="params.tasks",
            )
        try:
            given = msgspec.json.decode(line, type=_Line)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise UsageError(
                f"{name}, line {number}: {error}; a line is a JSON object with input, answer and, where wanted, "
                "checker, choices, parts and id",
                field="params.tasks",
            ) from None
        item = _item(given, name, number)
        if (before := places.setdefault(item.id, number)) != number:
            raise UsageError(
                f"{name}, line {number}: line {before} has the id {item.id!r}, too; leave id out, or make each another",
                field="params.tasks",
            )
        found.append(item)
    if not found:
        raise UsageError(f"{name} has no question", field="params.tasks")
    return found


def graded(task: str, params: GradeParams, posed: TasksPosed, acted: Mapping[str, Acted]) -> Graded:
    """Return what each answer is worth, in the order of the questions.

    Raises:
        InvalidEvent: A question or a task is named that is not among the inputs.
    """
    pairs = _answered(params, posed, acted)
    return Graded(task=task, grades=tuple(grade(item, said) for item, said in pairs))


def graded_apart(task: str, params: GradeParams, posed: TasksPosed, acted: Mapping[str, Acted]) -> Graded:
    """Return what answers are worth that are graded by running them, each in a process shut in; takes seconds.

    Raises:
        InvalidEvent: As :func:`graded`.
        UsageError: This machine cannot shut a process in, or the library is not here or is another one.
        SwarmError: The grading process ended before it had graded.
    """
    pairs = _answered(params, posed, acted)
    answers = [Answer(checker=item.checker, said=said, right=item.answer) for item, said in pairs]
    found = zip(pairs, scores(answers), strict=True)
    return Graded(
        task=task,
        grades=tuple(
            Grade(item=item.id, said=said, score=score, why="" if score == 1 else "it did not pass")
            for (item, said), score in found
        ),
    )


def _answered(params: GradeParams, posed: TasksPosed, acted: Mapping[str, Acted]) -> list[tuple[Item, str]]:
    pairs = []
    for index in sorted(params.answers, key=int):
        said = acted.get(params.answers[index])
        if said is None or not 0 <= int(index) < len(posed.items):
            raise InvalidEvent(
                f"question {index}, answered by {params.answers[index]}, is not among the inputs",
                field="answers",
            )
        pairs.append((posed.items[int(index)], said.text))
    return pairs


def _item(given: _Line, name: str, number: int) -> Item:
    if given.checker not in CHECKERS:
        raise UsageError(
            f"{name}, line {number}: checker is {given.checker!r}; there are {', '.join(CHECKERS)}",
            field="params.tasks",
            given=given.checker,
            allowed=", ".join(CHECKERS),
        )
    wrong = ""
    if not given.input.strip():
        wrong = "input is empty; it is what an agent is asked"
    elif given.choices and given.checker == "exact" and given.answer not in given.choices:
        wrong = f"the answer {given.answer!r} is none of the choices"
    elif not fits(given.checker, given.answer):
        wrong = f"the answer {given.answer!r} is none that checker {given.checker} can take: {TAKES[given.checker]}"
    if wrong:
        raise UsageError(f"{name}, line {number}: {wrong}", field="params.tasks")
    return Item(
        id=given.id or f"{name}/{number}",
        question=given.input,
        parts=given.parts,
        constraint=Choices(given.choices) if given.choices else None,
        answer=given.answer,
        checker=given.checker,
    )


def _chance(items: Sequence[Item]) -> float:
    """Return the mean score of guessing among the choices; 0 for questions without."""
    shares = [
        1 / len(item.constraint.options) if isinstance(item.constraint, Choices) else 0.0 for item in items
    ]
    return sum(shares) / len(shares)
