"""A priority queue is a sorted set whose versions live on; a scheduler hands out the most urgent there is room for."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_primitives.queues import Entry, PriorityQueue

entries = st.tuples(st.integers(-1, 1), st.integers(0, 60))
steps = st.one_of(
    st.tuples(st.just("extend"), st.lists(entries, max_size=60)),
    st.tuples(st.just("add"), st.lists(entries, max_size=45)),
    st.tuples(st.just("pop"), st.integers(1, 12)),
    # By their place among those that are there, in thousandths; and some that may not be there.
    st.tuples(st.just("remove"), st.lists(st.integers(0, 999) | entries, max_size=45)),
    st.tuples(st.just("move"), st.tuples(st.integers(0, 999), entries)),
)


def chosen(model: set[Entry], which: int | Entry) -> Entry:
    return sorted(model)[which * len(model) // 1000] if isinstance(which, int) else which


def step(queue: PriorityQueue, model: set[Entry], what: str, given_: Any) -> PriorityQueue:
    """Do something to a queue and to the set that it should be; return the queue after it."""
    match what:
        case "extend":
            model.update(given_)
            return queue.extend(given_)
        case "pop":
            for _ in range(min(given_, len(model))):
                entry, queue = queue.pop()
                assert entry == min(model)
                model.remove(entry)
        case "move" if model:
            entry = chosen(model, given_[0])
            model.discard(entry)
            model.add(given_[1])
            return queue.move(entry, given_[1])
        case "move":
            with pytest.raises(KeyError):
                queue.move((9, 9), given_[1])
        case _:
            for which in given_:
                if model or not isinstance(which, int):
                    entry = chosen(model, which)
                    (model.add if what == "add" else model.discard)(entry)
                    queue = queue.add(entry) if what == "add" else queue.remove(entry)
    return queue


@given(st.lists(entries, max_size=120), st.lists(steps, min_size=3, max_size=10))
def test_every_version_of_a_queue_is_the_sorted_set_it_was(start: list[Entry], given_: list[Any]) -> None:
    queue, model = PriorityQueue().extend(start), set(start)
    versions = [(queue, sorted(model))]
    for what, how in given_:
        queue = step(queue, model, what, how)
        versions.append((queue, sorted(model)))
    for version, found in versions:
        assert list(version) == found
        assert len(version) == len(found)
        assert version.first(3) == found[:3]
        assert all(entry in version for entry in found)
        assert (7, 7) not in version
    rest = []
    while queue:
        entry, queue = queue.pop()
        rest.append(entry)
    assert rest == sorted(model)


@pytest.mark.parametrize("seed", range(3))
def test_a_queue_that_lives_long_stays_the_sorted_set(seed: int) -> None:
    """Adds, pops and takes out single ones, back again and moved, as they come in any order."""
    draw = random.Random(seed)  # noqa: S311 - seeded, nothing secret
    queue, model = PriorityQueue().extend((0, number) for number in range(300)), {(0, n) for n in range(300)}
    for turn in range(1500):
        what = draw.choice(("add", "add", "pop", "remove", "remove", "move"))
        entry = (draw.randrange(-1, 2), draw.randrange(400))
        if what == "add":
            queue, model = queue.add(entry), model | {entry}
        elif what == "pop" and model:
            first, queue = queue.pop()
            assert first == min(model)
            model = model - {first}
        elif model:
            # Near the front is where singly added ones and the head of the run are.
            which = sorted(model)[draw.randrange(min(len(model), 20))]
            queue = queue.remove(which) if what == "remove" else queue.move(which, entry)
            model = model - {which} | ({entry} if what == "move" else set())
        assert len(queue) == len(model)
        if turn % 10 == 0:
            assert list(queue) == sorted(model)


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
