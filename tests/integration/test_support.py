"""The test broker itself: what all other tests stand on."""

from __future__ import annotations

from support.brokers import BrokerProcess
from support.waiting import until
from swarm_common.log.broker import connected
from swarm_common.log.eventlog import EventLog
from swarm_common.log.streams import STREAM, ensure_streams


async def test_what_a_killed_broker_has_stored_is_there_when_it_comes_back(
    broker_process: BrokerProcess,
) -> None:
    async with connected(broker_process.url, name="test") as broker:
        await ensure_streams(broker)
        await broker.js.publish("swarm.test.r.said", b"word")
        url = broker_process.url
        broker_process.restart()
        assert broker_process.url == url
        await until(lambda: broker.reconnects > 0)
        assert (await broker.js.stream_info(STREAM)).state.messages == 1


async def test_the_fixtures_give_a_log_that_works(event_log: EventLog, nats_url: str) -> None:
    assert await event_log.last_seq() == 0
    async with connected(nats_url, name="test") as broker:
        assert broker.nc.is_connected
