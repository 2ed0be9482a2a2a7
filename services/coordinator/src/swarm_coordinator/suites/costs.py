"""Scenarios ``overhead``, ``usage`` and ``memory`` of suite ``noop``: what measuring, a run, a kept view cost."""

from __future__ import annotations

from collections.abc import Sequence

from swarm_common.events import Metric, Target, Task
from swarm_common.events.metrics import Collected, MemoryProfiled, OverheadMeasured
from swarm_coordinator.plans import Fact, Finish, Param, Scenario
from swarm_coordinator.suites.medians import ESTIMATOR, median

OVERHEAD = Scenario(
    name="overhead",
    description="What measuring costs: the same empty tasks with tracing off, on and sampled, and with collection",
    params=(
        Param(
            name="tasks", type="int", default=300, low=10, high=2000, description="empty tasks in each block"
        ),
        Param(
            name="rounds",
            type="int",
            default=20,
            low=6,
            high=500,
            description="blocks of each kind, in turns; more make the intervals narrower",
        ),
    ),
    targets=(Target(metric="note_us", op="<=", target=2.0),),
)
USAGE = Scenario(
    name="usage",
    description="What every service uses for a run: empty tasks, and its processor time before and after them",
    params=(
        Param(
            name="tasks", type="int", default=2000, low=100, high=100_000, description="how many empty tasks"
        ),
    ),
)
MEMORY = Scenario(
    name="memory",
    description="Memory persistence profile: what a view kept over sessions costs, and whether memory grows with work",
    params=(
        Param(
            name="portions",
            type="int",
            default=480,
            low=16,
            high=20_000,
            description="equal portions of work, memory is read after each; fewer than 144 tell nothing of leaks",
        ),
        Param(
            name="explain",
            type="bool",
            default=False,
            description="also say which lines of code took memory that they did not give back, in a run of its own",
        ),
    ),
    targets=(Target(metric="leaks", op="==", target=0),),
)


def task_of(scenario: str, params: dict[str, object]) -> Task:
    """Return the one task of a scenario; metrics does it, in processes of its own."""
    kind = {"overhead": "measure_overhead", "memory": "profile_memory"}[scenario]
    # A measurement that failed half-way is not repeated in silence: it took its time, and says why.
    return Task(id=scenario, kind=kind, service="metrics", lane="cpu", params=params, max_attempts=2)


BEFORE, AFTER = "usage-before", "usage-after"


def collect_task(name: str) -> Task:
    """Return the task that hears what every service has used: ``BEFORE``, or ``AFTER`` with the difference."""
    after = (BEFORE,) if name == AFTER else ()
    return Task(id=name, kind="collect", service="metrics", after=after)


def usage_metrics(fact: Fact, tasks: int) -> tuple[Metric, ...]:
    """Return what a task cost all services together and each of them, by the difference of two collections."""
    data = fact.data
    if not isinstance(data, Collected):
        raise TypeError(type(data).__name__)
    by_service: dict[str, dict[str, float]] = {}
    for one in data.samples:
        by_service.setdefault(one.name, {})[one.of] = sum(one.values)
    source = (fact.event,)
    how = "processor time between two collections, idle time between them included, by the tasks"

    def told(name: str, value: float | None, unit: str, estimator: str) -> Metric:
        return Metric(
            name=name,
            value=value,
            unit=unit,
            better="lower",
            n=tasks,
            timing=True,
            estimator=estimator,
            reason="" if value is not None else data.reason or "no service could say",
            source=source,
        )

    cpu, pauses, peaks = (by_service.get(name, {}) for name in ("cpu", "gc_pause", "rss_peak"))
    return (
        told("task_cpu_us", sum(cpu.values()) * 1e6 / tasks if cpu else None, "us", f"{how}; all services"),
        *(told(f"task_cpu_us_{name}", cpu[name] * 1e6 / tasks, "us", how) for name in sorted(cpu)),
        told(
            "gc_pause_us",
            sum(pauses.values()) if pauses else None,
            "us",
            "collections of garbage, all services",
        ),
        told(
            "rss_peak_bytes",
            sum(peaks.values()) if peaks else None,
            "bytes",
            "sum over services; each since it began",
        ),
    )


def finish(fact: Fact) -> Finish:
    """Return the result and the metrics of what was measured."""
    data = fact.data
    if isinstance(data, OverheadMeasured):
        result = {"tasks": data.tasks, "rounds": data.rounds, "spans": data.spans}
        return Finish(result=result, metrics=overhead_metrics(data, (fact.event,)))
    if isinstance(data, MemoryProfiled):
        result = {"events": data.events, "event_bytes": data.event_bytes, "runs": data.rows}
        return Finish(result=result, metrics=memory_metrics(data, (fact.event,)))
    raise TypeError(type(data).__name__)


