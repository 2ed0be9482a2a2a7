"""Our nodes for other people's workloads: Maelstrom's protocol on standard input and output.

``python -m swarm_consensus.maelstrom --mechanism raft`` is one node of a key-value store that agrees by that
mechanism. It speaks the protocol that Maelstrom documents (github.com/jepsen-io/maelstrom, doc/protocol.md): one
JSON object a line, ``init`` first, then the workloads ``lin-kv`` (read, write, cas) and ``echo``, with its error
codes. What our protocols say to one another goes in bodies of the type ``agree``.

Reads are decided like writes, so all three kinds of request are linearizable. A request is proposed here and
passed to the leader, again and again until it is decided; it is carried out once. With ``--directory`` what must
outlive the process is on the disk before anything is said; without it, a node that was killed must not come back
under its name.
"""

from __future__ import annotations

import argparse
import os
import select
import sys
import time
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any, Union

import msgspec

from swarm_common.errors import SwarmError, UsageError
from swarm_consensus.keyvalue import Answer, Applied, Command, KeyValue, encode
from swarm_consensus.live.disk import Disk
from swarm_consensus.protocols import MECHANISMS
from swarm_consensus.protocols.core import NOTHING, Effects, Keys, Mechanism, Node, Setup, Snapshot
from swarm_consensus.protocols.signatures import SIZE, Ed25519, public_of

TIMEOUT, UNSUPPORTED, UNAVAILABLE, MALFORMED, CRASH = 0, 10, 11, 12, 13
ABSENT, DIFFERS = 20, 22
"""Maelstrom's error codes. Those of ``TIMEOUT`` and ``CRASH`` are indefinite: the request may yet have an effect."""
_REFUSALS = {
    "absent": (ABSENT, "there is no such key"),
    "differs": (DIFFERS, "it is not the expected value that is there"),
    "overtaken": (CRASH, "a later request of this client was decided first"),
}
_FIELDS = {"read": ("key",), "write": ("key", "value"), "cas": ("key", "from_", "to")}
_AGAIN_MS = 300
_PATIENCE_MS = 10_000
_COMPACT_EVERY = 1000
_CHUNK = 1 << 16
_SECRET = "maelstrom"  # noqa: S105 - nodes of a test; whoever wants another gives it


class _Line(msgspec.Struct):
    src: str
    dest: str
    body: msgspec.Raw


class _Body(msgspec.Struct, rename={"from_": "from"}):
    type: str
    msg_id: int | None = None
    node_id: str = ""
    node_ids: list[str] = []
    echo: Any = None
    key: Any | msgspec.UnsetType = msgspec.UNSET
    value: Any | msgspec.UnsetType = msgspec.UNSET
    from_: Any | msgspec.UnsetType = msgspec.UNSET
    to: Any | msgspec.UnsetType = msgspec.UNSET
    create_if_not_exists: bool = False
    message: msgspec.Raw = msgspec.Raw()
    propose: str = ""


class _Request(msgspec.Struct):
    """What a client waits for."""

    client: str
    msg_id: int
    type: str
    value: str
    """The command, as it is proposed."""
    ticks: int = 0


_write = msgspec.json.encode
_read_line = msgspec.json.Decoder(_Line).decode
_read_body = msgspec.json.Decoder(_Body).decode


