"""What agents weigh is counted: it grows with agents and decisions, and a swarm that did not decide has none."""

from __future__ import annotations

import tracemalloc

import pytest

from swarm_common.errors import TaskFailed, UsageError
from swarm_common.events import digest_view
from swarm_consensus.simulator import weighing
from swarm_consensus.simulator.weighing import WeighParams, weigh


def held(**params: int | str) -> float:
    found = weigh("t", WeighParams(scenario="memory_overhead", repeats=1, **params), 7)  # type: ignore[arg-type]
    return found.samples[0].values[0]


@pytest.mark.parametrize("mechanism", ["raft", "voting"])
def test_more_agents_and_more_decisions_take_more_memory(mechanism: str) -> None:
    few = held(mechanism=mechanism, size=5)
    assert held(mechanism=mechanism, size=10) > 1.5 * few
    assert held(mechanism=mechanism, size=5, values=50) > 1.2 * few


def test_what_is_weighed_is_about_what_it_was_before() -> None:
    first, again = (held(size=10) for _ in range(2))
    assert first == pytest.approx(again, rel=0.05)


def test_all_agents_have_decided_all_values() -> None:
    found = weigh("t", WeighParams(scenario="memory_overhead", size=6, values=4, repeats=2), 7)
    assert found.checked == {"agents": 6, "decisions": 2 * 6 * 4, "mechanism": "raft"}
    again = weigh("t", WeighParams(scenario="memory_overhead", size=6, values=4, repeats=2), 7)
    assert digest_view(found) == digest_view(again)
    assert not tracemalloc.is_tracing()


def test_a_swarm_that_did_not_decide_is_not_weighed(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = weighing.draw
    monkeypatch.setattr(weighing, "draw", lambda *args, values, **_: draw(*args, values=values + 1))
    with pytest.raises(TaskFailed, match="did not decide"):
        held(size=3)


def test_an_unknown_mechanism_is_refused() -> None:
    with pytest.raises(UsageError, match="there is no mechanism"):
        held(size=3, mechanism="magic")
