"""Memory-sync: what the swarm remembers across runs. Wiring; rules are in :mod:`~swarm_memory_sync.decider`."""

from __future__ import annotations

from swarm_common.errors import NotFound, UsageError
from swarm_common.events.benchmark import Completed, Started
from swarm_common.events.memory import Recalled, Remembered
from swarm_common.memory_key import memory_key
from swarm_common.runtime.host import Context
from swarm_common.runtime.service import Service, Work
from swarm_memory_sync.decider import main_value
from swarm_memory_sync.replica import Replica

service = Service("memory_sync", "memory", description="The swarm's shared memory and its replicas.")
_replica: Replica | None = None


@service.on_start
async def open_memory(context: Context) -> None:
    """Take the log to read from; it is read when somebody asks."""
    global _replica  # noqa: PLW0603 - there is a log only when the service has started
    _replica = Replica(context.log)


@service.task("recall", lane="io", pure=False)
async def recall(work: Work) -> Recalled:
    """Return what is known of ``params.key``. Not pure: it depends on all runs before."""
    key = work.task.params.get("key")
    if not isinstance(key, str) or not key:
        raise UsageError(
            "params.key is missing; it is memory_key(suite, scenario, params)",
            field="params.key",
            given=str(key),
        )
    return await memory().recall(key, work.task.task)


@service.reaction(Completed, pure=False)
async def remember(work: Work) -> Remembered:
    """Remember a completed run: its main metric, and whether it is the best so far."""
    completed = work.event.data
    started = next((event.data for event in await work.run_events() if isinstance(event.data, Started)), None)
    if started is None or not isinstance(completed, Completed):
        raise NotFound(f"run {work.event.run} has completed, and its benchmark.started is not in the log")
    value = main_value(completed.metrics, run=work.event.run, session=started.session, time=work.event.time)
    key = memory_key(started.suite, started.scenario, started.params)
    return await memory().remember(key, work.event.run, value)


def memory() -> Replica:
    """Return this process's replica."""
    if _replica is None:
        raise NotFound("memory-sync has not started: there is no log to read from")
    return _replica
