"""Live swarms on a real broker: every mechanism among processes, with crashes and liars that really happen."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from support.brokers import BrokerProcess, running
from support.waiting import until, until_sync
from swarm_common.errors import BrokerUnavailable, TaskFailed
from swarm_common.events.benchmark import TaskScheduled
from swarm_common.events.consensus import Decided, Measured
from swarm_common.mechanisms import MECHANISMS
from swarm_common.tracing import child_of, root
from swarm_consensus.live import task as live_task
from swarm_consensus.live.driver import swarm
from swarm_consensus.live.measuring import Outcome, measure
from swarm_consensus.live.params import live_params
from swarm_consensus.live.wire import Wire

NATS = Path(__file__).resolve().parents[2] / "deploy/nats"
AGENTS = {"pbft": 4}
MESSAGES = {"voting": 6, "weighted": 6, "raft": 4, "multi_paxos": 4, "paxos": 10, "pbft": 24}
"""Of one decision without faults among the agents of these tests; Paxos counts those that tell the others."""
#: Clocks are slow here, since machines that run tests are busy: nobody is to lose an election to a neighbour.
_TICK_MS = 20.0


async def measured(url: str, tmp_path: Path, mechanism: str, fault: str = "none", **more: Any) -> Outcome:
    params = {
        "mechanism": mechanism,
        "agents": AGENTS.get(mechanism, 3),
        "fault": fault,
        "decisions": 30,
        "rounds": 10,
        "clients": 3,
        "tick_ms": _TICK_MS,
    }
    outcome = await measure(live_params(params | more), url, home=tmp_path)
    assert left(tmp_path) == [], "disks that nobody needs any more"
    return outcome


def left(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def held(found: Measured, asked: int = 60) -> None:
    """Check what must hold wherever the fault is one that the mechanism knows."""
    assert found.inside
    assert (found.violations, found.agreement) == ((), 1.0)
    assert found.linearizable is not False, found.history
    assert (found.asked, found.decisions, found.unanswered) == (asked, asked, 0)


@pytest.mark.parametrize("mechanism", ["voting", "raft"])
async def test_an_agent_that_is_alone_decides_as_often_as_it_is_asked(
    nats_url: str, tmp_path: Path, mechanism: str
) -> None:
    """It decides within the call that asks it, and the next one must not lie inside of that."""
    found = (await measured(nats_url, tmp_path, mechanism, agents=1, decisions=500)).measured
    held(found, asked=1000)


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_processes_decide(nats_url: str, tmp_path: Path, mechanism: str) -> None:
    outcome = await measured(nats_url, tmp_path, mechanism)
    found, decided = outcome.measured, outcome.decided
    held(found)
    assert found.processes == found.agents
    assert [one.number for one in decided] == list(range(30))
    assert len({one.slot for one in decided}) == 30
    assert found.round_us.shape == (10,)
    assert found.latency_us is not None
    assert found.latency_us.numpy().min() > 0
    assert found.messages_a_decision is not None
    # Heartbeats are sent, too: some on a machine that has time, more where decisions take long.
    assert MESSAGES[mechanism] - 0.5 <= found.messages_a_decision <= 3 * MESSAGES[mechanism]
    assert found.throughput_s is not None
    assert found.throughput_s > 1
    if found.linearizable is None:  # the mechanism orders nothing, but it may be right or wrong
        assert found.quality is not None
        assert 0.5 <= found.quality <= 1.0
    else:
        assert found.history_operations == 30


async def test_decisions_say_which_phases_they_went_through(nats_url: str, tmp_path: Path) -> None:
    for one in (await measured(nats_url, tmp_path, "voting")).decided:
        assert [name for name, _ in one.phases_us] == ["ask", "tell"]
        assert 0 < sum(lasted for _, lasted in one.phases_us) <= one.latency_us
        assert sum(one.certificate["votes"].values()) == 3


async def test_an_agent_waits_for_its_disk_where_it_is_told_to(nats_url: str, tmp_path: Path) -> None:
    held((await measured(nats_url, tmp_path, "raft", fsync=True)).measured)


@pytest.mark.parametrize("mechanism", ["raft", "multi_paxos", "pbft"])
async def test_a_leader_is_killed_and_comes_back(nats_url: str, tmp_path: Path, mechanism: str) -> None:
    found = (await measured(nats_url, tmp_path, mechanism, "leader_crash", fsync=True)).measured
    held(found)
    assert found.gap_us is not None
    assert found.gap_us > 1e3 * _TICK_MS  # somebody had to notice


@pytest.mark.parametrize("mechanism", ["raft", "paxos", "pbft"])
async def test_as_many_crash_as_may(nats_url: str, tmp_path: Path, mechanism: str) -> None:
    held((await measured(nats_url, tmp_path, mechanism, "crashes", agents=4)).measured)


async def test_liars_do_no_harm_where_the_mechanism_knows_them(nats_url: str, tmp_path: Path) -> None:
    found = (await measured(nats_url, tmp_path, "pbft", "byzantine")).measured
    held(found)


@pytest.mark.parametrize("mechanism", ["raft", "voting"])
async def test_liars_do_harm_where_it_does_not(nats_url: str, tmp_path: Path, mechanism: str) -> None:
    """A leader or collector that lies leads others to decide differently: that is what the table is to show."""
    found = (await measured(nats_url, tmp_path, mechanism, "byzantine", agents=4)).measured
    assert not found.inside
    assert found.agreement is not None
    assert found.agreement < 1.0
    assert any(one.startswith("agreement") for one in found.violations)


async def test_one_liar_more_is_outside_the_model(nats_url: str, tmp_path: Path) -> None:
    found = (await measured(nats_url, tmp_path, "pbft", "byzantine_more", patience_ms=500.0)).measured
    assert not found.inside


@pytest.mark.parametrize("mechanism", ["raft", "voting"])
async def test_agents_that_share_processes_talk_over_the_broker_too(
    nats_url: str, tmp_path: Path, mechanism: str
) -> None:
    found = (await measured(nats_url, tmp_path, mechanism, agents=7, processes=2, clients=2)).measured
    held(found)
    assert found.processes == 2


async def test_a_killed_agent_finds_on_its_disk_what_it_had_promised(nats_url: str, tmp_path: Path) -> None:
    """A collector is killed after it decided: it comes back, says the same, and uses no slot twice."""
    params = live_params({"mechanism": "voting", "agents": 3, "tick_ms": _TICK_MS})
    async with swarm(params, nats_url, home=tmp_path) as made:
        before = await made.decide(["one?", "two?"], home=1)
        await made.kill(made.where[1])
        await made.restart(made.where[1])
        after = await made.decide(["three?"], home=1)
    slots = [turn.slot for turn in (*before, *after)]
    assert slots == [1, 4, 7]


async def test_a_host_that_ends_by_itself_fails_the_measurement(nats_url: str, tmp_path: Path) -> None:
    params = live_params({"mechanism": "voting", "agents": 3})
    async with swarm(params, nats_url, home=tmp_path) as made:
        os.kill(made.pids[0], signal.SIGKILL)
        with pytest.raises(TaskFailed, match="ended with status"):
            await made.until(lambda: False, 20.0, "what never happens")
    assert left(tmp_path) == []


async def test_without_a_broker_there_is_no_measurement(
    broker_process: BrokerProcess, tmp_path: Path
) -> None:
    params = live_params({"mechanism": "voting", "agents": 3})
    home = tmp_path / "disks"
    home.mkdir()
    async with swarm(params, broker_process.url, home=home) as made:
        pids = made.pids
        broker_process.kill()
        with pytest.raises(BrokerUnavailable):
            await made.until(lambda: False, 20.0, "what never happens")
    with pytest.raises(BrokerUnavailable):
        await measure(params, broker_process.url, home=home)
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert left(home) == []


DRIVER = """
    import asyncio, sys
    from pathlib import Path
    from swarm_consensus.live.driver import swarm
    from swarm_consensus.live.params import live_params

    async def main():
        params = live_params({"mechanism": "raft", "agents": 3})
        async with swarm(params, sys.argv[1], home=Path(sys.argv[2])) as made:
            print(*made.pids, flush=True)
            await asyncio.Event().wait()

    asyncio.run(main())
