"""What a suite is: scenarios with parameters and targets, and a pure planner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import msgspec

from swarm_common import datafiles
from swarm_common.errors import UsageError
from swarm_common.events import Data, Metric, Target, Task

ParamType = Literal["int", "float", "str", "bool", "list", "ints", "dict", "file"]
_LONGEST_INT = 19
"""Digits of a whole number that came as text; a longer one is no number that a range would have."""
_PYTHON: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "str": (str,),
    "bool": (bool,),
    "list": (list, tuple),
    "ints": (list, tuple),
    "dict": (dict,),
    "file": (str,),
}


class Param(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A parameter of a scenario: its type, default and what is allowed.

    A ``dict`` is a JSON object; ``ints`` are whole numbers, each within the range. A ``file`` is a file of the user's
    in the object store, as :class:`~swarm_common.datafiles.DataFile` writes it; empty where there is none. Where the
    default is ``None``, leaving the parameter out means something else than any value.
    """

    name: str
    type: ParamType
    default: Any
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    """Allowed values; of a list, allowed members; of a dict, allowed keys."""
    required: bool = False
    """It must be given; the default only shows what it is like."""
    endpoint: str = ""
    """What the default stands for where the stack has a language model's endpoint: runs record this in its place."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A named case of a suite."""

    name: str
    description: str
    params: tuple[Param, ...] = ()
    targets: tuple[Target, ...] = ()
    timeout_s: float = 600.0
    parallel: dict[str, int] = {}
    deterministic: bool = True
    """Whether the same request and seed give the same digest; not where the outcome depends on timing."""
    timed_by: tuple[str, ...] = ()
    """Parameters that, where they are not at their default, make the outcome depend on timing or on earlier runs."""
    timed_with: dict[str, tuple[str, ...]] = {}
    """By parameter: values, of a list members, with which the outcome depends on something outside, as a paid model."""
    settled_by: str = ""
    """Parameter that, where it is given, answers in place of what is outside: a recording."""

    def repeats(self, params: Mapping[str, Any]) -> bool:
        """Say whether these (complete) parameters and a seed give the same digest each time."""
        return (
            self.deterministic
            and all(
                params[param.name] == param.default for param in self.params if param.name in self.timed_by
            )
            and (
                bool(self.settled_by and params[self.settled_by])
                or not any(_names(params[name]) & set(values) for name, values in self.timed_with.items())
            )
        )


class Fact(msgspec.Struct, frozen=True, gc=False):
    """What a worker recorded of a task: the event's id, its data, and their digest."""

    event: str
    data: Data
    digest: str
    at_ns: int = 0
    """When it was recorded: nanoseconds since 1970, by the clock of who did."""


class SoFar(msgspec.Struct, frozen=True, kw_only=True):
    """What a planner may know: the request and what has happened."""

    scenario: str
    params: Mapping[str, Any]
    seed: int
    step: int = 0
    """How often tasks were planned; 0 asks for the first."""
    results: Mapping[str, Fact] = {}
    """By task: the event that concluded it."""
    facts: Mapping[str, tuple[Fact, ...]] = {}
    """By task: everything that was recorded of it, the result included, in the order of the log."""
    planned: Mapping[str, Task] = {}
    """Tasks that the run has, whatever became of them: a planner that is asked between results plans none twice."""
    elapsed_s: float = 0.0
    """Since the run started."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks to do next; none means to wait for those that are open."""

    tasks: tuple[Task, ...] = ()


class Finish(msgspec.Struct, frozen=True, kw_only=True):
    """The run is done: its result, and what was measured."""

    result: dict[str, Any]
    metrics: tuple[Metric, ...]
    stopped: str = ""
    """Why this is the end though not all was done; empty where all was."""


class Suite(Protocol):
    """A family of benchmarks. ``plan`` is pure: the same :class:`SoFar` gives the same answer."""

    @property
    def name(self) -> str:
        """What requests call it."""

    @property
    def description(self) -> str:
        """One sentence for people."""

    @property
    def scenarios(self) -> tuple[Scenario, ...]:
        """Its cases; the first is the default."""

    def plan(self, sofar: SoFar) -> Step | Finish:
        """Return the tasks that come next, or the end."""


