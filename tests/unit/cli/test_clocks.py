"""Which waits of a run lie between two hosts, and what of them is only their clocks."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from swarm_cli.clocks import Hop, hops, several_hosts, writers
from swarm_cli.commands.trace import Clocks, document
from swarm_common.events import Event
from swarm_common.timeline import timeline
from swarm_statistics.clocks import Offset


def offset(ns: int, bound: int) -> Offset:
    return Offset(offset_ns=ns, bound_ns=bound, exchanges=16)


@pytest.fixture
def spread(recorded: list[Event]) -> list[Event]:
    """A run whose tasks were done on another host than its coordinator's."""
    return [
        replace(event, source="/swarm/model_agent/far.example-9")
        if event.type == "agent.task_done"
        else replace(event, source="/swarm/coordinator/near-1")
        for event in recorded
    ]


def test_the_instances_that_wrote_a_run_are_known_by_their_service(spread: list[Event]) -> None:
    assert writers(spread) == {"far.example-9": "model_agent", "near-1": "coordinator"}
    assert several_hosts(writers(spread))
    assert not several_hosts(["near-1", "near-22"])


def test_waits_between_hosts_carry_offset_and_bound_and_others_none(spread: list[Event]) -> None:
    known = {"near-1": offset(1_000, 20_000), "far.example-9": offset(3_001_000, 150_000)}
    found = hops(spread, known)
    by_id = {event.id: event for event in spread}
    done = [event.id for event in spread if event.type == "agent.task_done"]
    assert [found[name] for name in done] == [Hop(3000.0, 170.0)] * len(done)
    back = [name for name in found if name not in done]
    assert {by_id[name].type for name in back} == {"benchmark.completed"}
    assert [found[name] for name in back] == [Hop(-3000.0, 170.0)]


def test_without_an_answer_nothing_is_claimed(spread: list[Event]) -> None:
    assert hops(spread, {"near-1": offset(0, 1)}) == {}


def test_on_one_host_there_is_nothing_to_say(recorded: list[Event]) -> None:
    known = {name: offset(5, 5) for name in writers(recorded)}
    assert hops(recorded, known) == {}


def test_the_path_as_json_has_them(spread: list[Event]) -> None:
    known = {"near-1": offset(0, 20_000), "far.example-9": offset(3_000_000, 150_000)}
    plain = document(
        timeline(spread), Clocks(writers=writers(spread), offsets=known, hops=hops(spread, known))
    )
    steps = {step["type"]: step for step in plain["path"]}
    assert (steps["agent.task_done"]["clock_offset_us"], steps["agent.task_done"]["clock_bound_us"]) == (
        3000.0,
        170.0,
    )
    assert "clock_bound_us" not in steps["benchmark.task_scheduled"]
    assert [clock["instance"] for clock in plain["clocks"]] == ["far.example-9", "near-1"]
