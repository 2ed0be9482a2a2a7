"""Whole runs under crashes, duplicates, failures and a second coordinator: the same digest, whatever the seed draws."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

import swarm_coordinator.replay
from support.simulated import RUN, Swarm, Trial
from swarm_common.events import Event
from swarm_common.events.benchmark import Cancelled, Completed, Failed, Started
from swarm_coordinator.replay import replay_run
from swarm_coordinator.state import RunState, evolve

SEEDS = range(150)


@pytest.fixture(autouse=True)
def _suites(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swarm_coordinator.replay, "SUITES", {"trial": Trial()})


def end(events: Sequence[Event]) -> Completed:
    (last,) = [event.data for event in events if isinstance(event.data, Completed)]
    return last


@pytest.fixture(scope="module")
def undisturbed() -> Sequence[Event]:
    return Swarm(0, faulty=False, coordinators=1).run()


def check(events: Sequence[Event]) -> RunState:
    """Fold the log and hold every state on the way against what must always be true."""
    assert not [i for i, n in Counter(event.id for event in events).items() if n > 1]
    state = RunState(run=RUN)
    for event in events:
        before, state = state, evolve(state, event)
        check_state(state)
        if before.over:
            assert (state.tasks, state.results, state.schedule.running) == (
                before.tasks,
                before.results,
                before.schedule.running,
            )
    return state


def check_state(state: RunState) -> None:
    by_status = Counter((task.spec.kind, task.status) for task in state.tasks.values())
    statuses = Counter(task.status for task in state.tasks.values())
    for kind, count in state.schedule.running.items():
        assert count == by_status[kind, "in_flight"] >= 0
    assert sum(state.schedule.running.values()) == statuses["in_flight"]
    assert len(state.schedule) == statuses["ready"]
    assert len(state.failed) == statuses["failed"]
    assert len([name for name in state.timers if name.startswith("retry-")]) == statuses["retrying"]
    assert state.open == len(state.tasks) - statuses["done"]
    assert set(state.results) == {name for name, task in state.tasks.items() if task.status == "done"}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_under_chaos_ends_with_the_digest_of_the_undisturbed_one(
    seed: int, undisturbed: Sequence[Event]
) -> None:
    swarm = Swarm(seed)
    events = swarm.run()
    state = check(events)
    assert state.over
    assert end(events).digest == end(undisturbed).digest
    assert end(events).result == end(undisturbed).result
    assert sum(isinstance(event.data, Started) for event in events) == 1
    assert end(events).clock in {"perf_counter", "wall"}
    _, _, differences = replay_run(events)
    assert not differences


def test_the_chaos_is_some() -> None:
    swarms = [Swarm(seed) for seed in range(40)]
    types = Counter(event.type for swarm in swarms for event in swarm.run())
    assert sum(swarm.crashes for swarm in swarms) > 200
    assert sum(swarm.log.conflicts for swarm in swarms) > 40
    assert types["benchmark.task_abandoned"] > 20
    assert types["agent.task_failed"] > 100


@pytest.mark.parametrize("seed", range(40))
def test_a_cancelled_run_ends_once_whatever_happens(seed: int) -> None:
    events = Swarm(seed, cancel=True, steps=200).run()
    check(events)
    ends = [event.data for event in events if isinstance(event.data, Cancelled | Completed | Failed)]
    assert len(ends) == 1
    _, _, differences = replay_run(events)
    assert not differences


@pytest.mark.parametrize("seed", range(40))
def test_a_deadline_among_everything_else_ends_the_run_once(seed: int) -> None:
    events = Swarm(seed, deadline=True, steps=200).run()
    check(events)
    (last,) = [event.data for event in events if isinstance(event.data, Completed | Failed)]
    assert isinstance(last, Completed) or last.reason.startswith("deadline")
    _, _, differences = replay_run(events)
    assert not differences
