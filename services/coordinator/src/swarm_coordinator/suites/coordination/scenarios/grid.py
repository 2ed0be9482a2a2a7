"""Scenario ``grid``: strategies x modes x roles. By default every pair of them meets, in as few cells as can be.

What is reported is the mean over all cells with a strategy, a mode or a role (its main effect): single cells have too
few questions to say anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, product

import msgspec

from swarm_common.events import Metric
from swarm_coordinator.plans import Finish, Param, Scenario, SoFar, Step
from swarm_coordinator.suites.coordination import params as shared
from swarm_coordinator.suites.coordination.arms import Arm, Setup, warm_up
from swarm_coordinator.suites.coordination.comparing import finish, step
from swarm_coordinator.suites.coordination.data import AUTO
from swarm_coordinator.suites.coordination.intervals import share
from swarm_coordinator.suites.coordination.measures import Measured, measure
from swarm_coordinator.suites.coordination.modes import MODES
from swarm_coordinator.suites.coordination.scenarios.modes import one_mode

Cell = tuple[str, str, str]
"""Strategy, mode, role."""


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """All cells that share one value of one factor."""

    factor: str
    value: str
    cells: int
    n: int
    """Answers."""
    quality: float
    low: float
    high: float
    tokens: float
    """An answer, in the mean."""
    messages: float


def plan(sofar: SoFar) -> Step | Finish:
    """Plan the questions, one agent alone, then cell after cell."""
    setup = shared.setup_of(sofar)
    cells = cells_of(setup)
    if sofar.step == 0:
        return Step(tasks=(shared.pose(sofar), warm_up(setup)))
    alone = shared.alone(setup, range(setup.params["items"]), ())
    # Cells are many, and the planner is asked after every turn: those that are done are not looked at again.
    undone = _arms(setup, cells, lambda name: f"{name}-grade" not in sofar.results)
    if (next_step := step(chain([alone], undone), setup, sofar)) is not None:
        return next_step
    arms = list(_arms(setup, cells, lambda _: True))
    found = [measure(arm, sofar) for arm in arms]
    effects = list(_effects(cells, found, sofar.seed))
    done = finish(
        [*arms, alone], sofar, alone=alone, more={"effects": [msgspec.to_builtins(e) for e in effects]}
    )
    whole = tuple(one for one in done.metrics if "." not in one.name)
    done.result["coordination"]["verdicts"] = list(_told(effects))
    return Finish(result=done.result, metrics=(*whole, *map(_metric, effects)))


def cells_of(setup: Setup) -> list[Cell]:
    """Return the cells that run: all, or a pairwise covering array."""
    params = setup.params
    for name in MODES:
        shared.check_agents(MODES[name], params["agents"])
    factors = ([AUTO, *setup.book.strategies], list(MODES), list(setup.book.roles))
    found = list(product(*factors)) if params["whole"] else pairwise(factors)
    return [(one[0], one[1], one[2]) for one in found]


def pairwise(factors: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Return rows in which every two values of two of three factors meet, as few as there can be.

    The two largest factors meet once each; the third runs on with the sum of their places, so that beside each value of
    either it takes as many in a row as that one meets others, which is all of its own. No array can be shorter than
    the product of the two largest (a Latin square's argument; see Colbourn, *Combinatorial aspects of covering
    arrays*, 2004).
    """
    order = sorted(range(3), key=lambda at: len(factors[at]))
    least, middle, largest = (factors[at] for at in order)
    rows = []
    for place, one in enumerate(largest):
        for at, other in enumerate(middle):
            by_factor = dict(zip(order, (least[(place + at) % len(least)], other, one), strict=True))
            rows.append(tuple(by_factor[factor] for factor in range(3)))
    return rows


def _arms(setup: Setup, cells: Sequence[Cell], wanted: Callable[[str], bool]) -> Iterator[Arm]:
    """Yield an arm a cell that is wanted; its questions follow on those of the cell before, round and round."""
    params = setup.params
    items, each = params["items"], min(params["each"], params["items"])
    for number, (strategy, mode, role) in enumerate(cells):
        name = f"cell{number}"
        if wanted(name):
            questions = sorted((number * each + at) % items for at in range(each))
            yield one_mode(setup, name, mode, strategy, [role], questions)


def _effects(cells: Sequence[Cell], found: Sequence[Measured], seed: int) -> Iterator[Effect]:
    takes: tuple[tuple[str, Callable[[Cell], str]], ...] = (
        ("strategy", lambda cell: cell[0]),
        ("mode", lambda cell: cell[1]),
        ("role", lambda cell: cell[2]),
    )
    for factor, take in takes:
        for value in dict.fromkeys(take(cell) for cell in cells):
            mine = [one for cell, one in zip(cells, found, strict=True) if take(cell) == value]
            scores = [score for one in mine for score in one.scores]
            quality = share(scores, seed, f"{factor}/{value}")
            yield Effect(
                factor=factor,
                value=value,
                cells=len(mine),
                n=len(scores),
                quality=quality.value,
                low=quality.low,
                high=quality.high,
                tokens=sum(one.tokens for one in mine) / len(scores),
                messages=sum(one.messages for one in mine) / len(scores),
            )


def _told(effects: Sequence[Effect]) -> Iterator[str]:
    for factor in ("strategy", "mode", "role"):
        mine = [one for one in effects if one.factor == factor]
        best, worst = (pick(mine, key=lambda one: one.quality) for pick in (max, min))
        apart = "" if best.low > worst.high else "; their intervals overlap, so the order may be chance"
        yield (
            f"{factor}: {best.value} was right most often, {best.quality:.2f} [{best.low:.2f}, {best.high:.2f}] of "
            f"{best.n}, {worst.value} least, {worst.quality:.2f} [{worst.low:.2f}, {worst.high:.2f}]{apart}."
        )


def _metric(one: Effect) -> Metric:
    return Metric(
        name=f"quality.{one.factor}.{one.value}",
        value=one.quality,
        unit="ratio",
        n=one.n,
        low=one.low,
        high=one.high,
        estimator=f"over the {one.cells} cells with it; answers of a cell are not independent",
    )


_EACH = Param(name="each", type="int", default=1, low=1, high=1000, description="questions of each cell")

SCENARIO = Scenario(
    name="grid",
    description="Strategies x modes x roles: every pair of them meets; -p whole=true for all",
    params=(
        Param(
            name="whole",
            type="bool",
            default=False,
            description="all cells in place of those in which every pair meets",
        ),
        _EACH,
        *shared.common(family="split_evidence", items=20),
    ),
    targets=shared.TARGETS,
    timeout_s=24 * 3600.0,
    timed_by=shared.TIMED_BY,
    timed_with=shared.OUTSIDERS,
    settled_by="recording",
)
