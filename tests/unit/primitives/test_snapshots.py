"""A snapshot stays what it was; changes appear all at once or not at all; what was read must not have changed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_primitives.proposals import Proposal, merge
from swarm_primitives.snapshots import GONE, Snapshot
from swarm_primitives.store import Outdated, Staged, Store

keys = st.integers(0, 90)
writes = st.dictionaries(keys, st.integers() | st.just(GONE), max_size=25)


@given(st.dictionaries(keys, st.integers(), max_size=60), st.lists(writes, max_size=12))
def test_every_version_is_the_dict_it_was(start: dict[int, int], changes: list[dict[int, Any]]) -> None:
    snapshot: Snapshot[int, int] = Snapshot(start)
    model = dict(start)
    versions = [(snapshot, dict(model))]
    for change in changes:
        snapshot = snapshot.changed(change)
        for key, value in change.items():
            model.pop(key, None)  # what is written stands last
            if value is not GONE:
                model[key] = value
                assert snapshot.written(key) == snapshot.version
        versions.append((snapshot, dict(model)))
    for number, (version, expected) in enumerate(versions):
        assert version.version == number
        assert list(version.items()) == list(expected.items())
        assert len(version) == len(expected)
        for key in (*range(0, 90, 9), 95):
            assert version.get(key) == expected.get(key)
            assert (key in version) == (key in expected) == (version.written(key) >= 0)


def test_what_is_not_there_is_an_error_or_the_default() -> None:
    gone = Snapshot({"a": 1}).changed({"a": GONE})
    with pytest.raises(KeyError):
        gone["a"]
    assert (gone.get("a", 7), gone.get("b"), len(gone)) == (7, None, 0)


# -- changes that are staged -------------------------------------------------------------------------------


def test_nobody_sees_a_change_before_it_is_made_and_then_all_of_it() -> None:
    store = Store({"a": 1, "b": 2})
    before = store.now
    staged = store.begin()
    staged["a"], staged["c"] = 10, 30
    del staged["b"]
    assert (staged.get("a"), staged.get("b", 0), "b" in staged, "c" in staged) == (10, 0, False, True)
    assert dict(store.now) == {"a": 1, "b": 2}
    after = store.commit(staged)
    assert store.now is after
    assert (dict(after), dict(before)) == ({"a": 10, "c": 30}, {"a": 1, "b": 2})


def test_a_change_on_what_was_changed_meanwhile_is_refused_and_leaves_nothing() -> None:
    store = Store({"a": 1, "b": 2})
    slow, quick = store.begin(), store.begin()
    slow["b"] = (slow.get("a") or 0) + 1
    assert slow.get("absent") is None
    quick["a"] = 5
    now = store.commit(quick)
    with pytest.raises(Outdated, match=r"changed since they were read: a$") as caught:
        store.commit(slow)
    assert caught.value.keys == ("a",)
    assert store.now is now


def test_what_appeared_or_went_since_it_was_read_counts_as_changed() -> None:
    for start, change in (({}, {"a": 1}), ({"a": 1}, {"a": GONE})):
        store: Store[str, int] = Store(start)
        staged = store.begin()
        staged.get("a")
        staged["b"] = 1
        other = store.begin()
        other.writes.update(change)
        store.commit(other)
        with pytest.raises(Outdated):
            store.commit(staged)


def test_changes_of_what_was_not_read_go_together() -> None:
    store = Store({"a": 1, "b": 2})
    one, other = store.begin(), store.begin()
    one["a"] = (one.get("a") or 0) + 1
    other["b"] = (other.get("b") or 0) + 1
    store.commit(one)
    assert dict(store.commit(other)) == {"a": 2, "b": 3}


def count(store: Store[str, int], times: int) -> None:
    """Count up both keys, again and again where somebody else was quicker."""
    while times:
        staged: Staged[str, int] = store.begin()
        for key in ("one", "other"):
            staged[key] = staged.get(key, 0) + 1
        try:
            store.commit(staged)
        except Outdated:
            continue
        times -= 1


def test_threads_that_count_lose_no_count_and_readers_never_see_half_a_change() -> None:
    store = Store({"one": 0, "other": 0})
    seen: list[Snapshot[str, int]] = []
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            if store.now is not (seen[-1] if seen else None):
                seen.append(store.now)

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=count, args=(store, 200)) for _ in range(4)]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    over.set()
    reader.join()
    assert dict(store.now) == {"one": 800, "other": 800}
    assert all(snapshot["one"] == snapshot["other"] for snapshot in seen)


def test_a_change_that_comes_while_another_is_made_waits_for_it() -> None:
    store: Store[str, int] = Store()

    class Slow(dict[str, int]):
        """Keys that are looked at while somebody else commits."""

        def __iter__(self) -> Iterator[str]:
            if not other.is_alive():
                other.start()
                other.join(0.05)  # it cannot end before we do
            return super().__iter__()

    def commit() -> None:
        staged = store.begin()
        staged["other"] = 2
        store.commit(staged)

    other = threading.Thread(target=commit)
    store.merge([Proposal(id="slow", writes=Slow(slow=1))])
    other.join()
    assert dict(store.now) == {"slow": 1, "other": 2}


# -- proposals ---------------------------------------------------------------------------------------------

proposals = st.lists(
    st.builds(
        Proposal,
        id=st.uuids().map(str),
        writes=st.dictionaries(st.sampled_from("abcd"), st.integers(), min_size=1, max_size=2),
        expects=st.dictionaries(st.sampled_from("abcd"), st.integers(-1, 1), max_size=2),
        priority=st.integers(0, 2),
    ),
    max_size=6,
)


@given(proposals, st.data())
def test_the_outcome_does_not_depend_on_the_order_of_proposals(
    given_: list[Proposal[str, int]], data: Any
) -> None:
    start = Snapshot({"a": 0, "b": 0}).changed({"b": 1})
    merged = merge(start, given_)
    other = merge(start, data.draw(st.permutations(given_)))
    assert (dict(merged.snapshot), merged.accepted, merged.refused) == (
        dict(other.snapshot),
        other.accepted,
        other.refused,
    )
    assert {*merged.accepted, *merged.refused} == {one.id for one in given_}


@given(proposals)
def test_what_is_accepted_stood_on_what_was_there_and_is_all_there(given_: list[Proposal[str, int]]) -> None:
    start = Snapshot({"a": 0, "b": 0}).changed({"b": 1})
    merged = merge(start, given_)
    by_id = {one.id: one for one in given_}
    expected, written = dict(start), set[str]()
    for accepted in merged.accepted:
        one = by_id[accepted]
        assert all(start.written(key) == version for key, version in one.expects.items())
        assert not set(one.expects) & written
        written |= set(one.writes)
        expected.update(one.writes)
    assert dict(merged.snapshot) == expected
    assert len(written) == sum(len(by_id[accepted].writes) for accepted in merged.accepted)
    for refused, why in merged.refused.items():
        one = by_id[refused]
        assert why
        for key, winner in why.items():
            if winner:
                best = by_id[winner]
                assert key in best.writes
                assert (-best.priority, best.id) < (-one.priority, one.id)
            else:
                assert start.written(key) != one.expects[key]


def test_who_expects_what_a_winner_writes_is_refused_and_told_who() -> None:
    start = Snapshot({"a": 0})
    winner = Proposal(id="y", writes={"a": 1}, priority=1)
    merged = merge(start, [Proposal(id="x", writes={"b": 1}, expects={"a": 0}), winner])
    assert (merged.accepted, merged.refused) == (("y",), {"x": {"a": "y"}})
    assert dict(merged.snapshot) == {"a": 1}


def test_two_proposals_of_one_id_are_an_error() -> None:
    with pytest.raises(ValueError, match="two proposals have the id 'x'"):
        merge(Snapshot(), [Proposal(id="x", writes={"a": 1}), Proposal(id="x", writes={"b": 1})])
