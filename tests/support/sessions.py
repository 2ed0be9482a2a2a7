"""Simulated sessions whose truth is known, compared by the very code of `swarm compare`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from swarm_cli.comparing import Comparison, compare_pairs, compare_runs
from swarm_cli.comparing_groups import Settings
from swarm_cli.comparing_runs import Facts, Measure
from swarm_common import clock
from swarm_common.events import Host

Floats = NDArray[np.float64]
Draw = np.random.Generator
_BEGAN_S = 1_800_000_000
HOST = Host(cpu="a processor", cores=2, system="Linux", python="CPython 3.11", load=0.1)


class World(NamedTuple):
    """Two sides of log times, metrics by runs, and how they are compared."""

    name: str
    sides: Callable[[Draw, int], tuple[Floats, Floats]]
    metrics: int = 30
    one_start: bool = False
    """Whether all runs of a side are of one start of the services, as those of one session are."""
    days_apart: bool = False
    """Whether head ran on another day: else right after base."""
    paired: bool = False
    looks: tuple[int, ...] = ()
    """After how many pairs somebody looks, and stops unless something is open; empty: once, when all are there."""
    slower: int = 0
    """How many of the metrics truly are slower in head: the others and their regressions are false."""


class Seen(NamedTuple):
    false: bool
    """A metric that did not change was called a regression."""
    found: bool
    """The first metric that is slower was called so."""
    verdict: str


def simulate(world: World, seed: int) -> Seen:
    """Return what `swarm compare` says of one pair of sessions of a world."""
    draw = np.random.default_rng([seed, *world.name.encode()])
    base, head = world.sides(draw, world.metrics)
    for n in world.looks or (base.shape[1],):
        comparison = _compared(world, base[:, :n], head[:, :n])
        if not comparison.open:
            break
    regressions = {row.metric for row in comparison.rows if row.verdict == "regression"}
    slower = {f"m{at}" for at in range(world.slower)}
    return Seen(bool(regressions - slower), "m0" in regressions & slower, comparison.verdict)


def _compared(world: World, base: Floats, head: Floats) -> Comparison:
    sides = [
        [
            Facts(
                run=f"{name}-{run}",
                suite="simulated",
                started=clock.format_ns((_BEGAN_S + run * 60 + later) * 10**9),
                start=name if world.one_start else f"{name}-{run}",
                host=HOST,
                metrics=tuple(
                    Measure(name=f"m{at}", value=math.exp(value), unit="s", better="lower", timing=True)
                    for at, value in enumerate(side[:, run])
                ),
            )
            for run in range(side.shape[1])
        ]
        for name, side, later in (
            ("base", base, 0),
            ("head", head, 60 * base.shape[1] + (86_400 if world.days_apart else 0)),
        )
    ]
    return (compare_pairs if world.paired else compare_runs)(*sides, Settings(looks=len(world.looks) or 1))


# -- what sessions are like --------------------------------------------------------------------------------


def independent(
    sd: float, n: int, shift: float = 0.0, slower: int = 0
) -> Callable[[Draw, int], tuple[Floats, Floats]]:
    """Lognormal values; the first ``slower`` metrics of head are by ``shift`` (0.1: 10 %) larger."""

    def sides(draw: Draw, metrics: int) -> tuple[Floats, Floats]:
        base, head = draw.normal(0, sd, (2, metrics, n))
        head[:slower] += math.log1p(shift)
        return base, head

    return sides


def session_effect(effect: float, sd: float, n: int) -> Callable[[Draw, int], tuple[Floats, Floats]]:
    """Every session has its own level of each metric, as every start of a program has its own layout of memory."""

    def sides(draw: Draw, metrics: int) -> tuple[Floats, Floats]:
        base, head = draw.normal(0, sd, (2, metrics, n)) + draw.normal(0, effect, (2, metrics, 1))
        return base, head

    return sides


def autoregressive(draw: Draw, rho: float, sd: float, shape: tuple[int, int]) -> Floats:
    """Values of which each is like the one before it: variance ``sd`` squared, correlation ``rho``."""
    noise = draw.normal(size=shape)
    values = np.empty(shape)
    values[:, 0] = noise[:, 0]
    for at in range(1, shape[1]):
        values[:, at] = rho * values[:, at - 1] + math.sqrt(1 - rho**2) * noise[:, at]
    return sd * values


def dependent(rho: float, sd: float, n: int) -> Callable[[Draw, int], tuple[Floats, Floats]]:
    """Both sides autocorrelated."""

    def sides(draw: Draw, metrics: int) -> tuple[Floats, Floats]:
        return autoregressive(draw, rho, sd, (metrics, n)), autoregressive(draw, rho, sd, (metrics, n))

    return sides


def drifting(n: int, *, common: bool, sd: float = 0.05) -> Callable[[Draw, int], tuple[Floats, Floats]]:
    """Base, then head, on a machine whose speed wanders (correlation .9), with noise of the same size on top."""

    def sides(draw: Draw, metrics: int) -> tuple[Floats, Floats]:
        drift = autoregressive(draw, 0.9, sd, (1 if common else metrics, 2 * n))
        values = drift + draw.normal(0, sd, (metrics, 2 * n))
        return values[:, :n], values[:, n:]

    return sides


def slowing(total: float, sd: float, n: int) -> Callable[[Draw, int], tuple[Floats, Floats]]:
    """Base, then head, on a machine that slows down steadily, by ``total`` from the first run to the last."""

    def sides(draw: Draw, metrics: int) -> tuple[Floats, Floats]:
        values = np.linspace(0, total, 2 * n) + draw.normal(0, sd, (metrics, 2 * n))
        return values[:, :n], values[:, n:]

    return sides


def in_turns(
    n: int, *, drift: float, noise: float, shift: float = 0.0, slower: int = 0
) -> Callable[[Draw, int], tuple[Floats, Floats]]:
    """Pairs in an order that a coin chose, on a machine whose speed wanders by ``drift``."""

    def sides(draw: Draw, metrics: int) -> tuple[Floats, Floats]:
        machine = autoregressive(draw, 0.9, drift, (1, 2 * n)) if drift else np.zeros((1, 2 * n))
        values = machine + draw.normal(0, noise, (metrics, 2 * n))
        first = draw.integers(0, 2, n)  # 0: base goes first
        at = 2 * np.arange(n)
        base, head = values[:, at + first], values[:, at + 1 - first]
        head[:slower] += math.log1p(shift)
        return base, head

    return sides


#: Where nothing changed.
SAME = (
    World("independent, sd 10 %, 20 runs", independent(0.1, 20)),
    World("independent, sd 5 %, 20 runs", independent(0.05, 20)),
    World("autocorrelated .3, sd 10 %, 20 runs", dependent(0.3, 0.1, 20)),
    World("autocorrelated .6, sd 10 %, 20 runs", dependent(0.6, 0.1, 20)),
    World("drift .9 of each metric, 20 runs", drifting(20, common=False)),
    World("drift .9 of the machine, 20 runs", drifting(20, common=True)),
    World("slowing by 10 %, sd 5 %, 20 runs", slowing(0.1, 0.05, 20)),
    World("session effect 2 %, sd 5 %, 20 runs", session_effect(0.02, 0.05, 20), one_start=True),
    World("session effect 5 %, sd 5 %, 20 runs", session_effect(0.05, 0.05, 20), one_start=True),
    World(
        "the same, each run a start of its own, on two days", session_effect(0.05, 0.05, 20), days_apart=True
    ),
    World(
        "interleaved, drift .9 sd 5 %, noise 5 %, 30 pairs", in_turns(30, drift=0.05, noise=0.05), paired=True
    ),
    World(
        "interleaved, drift .9 sd 5 %, noise 10 %, 4 looks at 30 to 240 pairs",
        in_turns(240, drift=0.05, noise=0.1),
        paired=True,
        looks=(30, 60, 120, 240),
    ),
)
#: Where nothing changed, and what order tells is little: few metrics, few runs. Nothing is promised there.
HARD = (
    World("independent, sd 10 %, 20 runs, 1 metric", independent(0.1, 20), 1),
    World("autocorrelated .3, sd 10 %, 20 runs, 1 metric", dependent(0.3, 0.1, 20), 1),
    World("autocorrelated .6, sd 10 %, 20 runs, 1 metric", dependent(0.6, 0.1, 20), 1),
    World("autocorrelated .6, sd 10 %, 5 runs, 1 metric", dependent(0.6, 0.1, 5), 1),
    World("drift .9 of the machine, 20 runs, 1 metric", drifting(20, common=True), 1),
    World("drift .9 of the machine, 20 runs, 5 metrics", drifting(20, common=True), 5),
    World("slowing by 10 %, sd 5 %, 20 runs, 1 metric", slowing(0.1, 0.05, 20), 1),
    World("a level of each side, 2 %, starts back to back", session_effect(0.02, 0.05, 20)),
    World("a level of each side, 5 %, starts back to back", session_effect(0.05, 0.05, 20)),
    World(
        "interleaved, drift .9 sd 5 %, noise 5 %, 30 pairs, 1 metric",
        in_turns(30, drift=0.05, noise=0.05),
        1,
        paired=True,
    ),
    World(
        "interleaved, drift .9 sd 5 %, noise 10 %, 4 looks at 30 to 240 pairs, 1 metric",
        in_turns(240, drift=0.05, noise=0.1),
        1,
        paired=True,
        looks=(30, 60, 120, 240),
    ),
)
#: Where head is 10 % slower in some metrics.
SLOWER = (
    World("sd 5 %, 20 runs, 1 metric", independent(0.05, 20, 0.1, 1), 1, slower=1),
    World("sd 5 %, 20 runs, 3 of 30 metrics", independent(0.05, 20, 0.1, 3), slower=3),
    World("sd 5 %, 20 runs, 1 of 30 metrics", independent(0.05, 20, 0.1, 1), slower=1),
    World(
        "interleaved, sd 10 % (all noise), 30 pairs, 1 metric",
        in_turns(30, drift=0, noise=0.1, shift=0.1, slower=1),
        1,
        paired=True,
        slower=1,
    ),
    World(
        "interleaved, sd 10 % (all noise), 3 looks at 30 to 120 pairs, 1 metric",
        in_turns(120, drift=0, noise=0.1, shift=0.1, slower=1),
        1,
        paired=True,
        looks=(30, 60, 120),
        slower=1,
    ),
    World(
        "interleaved, sd 10 % (drift 8.7, noise 5), 30 pairs, 3 of 30 metrics",
        in_turns(30, drift=0.0866, noise=0.05, shift=0.1, slower=3),
        paired=True,
        slower=3,
    ),
)
#: The same, where less is promised than found.
SLOWER_HARD = (
    World(
        "interleaved, sd 10 % (all noise), 30 pairs, 3 of 30 metrics",
        in_turns(30, drift=0, noise=0.1, shift=0.1, slower=3),
        paired=True,
        slower=3,
    ),
    World("sd 10 %, 20 runs, 1 metric", independent(0.1, 20, 0.1, 1), 1, slower=1),
    World("sd 10 %, 60 runs, 1 metric", independent(0.1, 60, 0.1, 1), 1, slower=1),
)
