"""From what fresh processes found to events: wiring of the tasks ``measure_overhead`` and ``profile_memory``."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Sequence

import msgspec

from swarm_common.errors import UsageError
from swarm_common.events.metrics import Grew, Grown, GrowthShown, MemoryProfiled, OverheadMeasured
from swarm_common.events.values import Samples
from swarm_metrics.costs import memory, overhead
from swarm_metrics.costs.apart import apart
from swarm_metrics.costs.sink import sink
from swarm_statistics.leaks import Growth, confirm, detect

#: What is timed of the memory profile: the name of its samples, and of what one value is.
TIMED = {
    "encode": "event",
    "decode": "event",
    "write": "event",
    "query": "",
    "collect": "",
    "open": "",
    "first": "",
    "again": "",
    "rebuild": "",
}
_DIGITS = 4


class OverheadParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of ``measure_overhead``."""

    tasks: int
    rounds: int


class MemoryParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of ``profile_memory``."""

    portions: int
    explain: bool = False


async def measure_overhead(task: str, params: OverheadParams, seed: int) -> OverheadMeasured:
    """Return what measuring costs an empty task; raises :class:`~swarm_common.errors.TaskFailed`."""
    began = time.perf_counter_ns()
    # Fewer tasks than spans fit into the queue, or some would be dropped and cost nothing.
    if not 0 < params.tasks <= 2000:
        raise UsageError(
            f"params.tasks is {params.tasks}; allowed is 1 to 2000",
            field="params.tasks",
            given=str(params.tasks),
            allowed="1 to 2000",
        )
    order = overhead.Order(tasks=params.tasks, rounds=params.rounds, seed=seed)
    async with sink() as collector:
        found = await apart("overhead", order, overhead.Found, {"OTEL_EXPORTER_OTLP_ENDPOINT": collector})
    return OverheadMeasured(
        task=task,
        tasks=params.tasks,
        rounds=params.rounds,
        conditions=overhead.CONDITIONS,
        spans=found.spans,
        samples=(
            *(_samples("task_cpu", found.cpu[of], "process_time_ns", of) for of in overhead.CONDITIONS),
            *(_samples("task_time", found.wall[of], of=of) for of in overhead.CONDITIONS),
            _samples("sample_cpu", found.sample_cpu, "thread_time_ns"),
            _samples("note_cpu", [found.note_cpu], "thread_time_ns"),
        ),
        elapsed_s=(time.perf_counter_ns() - began) / 1e9,
    )


async def profile_memory(task: str, params: MemoryParams) -> MemoryProfiled:
    """Return what keeping a view costs, and whether memory grows with work.

    Single and doubled work are done one after the other, each in a fresh process; allocations are traced, where that is
    asked for, in a third one whose times count for nothing.
    """
    began = time.perf_counter_ns()
    single, double = await _profiled(params, 1), await _profiled(params, 2)
    traced = await _profiled(params, 1, explain=True) if params.explain else None
    return MemoryProfiled(
        task=task,
        events=single.events,
        event_bytes=single.event_bytes,
        rows=single.rows,
        portions=params.portions,
        samples=(
            *(_samples(name, single.times[name], of=of) for name, of in TIMED.items()),
            _samples("pause_share", [single.pause_share], unit="ratio"),
            *(
                _samples("rss", found.rss, "statm", of, unit="bytes")
                for of, found in (("single", single), ("double", double))
                if found.rss
            ),
        ),
        grown=judged(single, double),
        grew=tuple(Grew(where=one.where, bytes=one.bytes, blocks=one.blocks) for one in _places(traced)),
        view_bytes=single.view_bytes,
        elapsed_s=(time.perf_counter_ns() - began) / 1e9,
    )


async def _profiled(params: MemoryParams, work: int, *, explain: bool = False) -> memory.Found:
    with tempfile.TemporaryDirectory(prefix="swarm-memory-", ignore_cleanup_errors=True) as directory:
        order = memory.Order(portions=params.portions, work=work, directory=directory, explain=explain)
        return await apart("memory", order, memory.Found)


def _places(traced: memory.Found | None) -> Iterable[memory.Place]:
    return () if traced is None else traced.grew


def judged(single: memory.Found, double: memory.Found) -> Grown:
    """Return whether memory grew with work."""
    found = confirm(*(detect(one.rss, collections=one.collections) for one in (single, double)))
    return Grown(
        verdict=found.verdict,
        reason=found.reason,
        ratio=found.ratio,
        single=_shown(found.single),
        double=_shown(found.double),
    )


def _shown(found: Growth) -> GrowthShown:
    return GrowthShown(
        samples=found.samples,
        warm_up=found.warm_up,
        block=found.block,
        blocks=found.blocks,
        p_value=found.p_value,
        growth=found.growth,
        low=found.low,
        high=found.high,
        per_sample=found.per_sample,
        reason=found.reason,
    )


def _samples(
    name: str, values: Sequence[float], clock: str = "perf_counter_ns", of: str = "", *, unit: str = "us"
) -> Samples:
    return Samples(
        name=name, unit=unit, values=tuple(round(value, _DIGITS) for value in values), clock=clock, of=of
    )
