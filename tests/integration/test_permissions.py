"""deploy/nats/permissions.conf against a real broker: each service can do its work, and nothing in another's name."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client
from nats.errors import TimeoutError as NatsTimeout
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.errors import NotFoundError

from swarm_common import Client as Requester
from swarm_common.live import EVERYBODY, subject_of
from swarm_common.log.broker import Broker
from swarm_common.log.streams import STREAM, ensure_streams

NATS = Path(__file__).resolve().parents[2] / "deploy/nats"
OWN = {
    "coordinator": ("swarm.benchmark.r1.started", "coordinator"),
    "model_agent": ("swarm.agent.r1.predicted", "model_agent-cpu"),
    "consensus": ("swarm.consensus.r1.reached", "consensus-io"),
    "memory_sync": ("swarm.memory.r1.synced", "memory_sync-io"),
    "metrics": ("swarm.metrics.r1.summarised", "metrics-io"),
    "optimizer": ("swarm.optimizer.r1.suggested", "optimizer-reactions"),
}
USERS = ("admin", "requester", *OWN)

services = pytest.mark.parametrize("service", OWN)


def server(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).parent / "nats-server"), *arguments]


PASSWORDS = os.environ | {f"SWARM_PASSWORD_{user.upper()}": "secret" for user in USERS}


@pytest.fixture(scope="module")
def broker_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A broker with the permissions in force; every user's password is ``secret``."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tmp_path_factory.mktemp("broker")
    shutil.copy(NATS / "permissions.conf", home)
    conf = home / "nats.conf"
    conf.write_text(
        f"listen: 127.0.0.1:{port}\njetstream {{ store_dir: {home}/store }}\ninclude ./permissions.conf\n",
        encoding="utf-8",
    )
    with subprocess.Popen(server("-c", str(conf)), env=PASSWORDS, stderr=subprocess.DEVNULL) as process:
        try:
            asyncio.run(_make_streams(port))
            yield port
        finally:
            process.terminate()


@pytest.mark.parametrize("name", ["nats.conf", "secured.conf"])
def test_the_broker_takes_the_configuration(name: str) -> None:
    command = server("-t", "-c", str(NATS / name))
    assert subprocess.run(command, env=PASSWORDS, capture_output=True, check=False).returncode == 0


def url(user: str, port: int) -> str:
    return f"nats://{user}:secret@127.0.0.1:{port}"


async def _make_streams(port: int) -> None:
    async with asyncio.timeout(20):
        broker = await Broker.connect(url("admin", port), name="test", wait=True)
        await ensure_streams(broker)
        await broker.close()


@contextlib.asynccontextmanager
async def connected(user: str, port: int) -> AsyncIterator[tuple[Client, list[str]]]:
    """Yield a connection, and the list to which the broker's refusals come."""
    refusals: list[str] = []

    async def on_error(error: Exception) -> None:
        refusals.append(str(error))

    prefix = f"_INBOX_{user}" if user in OWN else "_INBOX"
    client = await nats.connect(
        url(user, port), error_cb=on_error, allow_reconnect=False, inbox_prefix=prefix.encode()
    )
    try:
        yield client, refusals
    finally:
        await client.close()


async def refused(client: Client, refusals: list[str], subject: str) -> bool:
    """Publish and say whether the broker refused; a flush brings its answer."""
    before = len(refusals)
    await client.publish(subject, b"{}")
    await client.flush()
    async with asyncio.timeout(5):
        await client.flush()
    return len(refusals) > before


@services
async def test_a_service_says_what_it_has_to_say(broker_port: int, service: str) -> None:
    async with connected(service, broker_port) as (client, refusals):
        acknowledged = await client.jetstream().publish(OWN[service][0], b"{}")
        assert acknowledged.stream == STREAM
        assert refusals == []


@services
async def test_no_service_speaks_for_another(broker_port: int, service: str) -> None:
    async with connected(service, broker_port) as (client, refusals):
        others = [subject for other, (subject, _) in OWN.items() if other != service]
        assert [subject for subject in others if not await refused(client, refusals, subject)] == []


@services
async def test_a_service_says_live_what_it_uses_and_who_looks_on_hears_it(
    broker_port: int, service: str
) -> None:
    async with connected("requester", broker_port) as (listener, not_heard):
        heard = await listener.subscribe(EVERYBODY)
        await listener.flush()
        async with connected(service, broker_port) as (client, refusals):
            await client.publish(subject_of(service, "host.example-1"), b"{}")
            assert (await heard.next_msg(timeout=5)).subject == f"live.metrics.{service}.host_example-1"
            other = next(name for name in OWN if name != service)
            assert await refused(client, refusals, subject_of(other, "host-1"))
        assert not_heard == []


@services
async def test_a_service_works_from_its_own_consumer(broker_port: int, service: str) -> None:
    subject, consumer = OWN[service]
    async with connected(service, broker_port) as (client, refusals):
        js = client.jetstream()
        config = ConsumerConfig(durable_name=consumer, filter_subject=subject, ack_policy=AckPolicy.EXPLICIT)
        await js.add_consumer(STREAM, config)
        await js.publish(subject, b"{}")
        subscription = await js.pull_subscribe_bind(consumer, STREAM)
        (message, *_) = await subscription.fetch(1, timeout=5)
        await message.ack_sync()
        assert message.subject == subject
        assert refusals == []


