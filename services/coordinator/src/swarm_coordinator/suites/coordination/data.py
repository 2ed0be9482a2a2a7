"""Strategies and roles: data, in TOML beside this module and in the user's own.

A *strategy* says into what a question is split, which turns each part goes through, and when its outcome is accepted.
A *role* says with which instructions an agent speaks, and in which seat it may sit.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib import resources
from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec
from msgspec import Meta

from swarm_common.errors import UsageError

AUTO = "auto"
T = TypeVar("T")
Tool = Literal["calculator", "search", "read_file", "write_file", "recall", "remember"]
Shape = Literal["stages", "pieces", "choice", "open"]
_NAME = re.compile("[a-z][a-z0-9_-]{0,31}")
_Short = Annotated[str, Meta(max_length=400)]


class Phase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One turn that a part of a question goes through."""

    purpose: Annotated[str, Meta(pattern="^[a-z]{1,16}$")] = "answer"
    by: Literal["worker", "other"] = "worker"
    """``other``: whoever the mode lets look at a worker's work; in a star that is the hub."""
    hears: Literal["nothing", "last", "all"] = "nothing"
    """Of the phases before."""
    ask: _Short = ""
    """Said to the agent in this phase, behind its instructions."""


class Strategy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a question is worked on."""

    description: str
    instructions: _Short = ""
    """Said to every agent, behind its role's."""
    split: Literal["pieces", "whole"] = "pieces"
    """``pieces``: piece by piece and stage by stage, where a question has them; ``whole``: never."""
    phases: Annotated[tuple[Phase, ...], Meta(min_length=1, max_length=9)] = (Phase(),)
    accept: Literal["last", "majority", "agreement"] = "last"
    """Which outcome of a part counts: the last phase's, what most phases say, or the first that repeats the one before
    (the phases behind are then left out)."""
    suits: tuple[Shape, ...] = ()
    """Shapes of question that ``auto`` takes it for: the first strategy that suits, in the order of the list."""


class Role(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """With what an agent speaks."""

    description: str
    instructions: _Short
    """The beginning of its system prompt. Short: long ones harm small models."""
    seat: Literal["work", "review", "join"] = "work"
    """Where it sits: at the pieces, at others' work, or where outcomes are joined."""
    tools: tuple[Tool, ...] = ()
    """What it may use where the run allows tools."""
    families: tuple[str, ...] = ()
    """Families of questions that it is meant for; none: all."""


class Book(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Strategies and roles by name."""

    strategies: dict[str, Strategy] = {}
    roles: dict[str, Role] = {}


@cache
def own() -> Book:
    """Return the strategies and roles that come with the package."""
    text = resources.files(__package__).joinpath("book.toml").read_text(encoding="utf-8")
    return read(text, "book.toml")


def read(text: str, name: str) -> Book:
    """Return strategies and roles of a TOML text.

    Raises:
        UsageError: It is no TOML, or a key is unknown, missing or of the wrong kind: the message names key and line.
    """
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{name} is no TOML: {error}", field="params.own") from None
    for key in found:
        if key not in {"strategies", "roles"} or not isinstance(found[key], dict):
            raise _wrong(text, name, (key,), "there are the tables strategies.NAME and roles.NAME")
    return Book(
        strategies={
            one: _entry(text, name, ("strategies", one), given, Strategy)
            for one, given in found.get("strategies", {}).items()
        },
        roles={
            one: _entry(text, name, ("roles", one), given, Role)
            for one, given in found.get("roles", {}).items()
        },
    )


def _entry(text: str, name: str, key: tuple[str, str], given: Any, kind: type[T]) -> T:
    if not _NAME.fullmatch(key[1]):
        raise _wrong(text, name, key, "a name has small letters, digits, '_' and '-', 32 at most")
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        message = str(error)
        raise _wrong(text, name, (*key, *_within(message)), message.partition(" - at ")[0]) from None


def _wrong(text: str, name: str, key: tuple[str, ...], why: str) -> UsageError:
    line = _line(text, key)
    return UsageError(
        f"{name}{f', line {line}' if line else ''}: {'.'.join(key)}: {why}; docs/coordination.md shows what a role and "
        "a strategy have",
        field="params.own",
        given=".".join(key),
    )


@lru_cache(maxsize=16)
def library(text: str) -> Book:
    """Return the package's strategies and roles with the user's added; one of the same name takes its place.

    Raises:
        UsageError: The text is no such TOML, or names a strategy ``auto``.
    """
    mine = own()
    if not text:
        return mine
    added = read(text, "params.own")
    if AUTO in added.strategies:
        raise UsageError(
            f"params.own: strategy {AUTO} chooses among the others; give yours another name",
            field="params.own",
            given=AUTO,
        )
    return Book(strategies={**mine.strategies, **added.strategies}, roles={**mine.roles, **added.roles})


def listed(text: str) -> dict[str, list[dict[str, Any]]]:
    """Return roles and strategies as plain data, by their order; ``auto`` says its rule."""
    book = library(text)
    rule = ", ".join(f"{shape}: {chosen(book, AUTO, shape)}" for shape in get_args(Shape))
    auto = {
        "name": AUTO,
        "description": f"Takes the first strategy that suits a question's shape ({rule})",
        "instructions": "",
        "phases": [],
    }
    return {
        "roles": [{"name": name, **msgspec.to_builtins(role)} for name, role in book.roles.items()],
        "strategies": [
            auto,
            *({"name": name, **msgspec.to_builtins(one)} for name, one in book.strategies.items()),
        ],
    }


def strategy_of(book: Book, name: str) -> Strategy:
    """Return a strategy; raises :class:`UsageError` naming those there are."""
    return _one(book.strategies, name, "strategy", (AUTO, *book.strategies))


def role_of(book: Book, name: str) -> Role:
    """Return a role; raises :class:`UsageError` naming those there are."""
    return _one(book.roles, name, "role", tuple(book.roles))


def chosen(book: Book, name: str, shape: str) -> str:
    """Return the strategy that a name means for a question of a shape: ``auto`` is the first that suits it."""
    if name != AUTO:
        return name
    return next(
        (one for one, strategy in book.strategies.items() if shape in strategy.suits),
        next(iter(book.strategies)),
    )


def _one(found: Mapping[str, T], name: str, what: str, names: tuple[str, ...]) -> T:
    if name not in found:
        allowed = ", ".join(names)
        raise UsageError(
            f"there is no {what} {name!r}; there are {allowed}; your own come with -p own=@FILE.toml",
            field=f"params.{what}",
            given=name,
            allowed=allowed,
        )
    return found[name]


def _within(message: str) -> tuple[str, ...]:
    """Return the key within a table that a validation error is about: of ``... - at `$.phases[0].by``` the names."""
    field = re.search(r"unknown field `([^`]+)`", message)
    path = re.search(r"at `\$\.?([^`]*)`", message)
    names = [part for part in re.split(r"\.|\[\d*\]|\[\.\.\.\]", path[1]) if part] if path else []
    return (*names, *([field[1]] if field else []))


def _line(text: str, key: tuple[str, ...]) -> int:
    """Return the number of the line in which a key stands: the first such behind the lines of those it lies in."""
    lines = text.splitlines()
    at = 0
    for name in key:
        wanted = re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])\s*[\"']?\s*[\].=]")
        found = next(
            (number for number in range(max(at - 1, 0), len(lines)) if wanted.search(lines[number])), None
        )
        if found is None:
            break  # missing: the table that should have it is named
        at = found + 1
    return at
