"""What the swarm remembers of a scenario: how often it ran, and the best it did. Pure functions of one key's memory.

A memory is what the ``memory.remembered`` events of its key make of it, in the order of the log, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from swarm_common.events import Metric
from swarm_common.events.memory import Best, Recalled, Remembered


class Memory(msgspec.Struct, frozen=True):
    """Of one key."""

    runs: int = 0
    best: Best | None = None


NOTHING = Memory()


def evolve(memory: Memory, event: Remembered) -> Memory:
    """Return the memory after one more run.

    It counts and compares afresh: what an event says of ``runs`` and ``best`` is what its writer knew, and
    another replica may have written at the same moment.
    """
    better = event.value is not None and beats(event.value, memory.best)
    return Memory(memory.runs + 1, event.value if better else memory.best)


def beats(value: Best, best: Best | None) -> bool:
    """Say whether ``value`` takes the place of ``best``: none yet, one of another metric, or one strictly worse."""
    if best is None or best.metric != value.metric:
        return True
    return value.value > best.value if value.better == "higher" else value.value < best.value


def remember(memory: Memory, key: str, value: Best | None) -> Remembered:
    """Decide what a completed run means for the memory of its key. The first of its kind has improved nothing."""
    comparable = value is not None and memory.best is not None and memory.best.metric == value.metric
    better = value is not None and beats(value, memory.best)
    return Remembered(
        key=key,
        runs=memory.runs + 1,
        value=value,
        best=value if better else memory.best,
        improved=comparable and better,
    )


def recall(memory: Memory, key: str, task: str) -> Recalled:
    """Return what is known of a key."""
    return Recalled(task=task, key=key, runs=memory.runs, best=memory.best)


def main_value(metrics: Sequence[Metric], *, run: str, session: str, time: str) -> Best | None:
    """Return a run's main metric: the first that has a value, a better direction, and does not tell of time."""
    for metric in metrics:
        if metric.value is not None and not metric.timing and metric.better != "neither":
            return Best(
                metric=metric.name,
                value=metric.value,
                better=metric.better,
                run=run,
                session=session,
                time=time,
            )
    return None
