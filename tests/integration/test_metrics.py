"""Metrics on a real broker: the view is asked, says when it is behind, is made anew while it answers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from support.brokers import BrokerProcess
from support.measured import completed, log_of, measured, scheduled, started
from support.waiting import until
from swarm_common import Client
from swarm_common.errors import Conflict, SwarmError, UsageError
from swarm_common.events import Event, Metric, Samples
from swarm_common.events.envelope import encode
from swarm_common.log.broker import Broker
from swarm_common.log.eventlog import EventLog
from swarm_common.log.streams import STREAM
from swarm_common.runtime.context import Context
from swarm_common.settings import Settings
from swarm_metrics import queries, view
from swarm_metrics.projection import Projection
from swarm_metrics.service import service
from swarm_metrics.view import View, about

RUNS = 5
VALUES = tuple(float(value) for value in range(2500))


def log() -> list[Event]:
    """Runs of two sessions, each with a task that tells 2,500 samples."""
    data: list[Any] = []
    for number in range(RUNS):
        run = f"{number:016x}"
        data += [
            (run, started("primitives", "snapshot_reads", "odd" if number % 2 else "even")),
            (run, scheduled("t")),
            (run, measured("t", Samples(name="latency", unit="us", values=VALUES, of="8"))),
            (run, completed(Metric(name="score", value=number / 10, unit="ratio"))),
        ]
    return [msgspec.structs.replace(event, raw=encode(event)) for event in log_of(data)]


@pytest.fixture
async def filled(broker: Broker, event_log: EventLog) -> Context:
    """A context of the service metrics, over a log that holds the runs."""
    info = await broker.js.stream_info(STREAM)
    if not info.state.messages:
        await event_log.import_events(log())
    return Context(service, Settings(), broker, event_log)


@contextlib.asynccontextmanager
async def opened(context: Context, directory: Path) -> AsyncIterator[View]:
    settings = msgspec.structs.replace(context.settings, data_dir=str(directory))
    context.settings = settings
    found = View(context)
    await found.start()
    try:
        yield found
    finally:
        await found.close()
        await context.cancel_spawned()


async def whole(found: View, query: view.Query) -> Any:
    """Return the answer of a view that has caught up with the log."""

    async def answer() -> Any:
        answer, behind = await found.ask(query, {})
        return None if behind else answer

    return await until(answer, what="the view to be complete")


class Gate:
    """Holds back what feeds write until it is opened."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.open = asyncio.Event()
        self.open.set()
        whole = view.Feed._whole

        async def held(feed: view.Feed, event: Event) -> Event | None:
            await self.open.wait()
            return await whole(feed, event)

        patch.setattr(view.Feed, "_whole", held)
        patch.setattr(view, "PATIENCE_S", 0.05)


async def test_a_view_that_reads_the_log_says_how_far_it_is_behind(
    filled: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    gate.open.clear()
    async with opened(filled, tmp_path) as found:
        answer, behind = await found.ask(queries.runs, {})
        assert (answer["runs"], behind) == ([], 4 * RUNS)
        gate.open.set()
        assert len((await whole(found, queries.runs))["runs"]) == RUNS


async def test_a_view_goes_on_where_it_stood(filled: Context, tmp_path: Path) -> None:
    async with opened(filled, tmp_path) as found:
        answer = await whole(found, about)
    async with opened(filled, tmp_path) as found:
        assert found._now.projection.position == answer["position"]
        assert await found.ask(about, {}) == (answer, 0)


async def test_a_view_is_made_anew_beside_the_one_that_answers(
    filled: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    async with opened(filled, tmp_path) as found:
        before = await whole(found, about)
        assert before["rows"]["samples"] == RUNS * (len(VALUES) + 1)
        found._now.projection.connection.execute("DELETE FROM samples")  # it is spoilt: what a rebuild is for
        gate.open.clear()
        assert (await found.rebuild())["rebuilding"] == 4 * RUNS
        with pytest.raises(Conflict, match="being rebuilt already"):
            await found.rebuild()
        answer, behind = await found.ask(about, {})
        assert (answer["rows"]["runs"], answer["rows"]["samples"], behind) == (RUNS, 0, 0)
        assert found.rebuilding
        gate.open.set()
        await until(lambda: found.rebuilding is None, what="the new view to take its place")
        assert await found.ask(about, {}) == (before, 0)
        fresh = Projection()
        fresh.begin(before["log"])
        fresh.apply([event async for event in filled.log.read("swarm.>")])
        assert found._now.projection.dump() == fresh.dump()
    assert os.listdir(tmp_path) == [found.path.name]  # noqa: PTH208 - it blocks for no time


async def test_a_view_takes_no_place_before_it_has_read_all_of_the_log(
    filled: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, go_on = asyncio.Event(), asyncio.Event()
    take = view.Feed.take

    def slowly(feed: view.Feed, event: Event) -> Awaitable[None] | None:
        take(feed, event)
        taken.set()
        return asyncio.ensure_future(go_on.wait())  # type: ignore[arg-type]  # nobody reads what it gives

    async with opened(filled, tmp_path) as found:
        before = await whole(found, about)
        monkeypatch.setattr(view.Feed, "take", slowly)
        await found.rebuild()
        await asyncio.wait_for(taken.wait(), 20)
        old = found._now
        for _ in range(3):
            assert await found.ask(about, {}) == (before, 0)
            assert found.rebuilding in {4 * RUNS, 4 * RUNS - 1}  # all but the one that was taken
        assert found._now is old
        go_on.set()
        await until(lambda: found.rebuilding is None, what="the new view to take its place")
        assert found._now is not old
        assert await found.ask(about, {}) == (before, 0)


# -- the service -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dashboard(broker_server: BrokerProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The service metrics as a process, with its dashboard; where that is."""
    home = tmp_path_factory.mktemp("metrics")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SWARM_")},
        "SWARM_NATS_URL": broker_server.url,
        "SWARM_DATA_DIR": str(home / "data"),
        "SWARM_HEALTH_FILE": str(home / "health"),
        "SWARM_DASHBOARD_PORT": str(port),
        "SWARM_SAMPLE_S": "0.1",
    }
    with (home / "log").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "swarm_metrics"], env=environ, stdout=out, stderr=subprocess.STDOUT
        )
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            assert process.wait(20) == 0, (home / "log").read_text()


