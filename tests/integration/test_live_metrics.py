"""A service's live metrics and its clock, over a real broker."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.brokers import BrokerProcess
from support.making import event
from support.waiting import until
from swarm_cli.clocks import offsets
from swarm_common import Client, live
from swarm_common.events import Data
from swarm_common.events.agent import TaskDone
from swarm_common.events.benchmark import TaskScheduled
from swarm_common.live import LiveMetrics
from swarm_common.log.eventlog import EventLog
from swarm_common.runtime import Service, Work
from swarm_common.runtime.host import Host
from swarm_common.settings import Settings


@contextlib.asynccontextmanager
async def serving(name: str, url: str, home: Path, sample_s: float) -> AsyncIterator[Host]:
    service = Service(name, "agent")

    @service.task("echo")
    async def echo(work: Work) -> Data:
        return TaskDone(task=work.task.task, index=0)

    host = Host(service, Settings(nats_url=url, health_file=str(home / "health"), sample_s=sample_s))
    running = asyncio.create_task(host.run())
    try:
        await until(lambda: running.done() or (host._micro is not None and host.healthy()))
        yield host
    finally:
        host.stopping.set()
        await running


async def do_tasks(log: EventLog, host: Host, run: str, many: int) -> None:
    name = host.service.name
    for index in range(many):
        task = TaskScheduled(task=f"t-{index}", kind="echo", service=name)
        await log.append([event(task, run, index=f"{name} {index}", correlation="request")])
    await until(lambda: host.worker.handled == many, what="the tasks")


@pytest.fixture
async def listener(broker_server: BrokerProcess) -> AsyncIterator[tuple[Client, list[LiveMetrics]]]:
    heard: list[LiveMetrics] = []

    async def hear(message: object) -> None:
        found = live.decode(message.data)  # type: ignore[attr-defined]
        assert found is not None
        heard.append(found)

    async with Client(broker_server.url) as client:
        await client.broker.nc.subscribe(live.EVERYBODY, cb=hear)
        yield client, heard


async def test_a_listener_hears_of_every_task_once(
    broker_server: BrokerProcess,
    event_log: EventLog,
    listener: tuple[Client, list[LiveMetrics]],
    run: str,
    tmp_path: Path,
) -> None:
    _, heard = listener
    async with serving(f"live_{run}", broker_server.url, tmp_path, 0.1) as host:
        await do_tasks(event_log, host, run, 5)

        def counted() -> int:
            return sum(one.task_us.count for one in heard if one.service == host.service.name)

        await until(lambda: counted() == 5, what="all five in live messages")
        last = [one for one in heard if one.service == host.service.name][-1]
        assert (last.handled, last.failures) == (5, 0)
        assert last.instance == host.context.instance
    assert counted() == 5


async def test_switched_off_it_works_in_silence(
    broker_server: BrokerProcess,
    event_log: EventLog,
    listener: tuple[Client, list[LiveMetrics]],
    run: str,
    tmp_path: Path,
) -> None:
    client, heard = listener
    async with serving(f"mute_{run}", broker_server.url, tmp_path, 0) as host:
        await do_tasks(event_log, host, run, 3)
        names = {task.get_name() for task in asyncio.all_tasks()}
        await client.broker.nc.flush()
        assert "collection" not in names
        assert [one for one in heard if one.service == host.service.name] == []


async def test_the_same_clock_asked_over_the_broker_is_not_ahead_of_itself(
    broker_server: BrokerProcess,
    listener: tuple[Client, list[LiveMetrics]],
    run: str,
    tmp_path: Path,
) -> None:
    client, _ = listener
    async with serving(f"clock_{run}", broker_server.url, tmp_path, 0) as host:
        asked = {host.context.instance: host.service.name, "gone-1": host.service.name}
        found = await offsets(client, asked)
        assert list(found) == [host.context.instance]
        assert found[host.context.instance].agrees_with(0)
        assert 0 < found[host.context.instance].bound_ns < 500_000_000
