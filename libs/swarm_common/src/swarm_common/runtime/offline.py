"""Replay of a recorded log against the code as it is now.

Every pure handler is given its recorded inputs, and what it returns is held against what the log says it returned then.
Fields that tell of time or place are left out of the comparison; everything else must be equal bit for bit.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from swarm_common.errors import SwarmError, UsageError
from swarm_common.events import Data, Event, digest_view
from swarm_common.events.benchmark import TaskScheduled
from swarm_common.log.files import read_events
from swarm_common.runtime.history import RecordedHistory
from swarm_common.runtime.service import Handler, Service, Work


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One place where the log and the code as it is now disagree."""

    service: str
    run: str
    position: int
    """Line of the file, from 1, of the recorded event or of its cause."""
    event_id: str
    what: str
    recorded: Any
    decided: Any


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one service's replay found."""

    service: str
    decisions: int
    """How many recorded events were decided again."""
    skipped: int
    """How many of the service's events come from handlers that are not pure, such as training a model."""
    differences: tuple[Difference, ...]


async def decide_again(service: Service, events: Sequence[Event]) -> Outcome:
    """Feed every recorded cause to the service's pure handlers and compare."""
    if service.decide_again is not None:
        outcome: Outcome = await service.decide_again(events)
        return outcome
    history = RecordedHistory(events)
    by_id = {event.id: event for event in events}
    answers: dict[str, list[Event]] = {}
    for event in events:
        if event.source.startswith(f"/swarm/{service.name}/"):
            answers.setdefault(event.causation, []).append(event)
    decisions = skipped = 0
    differences: list[Difference] = []
    for cause_id, recorded in answers.items():
        cause = by_id.get(cause_id)
        handler = None if cause is None else _pure_handler(service, cause)
        reports = [event for event in recorded if not event.type.endswith(".task_failed")]
        if cause is None or handler is None:
            skipped += len(reports)
            continue
        decisions += len(reports)
        if reports:
            differences += await _compare(service, cause, reports, handler, history)
    return Outcome(service=service.name, decisions=decisions, skipped=skipped, differences=tuple(differences))


def _pure_handler(service: Service, cause: Event) -> Handler | None:
    if isinstance(cause.data, TaskScheduled):
        task = service.tasks.get(cause.data.kind)
        return task.handle if task is not None and task.pure and cause.data.service == service.name else None
    reaction = service.reactions.get(cause.type)
    return reaction.handle if reaction is not None and reaction.pure else None


async def _compare(
    service: Service, cause: Event, recorded: Sequence[Event], handler: Handler, history: RecordedHistory
) -> list[Difference]:
    try:
        returned = await handler(Work(cause, history))
    except Exception as error:  # noqa: BLE001 - a handler that fails now is a difference, whatever it raises
        message = f"{type(error).__name__}: {error}"
        return [_difference(service.name, recorded[0], "handler failed", _view(recorded[0].data), message)]
    decided = [returned] if isinstance(returned, Data) else list(returned)
    return compare_events(service.name, cause, recorded, decided)


def compare_events(
    service: str, cause: Event, recorded: Sequence[Event], decided: Sequence[Data]
) -> list[Difference]:
    """Return where recorded events and those decided now differ, in order."""
    found = []
    for index in range(max(len(recorded), len(decided))):
        then = recorded[index] if index < len(recorded) else None
        now = decided[index] if index < len(decided) else None
        if then is None:
            found.append(_difference_at(service, cause, "decided now, not in the log", None, _view(now)))
        elif now is None:
            found.append(_difference(service, then, "in the log, not decided now", _view(then.data), None))
        elif _view(then.data) != _view(now):
            found.append(
                _difference(service, then, "decided otherwise", *_changed(_view(then.data), _view(now)))
            )
    return found


def _view(data: Data | None) -> dict[str, Any] | None:
    return None if data is None else {"type": data.type, **digest_view(data)}


def _changed(recorded: Any, decided: Any) -> tuple[Any, Any]:
    """Return the two sides cut down to the fields that differ."""
    keys = [key for key in {**recorded, **decided} if recorded.get(key) != decided.get(key)]
    return {key: _short(recorded.get(key)) for key in keys}, {key: _short(decided.get(key)) for key in keys}


def _short(value: Any, longest: int = 400) -> Any:
    text = msgspec.json.encode(value).decode()
    return value if len(text) <= longest else text[:longest] + f"... ({len(text)} characters)"


def _difference(service: str, event: Event, what: str, recorded: Any, decided: Any) -> Difference:
    return Difference(
        service=service,
        run=event.run,
        position=event.seq,
        event_id=event.id,
        what=f"{event.type}: {what}",
        recorded=recorded,
        decided=decided,
    )


def _difference_at(service: str, cause: Event, what: str, recorded: Any, decided: Any) -> Difference:
    found = _difference(service, cause, what, recorded, decided)
    return msgspec.structs.replace(found, what=f"after {cause.type}: {what}")


async def main(service: Service, path: Path) -> int:
    """Replay a file, print the :class:`Outcome` as JSON; return 0 for equal, 1 for different, 2 for unreadable."""
    try:
        outcome = await decide_again(service, list(read_events(path)))
    except SwarmError as error:
        sys.stderr.write(f"{error}\n")
        return UsageError.exit_code
    sys.stdout.write(msgspec.json.encode(outcome).decode() + "\n")
    return 1 if outcome.differences else 0
