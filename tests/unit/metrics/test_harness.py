"""The harness of the primitives, by a clock that the test turns: what it measures is then known to the nanosecond."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest

from swarm_common.errors import TaskFailed
from swarm_common.events import Samples
from swarm_common.timing import percentile, timing_of
from swarm_metrics.primitives.case import Case, Prepared, require
from swarm_metrics.primitives.harness import Settings, calibrate, clock_of, measure

COST_NS = 40
SETTINGS = Settings(least_us=100.0, samples=50, shots=500, warm_up=5, budget_s=60.0)


class Clock:
    """A clock that costs something to read, and stands still in between but for what the work takes."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        self.now_ns += COST_NS
        return self.now_ns

    def takes(self, ns: int) -> None:
        self.now_ns += ns


def case_of(prepared: Prepared, *, most_samples: int = 0) -> Case:
    return Case(
        scenario="made",
        sizes=(1,),
        operation="one",
        most_samples=most_samples,
        prepare=lambda _size, _seed: prepared,
    )


def working(
    clock: Clock, ns: int, *, once: Callable[[], object] | None = None, operations: int = 1
) -> Prepared:
    """Return work that takes ``ns`` an operation."""
    return Prepared(
        run=lambda loops: clock.takes(loops * operations * ns), operations=operations, once=once, check=dict
    )


@pytest.mark.parametrize(("ns", "operations"), [(700, 1), (1_000, 1), (3_000, 1), (250_000, 1), (30, 20)])
def test_a_sample_is_the_time_of_one_operation_without_that_of_the_clock(ns: int, operations: int) -> None:
    clock = Clock()
    found = measure(case_of(working(clock, ns, operations=operations)), 1, 1, SETTINGS, clock)
    assert found.clock.cost_ns == COST_NS
    assert set(found.samples[0].values) == {ns / 1e3}
    assert found.timings[0].unstable is False


def test_work_that_is_three_times_as_slow_has_three_times_the_figure() -> None:
    def p50(ns: int) -> float:
        clock = Clock()
        return measure(case_of(working(clock, ns)), 1, 1, SETTINGS, clock).timings[0].p50_us

    assert p50(2_100) == pytest.approx(3 * p50(700))


@pytest.mark.parametrize(("ns", "loops"), [(100_001, 1), (50_000, 2), (49_999, 4), (1_000, 128), (97, 2048)])
def test_loops_are_doubled_until_they_take_the_least_time(ns: int, loops: int) -> None:
    clock = Clock()
    assert calibrate(working(clock, ns).run, 100.0, clock_of(clock), clock) == loops


def test_work_that_takes_no_time_is_no_work() -> None:
    clock = Clock()
    with pytest.raises(TaskFailed, match="no work is done"):
        calibrate(working(clock, 0).run, 100.0, clock_of(clock), clock)


def test_a_case_that_times_itself_is_asked_for_the_operations_alone() -> None:
    clock = Clock()

    def run(loops: int) -> int:
        own = 0
        for _ in range(loops):
            clock.takes(90_000)  # filling what the operations empty
            began = clock()
            clock.takes(5_000)
            own += clock() - began
        return own

    found = measure(case_of(Prepared(run=run, check=dict)), 1, 1, SETTINGS, clock)
    assert set(found.samples[0].values) == {5.0}
    assert len(found.samples) == 1, "what it takes of the processor would be of the filling, too"


def test_what_the_work_takes_of_the_processor_is_kept_beside_and_not_what_others_take() -> None:
    clock, cpu = Clock(), Clock()
    calls: list[int] = []

    def run(loops: int) -> None:
        calls.append(loops)
        cpu.takes(loops * 1_000)
        # Every other time somebody else has the processor in between.
        clock.takes(loops * 1_000 + (900_000 if len(calls) % 2 else 0))

    found = measure(case_of(Prepared(run=run, check=dict)), 1, 1, SETTINGS, clock, cpu)
    wall, processor = found.samples
    assert max(wall.values) > 5 * min(wall.values)
    assert (processor.name, processor.clock) == ("made.1.cpu", "process_time_ns")
    assert processor.values == pytest.approx([1.0] * len(processor.values), abs=0.05)


def test_what_is_measured_first_is_dropped() -> None:
    clock, calls = Clock(), []

    def run(loops: int) -> None:
        calls.append(loops)
        calibrated = calls.count(calls[-1]) > 1
        warm = calls.count(calls[-1]) > 1 + SETTINGS.warm_up
        clock.takes(loops * (1_000 if warm or not calibrated else 9_000))

    found = measure(case_of(Prepared(run=run, check=dict)), 1, 1, SETTINGS, clock)
    assert set(found.samples[0].values) == {1.0}
    assert found.timings[0].warm_up == SETTINGS.warm_up


