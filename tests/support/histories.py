"""Histories to check: a brute-force checker to compare with, and clients of a store that is right by construction."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from swarm_histories import Model, Operation

NOTHING = object()


def effect(kind: str, state: Any, value: Any) -> Any:
    """Return the value after an operation, ``NOTHING`` where it is impossible: the models once more, in plain words."""
    match kind:
        case "read":
            return state if state == value else NOTHING
        case "write":
            return value
        case "cas":
            return value[1] if state == value[0] else NOTHING
        case _:
            return (state or "") + value


def explained(history: Sequence[Operation], model: Model, begin: Any = None) -> bool:
    """Try every order of every choice of unsure operations, key by key, from a value; for small histories."""
    keys = {one.key: None for one in history}
    return all(_ordered([one for one in history if one.key == key], begin, model) for key in keys)


def _ordered(left: list[Operation], state: Any, model: Model) -> bool:
    sure = [one.returned for one in left if one.returned is not None]
    if not sure:
        return True
    for at, one in enumerate(left):
        if one.called > min(sure) or (one.returned is None and model.operations[one.f] == "read"):
            continue
        after = effect(model.operations[one.f], state, one.value)
        if after is not NOTHING and _ordered(left[:at] + left[at + 1 :], after, model):
            return True
    return False


def played(
    random: Random,
    model: Model,
    count: int,
    *,
    processes: int = 5,
    keys: int = 1,
    values: int | None = None,
    unsure: float = 0.0,
    weights: dict[str, float] | None = None,
) -> list[Operation]:
    """Return a history that is linearizable: each operation took effect at one moment between its call and return.

    Args:
        random: Who does what, and when.
        model: Its operations are drawn by ``weights``, all alike without.
        count: Operations.
        processes: That many are under way at once, at most.
        keys: Drawn alike.
        values: How many there are; without, each write has one of its own.
        unsure: The share that never returns; half of these never took effect.
        weights: By name of the operation.
    """
    names = list(model.operations)
    chances = [1.0 if weights is None else weights.get(name, 0.0) for name in names]
    store: dict[int, Any] = {}
    idle = list(range(processes))
    busy: list[dict[str, Any]] = []
    done: list[Operation] = []
    now = number = fresh = 0
    spare = processes

    def value_of(key: int, kind: str) -> Any:
        nonlocal fresh
        fresh += 1
        new = fresh if values is None else random.randrange(values)
        if model.texts:
            new = f"{new} " if kind == "append" else str(new)
        return [store.get(key), new] if kind == "cas" else new

    while number < count or busy:
        now += 1
        if idle and number < count and (not busy or random.random() < 0.5):
            process = idle.pop(random.randrange(len(idle)))
            name, key = random.choices(names, chances)[0], random.randrange(keys)
            value = value_of(key, model.operations[name])
            busy.append({"process": process, "f": name, "key": key, "value": value, "called": now, "took": 0})
            number += 1
            continue
        one = busy[random.randrange(len(busy))]
        kind, key = model.operations[one["f"]], one["key"]
        if random.random() < unsure and not one["took"]:
            busy.remove(one)
            if random.random() < 0.5:
                after = effect(kind, store.get(key), one["value"])
                store[key] = store.get(key) if after is NOTHING or kind == "read" else after
            done.append(_operation(one, None))
            idle.append(spare)  # a process that does not know what became of its operation is gone
            spare += 1
        elif not one["took"]:
            one["took"] = now
            if kind == "read":
                one["value"] = store.get(key)
            elif (after := effect(kind, store.get(key), one["value"])) is NOTHING:
                busy.remove(one)  # it failed
                idle.append(one["process"])
            else:
                store[key] = after
        else:
            busy.remove(one)
            idle.append(one["process"])
            done.append(_operation(one, now))
    return sorted(done, key=lambda one: one.called)


def _operation(one: dict[str, Any], returned: int | None) -> Operation:
    return Operation(
        process=one["process"],
        f=one["f"],
        key=one["key"],
        value=one["value"],
        called=one["called"],
        returned=returned,
    )
