"""What the scenarios of the suite share: names, parameters, and how results are read."""

from __future__ import annotations

import math
import statistics
import struct
from collections.abc import Sequence
from typing import Any, TypeVar

from swarm_common.events import Array, Data, Metric
from swarm_common.mechanisms import MECHANISMS
from swarm_coordinator.plans import Fact, Param, SoFar

FIVE = ("voting", "weighted", "raft", "paxos", "pbft")
"""The mechanisms that run where none are named."""
FEWEST, MOST = 3, 100
"""Agents of a swarm that decides."""

D = TypeVar("D", bound=Data)


def mechanisms_param(default: Sequence[str] = FIVE) -> Param:
    """Return the parameter that says which mechanisms run."""
    return Param(
        name="mechanisms",
        type="list",
        default=list(default),
        choices=tuple(MECHANISMS),
        description="ways to agree",
    )


def list_param(name: str, choices: Sequence[str], description: str, default: Sequence[str] = ()) -> Param:
    """Return a parameter that is one or more of ``choices``: all of them unless there is a default."""
    return Param(
        name=name,
        type="list",
        default=list(default or choices),
        choices=tuple(choices),
        description=description,
    )


def sizes_param(default: Sequence[int], low: int = FEWEST, high: int = MOST) -> Param:
    """Return the parameter that says of how many agents the swarms are."""
    return Param(
        name="agents",
        type="ints",
        default=list(default),
        low=low,
        high=high,
        description="how many agents a swarm has; several sizes are run one by one",
    )


def int_param(name: str, default: int | None, low: int, high: int, description: str) -> Param:
    """Return a parameter that is one whole number."""
    return Param(name=name, type="int", default=default, low=low, high=high, description=description)


def float_param(name: str, default: float, low: float, high: float, description: str) -> Param:
    """Return a parameter that is one number."""
    return Param(name=name, type="float", default=default, low=low, high=high, description=description)


def once(values: Sequence[Any]) -> list[Any]:
    """Return the values without those that came before, in their order: nothing is done twice."""
    return list(dict.fromkeys(values))


def results_of(sofar: SoFar, kind: type[D]) -> list[tuple[Fact, D]]:
    """Return the results of a kind, in the order of their tasks' names."""
    found = [sofar.results[name] for name in sorted(sofar.results)]
    return [(fact, fact.data) for fact in found if isinstance(fact.data, kind)]


def floats(array: Array | None) -> list[float]:
    """Return the numbers of a ``<f4`` or ``<f8`` array; none for ``None``. Without numpy: the coordinator has none."""
    if array is None:
        return []
    letter = {"<f4": "f", "<f8": "d"}[array.dtype]
    return list(struct.unpack(f"<{len(array.data) // struct.calcsize(letter)}{letter}", array.data))


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the value below which ``share`` of all lie, interpolated; ``None`` where there are none."""
    if not values:
        return None
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def mean_interval(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Return mean and 95 % normal interval of the mean; no interval for a value alone."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, None, None
    half = 1.96 * statistics.stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def count(name: str, value: int, n: int, how: str, source: Sequence[str], better: Any = "lower") -> Metric:
    """Return a metric that counts: ``value`` of ``n``."""
    return Metric(
        name=name, value=value, unit="count", better=better, n=n, estimator=how, source=tuple(source)
    )
