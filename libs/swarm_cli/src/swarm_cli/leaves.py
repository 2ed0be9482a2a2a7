"""Where two JSON values differ: the leaves, by path."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

ABSENT = "(absent)"


class Leaf(NamedTuple):
    """One place that differs: ``metrics.0.value``."""

    path: str
    recorded: Any
    decided: Any


def differing(recorded: Any, decided: Any, path: str = "") -> Iterator[Leaf]:
    """Yield where two values differ, deepest first; what only one side has is :data:`ABSENT` on the other."""
    if isinstance(recorded, dict) and isinstance(decided, dict):
        for key in {**recorded, **decided}:
            yield from differing(recorded.get(key, ABSENT), decided.get(key, ABSENT), _under(path, str(key)))
    elif isinstance(recorded, list | tuple) and isinstance(decided, list | tuple):
        for at in range(max(len(recorded), len(decided))):
            then = recorded[at] if at < len(recorded) else ABSENT
            now = decided[at] if at < len(decided) else ABSENT
            yield from differing(then, now, _under(path, str(at)))
    elif recorded != decided:
        yield Leaf(path or "(all)", recorded, decided)


def _under(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
