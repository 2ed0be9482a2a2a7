"""How an answer is held against the right one. A checker returns 0 to 1, and a reason where it is not 1."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from swarm_common.errors import UsageError
from swarm_common.events.agent import Grade, Item

Checker = Callable[[str, str], float]
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_WORD = re.compile(r"\w+")
_BETWEEN = re.compile(r"[,;\n]")
_Fields = dict[str, str | int | float | bool | None]
_Several = Annotated[list[str], Meta(min_length=1)]


def exact(said: str, right: str) -> float:
    """1 where both are the same, apart from case, outer space and a full stop at the end."""
    return float(_plain(said) == _plain(right))


def number(said: str, right: str) -> float:
    """1 where the last number that is said is the right one."""
    found = _NUMBER.findall(said.replace(",", ""))
    return float(bool(found) and float(found[-1]) == float(right))


def contains(said: str, right: str) -> float:
    """1 where the right words occur one after another, apart from case: no part of a longer word."""
    words, wanted = _WORD.findall(said.lower()), _WORD.findall(right.lower())
    places = range(len(words) - len(wanted) + 1)
    return float(bool(wanted) and any(words[place : place + len(wanted)] == wanted for place in places))


def json_fields(said: str, right: str) -> float:
    """The share of fields that are right, of all fields that either has: a field too many counts, too."""
    try:
        found = msgspec.json.decode(said.strip())
    except msgspec.DecodeError:
        return 0.0
    if not isinstance(found, dict):
        return 0.0
    wanted = msgspec.json.decode(right, type=_Fields)
    same = sum(name in found and _same(found[name], value) for name, value in wanted.items())
    return same / len(wanted.keys() | found.keys())


def any_of(said: str, right: str) -> float:
    """1 where it is one of several right answers, given as JSON."""
    return float(any(exact(said, one) for one in msgspec.json.decode(right, type=_Several)))


def set_f1(said: str, right: str) -> float:
    """The F1 of what is listed against the right list, both with commas, semicolons or lines between."""
    listed, wanted = (
        {_plain(part) for part in _BETWEEN.split(text) if part.strip()} for text in (said, right)
    )
    hits = len(listed & wanted)
    return 2 * hits / (len(listed) + len(wanted)) if listed or wanted else 1.0


CHECKERS: Mapping[str, Checker] = {
    "exact": exact,
    "number": number,
    "contains": contains,
    "json_fields": json_fields,
    "any_of": any_of,
    "set_f1": set_f1,
}

TAKES: Mapping[str, str] = {
    "exact": "words",
    "number": "one number, as 42 or -1.5",
    "contains": "words",
    "json_fields": 'a JSON object, as {"name": "Ann", "age": 7}, written as a text',
    "any_of": 'a JSON list of texts, as ["grey", "gray"], written as a text',
    "set_f1": "a list with commas, semicolons or lines between; empty where nothing is to be listed",
}
"""What each takes for a right answer."""


def fits(checker: str, right: str) -> bool:
    """Say whether a checker can take a right answer; with one that does not fit it no answer could be graded."""
    try:
        if checker == "json_fields":
            return bool(msgspec.json.decode(right, type=_Fields))
        if checker == "any_of":
            return all(one.strip() for one in msgspec.json.decode(right, type=_Several))
    except msgspec.DecodeError:
        return False
    if checker == "number":
        return _NUMBER.fullmatch(right.strip()) is not None
    return (
        checker == "set_f1" or _WORD.search(right) is not None or (checker == "exact" and bool(_plain(right)))
    )


def grade(item: Item, said: str) -> Grade:
    """Return what an answer to an item is worth; raises :class:`UsageError` for a checker that there is not."""
    checker = CHECKERS.get(item.checker)
    if checker is None:
        raise UsageError(
            f"question {item.id} has the checker {item.checker!r}; there are {', '.join(CHECKERS)}",
            field="checker",
            given=item.checker,
            allowed=", ".join(CHECKERS),
        )
    score = checker(said, item.answer)
    why = "" if score == 1 else "nothing was said" if not said.strip() else f"right is {item.answer}"
    return Grade(item=item.id, said=said, score=score, why=why)


def _plain(text: str) -> str:
    return " ".join(text.strip().rstrip(".").split()).casefold()


def _same(found: object, wanted: object) -> bool:
    if isinstance(found, str) and isinstance(wanted, str):
        return _plain(found) == _plain(wanted)
    return found == wanted and isinstance(found, bool) == isinstance(wanted, bool)
