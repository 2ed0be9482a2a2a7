"""Scenario ``simulate``: mechanisms in a simulated world under faults, thousands of times, every step checked.

A cell of the table is one mechanism under one fault with so many agents. Its worlds are run in chunks of seeds, so that
all cores are busy; a chunk is the same wherever it runs.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from swarm_common.errors import UsageError
from swarm_common.events import Metric, Target, Task
from swarm_common.events.consensus import Simulated
from swarm_common.mechanisms import MECHANISMS
from swarm_common.verdicts import verdict
from swarm_coordinator.plans import Fact, Finish, Param, Scenario, SoFar, Step
from swarm_coordinator.suites.hive.params import (
    FEWEST,
    FIVE,
    MOST,
    count,
    int_param,
    list_param,
    once,
    results_of,
)
from swarm_coordinator.suites.noop import seconds

FAULTS = (
    "loss",
    "delay",
    "duplication",
    "partition",
    "one_way_partition",
    "crash",
    "clock",
    "byzantine",
)
"""The eight of the table."""
BASE = "none"
"""Nothing fails: what the verdicts are held against."""
OTHERS = ("all_but_byzantine", "all", "crash_more", "byzantine_more")
"""On request: all at once, each switched on or off by the seed, without liars and with; one crash or liar too many."""
SIZES = (3, 4, 5, 7, 10, 31, 100)
SMALL = (3, 4, 5, 7)
"""Sizes that run where seeds are given and agents are not: many worlds of a large swarm take hours."""
WORLDS: Mapping[str, Mapping[int, int]] = {
    "short": {3: 200, 4: 200, 5: 200, 7: 150, 10: 80, 31: 20, 100: 3},
    "nightly": {3: 1000, 4: 1000, 5: 1000, 7: 1000, 10: 1000, 31: 300, 100: 100},
}
"""Seeds of a cell by its number of agents, up to and including; fewer for large swarms, whose messages are many."""
_CHUNK = 60_000
"""Deliveries of a chunk, about: a second of work, so that the last ones end together."""
_SEEDS_APART = 1_000_000
"""Seeds that belong to one seed of the run: two runs with different seeds have no world in common."""
_SUMMED = (
    "seeds", "unsafe", "stopped", "decided", "during", "asked", "deliveries", "messages", "elapsed_s",
)  # fmt: skip

Times = tuple[float, float, float]
"""Median, 90th and 99th percentile."""


class Cell(NamedTuple):
    """One mechanism under one fault, with so many agents: its chunks together."""

    data: Simulated
    sources: tuple[str, ...]
    """Ids of the events of its chunks."""


def _words(sizes: Sequence[int]) -> str:
    return " ".join(map(str, sizes))


def plan(sofar: SoFar) -> Step | Finish:
    """Plan all chunks of all cells, the dearest first, then the table."""
    if sofar.step == 0:
        return Step(tasks=tasks_of(sofar.params, sofar.seed))
    cells = cells_of(results_of(sofar, Simulated))
    return Finish(result=result_of(cells), metrics=(*metrics_of(cells), seconds(sofar.elapsed_s)))


def _mechanisms(params: Mapping[str, Any]) -> list[str]:
    named, other = once(params["mechanisms"]), once(params["protocol"])
    if named and other and named != other:
        raise UsageError(
            f"params.protocol is {', '.join(other)} and params.mechanisms {', '.join(named)}; "
            "both mean the same: give one",
            field="params.protocol",
            given=", ".join(other),
            allowed="one of protocol and mechanisms",
        )
    return named or other or list(FIVE)


def tasks_of(params: Mapping[str, Any], seed: int) -> tuple[Task, ...]:
    """Return the chunks of all cells that complete parameters ask for, the dearest first."""
    first = params["first_seed"]
    first = seed * _SEEDS_APART if first is None else first
    found: list[tuple[float, Task]] = []
    for mechanism in _mechanisms(params):
        for agents in once(params["agents"] or (SIZES if params["seeds"] is None else SMALL)):
            worlds = params["seeds"] or worlds_of(params["size"], agents)
            for fault in once([BASE, *params["faults"]]):
                # The base line has the same seeds: in its worlds the same is asked for at the same time.
                found += _chunks(mechanism, agents, fault, first, worlds)
    found.sort(key=lambda pair: -pair[0])
    return tuple(task for _, task in found)


def worlds_of(size: str, agents: int) -> int:
    """Return how many seeds a cell has: those of the smallest size in the table that is not smaller."""
    table = WORLDS[size]
    return table[min(n for n in table if n >= agents)]


def world_cost(mechanism: str, agents: int) -> float:
    """Return about how many messages a world delivers; no result depends on it, only who works when."""
    each = {"pbft": 6 * agents, "raft": 60, "multi_paxos": 30}.get(mechanism, 15)
    return 200.0 + each * agents


def _chunks(mechanism: str, agents: int, fault: str, first: int, seeds: int) -> list[tuple[float, Task]]:
    cost = world_cost(mechanism, agents)
    most = max(1, int(_CHUNK / cost))
    chunks = -(-seeds // most)
    ends = [seeds * at // chunks for at in range(chunks + 1)]
    return [
        (
            cost * (end - begin),
            Task(
                id=f"{mechanism}-{agents}-{fault}-{begin}",
                kind="simulate",
                service="consensus",
                lane="cpu",
                params={
                    "mechanism": mechanism,
                    "agents": agents,
                    "fault": fault,
                    "seeds": end - begin,
                    "first_seed": first + begin,
                },
            ),
        )
        for begin, end in itertools.pairwise(ends)
    ]


def cells_of(results: Sequence[tuple[Fact, Simulated]]) -> list[Cell]:
    """Return the cells that these chunks make up, by mechanism, size and fault in the order of the table."""
    found: dict[tuple[str, int, str], list[tuple[Fact, Simulated]]] = {}
    for fact, data in sorted(results, key=lambda pair: pair[1].first_seed):
        found.setdefault((data.mechanism, data.agents, data.fault), []).append((fact, data))
    mechanisms, faults = list(MECHANISMS), [BASE, *FAULTS, *OTHERS]
    cells = [
        Cell(together([data for _, data in chunks]), tuple(fact.event for fact, _ in chunks))
        for chunks in found.values()
    ]
    return sorted(
        cells,
        key=lambda cell: (
            mechanisms.index(cell.data.mechanism),
            cell.data.agents,
            faults.index(cell.data.fault),
        ),
    )


def together(chunks: Sequence[Simulated]) -> Simulated:
    """Return the chunks of a cell as one: counts are summed; times are combined as :func:`_times` says."""

    def total(name: str) -> Any:
        return sum(getattr(chunk, name) for chunk in chunks)

    names = sorted({name for chunk in chunks for name in chunk.invariants})
    return msgspec.structs.replace(
        chunks[0],
        **{name: total(name) for name in _SUMMED},
        decision_ms=_times([(chunk.decision_ms, chunk.decided) for chunk in chunks]),
        known_ms=_times([(chunk.known_ms, chunk.decided) for chunk in chunks]),
        invariants={name: sum(chunk.invariants.get(name, 0) for chunk in chunks) for name in names},
        counterexamples=tuple(one for chunk in chunks for one in chunk.counterexamples),
    )


def _times(parts: Sequence[tuple[Times | None, int]]) -> Times | None:
    """Return three percentiles of several parts: of the parts' own, the median one, each as often as it has values."""
    known = [(times, n) for times, n in parts if times is not None and n]
    if not known:
        return None
    half = sum(n for _, n in known) / 2

    def middle(at: int) -> float:
        ordered = sorted((times[at], n) for times, n in known)
        seen = itertools.accumulate(n for _, n in ordered)
        return next(value for (value, _), n in zip(ordered, seen, strict=True) if n >= half)

    return middle(0), middle(1), middle(2)


