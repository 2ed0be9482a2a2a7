"""What a task of kind ``agree_live`` can ask for, checked before any process is started."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from swarm_common.errors import UsageError
from swarm_common.mechanisms import MECHANISMS

FAULTS = ("none", "leader_crash", "crashes", "byzantine", "byzantine_more")
FEWEST, MOST = 1, 100
#: Up to so many agents each has a process of its own; beyond, they share some.
ALONE = 10


class LiveParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One measurement."""

    mechanism: str
    agents: int
    fault: str = "none"
    decisions: int = 100
    """One after the other, and as many more by the clients at once."""
    rounds: int = 100
    """All-agents rounds, each before one of the decisions; no more than these."""
    clients: int = 4
    """At once, each with one operation at a time."""
    fsync: bool = False
    """Whether agents wait for their disks."""
    patience_ms: float = 0.0
    """How long a client waits for one decision; 0: ten seconds, or a hundred ticks where that is longer."""
    tick_ms: float = 0.0
    """How long a tick of the protocols is; 0: by the messages that a decision takes, ten milliseconds at least."""
    processes: int = 0
    """0: one an agent up to 10 agents, else 4."""
    behaviour: str = "equivocation"
    """What liars do."""
    authentication: Literal["ed25519", "mac"] = "ed25519"
    """How agents sign, where the mechanism does; see :mod:`~swarm_consensus.live.keys`."""
    options: dict[str, Any] = {}
    """The protocol's own settings."""


def live_params(given: Mapping[str, Any]) -> LiveParams:
    """Return the parameters of a task of kind ``agree_live``; raises :class:`UsageError` for what makes no sense."""
    try:
        params = msgspec.convert(given, LiveParams)
    except msgspec.ValidationError as error:
        allowed = ", ".join(LiveParams.__struct_fields__)
        raise UsageError(
            f"agree_live: {error}; it takes {allowed}", field="params", allowed=allowed
        ) from None
    _one_of("mechanism", params.mechanism, tuple(MECHANISMS))
    _one_of("fault", params.fault, FAULTS)
    for name, low, high in (
        ("agents", FEWEST, MOST),
        ("decisions", 1, 100_000),
        ("rounds", 0, 100_000),
        ("clients", 1, 256),
        ("patience_ms", 0.0, 600_000.0),
        ("tick_ms", 0.0, 60_000.0),
        ("processes", 0, params.agents),
    ):
        value = getattr(params, name)
        if not low <= value <= high:
            allowed = f"{low} to {high}"
            raise UsageError(
                f"{name} is {value}; allowed is {allowed}", field=name, given=str(value), allowed=allowed
            )
    return params


def _one_of(name: str, given: str, allowed: tuple[str, ...]) -> None:
    if given not in allowed:
        names = ", ".join(allowed)
        raise UsageError(
            f"there is no {name} {given!r}; there are {names}", field=name, given=given, allowed=names
        )
