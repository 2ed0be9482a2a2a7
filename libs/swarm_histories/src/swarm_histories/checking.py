"""Whether a history is linearizable (Herlihy and Wing 1990): key by key, all keys in turns, and what refutes it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec

from swarm_histories.history import Operation
from swarm_histories.models import Model, text_of
from swarm_histories.search import Entry, Search
from swarm_histories.shrinking import Shrinking, readable

_FIRST_SLICE = 256


class Refutation(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a history for which there is no order; without any one of its operations there would be one."""

    key: Any
    since: int | None
    """A moment: whatever the value was then, there is no order. ``None``: the part begins where the history does."""
    operations: tuple[Operation, ...]
    """In the order of their calls. Who was under way at ``since``, or returned after ``impossible``, has no return."""
    impossible: Operation
    """The last to return: with all that returned before it there is an order, with its own value there is none."""
    minimal: bool
    """Whether that is certain: otherwise some smaller part was too hard to decide, and fewer may do."""
    possible: tuple[Any, ...]
    """The values that it could have found instead (a read: have returned; cas: have expected), all that there are."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a history."""

    outcome: Literal["linearizable", "refuted", "undecided"]
    """``undecided``: the steps allowed were spent; nothing is known then, least of all that it is linearizable."""
    operations: int
    keys: int
    steps: int
    """Configurations looked at."""
    undecided: int = 0
    """Keys of which nothing is known yet: all that are left when one refutes the history, or the steps are spent."""
    refutation: Refutation | None = None

    @property
    def linearizable(self) -> bool | None:
        """Yes, no, or ``None``: not known."""
        return {"linearizable": True, "refuted": False, "undecided": None}[self.outcome]


def check(history: Iterable[Operation], model: Model, *, steps: int | None = None) -> Verdict:
    """Return whether there is an order of the operations, each between its call and return, that the model explains.

    Operations on different keys are looked at apart: a history is linearizable if and only if it is for every key
    (Herlihy and Wing 1990, theorem 1; Horn and Kroening 2015). All keys take turns, so that the cheapest refutation
    ends the check.

    Args:
        history: In any order; those that failed are not in it.
        model: What a correct store would do.
        steps: How many configurations may be looked at, in all keys together; without it until it is decided.
    """
    parts: dict[str, list[Operation]] = {}
    count = 0
    for operation in history:
        parts.setdefault(text_of(operation.key), []).append(operation)
        count += 1
    searches = sorted(
        ((part, Search(entries(part, model))) for part in parts.values()), key=lambda pair: len(pair[0])
    )
    spent, turn = 0, _FIRST_SLICE
    while searches:
        going: list[tuple[list[Operation], Search]] = []
        for at, (part, search) in enumerate(searches):
            before = search.steps
            allowed = turn if steps is None else min(turn, steps - spent)
            found = search.advance(allowed)
            spent += search.steps - before
            if found is False:
                return Verdict(
                    outcome="refuted",
                    operations=count,
                    keys=len(parts),
                    steps=spent,
                    undecided=len(going) + len(searches) - at - 1,
                    refutation=_refutation(part, model),
                )
            if found is None:
                going.append((part, search))
        searches = going
        if searches and steps is not None and spent >= steps:
            return Verdict(
                outcome="undecided",
                operations=count,
                keys=len(parts),
                steps=spent,
                undecided=len(searches),
            )
        turn *= 2
    return Verdict(outcome="linearizable", operations=count, keys=len(parts), steps=spent)


def entries(operations: Sequence[Operation], model: Model) -> list[Entry]:
    """Return what the search needs to know of operations on one key."""
    return [
        Entry(model.act(one.f, one.value), one.called, one.returned)
        for one in operations
        if one.returned is not None or model.operations[one.f] != "read"
    ]


def _refutation(part: Sequence[Operation], model: Model) -> Refutation:
    whole = {
        at: Entry(model.act(one.f, one.value), one.called, one.returned)
        for at, one in enumerate(part)
        if one.returned is not None or model.operations[one.f] != "read"
    }
    shrinking = Shrinking(whole)
    kept = shrinking.smallest()
    operations = tuple(
        msgspec.structs.replace(part[at], returned=entry.returned)
        for at, entry in sorted(kept.items(), key=lambda pair: pair[1].called)
    )
    last = max(kept, key=lambda at: kept[at].returned or 0)
    possible = [msgspec.json.decode(text) for text in readable(kept, last, shrinking.since)]
    return Refutation(
        key=part[0].key,
        operations=operations,
        impossible=part[last],
        possible=tuple(possible),
        minimal=shrinking.minimal,
        since=shrinking.since,
    )
