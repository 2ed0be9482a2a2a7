"""A recorded run, decided again: equal; altered anywhere, different, and said where."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

import swarm_coordinator.replay
from support.simulated import REQUEST_ID, RUN, START_NS, Swarm, Trial
from swarm_common.events import Event, Host
from swarm_common.events.agent import TaskDone
from swarm_common.events.benchmark import (
    TERMINAL,
    CancelRequested,
    Rejected,
    TaskAbandoned,
    TimerFired,
)
from swarm_common.events.envelope import decode, encode, new_event
from swarm_common.ids import run_id
from swarm_coordinator.moment import Moment
from swarm_coordinator.replay import decide_again, replay_run
from swarm_coordinator.requests import Request, begin
from swarm_coordinator.suites import SUITES


@pytest.fixture(autouse=True)
def _suites(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swarm_coordinator.replay, "SUITES", {"trial": Trial(), **SUITES})


def recorded(seed: int = 3, **more: Any) -> Sequence[Event]:
    """Return a run with failures, retries, timers and two coordinators, as an export holds it."""
    return Swarm(seed, **more).run()


RECORDED = recorded()


def renumbered(events: Sequence[Event]) -> list[Event]:
    """Return events as read from a file: their bytes are what counts, their place is their line."""
    return [
        decode(encode(replace(event, raw=b"", seq=0)), line) if event.data is not None else event
        for line, event in enumerate(events, 1)
    ]


def altered(at: int, change: Callable[[Event], Event]) -> list[Event]:
    events = list(RECORDED)
    events[at] = change(events[at])
    return renumbered(events)


def other(value: Any) -> Any:
    """Return another value of the same kind."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return {"perf_counter": "wall", "wall": "perf_counter", "cpu": "io", "io": "cpu"}.get(
                value, value + "x"
            )
        case dict():
            return {**value, "x": 1}
        case tuple() | list():
            return value[:-1] if value else None
        case None:
            return 1.0
        case Host():
            return replace(value, cpu=value.cpu + "x")
        case _:
            raise AssertionError(value)


OWN = [at for at, event in enumerate(RECORDED) if event.type.startswith("benchmark.")]
END = next(at for at, event in enumerate(RECORDED) if event.type in TERMINAL)
FIRSTS = {RECORDED[at].type: at for at in reversed(OWN)}
#: What an event says of its own beginning cannot be decided again; the chain over the log, in the last event, holds it.
ECHOED = {
    ("benchmark.started", "session"),
    ("benchmark.started", "seed"),
    ("benchmark.started", "engine"),
    ("benchmark.started", "host"),
    ("benchmark.started", "timeout_s"),
    ("benchmark.completed", "duration_s"),
    ("benchmark.completed", "clock"),
}
FIELDS = [
    (kind, field)
    for kind, at in FIRSTS.items()
    for field in type(RECORDED[at].data).__struct_fields__
    if other(getattr(RECORDED[at].data, field)) is not None
    and (kind, field) != ("benchmark.completed", "clock")  # a word about the number beside it
]


def test_what_was_recorded_is_decided_again() -> None:
    decisions, skipped, differences = replay_run(RECORDED)
    assert not differences
    assert decisions + skipped == len([e for e in RECORDED if e.source.startswith("/swarm/coordinator/")])
    observed = [event for event in RECORDED if isinstance(event.data, TimerFired | TaskAbandoned)]
    assert skipped == len(observed) > 0
    assert set(FIRSTS) >= {
        "benchmark.started",
        "benchmark.planned",
        "benchmark.task_scheduled",
        "benchmark.retry_scheduled",
        "benchmark.timer_fired",
        "benchmark.completed",
    }


@pytest.mark.parametrize(("kind", "field"), FIELDS)
def test_any_altered_field_of_any_decision_is_a_difference(kind: str, field: str) -> None:
    at = FIRSTS[kind]

    def change(event: Event) -> Event:
        data = event.data
        assert data is not None
        return replace(event, data=replace(data, **{field: other(getattr(data, field))}))

    _, _, differences = replay_run(altered(at, change))
    positions = [difference.position for difference in differences]
    assert positions, (kind, field)
    recorded_from_outside = kind in {"benchmark.timer_fired", "benchmark.task_abandoned"}
    if (kind, field) not in ECHOED and not recorded_from_outside:
        assert positions[0] == at + 1
        assert kind in differences[0].what
    assert at + 1 <= positions[0] <= len(RECORDED)


@pytest.mark.parametrize("kind", sorted(FIRSTS))
@pytest.mark.parametrize("attribute", ["id", "time", "correlation", "causation"])
def test_an_altered_envelope_is_a_difference(kind: str, attribute: str) -> None:
    at = FIRSTS[kind]
    value = {"time": "2030-01-01T00:00:00.000000Z"}.get(attribute, "another")
    _, _, differences = replay_run(altered(at, lambda event: replace(event, **{attribute: value})))
    assert differences
    assert differences[0].position >= at + 1


