"""Runs the worlds of one cell of the fault matrix, and says what became of them."""

from __future__ import annotations

import gc
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from swarm_common.errors import UsageError
from swarm_common.events.consensus import Counterexample, Simulated
from swarm_consensus.protocols import MECHANISMS
from swarm_consensus.protocols.core import Mechanism, Node
from swarm_consensus.simulator.chart import chart
from swarm_consensus.simulator.draw import check_fault, draw, inside
from swarm_consensus.simulator.plan import Plan
from swarm_consensus.simulator.shrink import PROGRESS, broken_by, shrink
from swarm_consensus.simulator.world import Outcome, World

MOST_AGENTS = 128
_MOST_SEEDS = 1_000_000
_MOST_VALUES = 1_000
_BETWEEN_COLLECTIONS = 100
_WORLDS = 400
"""How many worlds at most are run to make one small; fewer where a failure was expected."""
_SHRINKING_DELIVERIES = 300_000
"""What shrinking one world may cost, about: large worlds are run less often."""


class SimulateParams(msgspec.Struct, frozen=True, kw_only=True):
    """Which worlds to run."""

    mechanism: str
    agents: int
    fault: str
    seeds: int
    """How many, from ``first_seed`` on."""
    first_seed: int = 0
    values: int = 3
    """How many are asked for in a world."""
    shrink: bool = True
    """Whether worlds in which something did not hold are made small, which takes many more."""


def simulate_params(given: Mapping[str, Any]) -> SimulateParams:
    """Return the parameters of a task of kind ``simulate``; raises :class:`UsageError` for any that is not one."""
    try:
        params = msgspec.convert(dict(given), SimulateParams)
    except msgspec.ValidationError as error:
        raise UsageError(f"params of simulate: {error}", field="params", given=str(dict(given))) from error
    if unknown := sorted(set(given) - set(SimulateParams.__struct_fields__)):
        allowed = ", ".join(SimulateParams.__struct_fields__)
        raise UsageError(
            f"simulate has no parameter {unknown[0]!r}; it has {allowed}",
            field=f"params.{unknown[0]}",
            given=str(given[unknown[0]]),
            allowed=allowed,
        )
    mechanism_of(params.mechanism)
    check_fault(params.fault)
    for name, least, most in (
        ("agents", 2, MOST_AGENTS),
        ("seeds", 1, _MOST_SEEDS),
        ("first_seed", 0, 2**53),
        ("values", 1, _MOST_VALUES),
    ):
        value = getattr(params, name)
        if not least <= value <= most:
            raise UsageError(
                f"params.{name} is {value}; allowed is a whole number from {least} to {most}",
                field=f"params.{name}",
                given=str(value),
                allowed=f"{least} to {most}",
            )
    return params


def mechanism_of(name: str) -> Mechanism:
    """Return a mechanism by its name; raises :class:`UsageError` where there is none."""
    found = MECHANISMS.get(name)
    if found is None:
        allowed = ", ".join(MECHANISMS)
        raise UsageError(
            f"there is no mechanism {name!r}; there are {allowed}",
            field="params.mechanism",
            given=name,
            allowed=allowed,
        )
    return found


def simulate(task: str, params: SimulateParams) -> Simulated:
    """Return what became of the worlds of ``params.seeds`` seeds; the same for the same parameters but for the time."""
    return simulate_mechanism(task, mechanism_of(params.mechanism), params)


