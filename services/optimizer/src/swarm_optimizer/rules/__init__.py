"""Rules: from a run's events to suggestions. Pure functions; every figure comes from an event, which is named.

A rule is a function from :class:`~swarm_optimizer.rules.run.Run` to suggestions, and a line in :data:`RULES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from swarm_common.events import Event
from swarm_common.events.optimizer import Suggested, Suggestion
from swarm_optimizer.rules.asking import cache_misses, dear_mode
from swarm_optimizer.rules.ensembles import drop_model
from swarm_optimizer.rules.growing import memory_growth
from swarm_optimizer.rules.run import Run, read
from swarm_optimizer.rules.waiting import retries, slow_consumer
from swarm_optimizer.rules.working import dominating_task, idle_workers

RULES: Sequence[Callable[[Run], Iterable[Suggestion]]] = (
    lambda run: drop_model(run.events),
    dear_mode,
    dominating_task,
    idle_workers,
    retries,
    slow_consumer,
    cache_misses,
    memory_growth,
)


def suggest(events: Sequence[Event]) -> Suggested:
    """Return what a completed run's events suggest; no suggestion where the figures give no reason for one."""
    run = read(events)
    return Suggested(suggestions=tuple(found for rule in RULES for found in rule(run)), looked_at=len(events))


__all__ = ["RULES", "Run", "read", "suggest"]
