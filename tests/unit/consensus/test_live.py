"""The parts of a live swarm, each by itself: disks that tear, bytes that come in pieces, clients that are not heard."""

from __future__ import annotations

import asyncio
import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from swarm_common.errors import UsageError
from swarm_consensus.keyvalue import encode
from swarm_consensus.live import applying, disk, keys, opinions
from swarm_consensus.live.client import Client
from swarm_consensus.live.disk import Disk
from swarm_consensus.live.driver import Swarm
from swarm_consensus.live.host import Host
from swarm_consensus.live.params import LiveParams, live_params
from swarm_consensus.live.telling import Answer, Ask, Hosting
from swarm_consensus.live.wire import Wire
from swarm_consensus.protocols import pbft, voting
from swarm_consensus.protocols.core import Decision, Record
from swarm_consensus.protocols.raft import messages as raft
from swarm_consensus.protocols.voting import Announced, Cast, Opened

KINDS = (Opened, Cast, Announced)
RECORDS: list[Record] = [Opened(0, "a?"), Cast(3, 1, "yes"), Announced(0, "a?", "no", {"no": 2.0}, {0: "no"})]


# -- disks -------------------------------------------------------------------------------------------------


def written(path: Path) -> int:
    """Write all records and return where they end."""
    one = Disk(path, KINDS)
    one.restore()
    for record in RECORDS:
        one.write([record])
    one.sync()
    one.close()
    return one._at


def restored(path: Path) -> list[Record]:
    one = Disk(path, KINDS)
    found = one.restore()
    one.close()
    return found


def test_what_was_written_is_found_again_in_order(tmp_path: Path) -> None:
    written(tmp_path / "log")
    assert restored(tmp_path / "log") == RECORDS


def test_a_torn_tail_is_dropped_wherever_it_is_torn(tmp_path: Path) -> None:
    path = tmp_path / "log"
    end = written(path)
    whole = path.read_bytes()[:end]
    for length in range(end):
        path.write_bytes(whole[:length])
        found = restored(path)
        assert found == RECORDS[: len(found)]
        assert len(found) < len(RECORDS)
    path.write_bytes(whole[: end - 1] + bytes([whole[-1] ^ 1]))
    assert restored(path) == RECORDS[:-1]


def test_what_stood_behind_a_torn_record_never_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "log"
    end = written(path)
    data = bytearray(path.read_bytes()[:end])
    data[8 + 4] ^= 1  # within the first record: the two after it are whole
    path.write_bytes(bytes(data))
    one = Disk(path, KINDS)
    assert one.restore() == []
    one.write([RECORDS[0]])  # as long as the one that was torn
    one.sync()
    one.close()
    assert restored(path) == RECORDS[:1]


def test_a_disk_grows_beyond_what_was_written_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "_AHEAD", mmap.PAGESIZE)
    one = Disk(tmp_path / "log", KINDS)
    one.restore()
    many = [Cast(number, 0, "x" * (number % 90) * 9) for number in range(300)]
    for record in many:
        one.write([record])
        one.sync()
    one.close()
    assert restored(tmp_path / "log") == many


# -- persist, then send ------------------------------------------------------------------------------------


class Line:
    """Stands for the connection: notes what is written and when."""

    def __init__(self, happened: list[str]) -> None:
        self.happened = happened
        self.written = b""

    def write(self, data: bytes) -> None:
        self.happened.append("sent")
        self.written += data


def hosting(tmp_path: Path, **more: Any) -> Hosting:
    told = {
        "run": "r",
        "url": "",
        "host": 0,
        "hosts": ((0,), (1,), (2,)),
        "mechanism": "voting",
        "directory": str(tmp_path),
        "fsync": True,
        "tick_ms": 10.0,
        "seed": 1,
        "parent": os.getpid(),
    }
    return Hosting(**(told | more))


def arrives(host: Host, sid: int, subject: str, payload: bytes) -> None:
    host.wire.data_received(b"MSG %b %d %d\r\n%b\r\n" % (subject.encode(), sid, len(payload), payload))


