"""Like with like: which runs of two sides are of the same work, and which of them count as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from swarm_cli.comparing_runs import Facts, Measure

Per = Literal["run", "start", "pair", "seed"]
"""What one value stands for."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a user asks with."""

    threshold: float = 0.05
    alpha: float = 0.05
    metrics: tuple[str, ...] = ()
    """Only these; empty: all."""
    looks: int = 1
    """How often the pairs may be judged, this time included: each look errs in its share of ``alpha``."""

    @property
    def level(self) -> float:
        """Share of false alarms of one look: at any of them there are then no more than ``alpha`` (Bonferroni)."""
        return self.alpha / self.looks


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Like runs: one suite, one scenario, one set of parameters."""

    suite: str
    scenario: str
    params: dict[str, Any]
    base: tuple[Facts, ...]
    """In the order in which they began."""
    head: tuple[Facts, ...]

    @property
    def runs(self) -> tuple[Facts, ...]:
        """The runs of both sides."""
        return *self.base, *self.head

    @property
    def title(self) -> str:
        """Suite, scenario and parameters in one line."""
        return what(self.suite, self.scenario, self.params)

    def measure(self, name: str) -> Measure:
        """Return what a metric is, as head has it."""
        return next(one for run in (*self.head, *self.base) for one in run.metrics if one.name == name)

    def completed(self) -> Group:
        """Return the group without the runs that have no result."""
        base, head = (
            tuple(run for run in side if run.status == "completed") for side in (self.base, self.head)
        )
        return msgspec.structs.replace(self, base=base, head=head)


def grouped(base: Sequence[Facts], head: Sequence[Facts]) -> tuple[list[Group], list[str]]:
    """Return the groups that both sides have runs of, and words about the runs without a partner."""
    sides = [_by_work(side) for side in (base, head)]
    notes = []
    groups = []
    for key in dict.fromkeys([*sides[0], *sides[1]]):
        here, there = sides[0].get(key, []), sides[1].get(key, [])
        first = (here or there)[0]
        if not (here and there):
            side = "base" if here else "head"
            runs = many(len(here or there), "run")
            title = what(first.suite, first.scenario, first.params)
            notes.append(f"{runs} of {title} only in {side}: not compared")
            continue
        groups.append(
            Group(
                suite=first.suite,
                scenario=first.scenario,
                params=first.params,
                base=tuple(here),
                head=tuple(there),
            )
        )
    return groups, notes


def _by_work(runs: Sequence[Facts]) -> dict[bytes, list[Facts]]:
    found: dict[bytes, list[Facts]] = {}
    for run in sorted(runs, key=lambda run: run.started):
        if run.status == "rejected":
            continue
        key = msgspec.json.encode([run.suite, run.scenario, run.params], order="deterministic")
        found.setdefault(key, []).append(run)
    return found


def what(suite: str, scenario: str, params: Mapping[str, Any]) -> str:
    """Return suite, scenario and parameters in one line."""
    given = ", ".join(f"{name}={value}" for name, value in params.items())
    return f"{suite}/{scenario}" + (f" ({given})" if given else "")


def many(count: int, noun: str) -> str:
    """Return a count with its noun."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


class Units(msgspec.Struct, frozen=True, kw_only=True):
    """What stands for one value each, on both sides, in order of time."""

    base: tuple[tuple[Facts, ...], ...]
    head: tuple[tuple[Facts, ...], ...]
    per: Per
    paired: bool = False
    violations: tuple[str, ...] = ()


def units_of(group: Group) -> Units:
    """Return which runs count as one: those of one start of the services, unless it served both sides.

    What a start was like (memory layout, ports, what else began just then) is shared by all of its runs: many runs of
    one start are one value of that. A start that served both sides is the same for both, so its runs count one by one.
    """
    starts = [by_start(side) for side in (group.base, group.head)]
    shared = [start for start in starts[0] if start in starts[1]]
    if not shared:
        base, head = (tuple(tuple(runs) for runs in side.values()) for side in starts)
        per: Per = "run" if all(len(runs) == 1 for runs in (*base, *head)) else "start"
        if len(base) == len(head) == 1:
            violation = (
                "one start of the services a side: a change cannot be told from a restart; "
                "`swarm compare --interleave` makes the runs that it takes"
            )
            return Units(base=base, head=head, per="start", violations=(violation,))
        return Units(base=base, head=head, per=per)
    if len(shared) == len(starts[0]) == len(starts[1]):
        if len(shared) == 1:
            return Units(
                base=tuple((run,) for run in group.base), head=tuple((run,) for run in group.head), per="run"
            )
        base, head = (tuple(tuple(side[start]) for start in shared) for side in starts)
        return Units(base=base, head=head, per="start", paired=True)
    return Units(
        base=tuple((run,) for run in group.base),
        head=tuple((run,) for run in group.head),
        per="run",
        violations=(
            "some starts of the services served both sides and others one: compare runs of either kind",
        ),
    )


def by_start(runs: Sequence[Facts]) -> dict[str, list[Facts]]:
    """Return the runs of each start of the services, in the order in which they come."""
    found: dict[str, list[Facts]] = {}
    for run in runs:
        found.setdefault(run.start, []).append(run)
    return found


def values_of(runs: Sequence[Facts], name: str) -> list[float]:
    """Return the values of a metric, where it was measured."""
    return [one.value for run in runs for one in run.metrics if one.name == name and one.value is not None]
