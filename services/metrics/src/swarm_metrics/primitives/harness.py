"""The harness: times a prepared case in calibrated loops, and keeps every sample.

The method is pyperf's (docs/primitives.md): loops are doubled until one sample takes :attr:`Settings.least_us`, so that
the clock is small beside it; its cost is measured and taken off all the same; the first samples are dropped; the rest
are kept, one value of the time of an operation each. Automatic garbage collection is off while a sample is taken, and
garbage is collected between two, outside of the time: a collection would fall on whichever sample comes by.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from swarm_common.errors import TaskFailed
from swarm_common.events import Samples
from swarm_common.events.measuring import Clock, Timing
from swarm_common.timing import clock_of, timing_of
from swarm_metrics.primitives.case import Case, Fact, Prepared

Reading = Callable[[], int]
_MOST_LOOPS = 1 << 30
_DIGITS = 5
"""Of a sample in microseconds: hundredths of a nanosecond."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How long and how often."""

    least_us: float = 1000.0
    """What a sample takes at least, before it is divided by its operations."""
    samples: int = 200
    fewest: int = 20
    """As many are taken however long one takes."""
    shots: int = 1000
    """Single operations timed one by one, where a case has such."""
    warm_up: int = 5
    """Samples, and a tenth of the shots, taken first and dropped."""
    budget_s: float = 0.6
    """Samples end when it is used up and there are :attr:`fewest`; the shots have half of it besides."""


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured of a case at a size."""

    samples: tuple[Samples, ...]
    timings: tuple[Timing, ...]
    checked: dict[str, Fact]
    clock: Clock


def measure(
    case: Case,
    size: int,
    seed: int,
    settings: Settings,
    reading: Reading = time.perf_counter_ns,
    cpu: Reading = time.process_time_ns,
) -> Measurement:
    """Prepare a case, time it, check its work and end it.

    Raises:
        TaskFailed: The work was wrong, or a loop takes no time at all.
    """
    clock = clock_of(reading)
    if case.most_samples:
        most = min(case.most_samples, settings.samples)
        settings = msgspec.structs.replace(settings, samples=most, fewest=most, warm_up=1)
    prepared = case.prepare(size, seed)
    try:
        with _collecting_between() as collect:
            found = [_batches(prepared, settings, clock, reading, cpu, collect)]
            # Where a sample is one operation already, single shots would say the same again.
            if prepared.once is not None and found[0].loops * prepared.operations > 1:
                found.append(_shots(prepared.once, settings, clock, reading, collect))
        also = () if prepared.also is None else prepared.also()
        checked = prepared.check()
    finally:
        prepared.teardown()
    name = name_of(case.scenario, case.variant, size)
    names = [name, f"{name}.single"][: len(found)]
    taken = list(zip(names, found, strict=True))
    return Measurement(
        samples=(
            *(Samples(name=name, unit="us", values=each.values_us) for name, each in taken),
            *_cpu(name, found[0].cpu_us),
            *also,
        ),
        timings=(
            *(
                timing_of(
                    name, each.values_us, loops=each.loops, operations=each.operations, warm_up=each.warm_up
                )
                for name, each in taken
            ),
            *(timing_of(one.name, one.values) for one in also if one.unit == "us"),
        ),
        checked=checked,
        clock=clock,
    )


CPU = ".cpu"
"""How the name of processor times ends."""


def _cpu(name: str, values_us: tuple[float, ...]) -> tuple[Samples, ...]:
    if not values_us:
        return ()
    return (Samples(name=f"{name}{CPU}", unit="us", values=values_us, clock="process_time_ns"),)


def name_of(scenario: str, variant: str, size: int) -> str:
    """Return what the samples of a case at a size are called: ``priority_scheduling.dequeue.1000``."""
    return ".".join(part for part in (scenario, variant, str(size)) if part)


class _Taken(msgspec.Struct, frozen=True):
    values_us: tuple[float, ...]
    loops: int
    operations: int
    warm_up: int
    cpu_us: tuple[float, ...] = ()
    """What the same samples took of the processor."""


def elapsed_ns(run: Callable[[int], int | None], loops: int, clock: Clock, reading: Reading) -> float:
    """Return the nanoseconds of ``loops`` loops, less what the clock cost.

    A case that times itself has read the clock twice in each loop; otherwise it was read twice in all.
    """
    began = reading()
    own = run(loops)
    ended = reading()
    return ended - began - clock.cost_ns if own is None else own - loops * clock.cost_ns


def calibrate(
    run: Callable[[int], int | None], least_us: float, clock: Clock, reading: Reading = time.perf_counter_ns
) -> int:
    """Return how many loops take at least ``least_us``: 1, doubled until they do, as pyperf does.

    Raises:
        TaskFailed: A billion loops do not: nothing is done in them.
    """
    loops = 1
    while elapsed_ns(run, loops, clock, reading) < least_us * 1e3:
        if loops >= _MOST_LOOPS:
            raise TaskFailed(f"{loops} loops take less than {least_us:g} us: no work is done in them")
        loops *= 2
    return loops


def _batches(
    prepared: Prepared,
    settings: Settings,
    clock: Clock,
    reading: Reading,
    cpu: Reading,
    collect: Callable[[], None],
) -> _Taken:
    timed_outside = True

    def run(loops: int) -> int | None:
        nonlocal timed_outside
        own = prepared.run(loops)
        timed_outside = own is None
        return own

    loops = calibrate(run, settings.least_us, clock, reading)
    operations = loops * prepared.operations
    collect()
    began = reading()
    values: list[float] = []
    cpu_values: list[float] = []
    for number in range(settings.warm_up + settings.samples):
        before = cpu()
        taken_ns = elapsed_ns(run, loops, clock, reading)
        cpu_ns = cpu() - before
        collect()
        if number >= settings.warm_up:
            values.append(_us(taken_ns / operations))
            cpu_values.append(_us(cpu_ns / operations))
        if len(values) >= settings.fewest and (reading() - began) / 1e9 > settings.budget_s:
            break
    # Of a case that times itself it would be of all it does, and not of the operations alone.
    kept = tuple(cpu_values) if timed_outside else ()
    return _Taken(tuple(values), loops, prepared.operations, settings.warm_up, kept)


def _shots(
    once: Callable[[], object],
    settings: Settings,
    clock: Clock,
    reading: Reading,
    collect: Callable[[], None],
) -> _Taken:
    """Time single operations: the only way to see the slowest of those that take less than a microsecond.

    What the clock cost is taken off each; what then would be less than nothing is nothing. The call of ``once`` is in
    the time, so that the figure is too high rather than too low.
    """
    warm_up = settings.shots // 10
    collect()
    began = reading()
    values: list[float] = []
    for number in range(warm_up + settings.shots):
        before = reading()
        once()
        after = reading()
        if number >= warm_up:
            values.append(_us(after - before - clock.cost_ns))
        if len(values) >= settings.fewest and (after - began) / 1e9 > settings.budget_s / 2:
            break
    return _Taken(tuple(values), 1, 1, warm_up)


def _us(nanoseconds: float) -> float:
    return round(max(nanoseconds, 0.0) / 1e3, _DIGITS)


@contextmanager
def _collecting_between() -> Iterator[Callable[[], None]]:
    """Switch automatic collection off, and offer a collection; what was there before is not looked through again."""
    was_on = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield _collect_if_much
    finally:
        gc.unfreeze()
        if was_on:
            gc.enable()


def _collect_if_much() -> None:
    """Collect where the youngest generation is full, which is when Python would have."""
    if gc.get_count()[0] >= gc.get_threshold()[0]:
        gc.collect()
