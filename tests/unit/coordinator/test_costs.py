"""What is made of measured costs: medians with intervals that hold, differences that are paired."""

from __future__ import annotations

import random
import statistics

import pytest
from scipy import stats

from swarm_common.errors import UsageError
from swarm_common.events import Metric, Samples
from swarm_common.events.metrics import Grew, Grown, GrowthShown, MemoryProfiled, OverheadMeasured
from swarm_coordinator.plans import complete_params, find_scenario
from swarm_coordinator.suites.costs import memory_metrics, overhead_metrics
from swarm_coordinator.suites.medians import median
from swarm_coordinator.suites.noop import Noop

CONDITIONS = ("off", "tracing")


@pytest.mark.parametrize("n", [6, 7, 20, 101])
def test_the_interval_of_a_median_has_the_ranks_of_the_binomial(n: int) -> None:
    value, low, high = median(range(n))
    assert value == statistics.median(range(n))
    assert low is not None
    assert high == n - 1 - low
    below = stats.binom.cdf(
        [low, low + 1], n, 0.5
    )  # as many values lie below the ends of this and the next narrower
    assert 2 * below[0] <= 0.05 < 2 * below[1]


def test_few_values_have_a_median_and_no_interval() -> None:
    assert median([3.0, 1.0, 2.0, 9.0, 9.0]) == (3.0, None, None)


def test_the_interval_of_a_median_holds_what_it_promises() -> None:
    rng = random.Random(5)  # noqa: S311 - a simulation
    held = 0
    for _ in range(400):
        _, low, high = median([rng.expovariate(1) for _ in range(25)])
        assert low is not None
        assert high is not None
        held += low <= 0.693147 <= high
    assert held >= 0.93 * 400


def samples(name: str, values: list[float], of: str = "") -> Samples:
    return Samples(name=name, unit="us", values=tuple(values), of=of)


def measured(off: list[float], tracing: list[float]) -> OverheadMeasured:
    return OverheadMeasured(
        task="overhead",
        tasks=10,
        rounds=len(off),
        conditions=CONDITIONS,
        spans={"off": 0, "tracing": 20 * len(off)},
        samples=(
            samples("task_cpu", off, "off"),
            samples("task_cpu", tracing, "tracing"),
            samples("task_time", off, "off"),
            samples("task_time", tracing, "tracing"),
            samples("sample_cpu", [100.0, 300.0]),
            samples("note_cpu", [0.5]),
        ),
        elapsed_s=1.0,
    )


def by_name(metrics: tuple[Metric, ...]) -> dict[str, Metric]:
    return {metric.name: metric for metric in metrics}


def test_costs_are_paired_by_round_so_that_what_the_machine_does_falls_out() -> None:
    off = [10.0, 90.0, 20.0, 50.0, 70.0, 30.0, 40.0]
    found = by_name(overhead_metrics(measured(off, [value + 5 for value in off]), ("e",)))
    cost = found["tracing_us"]
    assert (cost.value, cost.low, cost.high, cost.n) == (5.0, 5.0, 5.0, 7)
    assert found["task_us"].value == 40.0
    assert (found["tasks"].value, found["spans"].value) == (140, 140)
    assert found["sample_us"].value == 200.0
    assert {metric.source for metric in found.values()} == {("e",)}


def test_what_is_timed_stays_out_of_the_digest_and_counts_do_not() -> None:
    found = overhead_metrics(measured([1.0] * 6, [2.0] * 6), ())
    assert {metric.name for metric in found if not metric.timing} == {"tasks", "spans"}


def profiled(verdict: str, first: float = 4.0) -> MemoryProfiled:
    names = ("encode", "decode", "write", "query", "collect", "open", "again", "rebuild", "pause_share")
    shown = GrowthShown(
        samples=480, warm_up=160, block=16, blocks=20, growth=5.0, low=4.0, high=6.0, reason="rises"
    )
    return MemoryProfiled(
        task="memory",
        events=10,
        event_bytes=5000,
        rows=2,
        portions=480,
        samples=(*(samples(name, [1.0] * 6) for name in names), samples("first", [first] * 6)),
        grown=Grown(verdict=verdict, reason="because", single=shown, double=shown),  # type: ignore[arg-type]
        grew=(Grew(where="a.py:1", bytes=99, blocks=3),),
        view_bytes=2000,
        elapsed_s=1.0,
    )


@pytest.mark.parametrize(
    ("verdict", "leaks"), [("leak", 1.0), ("suspected", 0.0), ("no leak", 0.0), ("too few samples", None)]
)
def test_only_a_confirmed_leak_counts_and_what_is_not_known_is_not_zero(
    verdict: str, leaks: float | None
) -> None:
    found = by_name(memory_metrics(profiled(verdict), ()))
    assert found["leaks"].value == leaks
    assert found["leaks"].estimator == f"{verdict}: because"
    assert (found["leaks"].reason != "") == (leaks is None)
    assert (found["growth_bytes"].value is None) == (leaks is None)


def test_what_a_cache_saves_is_of_the_first_query_and_unknown_where_that_took_no_time() -> None:
    assert by_name(memory_metrics(profiled("no leak"), ()))["cache_saving"].value == 0.75
    nothing = by_name(memory_metrics(profiled("no leak", first=0.0), ()))["cache_saving"]
    assert (nothing.value, bool(nothing.reason)) == (None, True)


def test_sizes_are_by_event_and_what_grew_is_told() -> None:
    found = by_name(memory_metrics(profiled("leak"), ()))
    assert (found["event_bytes"].value, found["view_bytes"].value) == (500.0, 200.0)
    assert (found["grew_1"].value, found["grew_1"].n) == (99, 3)
    assert found["grew_1"].estimator.startswith("a.py:1")


@pytest.mark.parametrize(
    ("scenario", "param", "value"),
    [("overhead", "rounds", 5), ("overhead", "tasks", 2001), ("memory", "portions", 15)],
)
def test_too_little_or_too_much_is_refused_by_name(scenario: str, param: str, value: int) -> None:
    with pytest.raises(UsageError) as caught:
        complete_params(find_scenario(Noop(), scenario), {param: value})
    assert caught.value.field == f"params.{param}"
