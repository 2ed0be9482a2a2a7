"""Makes a world that fails small, so that somebody can read what happened in it.

The way is delta debugging (Zeller and Hildebrandt 2002, figure 3) over the plan: leave away actions, agents, noise and
time while the same invariant still fails. Leaving something away changes when everything after it happens, so for the
great steps other seeds are tried, too: the bug matters, not the seed it was found with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import msgspec

from swarm_consensus.protocols.core import Mechanism
from swarm_consensus.simulator.plan import AnyAction, Cut, Network, Plan, Submit
from swarm_consensus.simulator.world import Outcome, World

_T = TypeVar("_T")
PROGRESS = "progress"
"""In place of an invariant: the swarm was well again and did not decide everything."""
_SEEDS = 8
"""How many seeds a great step is tried with."""


class _Spent(Exception):
    """No more worlds may be run."""


class _Shrinker:
    def __init__(self, mechanism: Mechanism, plan: Plan, invariant: str, worlds: int) -> None:
        self.mechanism, self.invariant, self.left = mechanism, invariant, worlds
        self.plan = plan
        self.outcome: Outcome | None = None

    def fails(self, plan: Plan) -> bool:
        """Return whether a plan fails as the first did, and keep it then."""
        if self.left <= 0:
            raise _Spent
        self.left -= 1
        outcome = World(self.mechanism, plan).run()
        if broken_by(outcome) != self.invariant:
            return False
        self.plan, self.outcome = plan, outcome
        return True

    def with_some_seed(self, plan: Plan) -> bool:
        """The same, trying other seeds."""
        return any(self.fails(_but(plan, seed=seed)) for seed in (plan.seed, *range(_SEEDS)))

    def pass_over(self) -> None:
        """Try everything once."""
        self._agents()
        self._noise()
        self._actions()
        self._time()
        self._calm()

    def _agents(self) -> None:
        while self.plan.n > 2:
            fewer = _fewer(self.mechanism, self.plan)
            if fewer is None or not self.with_some_seed(fewer):
                return

    def _noise(self) -> None:
        network, still = self.plan.network, Network(delay_ms=(1, 5))
        whole = _but(self.plan, network=still, sync_ms=(0, 0))
        if whole == self.plan or self.with_some_seed(whole):
            return
        for change in (
            {"drop": 0.0},
            {"duplicate": 0.0},
            {"slow": 0.0},
            {"delay_ms": still.delay_ms},
        ):
            quieter = msgspec.structs.replace(network, **change)
            if quieter != network and self.fails(_but(self.plan, network=quieter)):
                network = quieter
        if self.plan.sync_ms != (0, 0):
            self.fails(_but(self.plan, sync_ms=(0, 0)))

    def _actions(self) -> None:
        def fails(actions: Sequence[AnyAction]) -> bool:
            return self.fails(_but(self.plan, actions=tuple(actions)))

        minimize(self.plan.actions, fails)

    def _time(self) -> None:
        """End the chaos, and the world, sooner."""
        plan = self.plan
        if plan.core and self.invariant != PROGRESS and self.fails(_but(plan, core=())):
            plan = self.plan
        last = max((action.at_ms for action in plan.actions if not isinstance(action, Submit)), default=0)
        for chaos_ms in (0, last + 1, plan.chaos_ms // 2):
            if chaos_ms < self.plan.chaos_ms and self.fails(_but(self.plan, chaos_ms=chaos_ms)):
                break
        if self.invariant != PROGRESS and self.outcome is not None:
            self.plan = _but(self.plan, limit_ms=self.outcome.ended_ms + 1)

    def _calm(self) -> None:
        """Let as many messages as possible take the shortest way: those that do not, matter."""
        if self.outcome is None and not self.fails(self.plan):
            return
        sent = self.outcome.messages if self.outcome is not None else 0
        wild = [number for number in range(sent) if not _within(number, self.plan.calm)]

        def fails(rest: Sequence[int]) -> bool:
            return self.fails(_but(self.plan, calm=_ranges(set(range(sent)) - set(rest))))

        if len(wild) > 1:
            minimize(wild, fails, most=48)


def shrink(mechanism: Mechanism, plan: Plan, invariant: str, *, worlds: int = 400) -> Plan:
    """Return a smaller plan in which the same invariant fails, having run ``worlds`` worlds at most.

    ``invariant`` is :attr:`Outcome.invariant`, or :data:`PROGRESS` for a world that stopped. Where nothing smaller
    fails, the plan is returned as it was.
    """
    shrinker = _Shrinker(mechanism, plan, invariant, worlds)
    try:
        while True:
            before = shrinker.plan
            shrinker.pass_over()
            if shrinker.plan == before:
                break
    except _Spent:
        pass
    return shrinker.plan


def broken_by(outcome: Outcome) -> str | None:
    """Return the invariant that did not hold, :data:`PROGRESS` for a world that stopped, or ``None``."""
    return outcome.invariant or (PROGRESS if outcome.stopped else None)


def minimize(
    parts: Sequence[_T], fails: Callable[[Sequence[_T]], bool], *, most: int | None = None
) -> list[_T]:
    """Return those of ``parts`` without which ``fails`` is not true any more: delta debugging's ``ddmin``.

    ``fails`` is true of all parts. None of those returned can be left away by itself; with ``most``, none of so many
    pieces into which the parts are cut at most.
    """
    rest, pieces = list(parts), 2
    if rest and fails([]):
        return []
    while len(rest) >= 2:
        size = -(-len(rest) // pieces)
        for at in range(0, len(rest), size):
            without = rest[:at] + rest[at + size :]
            if fails(without):
                rest, pieces = without, max(2, pieces - 1)
                break
        else:
            if size == 1 or (most is not None and pieces >= most):
                break
            pieces = min(len(rest), 2 * pieces)
    return rest


def _but(plan: Plan, **changes: object) -> Plan:
    return msgspec.structs.replace(plan, **changes)


def _fewer(mechanism: Mechanism, plan: Plan) -> Plan | None:
    """Return the plan without its last agent; ``None``: it would have more faulty agents than the mechanism allows.

    Unless the plan has more already.
    """
    n = plan.n - 1
    actions: list[AnyAction] = []
    for action in plan.actions:
        if isinstance(action, Cut):
            sources = tuple(agent for agent in action.sources if agent < n)
            targets = tuple(agent for agent in action.targets if agent < n)
            if sources and targets:
                actions.append(Cut(action.at_ms, sources, targets))
        elif isinstance(action, Submit) and action.agent >= n:
            actions.append(msgspec.structs.replace(action, agent=action.agent % n))
        elif getattr(action, "agent", 0) < n:
            actions.append(action)
    liars = {agent: lie for agent, lie in plan.liars.items() if agent < n}
    core = tuple(agent for agent in plan.core if agent < n)
    if n - len(liars) < 2 or (plan.liars and not liars) or (plan.core and not core):
        return None
    fewer = _but(plan, n=n, actions=tuple(actions), liars=liars, core=core, calm=())
    return None if _within_model(mechanism, plan) and not _within_model(mechanism, fewer) else fewer


def _within_model(mechanism: Mechanism, plan: Plan) -> bool:
    """Return whether no more agents lie, and lie or are gone, than the mechanism allows of so many."""
    gone = plan.n - len(plan.core) if plan.core else len(plan.liars)
    liars = mechanism.liars(plan.n)
    return len(plan.liars) <= liars and gone <= max(liars, mechanism.crashes(plan.n))


def _within(number: int, ranges: Sequence[tuple[int, int]]) -> bool:
    return any(first <= number <= last for first, last in ranges)


def _ranges(numbers: set[int]) -> tuple[tuple[int, int], ...]:
    """Return whole numbers as ranges, first and last."""
    return tuple(_runs(sorted(numbers)))


def _runs(ordered: Sequence[int]) -> Iterator[tuple[int, int]]:
    first = last = None
    for number in ordered:
        if last is not None and number == last + 1:
            last = number
            continue
        if first is not None and last is not None:
            yield first, last
        first = last = number
    if first is not None and last is not None:
        yield first, last