@services
async def test_a_service_takes_no_work_from_another(broker_port: int, service: str) -> None:
    async with connected(service, broker_port) as (client, refusals):
        for other, (_, consumer) in OWN.items():
            if other != service:
                for call in ("CONSUMER.MSG.NEXT", "CONSUMER.DURABLE.CREATE", "CONSUMER.DELETE"):
                    assert await refused(client, refusals, f"$JS.API.{call}.{STREAM}.{consumer}"), (
                        call,
                        consumer,
                    )
                assert await refused(client, refusals, f"$JS.ACK.{STREAM}.{consumer}.1.1.1.1.0"), consumer


@pytest.mark.parametrize("user", [user for user in USERS if user != "admin"])
async def test_only_the_admin_changes_or_trims_the_log(broker_port: int, user: str) -> None:
    async with connected(user, broker_port) as (client, refusals):
        for call in ("CREATE", "UPDATE", "DELETE", "PURGE", "MSG.DELETE", "RESTORE", "SNAPSHOT"):
            assert await refused(client, refusals, f"$JS.API.STREAM.{call}.{STREAM}"), call


async def test_a_requester_asks_and_looks_on_and_says_nothing_else(broker_port: int) -> None:
    async with connected("requester", broker_port) as (client, refusals):
        js = client.jetstream()
        await js.publish("benchmark.requested", b'{"suite":"noop"}')
        replay = await js.subscribe("benchmark.requested", stream=STREAM, ordered_consumer=True)
        assert (await replay.next_msg(timeout=5)).data == b'{"suite":"noop"}'
        assert refusals == []
        for subject, _ in OWN.values():
            assert await refused(client, refusals, subject)


async def test_a_requester_sends_a_file_for_a_run_to_work_on(broker_port: int, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_bytes(b"age,income\n" * 30_000)
    async with Requester(url("requester", broker_port)) as swarm:
        sent = await swarm.upload(path)
        assert sent.name == "people.csv"
        assert await swarm.log.blobs.get(sent.ref) == path.read_bytes()


async def test_payloads_and_snapshots_are_kept_and_read(broker_port: int) -> None:
    async with connected("metrics", broker_port) as (client, refusals):
        for bucket in ("SWARM_BLOBS", "SWARM_SNAPSHOTS"):
            store = await client.jetstream().object_store(bucket)
            with pytest.raises(NotFoundError):
                await store.get_info("sha256:0")
            await store.put("sha256:0", b"x" * 300_000)
            assert (await store.get_info("sha256:0")).size == 300_000
        store = await client.jetstream().object_store("SWARM_SNAPSHOTS")
        await store.put("sha256:0", b"y" * 300_000)
        assert refusals == []


async def test_a_blob_once_written_is_not_purged(broker_port: int) -> None:
    async with connected("model_agent", broker_port) as (client, _):
        with pytest.raises((NatsTimeout, asyncio.TimeoutError)):
            await client.jetstream(timeout=0.5).purge_stream("OBJ_SWARM_BLOBS")


@pytest.mark.slow
async def test_a_run_goes_through_all_services_as_they_are(broker_port: int, tmp_path: Path) -> None:
    """The real services, each as its own user: a right that the code needs and the list lacks shows here."""
    logs = {service: tmp_path / f"{service}.log" for service in OWN}
    with contextlib.ExitStack() as stack:
        for service, log in logs.items():
            environment = os.environ | {
                "SWARM_NATS_URL": url(service, broker_port),
                "SWARM_HEALTH_FILE": str(tmp_path / f"{service}.health"),
                "SWARM_HOME": str(tmp_path),
                "OTEL_EXPORTER_OTLP_ENDPOINT": "",
            }
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", f"swarm_{service}"],
                    env=environment,
                    stdout=stack.enter_context(log.open("wb")),
                    stderr=subprocess.STDOUT,
                )
            )
            stack.callback(process.terminate)
        async with connected("requester", broker_port) as (client, refusals):
            end = await _end_of_a_run(client)
            assert end.endswith(".completed"), {name: log.read_text()[-1500:] for name, log in logs.items()}
            assert refusals == []
    assert [name for name, log in logs.items() if "permission" in log.read_text().lower()] == []


async def _end_of_a_run(client: Client) -> str:
    """Ask for a run and return the subject of the event that ended it, or nothing after a while."""
    events = await client.subscribe("swarm.benchmark.*.*")
    await client.publish("benchmark.requested", b'{"suite":"noop"}')
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(60):
            async for event in events.messages:
                if event.subject.endswith((".completed", ".failed", ".rejected")):
                    return event.subject
    return "no end"


async def test_a_stranger_does_not_get_in(broker_port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", broker_port)
    await reader.readline()
    writer.write(b'CONNECT {"verbose":false}\r\nPING\r\n')
    assert b"Authorization Violation" in await reader.readline()
    writer.close()
    await writer.wait_closed()
