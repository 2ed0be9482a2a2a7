"""Requests through a whole stack: good, bad, many at once, twice; and what becomes of every one of them."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.brokers import running
from support.stacks import Follower, Stack, completed, stack
from support.waiting import until
from swarm_cli.applying import pairs_of, sessions
from swarm_common.client import Client
from swarm_common.errors import BrokerUnavailable, InvalidEvent, StreamFull
from swarm_common.events import Event
from swarm_common.events.benchmark import (
    TERMINAL,
    Cancelled,
    Failed,
    Rejected,
    Requested,
    Started,
    TaskScheduled,
)
from swarm_common.events.optimizer import Suggestion
from swarm_common.events.subjects import REQUESTS
from swarm_common.ids import new_id, run_id
from swarm_common.log.publisher import MSG_ID
from swarm_common.log.reader import read_stored
from swarm_common.runs import fold
from swarm_common.runtime.deadletters import DeadLetter, letters
from swarm_common.settings import Settings
from swarm_coordinator.requests import read_request

pytestmark = pytest.mark.timeout(120)


#: A run of that many empty tasks fills two thirds of a log of that size.
FILLING_TASKS = 500
FULL_BYTES = 1_500_000


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stack(tmp_path_factory.mktemp("requests") / "home", SWARM_CPU_WORKERS="1") as found:
        yield found


@pytest.fixture
async def client(home: Stack) -> AsyncIterator[Client]:
    async with home.client() as found:
        yield found


async def ask(client: Client, body: bytes, **headers: str) -> int:
    """Publish bytes on the one subject that outsiders need; return where they lie in the log."""
    return (await client.broker.js.publish(REQUESTS, body, headers=headers or None)).seq


async def all_letters(client: Client) -> list[DeadLetter]:
    return [letter async for letter in letters(client.broker)]


def bare(**body: Any) -> bytes:
    return json.dumps(body).encode()


def enveloped(data: object, **attributes: Any) -> bytes:
    whole = {
        "specversion": "1.0",
        "id": new_id(),
        "source": "/test",
        "type": "benchmark.requested",
        "data": data,
    }
    return json.dumps(whole | attributes).encode()


REJECTED = {
    "no suite": (bare(), "suite"),
    "suite of a wrong type": (bare(suite=5), "suite"),
    "suite that is null": (bare(suite=None), "suite"),
    "unknown suite": (bare(suite="nope"), "suite"),
    "scenario of a wrong type": (bare(suite="noop", scenario=7), "scenario"),
    "unknown scenario": (bare(suite="noop", scenario="nope"), "scenario"),
    "unknown field": (bare(suite="noop", sweet="x"), "sweet"),
    "params of a wrong type": (bare(suite="noop", params=[1]), "params"),
    "unknown parameter": (bare(suite="noop", params={"nope": 1}), "params.nope"),
    "parameter of a wrong type": (bare(suite="noop", params={"tasks": "many"}), "params.tasks"),
    "half a task": (bare(suite="noop", params={"tasks": 2.5}), "params.tasks"),
    "a task that is true": (bare(suite="noop", params={"tasks": True}), "params.tasks"),
    "too few": (bare(suite="noop", params={"tasks": 0}), "params.tasks"),
    "too many": (bare(suite="noop", params={"tasks": 100_001}), "params.tasks"),
    "far too many": (bare(suite="noop", params={"tasks": 10**100}), "params.tasks"),
    "unknown model": (bare(suite="ensemble", params={"models": ["gpt"]}), "params.models"),
    "no model": (bare(suite="ensemble", params={"models": []}), "params.models"),
    "params that do not go together": (bare(suite="ensemble", params={"folds": 1}), "params.folds"),
    "seed of a wrong type": (bare(suite="noop", seed="x"), "seed"),
    "seed below zero": (bare(suite="noop", seed=-1), "seed"),
    "timeout of a wrong type": (bare(suite="noop", timeout_s="soon"), "timeout_s"),
    "no time": (bare(suite="noop", timeout_s=0), "timeout_s"),
    "too much time": (bare(suite="noop", timeout_s=10**9), "timeout_s"),
    "session that is no name": (bare(suite="noop", session="a b.c"), "session"),
    "close to the largest": (bare(suite="noop", params={"x": "y" * (1024 * 1024 - 500)}), "params.x"),
    "envelope of another type": (enveloped({"suite": "noop"}, type="agent.predicted"), "type"),
    "envelope of another version": (enveloped({"suite": "noop"}, specversion="0.3"), "specversion"),
    "envelope without data": (enveloped(None), "data"),
    "envelope with a wrong suite": (enveloped({"suite": 5}), "suite"),
}
DEAD = {
    "not JSON": b"run everything, please",
    "empty": b"",
    "half a request": b'{"suite": "noop"',
    "a list": b"[1, 2]",
    "a string": b'"noop"',
    "null": b"null",
    "not a number": b'{"suite": "noop", "seed": NaN}',
    "beyond numbers": b'{"suite": "noop", "timeout_s": 1e999}',
    "no UTF-8": b'{"suite": "no\xff\xfeop"}',
    "nested 10,000 deep": b'{"suite": "noop", "params": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "nested 900 deep": b'{"suite": "noop", "params": {"x": ' + b"[" * 900 + b"]" * 900 + b"}}",
    "never closed": b"[" * 100_000,
    "close to the largest": b"x" * (1024 * 1024 - 200),
}


@pytest.mark.parametrize("name", REJECTED)
async def test_a_bad_request_is_rejected_once_with_the_field_named(client: Client, name: str) -> None:
    body, field = REJECTED[name]
    before = len(await all_letters(client))
    ident = f"rejected-{name.replace(' ', '-')}"
    run = run_id(json.loads(body).get("id", ident))
    await ask(client, body, **{MSG_ID: ident})
    (event,) = await Follower(client, run).settle()
    assert isinstance(event.data, Rejected)
    assert event.data.field == field
    assert field.rsplit(".", maxsplit=1)[-1] in event.data.reason
    assert len(event.raw) < 16 * 1024
    assert len(await all_letters(client)) == before


@pytest.mark.parametrize("name", DEAD)
async def test_bytes_that_are_no_request_are_kept_as_a_dead_letter(client: Client, name: str) -> None:
    seq = await ask(client, DEAD[name])

    async def buried() -> list[DeadLetter]:
        return [letter for letter in await all_letters(client) if letter.seq == seq]

    (letter,) = await until(buried, what="a dead letter")
    assert letter.body == DEAD[name]
    assert letter.subject == REQUESTS
    assert "InvalidEvent" in letter.error


async def test_the_same_request_twice_is_one_run(client: Client) -> None:
    asked = Requested(suite="noop", params={"tasks": 3})
    ids = [new_id() for _ in range(3)]
    for _ in range(2):
        await client.request(asked, request_id=ids[0])
        await ask(client, enveloped({"suite": "noop", "params": {"tasks": 3}}, id=ids[1]))
        await ask(client, bare(suite="noop", params={"tasks": 3}), **{MSG_ID: ids[2]})
    for ident in ids:
        events = await Follower(client, run_id(ident)).settle()
        assert completed(events).tasks == 3
        assert sum(isinstance(event.data, Started) for event in events) == 1


async def test_fifty_requests_at_once_all_end(client: Client) -> None:
    asked = Requested(suite="noop", params={"tasks": 5})
    runs = await asyncio.gather(*(client.request(asked) for _ in range(50)))
    ended = await asyncio.gather(*(Follower(client, run).settle() for run in runs))
    assert {completed(events).tasks for events in ended} == {5}
    assert len({completed(events).digest for events in ended}) == 1


async def test_a_small_run_does_not_wait_for_a_large_one(client: Client) -> None:
    large = Follower(client, await client.request(Requested(suite="noop", params={"tasks": 5000})))
    await large.reach(600)
    small = Follower(client, await client.request(Requested(suite="noop", params={"tasks": 10})))
    await small.settle()
    await large.settle()
    assert ended_at(small.events) < ended_at(large.events)
    assert completed(large.events).tasks == 5000


def ended_at(events: list[Event]) -> int:
    return next(event.seq for event in events if event.type in TERMINAL)


async def test_a_run_is_cancelled_while_it_works(client: Client) -> None:
    follower = Follower(client, await client.request(Requested(suite="noop", params={"tasks": 50_000})))
    await follower.reach(700)
    await client.cancel(follower.run, "enough")
    events = await follower.settle()
    (last,) = [event for event in events if event.type in TERMINAL]
    assert isinstance(last.data, Cancelled)
    assert last.data.reason == "enough"
    assert max(event.seq for event in events if isinstance(event.data, TaskScheduled)) < last.seq


async def test_a_run_that_does_not_end_in_time_fails_with_that_reason(client: Client) -> None:
    asked = Requested(suite="noop", params={"tasks": 50_000}, timeout_s=0.5)
    events = await Follower(client, await client.request(asked)).settle()
    (last,) = [event.data for event in events if event.type in TERMINAL]
    assert isinstance(last, Failed)
    assert last.reason.startswith("deadline")
    assert last.duration_s > 0.4


async def test_attempts_that_fail_are_tried_again(client: Client) -> None:
    asked = Requested(suite="noop", params={"tasks": 5, "fail_attempts": 2})
    done = completed(await Follower(client, await client.request(asked)).settle())
    assert (done.tasks, done.attempts) == (5, 15)


@pytest.mark.parametrize(
    "what", ["agent.{}.task_done.noop-0", "benchmark.{}.planned", "agent.{}.nope.noop-1"]
)
async def test_what_lies_among_a_runs_events_and_is_none_does_not_stop_it(client: Client, what: str) -> None:
    follower = Follower(client, await client.request(Requested(suite="noop", params={"tasks": 2000})))
    await follower.reach(100)
    seq = (await client.broker.js.publish(f"swarm.{what.format(follower.run)}", b"garbage")).seq

    async def ended() -> Event | None:
        return await client.log.last(f"swarm.benchmark.{follower.run}.completed")

    event = await until(ended, 30, "the end of the run")
    assert completed([event]).tasks == 2000
    (letter,) = [letter for letter in await all_letters(client) if letter.seq == seq]
    assert letter.body == b"garbage"


async def test_every_request_of_this_file_is_accounted_for(client: Client) -> None:
    """In = completed + failed + cancelled + rejected + dead letters; nothing is lost in silence, nothing twice."""
    runs, unreadable = set(), set()
    async for stored in read_stored(client.broker, REQUESTS):
        try:
            request = read_request(
                stored.data,
                message_id=stored.headers.get(MSG_ID, ""),
                position=f"{stored.seq}",
                headers=stored.headers,
            )
        except InvalidEvent:
            unreadable.add(stored.seq)
        else:
            runs.add(run_id(request.id))

    async def ends() -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for kind in sorted(TERMINAL):
            async for event in client.log.read(f"swarm.benchmark.*.{kind.split('.')[1]}"):
                found.setdefault(event.run, []).append(kind)
        return found

    async def all_ended() -> bool:
        return set(await ends()) == runs

    await until(all_ended, 30, "the end of every run")
    assert all(len(kinds) == 1 for kinds in (await ends()).values())
    buried = [letter.seq for letter in await all_letters(client) if letter.subject == REQUESTS]
    assert Counter(buried) == Counter(unreadable)


async def test_a_broker_that_is_away_is_said_within_five_seconds(tmp_path: Path) -> None:
    with running(tmp_path / "nats") as server:
        url = server.url
    began = time.monotonic()
    with pytest.raises(BrokerUnavailable, match="swarm up"):
        async with Client(settings=Settings(nats_url=url)):
            pass
    assert time.monotonic() - began < 5.5


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_full_log_is_said_and_work_goes_on_when_there_is_room(tmp_path: Path) -> None:
    with stack(tmp_path / "home", SWARM_MAX_BYTES=str(FULL_BYTES), SWARM_CPU_WORKERS="1") as home:
        async with home.client() as client:
            first = await client.request(Requested(suite="noop", params={"tasks": FILLING_TASKS}))
            completed(await Follower(client, first).settle())
            second = Follower(
                client, await client.request(Requested(suite="noop", params={"tasks": FILLING_TASKS}))
            )

            async def full() -> bool:
                await second.more()
                info = await client.broker.js.stream_info("SWARM")
                return info.state.bytes > 0.98 * FULL_BYTES

            await until(full, 90, "a full log")

            async def refused() -> StreamFull | None:
                try:
                    await client.request(Requested(suite="noop", params={"tasks": 1}))
                except StreamFull as error:
                    return error
                return None

            assert "swarm archive" in str(await until(refused, 60, "a request that is refused"))
            status = json.loads(home.swarm("status", "--json"))
            assert any("full" in problem for problem in status["problems"])
            assert all(one["ready"] for service in status["services"] for one in service["instances"])
            stored = list(second.events)
            assert not second.over
            home.swarm("archive", first, "-o", str(tmp_path / "archive"))
            events = await second.settle()
            assert completed(events).tasks == FILLING_TASKS
            assert [event.id for event in events[: len(stored)]] == [event.id for event in stored]
            assert not await all_letters(client)
            assert all(one.restarts == 0 for one in home.state.services)


async def test_a_suggestion_that_is_followed_is_measured_in_pairs(
    home: Stack, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A command sets up logging for its whole process: here that is everybody's.
    monkeypatch.setattr("swarm_cli.connect.logs.configure", lambda _settings: None)
    run = await client.request(Requested(suite="noop", params={"tasks": 5}, session="asked"))
    view = fold(run, await Follower(client, run).settle())
    fewer = Suggestion(
        kind="fewer", subject="tasks", text="", metric="tasks", change={"params": {"tasks": 2}}
    )
    told: list[str] = []
    pairs = await pairs_of(home.settings, view, fewer, 2, told=told.append)
    assert [(pair.before_value, pair.after_value) for pair in pairs] == [(5, 2), (5, 2)]
    assert [pair.seed for pair in pairs] == [view.seed, view.seed + 1]
    assert len(told) == 4
    for pair in pairs:
        before, after = [fold(name, await client.events(name)) for name in (pair.before, pair.after)]
        assert (before.session, after.session) == sessions(view)
        assert (before.params["tasks"], after.params["tasks"]) == (5, 2)
