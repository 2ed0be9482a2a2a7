"""A priority queue is a sorted set whose versions live on; a scheduler hands out the most urgent there is room for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from swarm_primitives.queues import Entry, PriorityQueue

entries = st.tuples(st.integers(-3, 3), st.integers(0, 200))


class Queues(RuleBasedStateMachine):
    """Every version of a queue beside the set that it should be."""

    versions = Bundle("versions")

    def __init__(self) -> None:
        super().__init__()
        self.all: list[tuple[PriorityQueue, set[Entry]]] = []

    def keep(self, queue: PriorityQueue, model: set[Entry]) -> tuple[PriorityQueue, set[Entry]]:
        self.all.append((queue, model))
        return queue, model

    @rule(target=versions)
    def empty(self) -> Any:
        return self.keep(PriorityQueue(), set())

    @rule(target=versions, version=versions, new=st.lists(entries, max_size=60))
    def extend(self, version: Any, new: list[Entry]) -> Any:
        queue, model = version
        return self.keep(queue.extend(new), model | set(new))

    @rule(target=versions, version=versions, new=st.lists(entries, max_size=50))
    def add(self, version: Any, new: list[Entry]) -> Any:
        queue, model = version
        for entry in new:
            queue = queue.add(entry)
        return self.keep(queue, model | set(new))

    @rule(target=versions, version=versions, count=st.integers(1, 10))
    def pop(self, version: Any, count: int) -> Any:
        queue, model = version
        model = set(model)
        for _ in range(min(count, len(model))):
            entry, queue = queue.pop()
            assert entry == min(model)
            model.remove(entry)
        return self.keep(queue, model)

    @rule(target=versions, version=versions, others=st.lists(entries, max_size=3), data=st.data())
    def remove(self, version: Any, others: list[Entry], data: Any) -> Any:
        queue, model = version
        there = data.draw(st.lists(st.sampled_from(sorted(model)), max_size=50)) if model else []
        for entry in [*there, *others]:
            queue = queue.remove(entry)
        return self.keep(queue, model - {*there, *others})

    @rule(target=versions, version=versions, to=entries, data=st.data())
    def move(self, version: Any, to: Entry, data: Any) -> Any:
        queue, model = version
        if not model:
            with pytest.raises(KeyError):
                queue.move((9, 9), to)
            return version
        entry = data.draw(st.sampled_from(sorted(model)))
        return self.keep(queue.move(entry, to), (model - {entry}) | {to})

    @invariant()
    def every_version_is_what_it_was(self) -> None:
        for queue, model in self.all:
            found = sorted(model)
            assert list(queue) == found
            assert len(queue) == len(found)
            assert queue.first(4) == found[:4]
            assert all(entry in queue for entry in found)
            assert (7, 7) not in queue


Queues.TestCase.settings = settings(max_examples=25, stateful_step_count=25)
TestQueues = Queues.TestCase


def test_equals_leave_in_the_order_in_which_they_came() -> None:
    queue = PriorityQueue()
    for arrival, priority in enumerate([1, 0, 1, 2, 0, 1]):
        queue = queue.add((-priority, arrival))
    left = []
    while queue:
        entry, queue = queue.pop()
        left.append(entry)
    assert left == [(-2, 3), (-1, 0), (-1, 2), (-1, 5), (0, 1), (0, 4)]
    with pytest.raises(IndexError, match="empty"):
        queue.pop()


def test_an_urgent_one_that_comes_late_overtakes_and_one_is_moved_to_the_front() -> None:
    queue = PriorityQueue().extend((0, arrival) for arrival in range(100))
    queue = queue.add((-1, 100)).move((0, 50), (-2, 50))
    assert queue.first(3) == [(-2, 50), (-1, 100), (0, 0)]
    assert len(queue) == 101
