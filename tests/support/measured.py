"""Events that tell samples, for tests of what becomes of samples: valid, and about nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec

from swarm_common.events import Data, Event, Samples, decode, registered
from swarm_common.events.benchmark import Completed, Started, TaskScheduled
from swarm_common.events.envelope import new_event
from swarm_common.events.schema import example
from swarm_common.events.values import Metric

_BEGAN_NS = 1_800_000_000_000_000_000
_EXAMPLE = decode(
    json.dumps(example(next(entry for entry in registered() if entry.name == "metrics.measured"))).encode()
).data


def measured(task: str, *samples: Samples) -> Data:
    """Return the data of an event that concludes a task and tells samples."""
    assert _EXAMPLE is not None
    return msgspec.structs.replace(_EXAMPLE, task=task, samples=samples)


def started(suite: str = "noop", scenario: str = "throughput", session: str = "default") -> Started:
    return Started(
        request_id="q",
        suite=suite,
        scenario=scenario,
        params={},
        session=session,
        seed=42,
        timeout_s=60.0,
        deadline="2027-01-01T00:00:00Z",
        tasks=(),
    )


def scheduled(task: str, kind: str = "measure") -> TaskScheduled:
    return TaskScheduled(task=task, kind=kind, service="metrics")


def completed(*metrics: Metric) -> Completed:
    return Completed(
        result={},
        metrics=metrics,
        targets=(),
        digest="",
        duration_s=1.0,
        clock="perf_counter",
        tasks=1,
        attempts=1,
        events=3,
        log_sha256="",
    )


def log_of(data: Sequence[tuple[str, Data]], *, after: int = 0) -> list[Event]:
    """Return events of a log, a second apart, the first behind sequence ``after``; ids do not depend on it."""
    return [
        msgspec.structs.replace(
            new_event(
                item,
                run=run,
                source="/swarm/x/1",
                cause=f"c{index}",
                handler="h",
                duration_us=index,
                time_ns=_BEGAN_NS + index * 1_000_000_000,
            ),
            seq=after + index + 1,
        )
        for index, (run, item) in enumerate(data)
    ]