def find_scenario(suite: Suite, name: str) -> Scenario:
    """Return a scenario, the first one for an empty name; raises :class:`UsageError` naming those there are."""
    if not name:
        return suite.scenarios[0]
    for scenario in suite.scenarios:
        if scenario.name == name:
            return scenario
    names = ", ".join(scenario.name for scenario in suite.scenarios)
    raise UsageError(
        f"suite {suite.name} has no scenario {name!r}; it has {names}",
        field="scenario",
        given=name,
        allowed=names,
    )


def complete_params(
    scenario: Scenario, given: Mapping[str, Any], *, endpoint: bool = False
) -> dict[str, Any]:
    """Return the parameters with every default filled in; ``endpoint`` says whether the stack has one.

    Raises :class:`UsageError` naming the parameter that is unknown, of the wrong type or out of range.
    """
    known = {param.name: param for param in scenario.params}
    for name in given:
        if name not in known:
            allowed = ", ".join(sorted(known)) or "none"
            raise UsageError(
                f"scenario {scenario.name} has no parameter {name!r}; it has {allowed}",
                field=f"params.{name}",
                given=_text(given[name]),
                allowed=allowed,
            )
    found = {name: _checked(param, _given(scenario, param, given)) for name, param in known.items()}
    if endpoint:
        found |= {
            name: param.endpoint
            for name, param in known.items()
            if param.endpoint and found[name] == param.default
        }
    return found


def _given(scenario: Scenario, param: Param, given: Mapping[str, Any]) -> Any:
    if param.required and given.get(param.name, "") == "":
        raise UsageError(
            f"scenario {scenario.name} needs params.{param.name}: {param.description}",
            field=f"params.{param.name}",
            allowed=param.type,
        )
    return given.get(param.name, param.default)


def _checked(param: Param, value: Any) -> Any:
    field = f"params.{param.name}"
    if value is None and param.default is None:
        return None
    if param.type in {"list", "ints"} and isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if param.type == "ints":
        return _whole(param, value, field)
    if not isinstance(value, _PYTHON[param.type]) or (isinstance(value, bool) and param.type != "bool"):
        raise UsageError(
            f"{field} is {_text(value)}; it must be of type {param.type}",
            field=field,
            given=_text(value),
            allowed=param.type,
        )
    if param.type == "float" and isinstance(value, int):
        value = float(value)
    if param.type == "file" and value:
        datafiles.parse(value, field)
    members = value if param.type in {"list", "dict"} else [value]
    if param.choices and any(member not in param.choices for member in members):
        allowed = ", ".join(param.choices)
        raise UsageError(
            f"{field} is {_text(value)}; allowed is {allowed}",
            field=field,
            given=_text(value),
            allowed=allowed,
        )
    if param.type in {"int", "float"}:
        low = float("-inf") if param.low is None else param.low
        high = float("inf") if param.high is None else param.high
        if not low <= value <= high:
            raise UsageError(
                f"{field} is {value}; allowed is {low:g} to {high:g}",
                field=field,
                given=str(value),
                allowed=f"{low:g} to {high:g}",
            )
    return list(value) if param.type == "list" else value


def _whole(param: Param, value: Any, field: str) -> list[int]:
    """Return whole numbers as a list: ``5``, ``[3, 5]`` and ``"3,5"`` are ways to say them."""
    members = value if isinstance(value, list | tuple) else [value]
    one = msgspec.structs.replace(param, type="int")
    found = []
    for member in members:
        text = isinstance(member, str) and member.removeprefix("-").isdecimal() and len(member) < _LONGEST_INT
        found.append(int(_checked(one, int(member) if text else member)))
    if not found and param.default:
        raise UsageError(
            f"{field} is empty; it must name one whole number or more", field=field, given="[]", allowed="int"
        )
    return found


def _names(value: Any) -> set[Any]:
    """Return the members of a list, or the one value."""
    return set(value) if isinstance(value, list | tuple) else {value}


def _text(value: Any, longest: int = 100) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= longest else text[:longest] + "..."
