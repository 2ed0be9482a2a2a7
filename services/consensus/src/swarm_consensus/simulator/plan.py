"""What will happen in a simulated world, as data: it can be drawn from a seed, written down, and made shorter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from swarm_consensus.protocols.core import Value

LEADER = -1
"""In place of an agent: whoever leads when the action is done."""


class Action(msgspec.Struct, frozen=True, tag=True):
    """Something that is done to the world at ``at_ms`` of its own time."""

    at_ms: int


class Crash(Action, frozen=True):
    """An agent stops; what it had written and not synced is lost, as is what it only remembered."""

    agent: int


class Restart(Action, frozen=True):
    """A crashed agent comes back with what is on its disk."""

    agent: int


class Cut(Action, frozen=True):
    """From now on nothing gets from an agent of ``sources`` to one of ``targets``: one direction alone."""

    sources: tuple[int, ...]
    targets: tuple[int, ...]


class Heal(Action, frozen=True):
    """All cuts are mended."""


class Mute(Action, frozen=True):
    """Nothing gets from the next ``leaders`` agents that come to lead, from then on until cuts are mended."""

    leaders: int


class Clock(Action, frozen=True):
    """From now on an agent's ticks come ``rate`` times as often as others'."""

    agent: int
    rate: float


class Compact(Action, frozen=True):
    """An agent replaces what it has decided by a snapshot."""

    agent: int


class Query(Action, frozen=True):
    """An agent is asked when a linearizable read may be served; what it says is checked."""

    agent: int


class Submit(Action, frozen=True):
    """A client wants a value decided, or a question answered; it asks again elsewhere until it is."""

    value: Value
    agent: int
    """Whom it asks first."""


AnyAction = Crash | Restart | Cut | Heal | Clock | Compact | Mute | Query | Submit


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to a message between two agents, while there is chaos and after."""

    delay_ms: tuple[int, int] = (1, 5)
    """Drawn anew for each message, both ends possible: messages overtake one another."""
    drop: float = 0.0
    """The share that is lost."""
    duplicate: float = 0.0
    """The share that arrives twice, the second time after ``slow_ms``."""
    slow: float = 0.0
    """The share that takes ``slow_ms`` instead."""
    slow_ms: tuple[int, int] = (50, 200)
    settled_ms: tuple[int, int] | None = None
    """In place of ``delay_ms`` after the chaos; ``None``: as before."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A whole world. The same plan gives the same trace, byte for byte."""

    mechanism: str
    n: int
    seed: int
    """For what is not written down here: delays, losses, time-outs."""
    actions: tuple[AnyAction, ...] = ()
    network: Network = Network()
    """While there is chaos; afterwards nothing is lost, doubled or slow."""
    sync_ms: tuple[int, int] = (0, 0)
    """How long a disk takes to have what was written."""
    chaos_ms: int = 0
    """When chaos ends: cuts heal, clocks run right, those agents of ``core`` that are down come back."""
    core: tuple[int, ...] = ()
    """Who must be well after the chaos and decide everything; empty: all that do not lie."""
    liars: Mapping[int, str] = {}
    """By agent: the name of what it does, ``silence`` or one of the mechanism's ``lies``."""
    limit_ms: int = 60_000
    """When a world that has not decided everything is said to have stopped."""
    tick_ms: int = 10
    retry_ms: int = 150
    """When a client asks again."""
    options: Mapping[str, Any] = {}
    """The protocol's."""
    calm: tuple[tuple[int, int], ...] = ()
    """Messages (by the number of their sending, first and last) that arrive after the shortest delay: for shrinking."""