async def test_nothing_is_sent_before_the_disk_has_what_it_rests_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []
    host = Host(hosting(tmp_path))
    line = Line(happened)
    host.wire._transport = line  # type: ignore[assignment]
    agent = host.agents[0]
    agent.disk.restore()
    really = os.fdatasync

    def synced(number: int) -> None:
        assert line.written == b""
        happened.append("synced")
        really(number)

    monkeypatch.setattr(os, "fdatasync", synced)
    ask = b"\x00\x01" + msgspec.msgpack.encode(voting.Ask(1, "really?"))
    arrives(host, 1, "wire.r.0.0", ask)
    assert happened == ["synced", "sent"]
    assert b"PUB wire.r.1.1 " in line.written
    agent.disk.close()
    assert [type(record) for record in restored(agent.disk.path)] == [Cast]


async def test_one_sync_serves_all_that_came_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []
    host = Host(hosting(tmp_path))
    host.wire._transport = Line(happened)  # type: ignore[assignment]
    host.agents[0].disk.restore()
    monkeypatch.setattr(os, "fdatasync", lambda _: happened.append("synced"))
    parts = []
    for slot in range(5):
        payload = b"\x00\x01" + msgspec.msgpack.encode(voting.Ask(1 + 3 * slot, "really?"))
        parts.append(b"MSG wire.r.0.0 1 %d\r\n%b\r\n" % (len(payload), payload))
    host.wire.data_received(b"".join(parts))
    assert happened == ["synced", "sent"]
    host.agents[0].disk.close()


async def test_a_leader_s_entries_are_on_their_way_while_its_own_disk_writes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(hosting(tmp_path, mechanism="raft"))
    line = Line([])
    host.wire._transport = line  # type: ignore[assignment]
    agent = host.agents[0]
    agent.disk.restore()
    before: list[bytes] = []

    def synced(_: int) -> None:
        before.append(line.written)
        line.written = b""

    monkeypatch.setattr(os, "fdatasync", synced)
    while agent.node.state != "precandidate":
        host._carry_out(agent, agent.node.tick())
    host._settle()
    line.written = b""
    arrives(host, 1, "wire.r.0.0", b"\x00\x01" + msgspec.msgpack.encode(raft.Vote(1, granted=True, pre=True)))
    assert before == [b""]  # a vote, its own too, is on the disk before anybody hears of it
    assert b"RequestVote" in line.written
    line.written = b""
    arrives(
        host, 1, "wire.r.0.0", b"\x00\x01" + msgspec.msgpack.encode(raft.Vote(1, granted=True, pre=False))
    )
    assert len(before) == 2
    assert b"Append" in before[1]
    assert line.written == b""
    agent.disk.close()


async def test_without_fsync_no_disk_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []
    host = Host(hosting(tmp_path, fsync=False))
    host.wire._transport = Line(happened)  # type: ignore[assignment]
    monkeypatch.setattr(os, "fdatasync", lambda _: happened.append("synced"))
    arrives(host, 1, "wire.r.0.0", b"\x00\x01" + msgspec.msgpack.encode(voting.Ask(1, "really?")))
    assert happened == ["sent"]
    host.agents[0].disk.close()


async def test_the_same_to_all_others_is_published_once_and_counted_once_each(tmp_path: Path) -> None:
    host = Host(hosting(tmp_path, fsync=False))
    line = Line([])
    host.wire._transport = line  # type: ignore[assignment]
    arrives(host, 6, "wire.r.asked", msgspec.msgpack.encode(Ask(0, "really?", 0, -1)))
    assert line.written.count(b"PUB wire.r.all ") == 1
    assert host.sent == 2
    host.agents[0].disk.close()