def overhead_metrics(data: OverheadMeasured, source: tuple[str, ...]) -> tuple[Metric, ...]:
    """Return what each condition adds to an empty task, as the median over rounds of paired differences."""
    by_name = {(one.name, one.of): one.values for one in data.samples}
    off, *others = data.conditions
    found = [
        Metric(
            name="tasks", value=data.tasks * data.rounds * len(data.conditions), unit="count", source=source
        ),
        Metric(name="spans", value=sum(data.spans.values()), unit="count", better="neither", source=source),
        _timed("task_us", by_name["task_cpu", off], source, "processor time of an empty task at its worker"),
    ]
    for name in others:
        for kind, unit in (("task_cpu", "us"), ("task_time", "wall_us")):
            pairs = zip(by_name[kind, name], by_name[kind, off], strict=True)
            differences = [with_it - without for with_it, without in pairs]
            what = f"{'processor time' if unit == 'us' else 'time'} a task, with {name} less without"
            found.append(_timed(f"{name}_{unit}", differences, source, what))
    samples = by_name["sample_cpu", ""]
    mean = sum(samples) / len(samples)
    found.append(
        Metric(
            name="sample_us",
            value=mean,
            unit="us",
            better="lower",
            n=len(samples),
            timing=True,
            estimator="processor time of one sample; mean, for every thirtieth reads more",
            source=source,
        )
    )
    found.append(
        _timed("note_us", by_name["note_cpu", ""], source, "processor time of noting that a task ended")
    )
    return tuple(found)


_PROFILED = (
    ("encode_us", "encode", "an event to JSON"),
    ("decode_us", "decode", "an event from JSON, checked"),
    ("write_us", "write", "an event into the view"),
    ("query_us", "query", "the latest 20 runs, while the view is written"),
    ("session_us", "open", "opening the view that an earlier session left"),
    ("rebuild_us", "rebuild", "making the view anew from the log instead"),
    ("first_query_us", "first", "the first query of a session"),
    ("next_query_us", "again", "the same query once more"),
    ("collect_us", "collect", "collecting all garbage"),
)


def memory_metrics(data: MemoryProfiled, source: tuple[str, ...]) -> tuple[Metric, ...]:
    """Return times, sizes and growth of a view that is kept over sessions."""
    by_name = {one.name: one.values for one in data.samples}
    first, again = median(by_name["first"])[0], median(by_name["again"])[0]
    return (
        Metric(name="events", value=data.events, unit="count", better="neither", source=source),
        Metric(
            name="event_bytes",
            value=data.event_bytes / data.events,
            unit="bytes",
            better="lower",
            n=data.events,
            estimator="mean, as JSON",
            source=source,
        ),
        *(_timed(name, by_name[of], source, what) for name, of, what in _PROFILED),
        Metric(
            name="cache_saving",
            value=1 - again / first if first else None,
            unit="ratio",
            n=len(by_name["first"]),
            timing=True,
            estimator="what of a session's first query the next one saves: medians of next_query_us and first_query_us",
            reason="" if first else "the first query took no measurable time",
            source=source,
        ),
        Metric(
            name="gc_share",
            value=by_name["pause_share"][0],
            unit="ratio",
            better="lower",
            n=data.portions,
            timing=True,
            estimator="time in collections of garbage that came by themselves, over that of all work",
            source=source,
        ),
        Metric(
            name="view_bytes",
            value=data.view_bytes / data.events,
            unit="bytes",
            better="lower",
            n=data.events,
            timing=True,
            estimator="the view's file, for each event",
            source=source,
        ),
        *_growth(data, source),
        *(
            Metric(
                name=f"grew_{number}",
                value=one.bytes,
                unit="bytes",
                better="lower",
                n=one.blocks,
                timing=True,
                estimator=f"{one.where}: more at the end than after the warm-up, with allocations traced",
                source=source,
            )
            for number, one in enumerate(data.grew, 1)
        ),
    )


def _growth(data: MemoryProfiled, source: tuple[str, ...]) -> tuple[Metric, Metric]:
    grown, single = data.grown, data.grown.single
    unknown = grown.verdict == "too few samples"
    return (
        Metric(
            name="growth_bytes",
            value=None if unknown else single.growth,
            unit="bytes",
            better="lower",
            n=single.samples,
            low=None if unknown else single.low,
            high=None if unknown else single.high,
            timing=True,
            estimator=f"Theil-Sen over {single.blocks} minima of {single.block} portions; Sen's 95 % interval",
            reason=grown.reason if unknown else "",
            source=source,
        ),
        Metric(
            name="leaks",
            value=None if unknown else float(grown.verdict == "leak"),
            unit="count",
            better="lower",
            n=single.samples,
            timing=True,
            estimator=f"{grown.verdict}: {grown.reason}",
            reason=grown.reason if unknown else "",
            source=source,
        ),
    )


def _timed(name: str, values: Sequence[float], source: tuple[str, ...], what: str) -> Metric:
    value, low, high = median(values)
    return Metric(
        name=name,
        value=value,
        unit="us",
        better="lower",
        n=len(values),
        low=low,
        high=high,
        timing=True,
        estimator=f"{what}; {ESTIMATOR}" if len(values) > 1 else what,
        source=source,
    )
