"""Scenario ``live``: mechanisms among agents in processes of their own, timed, with faults that really happen.

A cell is one mechanism with so many agents under one fault. Cells run one at a time, since they are timed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from swarm_common.events import Metric, Target, Task
from swarm_common.events.consensus import Measured
from swarm_common.mechanisms import MECHANISMS
from swarm_coordinator.plans import Finish, Param, Scenario, SoFar, Step
from swarm_coordinator.suites.hive.params import (
    FEWEST,
    MOST,
    count,
    floats,
    int_param,
    list_param,
    mechanisms_param,
    once,
    percentile,
    results_of,
)
from swarm_coordinator.suites.noop import seconds

FAULTS = ("none", "leader_crash", "crashes", "byzantine", "byzantine_more")
_DEFAULT_FAULTS = ("none", "leader_crash", "byzantine")
_USUAL = 4
"""Agents where none are asked for: the fewest of which one may lie."""
_AND: Mapping[str, tuple[int, ...]] = {"raft": (5,)}
"""Sizes that a mechanism has besides, where none are asked for: the usual one of a Raft cluster with two spare."""
_CELL_S = 300.0


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured of one mechanism, size and fault. Times are in microseconds; ``None``: not measured."""

    mechanism: str
    agents: int
    fault: str
    inside: bool
    verdict: str
    """``unsafe``, ``stopped``, ``slowed`` or ``held``."""
    processes: int
    asked: int
    decisions: int
    unanswered: int
    p50_us: float | None
    p99_us: float | None
    round_us: float | None
    """Median of the round in which one asks and all others answer."""
    rounds: float | None
    """``p50_us`` in multiples of it."""
    first_us: float | None
    messages: float | None
    throughput_s: float | None
    gap_us: float | None
    agreement: float | None
    linearizable: bool | None
    operations: int
    violations: tuple[str, ...]
    history: str
    quality: float | None
    source: str


def plan(sofar: SoFar) -> Step | Finish:
    """Plan every cell, then what each measured."""
    if sofar.step == 0:
        return Step(tasks=tuple(_tasks(sofar.params)))
    cells = [cell_of(fact.event, data) for fact, data in results_of(sofar, Measured)]
    names = list(MECHANISMS)
    cells.sort(key=lambda cell: (names.index(cell.mechanism), cell.agents, FAULTS.index(cell.fault)))
    return Finish(
        result={"live": [msgspec.to_builtins(cell) for cell in cells]},
        metrics=(*_whole(cells), *_each(cells), seconds(sofar.elapsed_s)),
    )


def _tasks(params: Mapping[str, Any]) -> Iterator[Task]:
    for mechanism in once(params["mechanisms"]):
        sizes = params["agents"] or (_USUAL, *_AND.get(mechanism, ()))
        for agents in once(sizes):
            for fault in once(params["faults"]):
                yield Task(
                    id=f"{mechanism}-{agents}-{fault}",
                    kind="agree_live",
                    service="consensus",
                    lane="cpu",
                    timeout_s=_CELL_S,
                    params={
                        "mechanism": mechanism,
                        "agents": agents,
                        "fault": fault,
                        **{name: params[name] for name in ("decisions", "rounds", "clients", "fsync")},
                    },
                )


def cell_of(event: str, data: Measured) -> Cell:
    """Return what a cell measured, summed up."""
    latency, rounds = floats(data.latency_us), floats(data.round_us)
    p50, floor = percentile(latency, 0.5), percentile(rounds, 0.5)
    return Cell(
        mechanism=data.mechanism,
        agents=data.agents,
        fault=data.fault,
        inside=data.inside,
        verdict=verdict(data),
        processes=data.processes,
        asked=data.asked,
        decisions=data.decisions,
        unanswered=data.unanswered,
        p50_us=p50,
        p99_us=percentile(latency, 0.99),
        round_us=floor,
        rounds=p50 / floor if p50 is not None and floor else None,
        first_us=data.first_us,
        messages=data.messages_a_decision,
        throughput_s=data.throughput_s,
        gap_us=data.gap_us,
        agreement=data.agreement,
        linearizable=data.linearizable,
        operations=data.history_operations,
        violations=data.violations,
        history=data.history,
        quality=data.quality,
        source=event,
    )


def verdict(data: Measured) -> str:
    """Return how a mechanism came through: ``unsafe``, ``stopped``, ``slowed`` or ``held``.

    *unsafe*: an invariant did not hold, agents decided differently, or the clients' history is not linearizable.
    *stopped*: nothing was decided, or more than half of what was asked for was not. *slowed*: some of it was not.
    """
    disagreed = data.agreement is not None and data.agreement < 1.0
    if data.violations or disagreed or data.linearizable is False:
        return "unsafe"
    if not data.decisions or data.unanswered > data.asked / 2:
        return "stopped"
    return "slowed" if data.unanswered else "held"