@pytest.fixture
async def client(dashboard: str, filled: Context) -> AsyncIterator[Client]:
    async with Client(settings=Settings(nats_url=filled.broker.url)) as found:

        async def ready() -> bool:
            with contextlib.suppress(SwarmError):
                return (await found.query("metrics", "view"))["rows"]["runs"] == RUNS
            return False

        await until(ready, what=f"metrics behind {dashboard}")
        yield found


async def test_the_client_asks_in_types_and_reads_all_pages(client: Client) -> None:
    assert [run.run for run in await client.runs()] == [f"{number:016x}" for number in reversed(range(RUNS))]
    assert [run.session for run in await client.runs(session="odd", limit=1)] == ["odd"]
    assert {one.session: one.runs for one in await client.sessions()} == {"even": 3, "odd": 2}
    assert [one.value for one in await client.metrics("score", session="odd")] == [0.3, 0.1]
    history = await client.history("score")
    assert [(point.run[-1], point.value) for point in history] == [(str(n), n / 10) for n in range(RUNS)]
    latencies = await client.samples("latency")
    assert [(one.run[-1], one.of, one.unit, one.values) for one in latencies] == [
        (str(number), "8", "us", VALUES) for number in range(RUNS)
    ]
    first = latencies[0]
    assert [one.name for one in await client.samples(event=first.event)] == ["duration", "latency"]
    assert sum(len(one.values) for one in await client.samples("latency", limit=2600)) == 2600
    [summary] = await client.summary("latency", session="even", quantiles=(0.5, 1.0))
    assert (summary.n, summary.low, summary.quantiles) == (3 * 2500, 0.0, {"0.5": 1249.0, "1": 2499.0})
    with pytest.raises(UsageError, match="completed, failed, cancelled"):
        await client.runs(status="lost")


@pytest.mark.usefixtures("client")
async def test_prometheus_sees_runs_and_the_service_itself(dashboard: str) -> None:
    async with httpx.AsyncClient() as http:

        async def scraped() -> str:
            answer = await http.get(f"{dashboard}/metrics")
            assert answer.status_code == 200
            return answer.text if "swarm_process_cpu_seconds_total{" in answer.text else ""

        text = await until(scraped, what="a sample of the service itself")
    assert f'swarm_runs{{status="completed"}} {float(RUNS)}' in text
    assert 'swarm_process_cpu_seconds_total{instance="' in text
    assert 'swarm_consumer_pending{consumer="metrics-io"} 0.0' in text
    assert "swarm_dead_letters 0.0" in text
    assert f'swarm_task_duration_seconds_count{{kind="measure"}} {float(RUNS)}' in text


async def test_the_service_makes_its_view_anew_when_asked(client: Client) -> None:
    before = await client.query("metrics", "view")
    await client.query("metrics", "rebuild")

    async def done() -> bool:
        return (await client.query("metrics", "view"))["rebuilding"] is None

    await until(done, what="the end of the rebuild")
    assert await client.query("metrics", "view") == before
