"""Replicas know what the log knows: after a restart, beside each other, and before their own events are stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from swarm_common.errors import NotFound, UsageError
from swarm_common.events import Event, Metric
from swarm_common.events.benchmark import Completed, Started
from swarm_common.events.memory import Best, Remembered
from swarm_common.memory_key import memory_key
from swarm_memory_sync import service
from swarm_memory_sync.replica import SUBJECT, Replica


def best(value: float, run: str) -> Best:
    return Best(metric="accuracy", value=value, better="higher", run=run, session="s", time="t")


class Stored:
    """The part of the log that a replica reads."""

    def __init__(self, log: Any) -> None:
        self.log = log
        self.reads: list[int] = []

    async def read(self, subject: str, *, after: int = 0) -> AsyncIterator[Event]:
        assert subject == SUBJECT
        self.reads.append(after)
        for event in list(self.log.events):
            if event.seq > after and isinstance(event.data, Remembered):
                yield event


@pytest.fixture
def stored(log: Any) -> Stored:
    return Stored(log)


async def complete(replica: Replica, stored: Stored, run: str, value: float) -> Remembered:
    found = await replica.remember("k", run, best(value, run))
    stored.log.add(found, run=run)
    return found


async def test_a_new_replica_knows_what_the_old_one_did(stored: Stored) -> None:
    old = Replica(stored)
    for run, value in (("a", 0.5), ("b", 0.7), ("c", 0.6)):
        await complete(old, stored, run, value)
    found = await Replica(stored).recall("k", "t")
    assert found == await old.recall("k", "t")
    assert (found.runs, found.best) == (3, best(0.7, "b"))


async def test_two_replicas_tell_each_other_through_the_log(stored: Stored) -> None:
    one, two = Replica(stored), Replica(stored)
    await complete(one, stored, "a", 0.5)
    assert (await complete(two, stored, "b", 0.6)).improved
    assert not (await complete(one, stored, "c", 0.55)).improved
    assert await one.recall("k", "t") == await two.recall("k", "t")


async def test_replicas_that_decide_at_once_agree_from_then_on(stored: Stored) -> None:
    one, two = Replica(stored), Replica(stored)
    decided = [await one.remember("k", "a", best(0.5, "a")), await two.remember("k", "b", best(0.6, "b"))]
    assert [event.runs for event in decided] == [1, 1]
    for run, event in zip("ab", decided, strict=True):
        stored.log.add(event, run=run)
    for replica in (one, two, Replica(stored)):
        found = await replica.recall("k", "t")
        assert (found.runs, found.best) == (2, best(0.6, "b"))


async def test_decisions_of_one_process_follow_each_other(stored: Stored) -> None:
    replica = Replica(stored)
    decided = await asyncio.gather(*(replica.remember("k", f"r{n}", best(n, f"r{n}")) for n in range(5)))
    assert [event.runs for event in decided] == [1, 2, 3, 4, 5]


async def test_a_run_that_comes_again_counts_once(stored: Stored) -> None:
    replica = Replica(stored)
    await complete(replica, stored, "a", 0.5)
    await replica.remember("k", "a", best(0.5, "a"))
    assert (await replica.recall("k", "t")).runs == 1


async def test_keys_are_apart(stored: Stored) -> None:
    replica = Replica(stored)
    await complete(replica, stored, "a", 0.5)
    assert (await replica.recall("other", "t")).runs == 0


async def test_what_was_read_before_the_log_broke_off_stays_and_the_next_reads_on(stored: Stored) -> None:
    other = Replica(stored)
    for run in "abc":
        await complete(other, stored, run, 0.5)
    replica, whole = Replica(stored), list(stored.log.events)
    stored.log.events[1:] = [None]  # the second cannot be read
    with pytest.raises(AttributeError):
        await replica.recall("k", "t")
    stored.log.events[:] = whole
    stored.reads.clear()
    assert (await replica.recall("k", "t")).runs == 3
    assert stored.reads == [1]


class Slow(Stored):
    """A log that hands out an event only when it is told to."""

    def __init__(self, log: Any) -> None:
        super().__init__(log)
        self.go = asyncio.Semaphore(0)

    async def read(self, subject: str, *, after: int = 0) -> AsyncIterator[Event]:
        async for event in super().read(subject, after=after):
            await self.go.acquire()
            yield event


async def test_who_asked_first_is_not_told_of_what_is_read_later(log: Any) -> None:
    stored = Slow(log)
    other = Replica(Stored(log))
    await complete(other, stored, "a", 0.5)
    replica = Replica(stored)
    asked = asyncio.create_task(replica.recall("k", "t"))
    stored.go.release()
    first = await asked
    view = replica._view.store.now
    await complete(other, stored, "b", 0.7)
    asked = asyncio.create_task(replica.recall("k", "t"))
    stored.go.release()
    assert [(found.runs, found.best) for found in (first, await asked)] == [
        (1, best(0.5, "a")),
        (2, best(0.7, "b")),
    ]
    assert view["memory", "k"].runs == 1
    assert ("run", "b") not in view


async def test_only_what_is_new_is_read(stored: Stored) -> None:
    replica = Replica(stored)
    await complete(replica, stored, "a", 0.5)
    await replica.recall("k", "t")
    await replica.recall("k", "t")
    assert stored.reads == [0, 0, 1]


# -- the service -------------------------------------------------------------------------------------------


@pytest.fixture
def opened(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> Stored:
    monkeypatch.setattr(service, "_replica", Replica(stored))
    return stored


def ended(log: Any, run: str, *metrics: Metric, **params: Any) -> Event:
    log.add(
        Started(
            request_id="q",
            suite="ensemble",
            scenario="digits",
            params=params,
            session="nightly",
            seed=42,
            timeout_s=60.0,
            deadline="",
            tasks=(),
        ),
        run=run,
    )
    return log.add(
        Completed(
            result={},
            metrics=metrics,
            targets=(),
            digest="",
            duration_s=1.0,
            clock="wall",
            tasks=1,
            attempts=1,
            events=1,
            log_sha256="",
        ),
        run=run,
    )


@pytest.mark.usefixtures("opened")
async def test_a_completed_run_is_remembered_under_its_scenario_and_parameters(log: Any) -> None:
    event = ended(log, "a", Metric(name="accuracy", value=0.9, unit="ratio"), folds=3)
    found = await service.remember(log.work(event))
    assert found.key == memory_key("ensemble", "digits", {"folds": 3})
    assert found.value is not None
    assert (found.value.value, found.value.run, found.value.session) == (0.9, "a", "nightly")
    assert found.value.time == event.time


@pytest.mark.usefixtures("opened")
async def test_what_was_remembered_is_recalled(log: Any) -> None:
    event = ended(log, "a", Metric(name="accuracy", value=0.9, unit="ratio"))
    log.add(await service.remember(log.work(event)), run="a")
    key = memory_key("ensemble", "digits", {})
    found = await service.recall(log.task("recall", task="recall", params={"key": key}))
    assert (found.task, found.runs) == ("recall", 1)
    assert found.best is not None
    assert found.best.value == 0.9


@pytest.mark.usefixtures("opened")
async def test_a_recall_names_its_key(log: Any) -> None:
    with pytest.raises(UsageError) as caught:
        await service.recall(log.task("recall", params={}))
    assert caught.value.field == "params.key"


async def test_before_it_has_started_it_knows_nothing(log: Any) -> None:
    with pytest.raises(NotFound, match="not started"):
        await service.recall(log.task("recall", params={"key": "k"}))


async def test_parameters_in_another_order_are_the_same_key() -> None:
    assert memory_key("s", "c", {"a": 1, "b": 2}) == memory_key("s", "c", {"b": 2, "a": 1})
    assert memory_key("s", "c", {"a": 1}) != memory_key("s", "c", {"a": 2})