def _whole(cells: Sequence[Cell]) -> tuple[Metric, ...]:
    """Return what the targets are about: promises hold inside a mechanism's fault model, and nowhere else."""
    inside = [cell for cell in cells if cell.inside]
    outside = [cell for cell in cells if not cell.inside]
    source = [cell.source for cell in inside]
    agreed = [cell.agreement for cell in inside if cell.agreement is not None]
    ordered = [cell for cell in inside if cell.linearizable is not None]
    return (
        count(
            "unsafe_inside",
            sum(cell.verdict == "unsafe" for cell in inside),
            len(inside),
            "cells inside the mechanism's fault model in which an invariant, agreement or linearizability did not hold",
            source,
        ),
        count(
            "not_linearizable_inside",
            sum(not cell.linearizable for cell in ordered),
            len(ordered),
            "of those that order a register's operations, the ones whose history no order explains",
            [cell.source for cell in ordered],
        ),
        count(
            "stopped_inside",
            sum(cell.verdict == "stopped" for cell in inside),
            len(inside),
            "cells inside it in which more than half of what was asked for was never decided",
            source,
        ),
        Metric(
            name="agreement",
            value=min(agreed) if agreed else None,
            unit="ratio",
            n=len(agreed),
            estimator="least share, over the cells inside, of slots that all honest agents decided alike",
            source=tuple(source),
            reason="" if agreed else "no cell inside a fault model decided anything",
        ),
        count(
            "failed_outside",
            sum(cell.verdict in {"unsafe", "stopped"} for cell in outside),
            len(outside),
            "cells outside it that were unsafe or stopped: as expected",
            [cell.source for cell in outside],
            better="neither",
        ),
    )


def _each(cells: Sequence[Cell]) -> Iterator[Metric]:
    for cell in cells:
        name = f"{cell.mechanism}.{cell.agents}"
        if cell.fault == "none":
            yield _timed(
                cell, f"decision_p50.{name}", cell.p50_us, "us", "median, one decision after the other"
            )
            yield _timed(cell, f"decision_p99.{name}", cell.p99_us, "us", "99th percentile of the same")
            yield _timed(
                cell, f"rounds.{name}", cell.rounds, "rounds", "median decision over median all-agents round"
            )
            yield _timed(
                cell, f"messages.{name}", cell.messages, "messages", "sent for a decision, in the mean"
            )
            yield _timed(
                cell,
                f"throughput.{name}",
                cell.throughput_s,
                "decisions/s",
                "several clients at once",
                better="higher",
            )
        else:
            yield _timed(
                cell, f"decision_p50.{name}.{cell.fault}", cell.p50_us, "us", "median with the fault"
            )
            yield _timed(
                cell, f"gap.{name}.{cell.fault}", cell.gap_us, "us", "longest time without a decision"
            )


def _timed(
    cell: Cell, name: str, value: float | None, unit: str, how: str, *, better: Any = "lower"
) -> Metric:
    reason = "nothing was decided" if not cell.decisions else f"not measured under {cell.fault}"
    return Metric(
        name=name,
        value=value,
        unit=unit,
        better=better,
        n=cell.decisions,
        estimator=how,
        timing=True,
        source=(cell.source,),
        reason="" if value is not None else reason,
    )


SCENARIO = Scenario(
    name="live",
    description="Mechanisms among agents in processes of their own, timed, with crashes and liars",
    params=(
        mechanisms_param(),
        Param(
            name="agents",
            type="ints",
            default=None,
            low=FEWEST,
            high=MOST,
            description=f"how many agents; where it is not given: {_USUAL}, of raft 5 too",
        ),
        list_param("faults", FAULTS, "what fails: byzantine has as many liars as may be", _DEFAULT_FAULTS),
        int_param("decisions", 100, 10, 100_000, "timed one after the other in each cell"),
        int_param("rounds", 100, 10, 100_000, "all-agents rounds, the floor that decisions are held against"),
        int_param("clients", 4, 1, 256, "at once, for the throughput"),
        Param(
            name="fsync",
            type="bool",
            default=False,
            description="whether agents wait until the disk has what must survive",
        ),
    ),
    targets=(
        Target(metric="unsafe_inside", op="==", target=0),
        Target(metric="not_linearizable_inside", op="==", target=0),
        Target(metric="stopped_inside", op="==", target=0),
    ),
    timeout_s=3600.0,
    parallel={"agree_live": 1},
    deterministic=False,
)
