"""Events to append: as a service would make them, with one line each."""

from __future__ import annotations

from typing import Any

from swarm_common.events import Data, Event
from swarm_common.events.agent import TaskDone
from swarm_common.events.benchmark import CancelRequested
from swarm_common.events.envelope import new_event

TRACEPARENT = f"00-{'a' * 32}-{'b' * 16}-01"


def event(data: Data, run: str, cause: str = "", index: int | str = 0, **more: Any) -> Event:
    """Return a new event of a run; cause (another for each run) and index decide its id."""
    given: dict[str, Any] = {"source": "/swarm/test/1", "handler": "test", "traceparent": TRACEPARENT} | more
    return new_event(data, run=run, cause=cause or f"cause of {run}", index=index, **given)


def done(run: str, index: int = 0, **more: Any) -> Event:
    """Return the result of task ``t<index>``."""
    return event(TaskDone(task=f"t{index}", index=index), run, index=index, **({"handler": "work"} | more))


def decision(run: str, index: int = 0, **more: Any) -> Event:
    """Return an event of the context ``benchmark``: what is written under optimistic concurrency."""
    return event(CancelRequested(reason=str(index)), run, index=index, **({"handler": "decide"} | more))
