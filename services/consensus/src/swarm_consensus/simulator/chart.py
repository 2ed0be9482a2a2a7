"""A trace as a chart to read: one column an agent, one line an event.

Shown is what led to the last line: events of agents that had, through messages, a part in it (Lamport 1978,
*happened before*). Of the older of these, only what changes the world is kept where the chart would be too long.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from swarm_consensus.protocols.core import Decision
from swarm_consensus.simulator.plan import (
    Action,
    Clock,
    Compact,
    Crash,
    Cut,
    Heal,
    Mute,
    Query,
    Restart,
    Submit,
)
from swarm_consensus.simulator.world import Seen

LINES = 60
_WIDEST = 90
_MARKS = {
    "sent": ">",
    "lost": "x",
    "delivered": "<",
    "decided": "D",
    "persisted": "+",
    "client": "?",
    "snapshot": "S",
    "violated": "!",
}
_VERBS = {
    "delivered": "gets",
    "decided": "decides",
    "persisted": "writes",
    "client": "is asked for",
    "snapshot": "takes over a snapshot up to slot",
}


def chart(trace: Sequence[Seen], *, lines: int = LINES, everything: bool = False) -> str:
    """Return the chart of a trace, at most ``lines`` long but for decisions and what was done to the world.

    ``everything``: all agents' events are shown, not only those that led to the last.
    """
    seen = list(trace) if everything else _led_to_the_end(trace)
    agents = sorted({one.agent for one in seen if one.agent >= 0})
    rows = _rows(seen, agents)
    kept = [
        number
        for number, (one, _) in enumerate(rows)
        if number >= len(rows) - lines or one.what in {"action", "decided", "violated"}
    ]
    width = max((len(str(agent)) for agent in agents), default=1)
    found = ["    ms  " + " ".join(str(agent).rjust(width) for agent in agents)]
    before = -1
    for number in kept:
        one, text = rows[number]
        if number > before + 1:
            found.append(f"        ... {number - before - 1} more")
        before = number
        columns = " ".join((_mark(one) if agent == one.agent else ".").rjust(width) for agent in agents)
        found.append(f"{one.at_ms:6}  {columns}  {text}")
    return "\n".join(found)


def _mark(one: Seen) -> str:
    if one.what == "action":
        return "#" if isinstance(one.detail, Crash) else "^" if isinstance(one.detail, Restart) else "*"
    return _MARKS[one.what]


def _led_to_the_end(trace: Sequence[Seen]) -> list[Seen]:
    """Return what happened before the last event, and before each decision; in the order of the trace."""
    if not trace:
        return []
    concerned: set[int] = set()
    wanted: set[tuple[int, int, int]] = set()  # messages, with whom they went from and to
    found: list[Seen] = []
    for number in range(len(trace) - 1, -1, -1):
        one = trace[number]
        message = (id(one.detail), one.agent, one.other)
        if number == len(trace) - 1 or one.what == "decided":
            concerned.add(one.agent)
        elif one.what == "action":
            found.append(one)
            continue
        elif one.what == "sent":
            if message in wanted:
                concerned.add(one.agent)
            else:
                continue
        elif one.agent not in concerned:
            continue
        if one.what == "delivered":
            wanted.add((id(one.detail), one.other, one.agent))
        found.append(one)
    return found[::-1]


def _rows(seen: Sequence[Seen], agents: Sequence[int]) -> list[tuple[Seen, str]]:
    """Return the events with their texts; one message to several agents is one event, or one sent and one lost."""
    found: list[tuple[Seen, str]] = []
    at = 0
    while at < len(seen):
        first = seen[at]
        if first.what not in {"sent", "lost"}:
            found.append((first, _text(first)))
            at += 1
            continue
        end = at
        while end < len(seen) and seen[end].what in {"sent", "lost"} and seen[end].detail is first.detail:
            end += 1
        for what in ("sent", "lost"):
            some = [one for one in seen[at:end] if one.what == what]
            if some:
                found.append((some[0], _text_of_sending(some[0], [one.other for one in some], agents)))
        at = end
    return found


def _text_of_sending(one: Seen, receivers: Sequence[int], agents: Sequence[int]) -> str:
    everybody = len(receivers) > 2 and len(receivers) == len(agents) - 1
    to = "all others" if everybody else " ".join(map(str, receivers))
    if one.what == "lost":
        return f"{one.agent} -> {to} lost: {words(one.detail)}"
    return f"{one.agent} sends {words(one.detail)} to {to}"


def _text(one: Seen) -> str:
    if one.what == "action":
        return _action(one.detail, one.agent)
    if one.what == "violated":
        return f"violated: {one.detail}"
    short = repr(one.detail) if one.what == "client" else words(one.detail)
    text = f"{one.agent} {_VERBS[one.what]} {short}"
    return f"{text} from {one.other}" if one.what == "delivered" else text


def _action(action: Action, agent: int) -> str:  # noqa: PLR0911 - one a kind
    if isinstance(action, Crash):
        return f"{agent} crashes"
    if isinstance(action, Restart):
        return f"{agent} restarts"
    if isinstance(action, Cut):
        return f"cut: nothing gets from {_group(action.sources)} to {_group(action.targets)}"
    if isinstance(action, Heal):
        return "all cuts are mended"
    if isinstance(action, Mute):
        return f"nothing will get from the next {action.leaders} to lead"
    if isinstance(action, Clock):
        how = f"runs {action.rate:g} times as fast" if action.rate else "stands still"
        return f"{agent}'s clock {how}"
    if isinstance(action, Compact):
        return f"{agent} is told to compact"
    if isinstance(action, Query):
        return f"{agent} is asked for a read"
    if isinstance(action, Submit):
        return f"a client wants {action.value!r}"
    return words(action)


def _group(agents: Sequence[int]) -> str:
    return " ".join("the leader" if agent < 0 else str(agent) for agent in agents)


def words(thing: Any) -> str:
    """Return a message, record or decision by its type and fields, short."""
    if isinstance(thing, Decision):
        text = f"slot {thing.slot}: {thing.value!r}"
        text += f" of {thing.question!r}" if thing.question else ""
    else:
        text = _short(thing)
    return text if len(text) <= _WIDEST else text[: _WIDEST - 3] + "..."


def _short(thing: Any) -> str:
    if isinstance(thing, msgspec.Struct):
        fields = ", ".join(f"{name}={_short(getattr(thing, name))}" for name in thing.__struct_fields__)
        return f"{type(thing).__name__}({fields})"
    if isinstance(thing, bytes):
        return thing[:3].hex()
    if isinstance(thing, dict):
        return "{" + ", ".join(f"{_short(key)}: {_short(value)}" for key, value in thing.items()) + "}"
    if isinstance(thing, list | tuple):
        return "[" + ", ".join(_short(one) for one in thing) + "]"
    return repr(thing)