def result_of(cells: Sequence[Cell]) -> dict[str, Any]:
    """Return the table, a row a cell, and counterexamples."""
    bases = {(cell.data.mechanism, cell.data.agents): cell.data for cell in cells if cell.data.fault == BASE}
    return {
        "matrix": [
            {
                "mechanism": data.mechanism,
                "agents": data.agents,
                "fault": data.fault,
                "inside": data.inside,
                "verdict": verdict(data, bases[data.mechanism, data.agents]),
                "worlds": data.seeds,
                "unsafe": data.unsafe,
                "stuck": data.stopped,
                "asked": data.asked,
                "decided": data.decided,
                "during": data.during,
                "decision_ms": None if data.decision_ms is None else data.decision_ms[0],
                "p99_ms": None if data.decision_ms is None else data.decision_ms[2],
                "messages": data.messages,
                "invariants": data.invariants,
            }
            for data, _ in cells
        ],
        "counterexamples": _counterexamples(cells),
    }


def _counterexamples(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Return one a mechanism, fault and invariant, of the smallest swarm, those inside a fault model first."""
    found: dict[tuple[str, str, str, bool], dict[str, Any]] = {}
    for cell in (cell.data for cell in cells):
        for one in sorted(cell.counterexamples, key=lambda one: (len(one.chart), one.seed)):
            row = {
                "mechanism": cell.mechanism,
                "agents": cell.agents,
                "fault": cell.fault,
                "inside": cell.inside,
                **msgspec.to_builtins(one),
            }
            found.setdefault((cell.mechanism, cell.fault, one.invariant, cell.inside), row)
    return sorted(found.values(), key=lambda row: not row["inside"])


def metrics_of(cells: Sequence[Cell]) -> tuple[Metric, ...]:
    """Return what the targets are about, and how much was done."""
    everything = [event for cell in cells for event in cell.sources]
    inside = [cell.data for cell in cells if cell.data.inside]
    outside = [cell.data for cell in cells if not cell.data.inside]
    within = [event for cell in cells if cell.data.inside for event in cell.sources]
    beyond = [event for cell in cells if not cell.data.inside for event in cell.sources]
    worlds, tried = sum(cell.seeds for cell in inside), sum(cell.seeds for cell in outside)
    deliveries = sum(cell.data.deliveries for cell in cells)
    elapsed_s = sum(cell.data.elapsed_s for cell in cells)
    return (
        count(
            "unsafe_inside",
            sum(cell.unsafe for cell in inside),
            worlds,
            "worlds inside the mechanism's fault model in which an invariant did not hold",
            within,
        ),
        count(
            "stuck_inside",
            sum(cell.stopped for cell in inside),
            worlds,
            "worlds inside it in which something was never decided, although the swarm was well again",
            within,
        ),
        count(
            "unsafe_outside",
            sum(cell.unsafe for cell in outside),
            tried,
            "worlds outside it in which an invariant did not hold: as expected",
            beyond,
            better="neither",
        ),
        count("worlds", worlds + tried, worlds + tried, "all that were run", everything, better="neither"),
        count("deliveries", deliveries, worlds + tried, "messages delivered", everything, better="neither"),
        Metric(
            name="delivery_rate",
            value=deliveries / elapsed_s if elapsed_s > 0 else None,
            unit="1/s",
            n=len(everything),
            timing=True,
            estimator="messages delivered in a second of one worker, invariants checked after each",
            source=tuple(everything),
            reason="" if elapsed_s > 0 else "the work took no measurable time",
        ),
    )


SCENARIO = Scenario(
    name="simulate",
    description="Mechanisms in simulated worlds under faults, every step checked: which hold, which do not",
    params=(
        Param(
            name="protocol",
            type="list",
            default=[],
            choices=tuple(MECHANISMS),
            description=f"mechanisms to run; none means {', '.join(FIVE)}",
        ),
        Param(
            name="mechanisms",
            type="list",
            default=[],
            choices=tuple(MECHANISMS),
            description="the same as protocol",
        ),
        Param(
            name="agents",
            type="ints",
            default=None,
            low=FEWEST,
            high=MOST,
            description=f"how many agents; where it is not given: {_words(SIZES)}, or with seeds {_words(SMALL)}",
        ),
        list_param("faults", (BASE, *FAULTS, *OTHERS), "what fails; none runs as well always", FAULTS),
        int_param("seeds", None, 1, 1_000_000, "worlds a cell; where it is not given, size says how many"),
        Param(
            name="size",
            type="str",
            default="short",
            choices=tuple(WORLDS),
            description="how many worlds a cell has: short takes a minute on two cores, nightly ten",
        ),
        int_param(
            "first_seed",
            None,
            0,
            10**15,
            f"seed of a cell's first world; where it is not given, {_SEEDS_APART:,} times the run's seed",
        ),
    ),
    targets=(
        Target(metric="unsafe_inside", op="==", target=0),
        Target(metric="stuck_inside", op="==", target=0),
    ),
    timeout_s=86_400.0,
)
