"""Given what was remembered, when a run completes, then what is remembered of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_common.events import Metric
from swarm_common.events.memory import Best
from swarm_memory_sync.decider import NOTHING, Memory, beats, evolve, main_value, recall, remember


def best(value: float, run: str = "r", *, metric: str = "accuracy", better: Any = "higher") -> Best:
    return Best(metric=metric, value=value, better=better, run=run, session="s", time="2026-11-21T10:00:00Z")


def after(*values: Best | None) -> Memory:
    memory = NOTHING
    for value in values:
        memory = evolve(memory, remember(memory, "k", value))
    return memory


def test_the_first_run_is_the_best_and_has_improved_nothing() -> None:
    found = remember(NOTHING, "k", best(0.5))
    assert (found.runs, found.best, found.improved) == (1, best(0.5), False)


def test_a_better_run_takes_the_place() -> None:
    found = remember(after(best(0.5, "a")), "k", best(0.6, "b"))
    assert (found.runs, found.best, found.improved) == (2, best(0.6, "b"), True)


def test_an_equal_run_does_not() -> None:
    found = remember(after(best(0.5, "a")), "k", best(0.5, "b"))
    assert (found.best, found.improved) == (best(0.5, "a"), False)


def test_a_worse_run_counts() -> None:
    found = remember(after(best(0.5, "a")), "k", best(0.4, "b"))
    assert (found.runs, found.value, found.best, found.improved) == (2, best(0.4, "b"), best(0.5, "a"), False)


def test_lower_can_be_better() -> None:
    slow, fast = best(9.0, metric="mse", better="lower"), best(1.0, "b", metric="mse", better="lower")
    assert remember(after(slow), "k", fast).improved
    assert not remember(after(fast), "k", slow).improved


def test_another_metric_cannot_be_compared() -> None:
    found = remember(after(best(0.9)), "k", best(3.0, "b", metric="mse", better="lower"))
    assert (found.best, found.improved) == (best(3.0, "b", metric="mse", better="lower"), False)


def test_a_run_without_a_value_counts() -> None:
    found = remember(after(best(0.5)), "k", None)
    assert (found.runs, found.value, found.best, found.improved) == (2, None, best(0.5), False)


@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6).map(best)), max_size=20))
def test_memory_is_the_count_and_the_first_of_the_best(values: list[Best | None]) -> None:
    memory = after(*values)
    known = [value for value in values if value is not None]
    assert memory.runs == len(values)
    assert memory.best == max(known, key=lambda value: value.value, default=None)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_what_an_event_claims_of_others_is_not_believed(values: list[float]) -> None:
    honest = after(*map(best, values))
    memory = NOTHING
    for value in values:
        claimed = remember(Memory(999, best(1e9)), "k", best(value))
        memory = evolve(memory, claimed)
    assert memory == honest


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_of_two_values_at_most_one_beats_the_other(a: float, b: float) -> None:
    assert [beats(best(a), best(b)), beats(best(b), best(a))].count(True) == (a != b)


def test_recall_tells_what_is_known() -> None:
    assert recall(NOTHING, "k", "t").best is None
    found = recall(after(best(0.5), None), "k", "t")
    assert (found.task, found.key, found.runs, found.best) == ("t", "k", 2, best(0.5))


def metric(name: str, value: float | None = 1.0, **more: Any) -> Metric:
    return Metric(name=name, value=value, unit="ratio", **more)


@pytest.mark.parametrize(
    ("metrics", "name"),
    [
        ([metric("f1"), metric("accuracy")], "f1"),
        ([metric("seconds", timing=True), metric("accuracy")], "accuracy"),
        ([metric("f1", None, reason="no work"), metric("accuracy")], "accuracy"),
        ([metric("agreement", better="neither"), metric("accuracy")], "accuracy"),
    ],
)
def test_the_main_metric_is_the_first_that_can_be_better(metrics: list[Metric], name: str) -> None:
    found = main_value(metrics, run="r", session="s", time="t")
    assert found is not None
    assert (found.metric, found.run, found.session, found.time) == (name, "r", "s", "t")


def test_there_may_be_no_main_metric() -> None:
    assert main_value([metric("seconds", timing=True)], run="r", session="s", time="t") is None
