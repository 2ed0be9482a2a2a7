"""What the hive computes: the same digest on one worker, two and four, with a worker killed, and when replayed."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from support.stacks import Follower, Stack, completed, stack
from support.waiting import until_sync
from swarm_common.events.benchmark import Requested
from swarm_coordinator.suites.hive import Hive

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

#: What makes each scenario small. What is not named here is as the scenario has it.
SMALL: dict[str, dict[str, Any]] = {
    "simulate": {"agents": [3, 5], "seeds": 40, "faults": ["crash", "partition", "byzantine"]},
    "decision_quality": {"agents": 5, "trials": 100},
    "knowledge": {"agents": [10, 100], "repetitions": 20},
    "emergence": {"agents": 10, "repetitions": 50},
}


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Stack]]:
    home = tmp_path_factory.mktemp("workers")
    with (
        stack(home / "one", SWARM_CPU_WORKERS="1") as one,
        stack(home / "two", SWARM_CPU_WORKERS="2") as two,
        stack(home / "four", SWARM_CPU_WORKERS="4") as four,
    ):
        yield {1: one, 2: two, 4: four}


def kill_a_worker(home: Stack) -> None:
    """End a process of the consensus service's pool: one without children below its fork server."""
    service = psutil.Process(until_sync(lambda: home.process("consensus").pid))

    def workers() -> list[psutil.Process]:
        with contextlib.suppress(psutil.Error):
            return [
                one
                for one in service.children(recursive=True)
                if not one.children() and one.ppid() != service.pid
            ]
        return []

    until_sync(workers, what="a worker of consensus")[0].kill()


def test_every_scenario_but_the_timed_one_is_held() -> None:
    assert set(SMALL) == {scenario.name for scenario in Hive.scenarios if scenario.deterministic}


@pytest.mark.parametrize("scenario", SMALL)
async def test_a_scenario_is_the_same_however_its_work_is_done(
    stacks: dict[int, Stack], scenario: str
) -> None:
    digests = {}
    for workers, home in stacks.items():
        async with home.client() as client:
            run = await client.request(Requested(suite="hive", scenario=scenario, params=SMALL[scenario]))
            follower = Follower(client, run)
            if workers == 2:
                await follower.reach(5)
                kill_a_worker(home)
            events = await follower.settle()
        assert not [ident for ident, n in Counter(event.id for event in events).items() if n > 1]
        digests[workers] = completed(events).digest
        if workers == 2:
            replayed = home.replay(home.export(run))
            assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    assert len(set(digests.values())) == 1, digests
