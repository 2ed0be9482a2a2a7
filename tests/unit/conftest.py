"""What unit tests of services share: a log in memory, so that handlers meet events and no broker."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from swarm_common.events import Data, Event
from swarm_common.events.benchmark import TaskScheduled
from swarm_common.events.envelope import new_event
from swarm_common.runtime import Work
from swarm_common.runtime.history import RecordedHistory

RUN = "run-1"


class Log:
    """Events in the order in which they were added."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def add(self, data: Data, *, run: str = RUN, duration_us: int | None = None) -> Event:
        """Append an event and return it, with its sequence."""
        cause = f"cause-{len(self.events)}"
        event = new_event(
            data,
            run=run,
            source="/swarm/test/1",
            cause=cause,
            handler="test",
            correlation="request-1",
            traceparent=f"00-{'a' * 32}-{'b' * 16}-01",
            duration_us=duration_us,
            time_ns=1_800_000_000_000_000_000 + len(self.events) * 1_000_000,
        )
        event = msgspec.structs.replace(event, seq=len(self.events) + 1)
        self.events.append(event)
        return event

    def work(self, event: Event) -> Work:
        """Return what a handler of ``event`` is given."""
        return Work(event, RecordedHistory(self.events))

    def task(self, kind: str, *, task: str = "t", needs: tuple[str, ...] = (), **more: Any) -> Work:
        """Schedule a task and return what its handler is given."""
        return self.work(self.add(TaskScheduled(task=task, kind=kind, service="any", needs=needs, **more)))


@pytest.fixture
def log() -> Log:
    return Log()
