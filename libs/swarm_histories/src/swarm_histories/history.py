"""The history format: what clients asked for and what they were told, as JSON Lines in the order in which it happened.

One line an event: ``{"process": 3, "type": "invoke", "f": "write", "key": "x", "value": 1}``. docs/histories.md
has the format.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec

from swarm_common.errors import UsageError
from swarm_histories.models import Model

TYPES = ("invoke", "ok", "fail", "info")
_SHOWN = 60


class InvalidHistory(UsageError):
    """A line that is no event, or an event that cannot have happened there; ``field`` is what is wrong in it.

    Attributes:
        line: Its number, from 1.
    """

    def __init__(self, line: int, what: str, *, field: str = "", given: str = "", allowed: str = "") -> None:
        allows = f"; allowed: {allowed}" if allowed else ""
        super().__init__(f"line {line}: {what}{allows}", field=field, given=given, allowed=allowed)
        self.line = line


class Event(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One line of a history. Further fields, such as a time, may stand in it and are not looked at."""

    process: int | str
    """Who: one operation at a time."""
    type: Literal["invoke", "ok", "fail", "info"]
    """``invoke`` begins an operation; ``ok``: it happened; ``fail``: it did not and will not; ``info``: unknown."""
    f: str
    """The operation, by its name in the model."""
    key: Any = None
    """On what; operations on different keys have nothing to do with one another."""
    value: Any | msgspec.UnsetType = msgspec.UNSET
    """With ``invoke`` what is written; with ``ok`` of a read what was read."""


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """What one process did, from call to return. Times are of any clock that all share: line numbers, nanoseconds."""

    process: int | str
    f: str
    key: Any = None
    value: Any = None
    """What it was called with; of a read: what it returned."""
    called: int
    returned: int | None
    """``None``: nobody knows whether it happened: it may take effect at any time after its call, or never."""


def encode(event: Event) -> bytes:
    """Return an event as its line, without the line's end."""
    return msgspec.json.encode(event)


def read(lines: Iterable[bytes | str], model: Model) -> list[Operation]:
    """Return the operations of a history in the order of their calls; those that failed are left out.

    ``called`` and ``returned`` are numbers of lines, from 1. Empty lines are passed over.

    Raises:
        InvalidHistory: A line is no event of ``model``, or does not fit what its process did before.
    """
    operations: list[Operation] = []
    calls: dict[int | str, tuple[int, Event]] = {}
    for number, event in _events(lines):
        _check_name(number, event, model)
        call = calls.pop(event.process, None)
        if event.type == "invoke":
            if call is not None:
                raise InvalidHistory(
                    number,
                    f"process {event.process!r} begins {event.f} before its {call[1].f} of line {call[0]} has ended",
                    field="type",
                    given="invoke",
                    allowed="ok, fail or info first, or another process",
                )
            model.check_argument(event, number)
            calls[event.process] = (number, event)
            continue
        if call is None:
            raise InvalidHistory(
                number,
                f"process {event.process!r} ends {event.f}, which it has not begun",
                field="type",
                given=event.type,
                allowed="invoke",
            )
        _check_same(number, event, *call)
        if event.type != "fail":
            operations.append(_operation(model, *call, number, event))
    operations += [
        _operation(model, number, event, number, msgspec.structs.replace(event, type="info"))
        for number, event in calls.values()
    ]
    return sorted(operations, key=lambda operation: operation.called)


def _events(lines: Iterable[bytes | str]) -> Iterator[tuple[int, Event]]:
    decoder = msgspec.json.Decoder(Event)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield number, decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            text = line if isinstance(line, str) else line.decode("utf-8", "replace")
            given = text.strip()
            raise InvalidHistory(
                number,
                f"{error}: {given[:_SHOWN]}{'…' if len(given) > _SHOWN else ''}",
                given=given,
                allowed='an object with "process" (number or text), "type" (invoke, ok, fail or info), "f", and '
                'where it has them "key" and "value"',
            ) from error


def _check_name(number: int, event: Event, model: Model) -> None:
    if event.f not in model.operations:
        allowed = ", ".join(model.operations)
        raise InvalidHistory(
            number, f"{model.name} has no operation {event.f!r}", field="f", given=event.f, allowed=allowed
        )


def _check_same(number: int, event: Event, called: int, call: Event) -> None:
    for field in ("f", "key"):
        given, begun = getattr(event, field), getattr(call, field)
        if given != begun and not (field == "key" and given is None):
            raise InvalidHistory(
                number,
                f"process {event.process!r} ends {field} {given!r}, but line {called} began {field} {begun!r}",
                field=field,
                given=str(given),
                allowed=str(begun),
            )


def _operation(model: Model, called: int, call: Event, ended: int, end: Event) -> Operation:
    value = call.value
    if end.type == "ok" and model.operations[call.f] == "read":
        model.check_result(end, ended)
        value = end.value
    return Operation(
        process=call.process,
        f=call.f,
        key=call.key,
        value=None if value is msgspec.UNSET else value,
        called=called,
        returned=ended if end.type == "ok" else None,
    )