def simulate_mechanism(task: str, mechanism: Mechanism, params: SimulateParams) -> Simulated:
    """The same for a mechanism that need not be listed: a planted bug, say."""
    began = time.perf_counter_ns()
    tally = _Tally(mechanism)
    failed: dict[str, Plan] = {}
    known = inside(mechanism, params.agents, params.fault)
    with _seldom_collecting():
        for number in range(params.seeds):
            seed = params.first_seed + number
            plan = draw(mechanism, params.agents, params.fault, seed, values=params.values)
            outcome = World(mechanism, plan).run()
            tally.add(plan, outcome)
            broken = broken_by(outcome)
            # That a swarm stops outside of its fault model is no surprise, and shrinking what never ends is dear.
            if broken is not None and (broken != PROGRESS or known):
                failed.setdefault(broken, plan)
            if number % _BETWEEN_COLLECTIONS == _BETWEEN_COLLECTIONS - 1:
                gc.collect()
        examples = tuple(
            counterexample(mechanism, plan, broken, worlds=_worlds(known) if params.shrink else 0)
            for broken, plan in sorted(failed.items())
        )
    return Simulated(
        task=task,
        mechanism=mechanism.name,
        agents=params.agents,
        fault=params.fault,
        inside=known,
        seeds=params.seeds,
        first_seed=params.first_seed,
        unsafe=tally.unsafe,
        stopped=tally.stopped,
        decided=len(tally.decided_ms),
        during=tally.during,
        asked=params.seeds * params.values,
        decision_ms=_percentiles(tally.decided_ms),
        known_ms=_percentiles(tally.known_ms),
        deliveries=tally.deliveries,
        messages=tally.messages,
        invariants=dict(sorted(tally.invariants.items())),
        counterexamples=examples,
        elapsed_s=(time.perf_counter_ns() - began) / 1e9,
    )


class _Tally:
    """Sums over worlds."""

    def __init__(self, mechanism: Mechanism) -> None:
        self.unsafe = self.stopped = self.during = self.deliveries = self.messages = 0
        self.decided_ms: list[int] = []
        self.known_ms: list[int] = []
        self.invariants = Counter(dict.fromkeys(invariants_of(mechanism), 0))

    def add(self, plan: Plan, outcome: Outcome) -> None:
        """Take a world into account."""
        self.unsafe += outcome.invariant is not None
        self.stopped += outcome.stopped
        if outcome.invariant is not None:
            self.invariants[outcome.invariant] += 1
        asked = {action.value: action.at_ms for action in plan.actions if hasattr(action, "value")}
        self.during += sum(
            asked[value] + took_ms <= plan.chaos_ms for value, took_ms in outcome.decided_ms.items()
        )
        self.decided_ms += outcome.decided_ms.values()
        self.known_ms += outcome.known_ms.values()
        self.deliveries += outcome.deliveries
        self.messages += outcome.messages


def counterexample(mechanism: Mechanism, plan: Plan, broken: str, *, worlds: int = _WORLDS) -> Counterexample:
    """Return a world in which ``broken`` does not hold as something to read, made small with so many worlds before.

    Its seed is that of the world as it was found; the small one's is in its plan.
    """
    seed = plan.seed
    if worlds:
        each = max(1, World(mechanism, plan).run().deliveries)
        affordable = max(_WORLDS // 10, _SHRINKING_DELIVERIES // each)
        plan = shrink(mechanism, plan, broken, worlds=min(worlds, affordable))
    world = World(mechanism, plan, trace=True)
    outcome = world.run()
    stuck = f"never decided by all that were well: {', '.join(outcome.undecided)}"
    return Counterexample(
        seed=seed,
        invariant=broken,
        what=outcome.violation or stuck,
        plan=msgspec.json.encode(plan).decode(),
        chart=chart(world.trace or []),
    )


def _worlds(inside_model: bool) -> int:
    return _WORLDS if inside_model else _WORLDS // 4


def invariants_of(mechanism: Mechanism) -> tuple[str, ...]:
    """Return the names of all that is checked of a mechanism."""
    reads = getattr(mechanism.node, "_on_read", Node._on_read) is not Node._on_read  # noqa: SLF001
    found = ["validity", *(["linearizable reads"] if reads else [])]
    for check in mechanism.checks:
        named = getattr(check, "INVARIANTS", None)
        found += named or [re.sub(r"(?<=[a-z])(?=[A-Z])", " ", getattr(check, "__name__", "")).lower()]
    return tuple(sorted(set(found)))


def _percentiles(times_ms: Sequence[int]) -> tuple[float, float, float] | None:
    """Return median, 90th and 99th percentile (nearest rank); ``None``: there are no times."""
    if not times_ms:
        return None
    ordered = sorted(times_ms)
    median, high, highest = (float(ordered[int(share * (len(ordered) - 1))]) for share in (0.5, 0.9, 0.99))
    return median, high, highest


@contextmanager
def _seldom_collecting() -> Iterator[None]:
    """A world makes thousands of tuples that live on in its queue: going through them all the time finds nothing."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()
