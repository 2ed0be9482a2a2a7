"""What a coordination mode is."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from swarm_coordinator.suites.coordination.talk import Say, Talk, Team


class Mode(msgspec.Struct, frozen=True, kw_only=True):
    """A way to work together: who sits where, and who speaks next."""

    name: str
    description: str
    fewest: int
    """Agents it needs."""
    seats: Callable[[int], Team]
    """By the number of agents."""
    next: Callable[[Talk], Say]
    """Pure: which turns are wanted now, or whose word is the swarm's."""