async def test_a_liar_lies_on_the_wire(tmp_path: Path) -> None:
    host = Host(hosting(tmp_path, fsync=False, liars={0: "wrong_value"}))
    line = Line([])
    host.wire._transport = line  # type: ignore[assignment]
    arrives(host, 1, "wire.r.0.0", b"\x00\x01" + msgspec.msgpack.encode(voting.Ask(1, "really?")))
    assert b"not " in line.written
    host.agents[0].disk.close()


async def test_what_is_no_message_is_counted_and_left_alone(tmp_path: Path) -> None:
    host = Host(hosting(tmp_path, fsync=False))
    host.wire._transport = Line([])  # type: ignore[assignment]
    arrives(host, 1, "wire.r.0.0", b"\x00\x01garbage")
    assert host.refused == 1
    host.agents[0].disk.close()


# -- the wire ----------------------------------------------------------------------------------------------


def test_messages_are_whole_wherever_the_bytes_are_cut() -> None:
    stream = b"MSG a.b 1 5\r\nhe\r\no\r\nMSG c 2 reply 0\r\n\r\nPONG\r\nMSG d 3 3\r\nxyz\r\n"
    expected = [(1, b"a.b", b"he\r\no"), (2, b"c", b""), (3, b"d", b"xyz")]
    for at in range(len(stream) + 1):
        found: list[tuple[int, bytes, bytes]] = []
        wire = _wire(lambda sid, subject, payload, found=found: found.append((sid, subject, payload)))
        loop = asyncio.new_event_loop()
        wire._pongs.append(loop.create_future())
        wire.data_received(stream[:at])
        wire.data_received(stream[at:])
        loop.close()
        assert found == expected, at


def _wire(deliver: Callable[..., None]) -> Wire:
    return Wire(deliver, lambda: None, lambda _: None)


# -- clients -----------------------------------------------------------------------------------------------


class Asked:
    """A client, whom it asked, and what it was told in the end."""

    def __init__(self, need: int = 1, again_s: float = 100.0, patience_s: float = 100.0) -> None:
        self.sent: list[int] = []
        self.known: list[Answer | None] = []
        self.client = Client(
            (0, 1, 2, 3),
            lambda agent, _: self.sent.append(agent),
            need=need,
            again_s=again_s,
            patience_s=patience_s,
        )
        self.client.ask("v", self.known.append)

    def answer(self, agent: int, value: str = "v") -> None:
        self.client.answered(Answer(0, agent, "v", 7, value, {}, ""))


def test_a_client_follows_hints_and_believes_an_answer() -> None:
    asked = Asked()
    asked.client.elsewhere("v", 2)
    asked.answer(2)
    assert asked.sent == [0, 2]
    assert asked.known[0] is not None
    assert asked.client.leader == 2


def test_a_client_that_hears_nothing_asks_the_next_and_in_the_end_gives_up() -> None:
    asked = Asked(again_s=0.0)
    asked.client.look()
    asked.client.look()
    assert asked.sent == [0, 1, 2]
    asked.client.patience_s = 0.0
    asked.client.look()
    assert asked.known == [None]
    asked.answer(1)
    assert asked.known == [None]


def test_a_client_is_not_sent_back_to_who_was_silent() -> None:
    asked = Asked(again_s=0.0)
    asked.client.look()
    asked.client.elsewhere("v", 0)  # agent 1 still thinks that the silent one leads
    assert asked.sent == [0, 1]
    asked.client.look()
    assert asked.sent == [0, 1, 2]


def test_where_agents_lie_a_client_wants_to_hear_it_twice_and_asks_all_again() -> None:
    asked = Asked(need=2, again_s=0.0)
    asked.client.look()
    assert asked.sent == [0, -1]
    asked.answer(0, "not v")
    asked.answer(1)
    asked.answer(1)
    assert asked.known == []
    asked.answer(3)
    assert asked.known[0] is not None
    assert asked.known[0].value == "v"


# -- registers over decisions ------------------------------------------------------------------------------