class Server:
    """One node, without input and output: give it lines and ticks, and send what :meth:`taken` returns.

    Args:
        mechanism: How the nodes agree; one that orders values, not one that votes.
        directory: Where its records are kept; ``None``: nowhere.
        tick_ms: How much time a tick stands for.
        seed: For time-outs; with the node's name.
        secret: From which all derive the keys that they sign with, where the mechanism signs.

    Raises:
        UsageError: The mechanism keeps no order.
    """

    def __init__(
        self,
        mechanism: Mechanism,
        *,
        directory: Path | None = None,
        tick_ms: int = 20,
        seed: int = 0,
        secret: str = _SECRET,
    ) -> None:
        if mechanism.votes:
            raise UsageError(
                f"{mechanism.name} answers questions and keeps no order, which a store needs; "
                f"choose one of {', '.join(ordering())}",
                field="mechanism",
                given=mechanism.name,
                allowed=", ".join(ordering()),
            )
        self.name = ""
        self.store = KeyValue()
        self._mechanism = mechanism
        self._directory = directory
        self._again, self._patience = max(1, _AGAIN_MS // tick_ms), _PATIENCE_MS // tick_ms
        self._seed, self._secret = seed, secret.encode()
        self._read_message = msgspec.json.Decoder(Union[mechanism.messages]).decode  # noqa: UP007
        self._node: Node | None = None
        self._disk: Disk | None = None
        self._unsynced = False
        self._names: list[str] = []
        self._numbers: dict[str, int] = {}
        self._requests: dict[tuple[str, int], _Request] = {}
        self._compacted = -1
        self._out: list[bytes] = []

    def receive(self, line: bytes) -> None:
        """Take a line; what is no message is reported on standard error and passed over."""
        try:
            message = _read_line(line)
            body = _read_body(message.body)
        except msgspec.DecodeError as error:
            sys.stderr.write(f"no message of Maelstrom's: {error}: {line[:200]!r}\n")
            return
        if body.type == "init":
            self._begin(message.src, body)
        elif body.type == "echo":
            self._reply(message.src, body, {"type": "echo_ok", "echo": body.echo})
        elif (node := self._node) is None:
            if body.type == "agree":
                return  # others are further: to them it is as if this message were lost
            self._refuse(message.src, body, UNAVAILABLE, "this node has not been initialised")
        elif body.type == "agree":
            self._agree(node, self._numbers.get(message.src), body)
        else:
            self._request(node, message.src, body)

    def tick(self) -> None:
        """Let one tick pass: for the node, and for those requests that wait."""
        node = self._node
        if node is None:
            return
        self._carry_out(node, node.tick())
        for place, request in list(self._requests.items()):
            request.ticks += 1
            if request.ticks > self._patience:
                del self._requests[place]
                body = {"type": "error", "code": TIMEOUT, "text": "not decided in time; it may be yet"}
                self._send(request.client, body | {"in_reply_to": request.msg_id})
            elif request.ticks % self._again == 0:
                self._propose(node, request.value)

    def taken(self) -> bytes:
        """Return the lines to be sent, when all records are on the disk."""
        if self._unsynced and self._disk is not None:
            self._disk.sync()
            self._unsynced = False
        lines = b"".join(self._out)
        self._out.clear()
        return lines

    # --- the node -----------------------------------------------------------------------------------------

    def _begin(self, client: str, body: _Body) -> None:
        if self._node is None:
            self.name, self._names = body.node_id, body.node_ids
            self._numbers = {name: number for number, name in enumerate(body.node_ids)}
            if self.name not in self._numbers:
                self._refuse(client, body, MALFORMED, f"{self.name!r} is not among {self._names}")
                return
            members = tuple(range(len(self._names)))
            agent = self._numbers[self.name]
            node = self._node = self._mechanism.node(
                Setup(
                    id=agent,
                    members=members,
                    random=Random(f"{self._seed}/{self.name}"),  # noqa: S311 - time-outs, nothing secret
                    keys=_keys(self._mechanism, self._secret, agent, len(members)),
                )
            )
            records = []
            if self._directory is not None:
                self._directory.mkdir(parents=True, exist_ok=True)
                self._disk = Disk(self._directory / f"node-{agent + 1}.log", self._mechanism.records)
                records = self._disk.restore()
            self._carry_out(node, node.restore(records))
        self._reply(client, body, {"type": "init_ok"})

    def _agree(self, node: Node, sender: int | None, body: _Body) -> None:
        if sender is None:
            return
        if body.propose:
            self._carry_out(node, node.propose(body.propose))
            return
        try:
            message = self._read_message(body.message)
        except msgspec.DecodeError as error:
            sys.stderr.write(f"no message of {self._mechanism.name}: {error}\n")
            return
        self._carry_out(node, node.step(sender, message))

    def _carry_out(self, node: Node, effects: Effects) -> None:
        """Write, and only then let anything be sent: :meth:`taken` waits for the disk."""
        if effects is NOTHING:
            return
        if effects.persist and self._disk is not None:
            self._disk.write(effects.persist)
            self._unsynced = True
        for to, message in effects.messages:
            self._send(self._names[to], {"type": "agree", "message": message})
        if effects.snapshot is not None:
            self.store.restore(effects.snapshot.slot, effects.snapshot.state)
        for decision in effects.decisions:
            for applied in self.store.apply(decision):
                self._answer(applied)
        if self.store.slot - self._compacted >= _COMPACT_EVERY:
            self._compacted = self.store.slot
            self._carry_out(node, node.compact(Snapshot(self.store.slot, self.store.state())))

    # --- clients ------------------------------------------------------------------------------------------

    def _request(self, node: Node, client: str, body: _Body) -> None:
        if body.msg_id is None:
            return
        if body.type not in _FIELDS:
            known = ", ".join([*_FIELDS, "echo"])
            self._refuse(client, body, UNSUPPORTED, f"{body.type} is not supported; these are: {known}")
            return
        missing = [name for name in _FIELDS[body.type] if getattr(body, name) is msgspec.UNSET]
        if missing:
            names = ", ".join(name.rstrip("_") for name in missing)
            self._refuse(client, body, MALFORMED, f"{body.type} lacks {names}")
            return
        number = body.msg_id
        value = encode(_command(client, number, body))
        self._requests[client, number] = _Request(client, number, body.type, value)
        self._propose(node, value)

    def _propose(self, node: Node, value: str) -> None:
        """Propose here, and have it proposed by whoever leads: which of the two has an effect, the mechanism says."""
        self._carry_out(node, node.propose(value))
        leader = node.leader
        if leader is not None and leader != node.id:
            self._send(self._names[leader], {"type": "agree", "propose": value})

    def _answer(self, applied: Applied) -> None:
        request = self._requests.pop((applied.command.client, applied.command.number), None)
        if request is None:
            return  # another node was asked
        self._send(request.client, _body_of(request, applied.answer) | {"in_reply_to": request.msg_id})

    def _reply(self, client: str, body: _Body, answer: dict[str, Any]) -> None:
        self._send(client, answer if body.msg_id is None else answer | {"in_reply_to": body.msg_id})

    def _refuse(self, client: str, body: _Body, code: int, text: str) -> None:
        self._reply(client, body, {"type": "error", "code": code, "text": text})

    def _send(self, to: str, body: dict[str, Any]) -> None:
        self._out.append(_write({"src": self.name, "dest": to, "body": body}) + b"\n")


def _command(client: str, number: int, body: _Body) -> Command:
    match body.type:
        case "read":
            return Command(client=client, number=number, f="get", key=body.key)
        case "write":
            return Command(client=client, number=number, f="put", key=body.key, value=body.value)
        case _:
            return Command(
                client=client,
                number=number,
                f="cas",
                key=body.key,
                value=[body.from_, body.to],
                create=body.create_if_not_exists,
            )


def _keys(mechanism: Mechanism, secret: bytes, agent: int, n: int) -> Keys | None:
    """Return keys that all nodes derive from one secret, where the mechanism signs: among honest nodes of a test."""
    if not any(mechanism.liars(size) for size in range(1, 8)):
        return None
    secrets = [blake2b(b"agent %d" % one, digest_size=SIZE, key=secret[:64]).digest() for one in range(n)]
    return Ed25519(secrets[agent], {one: public_of(text) for one, text in enumerate(secrets)})


def _body_of(request: _Request, answer: Answer) -> dict[str, Any]:
    if answer.refused is not None:
        code, text = _REFUSALS.get(answer.refused, (CRASH, answer.refused))
        return {"type": "error", "code": code, "text": text}
    found = {"type": f"{request.type}_ok"}
    return found | {"value": answer.value} if request.type == "read" else found


def ordering() -> list[str]:
    """Return the names of the mechanisms that decide values in an order."""
    return [name for name, mechanism in MECHANISMS.items() if not mechanism.votes]


def serve(server: Server, tick_ms: int) -> None:
    """Read standard input until it ends; tick by the monotonic clock. What one read brought is synced as one."""
    rest, due = b"", time.monotonic() + tick_ms / 1000
    while True:
        if select.select([0], [], [], max(0.0, due - time.monotonic()))[0]:
            data = os.read(0, _CHUNK)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if line.strip():
                    server.receive(line)
        if time.monotonic() >= due:
            due = time.monotonic() + tick_ms / 1000
            server.tick()
        if lines_out := server.taken():
            sys.stdout.buffer.write(lines_out)
            sys.stdout.buffer.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one node until its input ends; return 0, or 2 where an option is wrong."""
    parser = argparse.ArgumentParser(prog="python -m swarm_consensus.maelstrom", description=__doc__)
    parser.add_argument("--mechanism", default="raft", choices=ordering())
    parser.add_argument("--directory", type=Path, help="where what must outlive the process is kept")
    parser.add_argument("--tick-ms", type=int, default=20, help="length of a tick (20)")
    parser.add_argument("--seed", type=int, default=0, help="for time-outs (0)")
    parser.add_argument("--secret", default=_SECRET, help="keys of mechanisms that sign come from it")
    given = parser.parse_args(arguments)
    try:
        server = Server(
            MECHANISMS[given.mechanism],
            directory=given.directory,
            tick_ms=given.tick_ms,
            seed=given.seed,
            secret=given.secret,
        )
        serve(server, given.tick_ms)
    except SwarmError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
