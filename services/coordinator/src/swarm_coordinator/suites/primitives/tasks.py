"""The tasks that the suite plans: who does what, with which parameters."""

from __future__ import annotations

from swarm_common.events import Task
from swarm_coordinator.suites.primitives.catalogue import Entry

LONG_S = 300.0
AGENTS = 5
"""Of a simulated swarm, and of one that decides in the whole."""
WORLDS = 10
"""Of each simulated swarm: some ten milliseconds of work."""
_SEEDS_APART = 1_000_000


def measured(entry: Entry, variant: str, size: int) -> str:
    """Return the name of the task whose result is the measurement."""
    return "-".join(part for part in (entry.name, variant, str(size)) if part)


def empty(task: str, index: int, after: tuple[str, ...] = ()) -> Task:
    """Return an empty task: what is measured of it is the way through the log."""
    return Task(id=task, kind="noop", service="model_agent", params={"index": index}, after=after)


def weighed(scenario: str, task: str, size: int, after: tuple[str, ...] = ()) -> Task:
    """Return the task to weigh the agents of a swarm."""
    return Task(
        id=task,
        kind="weigh_agents",
        service="consensus",
        lane="cpu",
        timeout_s=LONG_S,
        params={"scenario": scenario, "size": size},
        after=after,
    )


def agreed(task: str, agents: int, decisions: int, after: tuple[str, ...] = ()) -> Task:
    """Return the task to have live agents decide."""
    return Task(
        id=task,
        kind="agree_live",
        service="consensus",
        lane="cpu",
        timeout_s=LONG_S,
        # Agents that vote hold opinions of their own, each right seven times of ten: most questions divide them.
        params={
            "mechanism": "voting",
            "agents": agents,
            "fault": "none",
            "decisions": decisions,
            "rounds": min(decisions, 20),
            "clients": 4,
        },
        after=after,
    )


def swarm_of(name: str, seed: int, number: int, after: tuple[str, ...] = ()) -> Task:
    """Return the task to simulate a swarm: the same for the same seed and number."""
    return Task(
        id=name,
        kind="simulate",
        service="consensus",
        lane="cpu",
        timeout_s=LONG_S,
        params={
            "mechanism": "raft",
            "agents": AGENTS,
            "fault": "loss",
            "seeds": WORLDS,
            "first_seed": seed * _SEEDS_APART + number * WORLDS,
        },
        after=after,
    )
