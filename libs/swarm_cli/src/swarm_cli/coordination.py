"""The tables of a coordination run, read from its result: what each arm cost and bought, and main effects of a grid."""

from __future__ import annotations

from typing import Any

import msgspec

from swarm_cli import output, render
from swarm_cli.render import Cell
from swarm_common.runs import RunView

_MOST_ARMS = 30
"""Rows of a table on a terminal; a grid has its main effects in their place."""


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """One team's figures; see the coordinator's ``measures.Measured``."""

    name: str
    mode: str
    strategy: str
    roles: tuple[str, ...] = ()
    agents: int
    samples: int = 1
    n: int
    quality: float
    low: float | None = None
    high: float | None = None
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    turns: int = 0
    calls: int = 0
    silent: int = 0
    messages: int = 0
    tokens: int = 0
    cached: float | None = None
    cost_usd: float | None = None
    makespan_s: float = 0.0
    overhead: float | None = None
    idle: float | None = None
    balance: float | None = None
    bottleneck: str = ""
    bottleneck_share: float | None = None
    edges: tuple[tuple[str, str, int], ...] = ()
    seats: tuple[str, ...] = ()


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """All cells of a grid with one value of one factor."""

    factor: str
    value: str
    cells: int
    n: int
    quality: float
    low: float | None = None
    high: float | None = None
    tokens: float = 0.0
    messages: float = 0.0


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One voter by itself."""

    role: str
    quality: float
    low: float | None = None
    high: float | None = None


class Coordination(msgspec.Struct, frozen=True, kw_only=True):
    """What a coordination run has to show."""

    family: str
    split: str = ""
    chance: float = 0.0
    questions: int = 0
    model: str = ""
    arms: tuple[Arm, ...]
    verdicts: tuple[str, ...] = ()
    effects: tuple[Effect, ...] = ()
    members: tuple[Member, ...] = ()


def coordination_of(view: RunView) -> Coordination | None:
    """Return the tables of a run; ``None`` where its result has none, as in other suites."""
    found: Any = view.result.get("coordination") if view.suite == "coordination" else None
    if found is None:
        return None
    try:
        return msgspec.convert(found, Coordination)
    except msgspec.ValidationError:
        return None


def show_coordination(found: Coordination) -> None:
    """Print the tables that a run has, and what follows from them."""
    output.line(heading(found))
    if found.effects:
        render.table(
            ["factor", "value", "cells", "right", "interval", "answers", "tokens an answer", "messages"],
            [effect_cells(one) for one in found.effects],
            title="main effects",
            right=(2, 3, 5, 6, 7),
        )
    elif len(found.arms) <= _MOST_ARMS:
        render.table(list(COLUMNS), [arm_cells(one) for one in found.arms], right=RIGHT)
    if found.members:
        render.table(
            ["member", "right", "interval"],
            [[one.role, f"{one.quality:.2f}", ends(one.low, one.high)] for one in found.members],
            title="members by themselves",
            right=(1,),
        )
    for text in found.verdicts:
        output.line(text)


def heading(found: Coordination) -> str:
    """Return one line: which questions, whose answers."""
    return (
        f"{found.questions} questions of {found.family} ({found.split}), guessing is right {found.chance:.2f}; "
        f"answered by {found.model or 'no model'}"
    )


COLUMNS = (
    "arm", "right", "interval", "over one alone", "interval", "calls", "messages", "tokens", "cached", "cost",
    "makespan", "overhead", "idle", "balance", "bottleneck",
)  # fmt: skip
RIGHT = (1, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13)


def arm_cells(one: Arm) -> list[Cell]:
    """Return an arm as a row of :data:`COLUMNS`."""
    name = one.name if one.samples == 1 else f"{one.name} (one agent, {one.samples} answers)"
    return [
        name,
        f"{one.quality:.2f}",
        ends(one.low, one.high),
        "" if one.gain is None else f"{one.gain:+.2f}",
        ends(one.gain_low, one.gain_high, sign="+"),
        str(one.calls),
        str(one.messages),
        f"{one.tokens:,}",
        percent(one.cached),
        "" if one.cost_usd is None else f"${one.cost_usd:.4f}",
        render.seconds(one.makespan_s),
        percent(one.overhead),
        percent(one.idle),
        "" if one.balance is None else f"{one.balance:.2f}",
        "" if one.bottleneck_share is None else f"{one.bottleneck} {one.bottleneck_share:.0%}",
    ]


def effect_cells(one: Effect) -> list[Cell]:
    """Return a main effect as a row."""
    return [
        one.factor,
        one.value,
        str(one.cells),
        f"{one.quality:.2f}",
        ends(one.low, one.high),
        str(one.n),
        f"{one.tokens:,.0f}",
        f"{one.messages:.1f}",
    ]


def ends(low: float | None, high: float | None, sign: str = "") -> str:
    """Return ``[0.34, 1.00]``, or nothing where there is no interval."""
    return "" if low is None or high is None else f"[{low:{sign}.2f}, {high:{sign}.2f}]"


def percent(share: float | None) -> str:
    """Return a share in percent; small ones with a digit more."""
    if share is None:
        return ""
    return f"{share:.1%}" if 0 < share < 0.1 else f"{share:.0%}"