"""


def test_hosts_end_with_their_driver_however_it_ends(nats_url: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(DRIVER), nats_url, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        pids = [int(pid) for pid in driver.stdout.readline().split()]
        assert len(pids) == 3
        driver.kill()
        driver.wait(10)
        until_sync(lambda: not any(alive(pid) for pid in pids), what="the hosts to end")
    until_sync(lambda: not list(tmp_path.iterdir()), what="their disks to be gone")


def alive(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


# -- as the service's own user, and in its trace -------------------------------------------------------------


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the URL, without a user, of a broker with the permissions in force."""
    home = tmp_path_factory.mktemp("secured")
    shutil.copy(NATS / "permissions.conf", home)
    users = (
        "admin",
        "requester",
        "coordinator",
        "model_agent",
        "consensus",
        "memory_sync",
        "metrics",
        "optimizer",
    )
    passwords = {f"SWARM_PASSWORD_{user.upper()}": "secret" for user in users}
    with running(home, config="include ./permissions.conf", environ=passwords) as server:
        yield server.url.removeprefix("nats://")


async def test_the_service_of_consensus_may_do_it(secured: str, tmp_path: Path) -> None:
    held((await measured(f"nats://consensus:secret@{secured}", tmp_path, "raft")).measured)


@pytest.mark.parametrize("user", ["", "consensus:wrong@"])
async def test_nobody_else_gets_in(secured: str, tmp_path: Path, user: str) -> None:
    with pytest.raises(BrokerUnavailable, match="Authorization"):
        await measured(f"nats://{user}{secured}", tmp_path, "raft")