def test_registers_answer_in_the_order_of_slots() -> None:
    registers = applying.Registers()
    write, read = (encode(applying.command(client, 0, value)) for client, value in ((0, 5), (1, None)))
    assert registers.apply(Decision(1, read)) == []
    done = registers.apply(Decision(0, write))
    assert [(value, slot) for value, slot, _ in done] == [(write, 0), (read, 1)]
    assert applying.read_of(done[1][2]) == 5
    assert registers.apply(Decision(2, "nothing of the kind")) == []


def test_a_liars_result_is_none() -> None:
    with pytest.raises(msgspec.DecodeError):
        applying.read_of("not [5, null]")


def test_agents_are_right_as_often_as_they_are_competent() -> None:
    questions = [f"question {number}" for number in range(2000)]
    right = sum(opinions.opinion_of(3, 1)(one) == opinions.truth(3, one) for one in questions)
    assert abs(right / 2000 - opinions.COMPETENCE) < 0.04
    assert 0.45 < sum(opinions.truth(3, one) == "yes" for one in questions) / 2000 < 0.55


@pytest.mark.parametrize("how", ["ed25519", "mac"])
def test_an_agent_signs_in_its_own_name_and_no_other(how: Any) -> None:
    own = keys.secrets_for(pbft.MECHANISM, range(4), how)
    publics = keys.publics_of(own, how)
    agents = [keys.keys_of(agent, own, publics) for agent in range(4)]
    assert all(agents)
    for signer, one in enumerate(agents):
        assert one is not None
        signature = one.sign(b"yes")
        for verifier in agents:
            assert verifier is not None
            assert verifier.verify(signer, b"yes", signature)
            assert not verifier.verify(signer, b"no", signature)
            assert not verifier.verify((signer + 1) % 4, b"yes", signature)
            assert not verifier.verify(9, b"yes", signature)
    assert keys.keys_of(0, keys.secrets_for(voting.MECHANISM, range(4), how), {}) is None


# -- who dies, who lies, who shares a process ----------------------------------------------------------------


def planned(**params: Any) -> Swarm:
    return Swarm(live_params({"mechanism": "raft", "agents": 5} | params), "", "r", Path(), 0)


@pytest.mark.parametrize("agents", [3, 5, 10, 31, 100])
def test_who_is_killed_shares_no_process_with_who_is_not(agents: int) -> None:
    swarm = planned(agents=agents, fault="crashes")
    assert len(swarm.victims) == swarm.mechanism.crashes(agents)
    assert sorted(agent for host in swarm.hosts for agent in host) == list(range(agents))
    assert all(len({agent in swarm.victims for agent in host}) == 1 for host in swarm.hosts)
    assert len(swarm.hosts) == (agents if agents <= 10 else 4)


@pytest.mark.parametrize(("agents", "liars", "more"), [(3, 1, 1), (4, 1, 2), (7, 2, 3), (31, 10, 11)])
def test_as_many_lie_as_any_mechanism_stands_or_one_more(agents: int, liars: int, more: int) -> None:
    assert len(planned(agents=agents, fault="byzantine").liars) == liars
    assert len(planned(agents=agents, fault="byzantine_more").liars) == more
    assert planned(agents=agents).liars == {}


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"mechanism": "dice"}, "mechanism"),
        ({"fault": "flood"}, "fault"),
        ({"agents": 0}, "agents"),
        ({"agents": 101}, "agents"),
        ({"clients": 0}, "clients"),
        ({"processes": 6}, "processes"),
        ({"decisions": "many"}, "params"),
        ({"colour": "blue"}, "params"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any], field: str) -> None:
    with pytest.raises(UsageError) as refused:
        live_params({"mechanism": "raft", "agents": 5} | given)
    assert refused.value.field == field


def test_liars_do_what_the_mechanism_has_lies_for() -> None:
    params = LiveParams(mechanism="raft", agents=4, fault="byzantine", behaviour="gossip")
    with pytest.raises(UsageError, match="equivocation"):
        Swarm(params, "", "r", Path(), 0)
