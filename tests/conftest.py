"""Fixtures that all tests may use.

============================ ======== =======================================================================
``nats_url``                 session  URL of a real broker with JetStream, for tests that bring unique run ids
``broker_server``            module   :class:`~support.brokers.BrokerProcess` shared by a module; do not kill
``broker_process``           function a broker of the test's own, to kill, restart, freeze and thaw
``broker``                   function :class:`~swarm_common.log.Broker` connected to the module's, streams made
``event_log``                function a started :class:`~swarm_common.log.EventLog` over ``broker``
``run``                      function a run id that no other test has
============================ ======== =======================================================================

Helpers: ``from support.waiting import until, until_sync`` waits on conditions; ``from support.brokers import running``
starts further brokers, with settings of their own. The broker is the wheel's ``nats-server``;
``SWARM_TEST_BROKER=docker`` takes a container instead.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import hypothesis
import pytest

from support.brokers import BrokerProcess, running
from swarm_common.log.broker import Broker, connected
from swarm_common.log.eventlog import EventLog
from swarm_common.log.streams import ensure_streams

# Machines that run tests are busy: how long one example takes says nothing.
hypothesis.settings.register_profile(
    "swarm", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.load_profile("swarm")


@pytest.fixture(scope="session")
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(tmp_path_factory.mktemp("nats")) as server:
        yield server.url


@pytest.fixture(scope="module")
def broker_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    with running(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
def broker_process(tmp_path: Path) -> Iterator[BrokerProcess]:
    with running(tmp_path / "nats") as server:
        yield server


@pytest.fixture
async def broker(broker_server: BrokerProcess) -> AsyncIterator[Broker]:
    async with connected(broker_server.url, name="test") as connection:
        await ensure_streams(connection)
        yield connection


@pytest.fixture
async def event_log(broker: Broker) -> AsyncIterator[EventLog]:
    log = EventLog(broker)
    await log.start()
    yield log
    await log.close()


@pytest.fixture
def run() -> str:
    return secrets.token_hex(8)
