"""Tools for agents: few, and safe. No shell, no evaluation of code, no path out of the run's own directory."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from swarm_common.errors import SwarmError, UsageError
from swarm_common.events.agent import ToolUse
from swarm_common.llm import Tool, ToolCall

_LONGEST_EXPRESSION = 200
_LARGEST = 10**12
_MOST_FILE_BYTES = 64 * 1024
_MOST_FILES = 100
#: Notes travel with every turn that comes after, in its event.
_MOST_NOTES, _LONGEST_NOTE, _LONGEST_KEY = 32, 500, 64
_NAME = re.compile(r"[\w-][\w.-]{0,63}")
_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_UNARY: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}


class ToolFailed(SwarmError):
    """A tool could not do what it was asked; the agent is told why."""


class Bench:
    """The tools of one agent's turn: what they may look at and write to."""

    def __init__(self, text: str, folder: Path, notes: dict[str, str]) -> None:
        self._text = text
        self._folder = folder
        self._notes = notes
        self._run: Mapping[str, Callable[..., str]] = {
            "calculator": self._calculate,
            "search": self._search,
            "read_file": self._read,
            "write_file": self._write,
            "recall": self._recall,
            "remember": self._remember,
        }

    @property
    def notes(self) -> dict[str, str]:
        """What is remembered, by key."""
        return dict(self._notes)

    def use(self, call: ToolCall) -> ToolUse:
        """Return what became of a call; one that cannot be done has ``failed`` and says why."""
        try:
            arguments = msgspec.json.decode(call.arguments or "{}", type=dict[str, str])
            tool = self._run.get(call.name)
            if tool is None:
                raise ToolFailed(f"there is no tool {call.name!r}; there are {', '.join(self._run)}")
            wanted = set(TOOLS[call.name].parameters["properties"])
            if set(arguments) != wanted:
                raise ToolFailed(f"{call.name} takes {', '.join(sorted(wanted))}")
            result = tool(**arguments)
        except msgspec.DecodeError as error:
            return self._failed(call, f"the arguments are no JSON object of texts: {error}")
        except (ToolFailed, OSError) as error:
            return self._failed(call, str(error))
        return ToolUse(name=call.name, arguments=call.arguments, result=result)

    @staticmethod
    def _failed(call: ToolCall, why: str) -> ToolUse:
        return ToolUse(name=call.name, arguments=call.arguments, result=f"error: {why}", failed=True)

    @staticmethod
    def _calculate(expression: str) -> str:
        if len(expression) > _LONGEST_EXPRESSION:
            raise ToolFailed(f"the expression is longer than {_LONGEST_EXPRESSION} characters")
        try:
            value = _value(ast.parse(expression, mode="eval").body)
        except (SyntaxError, ValueError, ZeroDivisionError, OverflowError, RecursionError) as error:
            raise ToolFailed(f"{expression!r}: {error}") from None
        return f"{value:.12g}" if isinstance(value, float) else str(value)

    def _search(self, query: str) -> str:
        """Return the lines that hold most of the query's words, three at most."""
        wanted = set(re.findall(r"\w+", query.lower()))
        scored = [
            (-len(wanted & set(re.findall(r"\w+", line.lower()))), number, line)
            for number, line in enumerate(self._text.splitlines())
        ]
        found = [line for score, _, line in sorted(scored) if score < 0][:3]
        return "\n".join(found) or "nothing found"

    def _read(self, name: str) -> str:
        path = self._path(name)
        if not path.is_file():
            raise ToolFailed(f"there is no file {name!r}")
        return path.read_text("utf-8", "replace")

    def _write(self, name: str, text: str) -> str:
        path = self._path(name)
        if len(text.encode()) > _MOST_FILE_BYTES:
            raise ToolFailed(f"a file has at most {_MOST_FILE_BYTES} bytes")
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists() and sum(1 for _ in self._folder.iterdir()) >= _MOST_FILES:
            raise ToolFailed(f"there are {_MOST_FILES} files already")
        path.write_text(text, "utf-8")
        return f"wrote {name}"

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ToolFailed(f"{name!r} is no file name: letters, digits, '_', '-' and '.', and no folders")
        path = self._folder / name
        if path.is_symlink():  # none of ours: it may lead anywhere
            raise ToolFailed(f"there is no file {name!r}")
        return path

    def _recall(self, key: str) -> str:
        if key not in self._notes:
            raise ToolFailed(f"nothing is remembered of {key!r}")
        return self._notes[key]

    def _remember(self, key: str, value: str) -> str:
        if len(value) > _LONGEST_NOTE or len(key) > _LONGEST_KEY:
            raise ToolFailed(f"a note has at most {_LONGEST_NOTE} characters, its key {_LONGEST_KEY}")
        if key not in self._notes and len(self._notes) >= _MOST_NOTES:
            raise ToolFailed(f"there are {_MOST_NOTES} notes already")
        self._notes[key] = value
        return f"remembered {key}"


def _value(node: ast.expr) -> float | int:
    """Return the value of an arithmetic expression; nothing but numbers and operators is in it."""
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            found: float | int = value
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            found = _BINARY[type(op)](_value(left), _value(right))
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
            found = _UNARY[type(op)](_value(operand))
        case _:
            raise ValueError("use numbers, + - * / // % and parentheses")
    if not math.isfinite(found) or abs(found) > _LARGEST:
        raise ValueError(f"a value beyond {_LARGEST:g}")
    return found


def _tool(name: str, description: str, /, **parameters: str) -> Tool:
    properties = {key: {"type": "string", "description": what} for key, what in parameters.items()}
    return Tool(
        name=name,
        description=description,
        parameters={"type": "object", "properties": properties, "required": list(properties)},
    )


TOOLS: Mapping[str, Tool] = {
    tool.name: tool
    for tool in (
        _tool("calculator", "Works out an arithmetic expression", expression="such as (2 + 3) * 4"),
        _tool("search", "Finds lines of the text in question", query="words to look for"),
        _tool("read_file", "Reads a file of this run", name="the file's name"),
        _tool("write_file", "Writes a file of this run", name="the file's name", text="its new content"),
        _tool("recall", "Looks up a note of yours, or of those you hear", key="what it was noted under"),
        _tool(
            "remember",
            "Keeps a note, for you and for those who hear you",
            key="to note it under",
            value="the note",
        ),
    )
}
"""By name."""


def tools_of(names: tuple[str, ...]) -> list[Tool]:
    """Return tools by name; raises :class:`UsageError` naming those there are."""
    for name in names:
        if name not in TOOLS:
            raise UsageError(
                f"there is no tool {name!r}; there are {', '.join(TOOLS)}",
                field="params.tools",
                given=name,
                allowed=", ".join(TOOLS),
            )
    return [TOOLS[name] for name in names]