def test_single_shots_show_the_slow_ones_that_a_mean_hides() -> None:
    clock, calls = Clock(), []

    def once() -> None:
        calls.append(1)
        clock.takes(100_000 if len(calls) % 50 == 0 else 200)

    def run(loops: int) -> None:
        for _ in range(loops):
            once()

    found = measure(case_of(Prepared(run=run, once=once, check=dict)), 1, 1, SETTINGS, clock)
    batches, single = found.timings
    assert single.name == "made.1.single"
    assert single.p99_us == 100.0
    assert single.p50_us == 0.2
    assert batches.max_us < 100.0


def test_shots_of_less_than_the_clock_are_nothing_and_not_less() -> None:
    clock = Clock()
    found = measure(case_of(working(clock, 500, once=lambda: clock.takes(-10))), 1, 1, SETTINGS, clock)
    assert (found.samples[1].name, set(found.samples[1].values)) == ("made.1.single", {0.0})


def test_where_a_sample_is_one_operation_shots_would_say_the_same_again() -> None:
    clock = Clock()
    found = measure(case_of(working(clock, 200_000, once=lambda: None)), 1, 1, SETTINGS, clock)
    assert [one.name for one in found.samples] == ["made.1", "made.1.cpu"]


def test_samples_end_with_the_budget_but_not_before_there_are_enough() -> None:
    clock = Clock()
    settings = Settings(samples=200, fewest=20, warm_up=0, budget_s=1.0)
    found = measure(case_of(working(clock, 200_000_000)), 1, 1, settings, clock)
    assert len(found.samples[0].values) == 20


def test_a_case_that_waits_has_few_samples() -> None:
    clock = Clock()
    found = measure(case_of(working(clock, 500_000_000), most_samples=3), 1, 1, SETTINGS, clock)
    assert len(found.samples[0].values) == 3


def test_what_a_case_measured_besides_is_kept_and_times_are_summed_up() -> None:
    clock = Clock()
    also = (
        Samples(name="made.1.single", unit="us", values=(1.0, 2.0, 3.0)),
        Samples(name="made.1.bytes", unit="bytes", values=(4.0,)),
    )
    prepared = Prepared(
        run=lambda loops: clock.takes(loops * 1000), also=lambda: also, check=lambda: {"right": True}
    )
    found = measure(case_of(prepared), 1, 1, SETTINGS, clock)
    assert found.samples[2:] == also
    assert [one.p50_us for one in found.timings] == [1.0, 2.0]
    assert found.checked == {"right": True}


@pytest.mark.parametrize("broken", ["run", "check", "nothing"])
def test_a_case_is_ended_whatever_breaks_and_wrong_work_fails(broken: str) -> None:
    clock, ended = Clock(), []

    def wrong() -> dict[str, bool]:
        require(holds=broken != "check", message="two and two are five")
        return {}

    def run(loops: int) -> None:
        if broken == "run":
            raise ZeroDivisionError
        clock.takes(loops * 1_000)

    prepared = Prepared(run=run, check=wrong, teardown=lambda: ended.append(1))
    case = case_of(prepared)
    if broken == "check":
        with pytest.raises(TaskFailed, match="two and two are five") as failed:
            measure(case, 1, 1, SETTINGS, clock)
        assert failed.value.retryable is False
    elif broken == "run":
        with pytest.raises(ZeroDivisionError):
            measure(case, 1, 1, SETTINGS, clock)
    else:
        measure(case, 1, 1, SETTINGS, clock)
    assert ended == [1]


def test_garbage_is_collected_between_samples_and_not_while_one_is_taken() -> None:
    clock, seen = Clock(), set()

    def run(loops: int) -> None:
        seen.add(gc.isenabled())
        for _ in range(2000):  # more than what makes Python collect
            circle: list[object] = []
            circle.append(circle)
        seen.add(gc.get_count()[0] > 700)
        clock.takes(loops * 200_000)

    before = gc.get_stats()[2]["collections"]
    measure(case_of(Prepared(run=run, check=dict)), 1, 1, SETTINGS, clock)
    assert seen == {False, True}
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
    assert gc.get_stats()[2]["collections"] - before > SETTINGS.samples / 2


def test_samples_that_scatter_by_more_than_a_tenth_are_unstable() -> None:
    assert timing_of("x", [1.0, 1.02, 0.98] * 40).unstable is False
    assert timing_of("x", [1.0, 1.5] * 40).unstable is True
    assert timing_of("x", [1.0] * 99 + [50.0]).unstable is True


def test_a_few_samples_have_no_99th_percentile() -> None:
    assert timing_of("x", [1.0] * 99).p99_us is None
    assert timing_of("x", [float(number) for number in range(101)]).p99_us == 99.0


def test_percentiles_are_interpolated() -> None:
    assert [percentile([4.0, 1.0, 3.0, 2.0], share) for share in (0, 0.5, 1)] == [1.0, 2.5, 4.0]
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)
