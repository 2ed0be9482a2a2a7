"""The service of consensus is killed in the middle of a live task: the run completes, and no agent outlives it."""

from __future__ import annotations

import contextlib
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from support.stacks import Follower, Stack, completed, stack
from support.waiting import until, until_sync
from swarm_common.events.benchmark import Requested
from swarm_common.events.consensus import Measured

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]

LIVE = Requested(
    suite="hive",
    scenario="live",
    params={
        "mechanisms": ["raft", "voting"],
        "agents": [3],
        "faults": ["none"],
        "decisions": 400,
        "rounds": 10,
        "clients": 2,
    },
)


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("live")  # a short name: sockets lie below it
    disks = folder / "disks"
    disks.mkdir()
    with stack(folder / "home", TMPDIR=str(disks)) as found:
        yield found
        until_sync(lambda: not hosts(disks), what="the hosts to end with the stack")


def hosts(disks: Path) -> list[int]:
    """Return the processes that host agents and have their disks there."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            host = "swarm_consensus.live.host" in process.cmdline()
            if host and process.environ().get("TMPDIR") == str(disks):
                found.append(process.pid)
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_live_task_is_done_anew_when_its_service_is_killed(home: Stack, number: int) -> None:
    disks = Path(home.environ["TMPDIR"])
    async with home.client() as client:
        run = await client.request(LIVE)
        first = await until(lambda: len(hosts(disks)) == 3 and hosts(disks), 60, "a swarm of three")
        killed = home.process("consensus").pid
        assert killed is not None
        os.kill(killed, number)
        await until(lambda: not set(first) & set(hosts(disks)), 30, "the hosts to end with their service")
        events = await Follower(client, run).settle()
    assert completed(events)
    measured = [event.data for event in events if isinstance(event.data, Measured)]
    assert sorted(one.mechanism for one in measured) == ["raft", "voting"]
    assert all(one.unanswered == 0 and one.agreement == 1.0 and not one.violations for one in measured)
    assert not [ident for ident, n in Counter(event.id for event in events).items() if n > 1]
    until_sync(lambda: not hosts(disks), what="all hosts to end")
    until_sync(lambda: not list(disks.glob("swarm-live-*")), what="all disks to be gone")