async def test_who_may_not_speak_on_the_wire_is_told_so(secured: str) -> None:
    lost: list[str] = []
    wire = Wire(lambda *_: None, lambda: None, lost.append)
    await wire.connect(f"nats://requester:secret@{secured}", name="test")
    wire.send(b"wire.r.all", b"")
    wire.flush()
    await until(lambda: lost)
    assert "Permissions Violation" in lost[0]


class Spans:
    """Stands for a tracer that exports: keeps what it is told."""

    exports = True

    def __init__(self) -> None:
        self.past_ones: list[tuple[str, str, str, int, int]] = []

    def past(
        self,
        name: str,
        parent: str,
        began_ns: int,
        ended_ns: int,
        *,
        attributes: Mapping[str, Any] | None = None,
    ) -> str:
        assert attributes is not None
        own = child_of(parent or root("1" * 32))
        self.past_ones.append((name, parent, own, began_ns, ended_ns))
        return own


async def test_the_task_returns_its_events_and_traces_each_decision(nats_url: str, tmp_path: Path) -> None:
    spans = Spans()

    class Told:
        class settings:  # noqa: N801 - as the context has it
            data_dir = str(tmp_path)

        class broker:  # noqa: N801
            url = nats_url

        tracer = spans

    class Scheduled:
        task = TaskScheduled(
            task="live",
            kind="agree_live",
            service="consensus",
            params={"mechanism": "voting", "agents": 3, "decisions": 5, "rounds": 2, "clients": 1},
            seed=7,
        )

    began_ns = time.time_ns()
    events = await live_task.agree_live(Scheduled(), Told())  # type: ignore[arg-type]
    assert [type(event) for event in events] == [Decided] * 5 + [Measured]
    decisions = [span for span in spans.past_ones if span[0] == "decide"]
    assert len(decisions) == 5
    for _, parent, own, began, ended in decisions:
        below = [span for span in spans.past_ones if span[1] == own]
        assert parent == ""
        assert [span[0] for span in below] == ["phase ask", "phase tell"]
        assert all(began - 1000 <= span[3] <= span[4] <= ended + 1000 for span in below)
        assert began_ns <= began <= ended <= time.time_ns()


async def test_a_service_without_a_broker_says_so() -> None:
    class Scheduled:
        task = TaskScheduled(
            task="live", kind="agree_live", service="consensus", params={"mechanism": "voting", "agents": 3}
        )

    with pytest.raises(TaskFailed, match="has none"):
        await live_task.agree_live(Scheduled(), None)  # type: ignore[arg-type]
