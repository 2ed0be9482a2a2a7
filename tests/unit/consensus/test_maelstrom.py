"""One node of Maelstrom's protocol, line by line, without a process: what it answers, and what it writes first."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from swarm_common.errors import UsageError
from swarm_consensus import maelstrom
from swarm_consensus.maelstrom import Server, ordering
from swarm_consensus.protocols import MECHANISMS


def line(src: str, dest: str, **body: Any) -> bytes:
    return json.dumps({"src": src, "dest": dest, "body": body}).encode()


class Nodes:
    """All nodes of a swarm, with a network that loses nothing: :meth:`ask` returns the answer."""

    def __init__(self, mechanism: str, n: int, directory: Path | None = None) -> None:
        self.names = [f"n{at + 1}" for at in range(n)]
        self._make = lambda: Server(MECHANISMS[mechanism], directory=directory)
        self.servers = {name: self._make() for name in self.names}
        self._number = 0
        for name in self.names:
            self.begin(name)

    def begin(self, name: str) -> None:
        self.servers[name].receive(line("c0", name, type="init", msg_id=0, node_id=name, node_ids=self.names))

    def restart(self, names: Iterable[str]) -> None:
        for name in names:
            self.servers[name] = self._make()
        for name in names:
            self.begin(name)

    def pump(self) -> list[dict[str, Any]]:
        """Carry messages until nothing is said; return what clients were told."""
        told: list[dict[str, Any]] = []
        busy = True
        while busy:
            busy = False
            for server in self.servers.values():
                for text in server.taken().splitlines():
                    busy = True
                    message = json.loads(text)
                    if message["dest"] in self.servers:
                        self.servers[message["dest"]].receive(text)
                    else:
                        told.append(message)
        return told

    def ask(self, node: str, client: str = "c1", **body: Any) -> dict[str, Any]:
        self._number += 1
        self.servers[node].receive(line(client, node, msg_id=self._number, **body))
        for _ in range(1000):
            for message in self.pump():
                if message["body"].get("in_reply_to") == self._number:
                    answer: dict[str, Any] = message["body"]
                    return answer
            for server in self.servers.values():
                server.tick()
        raise AssertionError(f"no answer to {body}")


@pytest.mark.parametrize("mechanism", ordering())
def test_every_mechanism_that_orders_serves_reads_writes_and_cas_at_every_node(mechanism: str) -> None:
    nodes = Nodes(mechanism, 4)
    assert nodes.ask("n1", type="read", key=7)["code"] == 20
    assert nodes.ask("n2", type="write", key=7, value=[1, "x"])["type"] == "write_ok"
    assert nodes.ask("n3", type="read", key=7)["value"] == [1, "x"]
    assert nodes.ask("n4", type="cas", key=7, **{"from": [1, "x"], "to": None})["type"] == "cas_ok"
    assert nodes.ask("n1", type="cas", key=7, **{"from": 5, "to": 6})["code"] == 22
    assert nodes.ask("n2", type="cas", key=8, **{"from": 5, "to": 6})["code"] == 20
    created = nodes.ask("n2", type="cas", key=8, create_if_not_exists=True, **{"from": 5, "to": 6})
    assert created["type"] == "cas_ok"
    assert nodes.ask("n3", type="read", key=8)["value"] == 6


def test_a_node_answers_init_and_echo_and_refuses_what_it_does_not_know() -> None:
    server = Server(MECHANISMS["raft"])
    server.receive(line("c1", "n1", type="read", msg_id=1, key=1))
    server.receive(line("c0", "n1", type="init", msg_id=2, node_id="n1", node_ids=["n1"]))
    server.receive(line("c1", "n1", type="echo", msg_id=3, echo={"a": [1]}))
    server.receive(line("c1", "n1", type="drop", msg_id=4))
    server.receive(line("c1", "n1", type="write", msg_id=5, key=1))
    told = [json.loads(text)["body"] for text in server.taken().splitlines()]
    answers = {body["in_reply_to"]: body for body in told}
    assert answers[1]["code"] == maelstrom.UNAVAILABLE
    assert answers[2]["type"] == "init_ok"
    assert answers[3] == {"type": "echo_ok", "echo": {"a": [1]}, "in_reply_to": 3}
    assert answers[4]["code"] == maelstrom.UNSUPPORTED
    assert (answers[5]["code"], answers[5]["text"]) == (maelstrom.MALFORMED, "write lacks value")


def test_what_is_no_message_is_reported_and_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    nodes = Nodes("raft", 3)
    nodes.servers["n1"].receive(b"nonsense")
    nodes.servers["n1"].receive(line("n2", "n1", type="agree", message=["NoSuchMessage", 1]))
    assert nodes.ask("n1", type="write", key=1, value=1)["type"] == "write_ok"
    errors = capsys.readouterr().err
    assert "no message of Maelstrom's" in errors
    assert "no message of raft" in errors


def test_without_a_majority_a_request_ends_in_the_indefinite_error() -> None:
    nodes = Nodes("raft", 3)
    nodes.ask("n1", type="write", key=1, value=1)
    for name in ("n2", "n3"):
        del nodes.servers[name]
    assert nodes.ask("n1", type="write", key=1, value=2)["code"] == maelstrom.TIMEOUT


@pytest.mark.parametrize("mechanism", ["raft", "multi_paxos", "pbft"])
def test_nodes_that_come_back_have_what_they_had_answered(mechanism: str, tmp_path: Path) -> None:
    nodes = Nodes(mechanism, 4, tmp_path)
    assert nodes.ask("n2", type="write", key="k", value=1)["type"] == "write_ok"
    nodes.restart(nodes.names)
    assert nodes.ask("n3", client="c2", type="read", key="k")["value"] == 1


def test_records_are_synced_before_anything_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = Nodes("raft", 3, tmp_path)
    did: list[str] = []
    write, sync, taken = maelstrom.Disk.write, maelstrom.Disk.sync, Server.taken
    said = re.compile(rb'"message":."(Appended|Voted)"')

    def noted_taken(server: Server) -> bytes:
        lines = taken(server)
        did.extend("said" for _ in said.findall(lines))
        return lines

    monkeypatch.setattr(
        maelstrom.Disk, "write", lambda disk, records: did.append("wrote") or write(disk, records)
    )
    monkeypatch.setattr(maelstrom.Disk, "sync", lambda disk: did.append("synced") or sync(disk))
    monkeypatch.setattr(Server, "taken", noted_taken)
    nodes.ask("n1", type="write", key=1, value=1)
    assert did.count("said") >= 2
    unsynced = False
    for what in did:
        unsynced = what == "wrote" or (unsynced and what != "synced")
        assert not (what == "said" and unsynced), did


def test_long_logs_are_compacted_and_who_lags_gets_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maelstrom, "_COMPACT_EVERY", 20)
    nodes = Nodes("raft", 3)
    away = nodes.servers.pop("n3")
    for value in range(60):
        nodes.ask("n1", type="write", key=value % 3, value=value)
    nodes.servers["n3"] = away
    assert nodes.ask("n3", type="read", key=0)["value"] == 57
    assert away.store.slot >= 60


def test_a_mechanism_without_an_order_is_refused() -> None:
    with pytest.raises(UsageError, match="voting answers questions and keeps no order") as caught:
        Server(MECHANISMS["voting"])
    assert "raft" in caught.value.allowed
