"""A recorded run, small enough to count with one's fingers."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from swarm_cli import output
from swarm_common import clock
from swarm_common.events import Data, Event, JudgedTarget, Metric, Target, Task
from swarm_common.events.agent import TaskDone
from swarm_common.events.benchmark import Completed, Started, TaskScheduled
from swarm_common.events.envelope import decode, encode, new_event
from swarm_common.log.files import chain

RUN = "0123456789abcdef"
BEGIN_NS = clock.parse_ns("2026-11-21T10:00:00Z")


@pytest.fixture(autouse=True)
def _nothing_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command prints one JSON document a process; here, one a test."""
    monkeypatch.setattr(output, "_printed", False)


class Recorder:
    """Appends events as services would: each names its cause, and has its bytes."""

    def __init__(self, run: str = RUN) -> None:
        self.run = run
        self.events: list[Event] = []

    def add(
        self,
        data: Data,
        *,
        at_us: int,
        cause: Event | None = None,
        service: str = "coordinator",
        duration_us: int | None = None,
    ) -> Event:
        event = new_event(
            data,
            run=self.run,
            source=f"/swarm/{service}/host-1",
            cause=cause.id if cause else "request",
            handler=f"test-{len(self.events)}",
            correlation="request",
            traceparent=f"00-{'a' * 32}-{'b' * 16}-01",
            duration_us=duration_us,
            time_ns=BEGIN_NS + at_us * 1000,
        )
        event = decode(encode(event), len(self.events) + 1)
        self.events.append(event)
        return event


def record(run: str = RUN, *, value: float = 0.9, reason: str = "") -> list[Event]:
    """Return a run of two tasks, the second of which is on the critical path."""
    log = Recorder(run)
    started = log.add(
        Started(
            request_id="request",
            suite="noop",
            scenario="throughput",
            params={"tasks": 2, "note": "<script>alert(1)</script>"},
            session="default",
            seed=42,
            timeout_s=60.0,
            deadline="2026-11-21T10:01:00Z",
            tasks=(
                Task(id="t-0", kind="noop", service="model_agent"),
                Task(id="t-1", kind="noop", service="model_agent"),
            ),
            targets=(Target(metric="accuracy", op=">=", target=0.85),),
        ),
        at_us=100,
        duration_us=100,
    )
    scheduled = [
        log.add(TaskScheduled(task=f"t-{at}", kind="noop", service="model_agent"), at_us=200, cause=started)
        for at in range(2)
    ]
    for at, (took, wait) in enumerate(((1000, 300), (4000, 500))):
        log.add(
            TaskDone(task=f"t-{at}", index=at),
            at_us=200 + wait + took,
            cause=scheduled[at],
            service="model_agent",
            duration_us=took,
        )
    link = ""
    for event in log.events:
        link = chain(link, event.raw)
    log.add(
        Completed(
            result={"tasks": 2},
            metrics=(
                Metric(
                    name="accuracy", value=value, unit="ratio", n=10, low=0.8, high=0.95, estimator="mean"
                ),
                Metric(name="tokens", value=None, unit="count", reason="no model was asked"),
                Metric(name="seconds", value=0.005, unit="s", better="lower", timing=True),
            ),
            targets=(JudgedTarget(metric="accuracy", op=">=", target=0.85, value=0.9, met=True),),
            digest="sha256:00",
            duration_s=0.005,
            clock="perf_counter",
            tasks=2,
            attempts=2,
            events=len(log.events),
            log_sha256=reason or link,
        ),
        at_us=5000,
        cause=log.events[-1],
        duration_us=200,
    )
    return log.events


@pytest.fixture
def recorded() -> list[Event]:
    return record()


@pytest.fixture
def make_run() -> Callable[..., list[Event]]:
    return record


def with_seq(events: list[Event], first: int) -> list[Event]:
    """Return the events as they would lie in a log from a sequence on."""
    return [msgspec.structs.replace(event, seq=first + at) for at, event in enumerate(events)]
