"""A scheduler hands out the most urgent there is room for; hints order what is known of work."""

from __future__ import annotations

import math
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm_primitives.scheduling import Hint, Scheduler, ordered


def ready(count: int, kind: str = "train") -> Scheduler:
    return Scheduler().extend(kind, [(0, index) for index in range(count)])


def test_no_more_run_than_the_limit_and_the_most_urgent_first() -> None:
    schedule = ready(4).add("train", (-1, 9)).extend("score", [(0, 4), (0, 5)])
    limits = {"train": 3, "score": 1}
    due = schedule.due(lambda kind, _: limits[kind], 10)
    assert due == [(-1, 9), (0, 0), (0, 1), (0, 4)]
    assert schedule.due(lambda kind, _: limits[kind], 2) == due[:2]
    schedule = schedule.start("train", (-1, 9)).start("train", (0, 0)).start("score", (0, 4))
    assert schedule.due(lambda kind, _: limits[kind], 10) == [(0, 1)]
    assert schedule.stop("score").due(lambda kind, _: limits[kind], 10) == [(0, 1), (0, 5)]
    assert schedule.due(lambda _kind, _: 1, 10) == []


def test_the_limit_may_depend_on_what_stands_first() -> None:
    assert ready(3).due(lambda _, first: first[-1] + 2, 10) == [(0, 0), (0, 1)]


def test_depth_counts_what_waits_and_not_what_runs() -> None:
    schedule = ready(3).start("train", (0, 1))
    assert (len(schedule), schedule.running) == (2, {"train": 1})
    assert len(schedule.withdraw("train", (0, 0))) == 1
    with pytest.raises(KeyError):
        schedule.stop("score")


def test_what_is_done_to_a_scheduler_leaves_the_old_one_as_it_was() -> None:
    schedule = ready(2)
    schedule.start("train", (0, 0)).add("train", (-5, 7)).withdraw("train", (0, 1))
    assert schedule == ready(2)


# -- hints -------------------------------------------------------------------------------------------------

hints = st.builds(
    Hint,
    priority=st.integers(-2, 2),
    deadline_s=st.sampled_from([1.0, 2.0, math.inf]),
    cost=st.sampled_from([0.0, 1.0, 5.0]),
    affinity=st.sampled_from(["", "a", "b"]),
)


@given(st.lists(hints, max_size=30))
def test_hints_order_by_priority_then_deadline_then_cost(given_: list[Hint]) -> None:
    found = ordered(range(len(given_)), given_)
    assert sorted(found) == list(range(len(given_)))
    urgency = [(-given_[at].priority, given_[at].deadline_s) for at in found]
    assert urgency == sorted(urgency)
    alone = [at for at in found if not given_[at].affinity]
    assert alone == sorted(
        alone, key=lambda at: (-given_[at].priority, given_[at].deadline_s, -given_[at].cost, at)
    )


@given(st.lists(hints, max_size=30))
def test_equals_of_one_affinity_stand_side_by_side(given_: list[Hint]) -> None:
    found = [given_[at] for at in ordered(range(len(given_)), given_)]
    groups = [(hint.priority, hint.deadline_s, hint.affinity) for hint in found if hint.affinity]
    met: list[object] = []
    for hint in found:
        group = (hint.priority, hint.deadline_s, hint.affinity) if hint.affinity else object()
        if not met or met[-1] != group:
            met.append(group)
    assert sum(isinstance(group, tuple) for group in met) == len(set(groups))


def test_what_has_one_affinity_stands_where_its_dearest_does() -> None:
    given_ = [Hint(cost=5.0), Hint(cost=1.0, affinity="a"), Hint(cost=9.0, affinity="a"), Hint(cost=2.0)]
    assert ordered(range(4), given_) == [2, 1, 0, 3]


def test_without_hints_the_order_stays_and_every_item_has_one() -> None:
    assert ordered("cab", [Hint()] * 3) == ["c", "a", "b"]
    with pytest.raises(ValueError, match="2 items have 1 hints"):
        ordered("ab", [Hint()])


@settings(max_examples=50)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.integers(2, 3))
def test_the_dearest_first_keeps_grahams_bound(costs: list[int], workers: int) -> None:
    free = [0] * workers
    for at in ordered(range(len(costs)), [Hint(cost=cost) for cost in costs]):
        free[free.index(min(free))] += costs[at]
    best = min(
        max(
            sum(cost for cost, mine in zip(costs, whose, strict=True) if mine == one)
            for one in range(workers)
        )
        for whose in product(range(workers), repeat=len(costs))
    )
    assert max(free) <= (4 / 3 - 1 / (3 * workers)) * best + 1e-9