@pytest.mark.parametrize("at", [at for at in range(1, len(RECORDED)) if RECORDED[at].type not in TERMINAL])
def test_a_dropped_event_is_a_difference(at: int) -> None:
    _, _, differences = replay_run(renumbered([*RECORDED[:at], *RECORDED[at + 1 :]]))
    assert differences
    assert min(difference.position for difference in differences) >= at


@pytest.mark.parametrize("at", range(1, END, 7))
def test_an_added_event_is_a_difference(at: int) -> None:
    cause = RECORDED[at - 1]
    extra = new_event(
        TaskDone(task="first-0", index=1000),
        run=RUN,
        source="/swarm/model_agent/9",
        cause=cause.id,
        handler="forged",
        correlation=REQUEST_ID,
        time_ns=START_NS,
    )
    _, _, differences = replay_run(renumbered([*RECORDED[:at], extra, *RECORDED[at:]]))
    assert differences
    assert max(difference.position for difference in differences) == len(RECORDED) + 1


def test_swapped_events_are_a_difference() -> None:
    at = FIRSTS["benchmark.retry_scheduled"]
    events = [*RECORDED[: at - 1], RECORDED[at], RECORDED[at - 1], *RECORDED[at + 1 :]]
    assert replay_run(renumbered(events))[2]


def test_a_workers_altered_result_is_a_difference_at_the_end() -> None:
    at = next(at for at, event in enumerate(RECORDED) if isinstance(event.data, TaskDone))

    def change(event: Event) -> Event:
        assert isinstance(event.data, TaskDone)
        return replace(event, data=replace(event.data, index=event.data.index + 1))

    _, _, (difference,) = replay_run(altered(at, change))
    assert difference.position == len(RECORDED)
    assert difference.event_id == RECORDED[-1].id
    assert set(difference.recorded) == {"result", "metrics", "digest", "log_sha256"}


def test_a_time_that_a_worker_measured_is_no_part_of_the_digest_but_of_the_chain() -> None:
    at = next(at for at, event in enumerate(RECORDED) if isinstance(event.data, TaskDone))

    def change(event: Event) -> Event:
        assert isinstance(event.data, TaskDone)
        return replace(event, data=replace(event.data, elapsed_us=1e6))

    _, _, (difference,) = replay_run(altered(at, change))
    assert set(difference.recorded) == {"log_sha256"}


def test_a_run_under_another_name_is_a_difference() -> None:
    events = renumbered([replace(event, run="another") for event in RECORDED])
    assert "another run" in replay_run(events)[2][0].what


def test_a_rejection_is_decided_again_unless_its_request_was_cut() -> None:
    for body, skipped in (({"suite": "nope"}, 0), ({"suite": "x" * 9000}, 1)):
        data = begin(Request(id=REQUEST_ID, body=body), swarm_coordinator.replay.SUITES, Moment(START_NS), "")
        assert isinstance(data, Rejected)
        event = new_event(
            data,
            run=RUN,
            source="/swarm/coordinator/1",
            cause=REQUEST_ID,
            handler="coordinator.decide",
            correlation=REQUEST_ID,
        )
        assert replay_run(renumbered([event])) == (1 - skipped, skipped, [])
        if not skipped:
            forged = replace(event, data=replace(data, reason="no reason"))
            assert replay_run(renumbered([forged]))[2][0].position == 1


async def test_runs_are_told_apart_and_counted_together() -> None:
    alone = await decide_again(renumbered(RECORDED))
    rejected = new_event(
        begin(Request(id="r2", body={}), swarm_coordinator.replay.SUITES, Moment(START_NS), ""),
        run=run_id("r2"),
        source="/swarm/coordinator/1",
        cause="r2",
        handler="coordinator.decide",
        correlation="r2",
    )
    outcome = await decide_again(renumbered([*RECORDED[:9], rejected, *RECORDED[9:]]))
    assert (outcome.decisions, outcome.differences) == (alone.decisions + 1, ())
    assert (await decide_again(())).decisions == 0


def test_a_run_that_is_not_over_is_decided_again_as_far_as_it_goes() -> None:
    for upto in range(1, len(RECORDED)):
        if RECORDED[upto].causation != RECORDED[upto - 1].causation:  # a decision is stored as a whole
            assert not replay_run(RECORDED[:upto])[2]


def test_a_cancelled_run_is_decided_again() -> None:
    events = recorded(5, cancel=True)
    assert any(isinstance(event.data, CancelRequested) for event in events)
    assert not replay_run(renumbered(events))[2]
