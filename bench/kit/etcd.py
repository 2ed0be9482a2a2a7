"""Three nodes of etcd (Debian's, unpacked and not installed where there is none), and a client that does little."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from kit.measure import Skipped
from kit.peers import do, home
from kit.servers import child, until

_NODES = 3
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1


def etcd_server() -> str:
    """Return the program; raises :class:`Skipped` where it cannot be had."""
    if found := shutil.which("etcd"):
        return found
    if shutil.which("apt-get") is None:
        raise Skipped("there is no etcd on the path; install one")
    folder = home() / "etcd"
    program = folder / "root" / "usr" / "bin" / "etcd"
    if not program.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        do(["apt-get", "download", "-q", "etcd-server"], cwd=folder)
        for package in sorted(folder.glob("*.deb")):
            do(["dpkg-deb", "-x", str(package), str(folder / "root")])
    return str(program)


class Etcd:
    """A connection to one node: gRPC over HTTP/2 (RFC 9113) by hand, one call at a time.

    A generated client costs more than the put that is to be measured; ours has none either.
    """

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 10)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stream = 1
        self._rest = b""
        authority = f"127.0.0.1:{port}"
        self._heads = {
            path: _literals(
                (":method", "POST"),
                (":scheme", "http"),
                (":path", path),
                (":authority", authority),
                ("te", "trailers"),
                ("content-type", "application/grpc"),
            )
            for path in ("/etcdserverpb.KV/Put", "/etcdserverpb.Maintenance/Status")
        }
        wide = struct.pack(">I", (1 << 31) - 65_536)
        self._socket.sendall(_PREFACE + _frame(_SETTINGS, 0, 0, b"") + _frame(_WINDOW, 0, 0, wide))

    def put(self, key: bytes, value: bytes) -> int:
        """Put, and return the revision that the store has then."""
        answer = self._call("/etcdserverpb.KV/Put", _field(1, key) + _field(2, value))
        return int(_parse(bytes(_parse(answer)[1]))[3])  # type: ignore[arg-type]

    def leads(self) -> bool:
        """Return whether this node is the leader."""
        status = _parse(self._call("/etcdserverpb.Maintenance/Status", b""))
        return status.get(4, 0) == _parse(bytes(status[1]))[2]  # type: ignore[arg-type]

    def close(self) -> None:
        self._socket.close()

    def _call(self, path: str, message: bytes) -> bytes:
        stream, self._stream = self._stream, self._stream + 2
        body = b"\0" + struct.pack(">I", len(message)) + message
        self._socket.sendall(
            _frame(_HEADERS, _END_HEADERS, stream, self._heads[path])
            + _frame(_DATA, _END_STREAM, stream, body)
        )
        answer = b""
        while True:
            kind, flags, of, payload = self._next()
            if kind == _SETTINGS and not flags & _ACK:
                self._socket.sendall(_frame(_SETTINGS, _ACK, 0, b""))
            elif kind == _PING and not flags & _ACK:
                self._socket.sendall(_frame(_PING, _ACK, 0, payload))
            elif kind in {_RESET, _GOAWAY}:
                raise ConnectionError(f"etcd ended the call: {payload!r}")
            elif of == stream:
                if kind == _DATA:
                    answer += payload
                if flags & _END_STREAM:
                    if not answer:
                        raise ConnectionError("etcd refused the call")
                    return answer[5:]

    def _next(self) -> tuple[int, int, int, bytes]:
        while len(self._rest) < 9 or len(self._rest) < 9 + int.from_bytes(self._rest[:3], "big"):
            data = self._socket.recv(65_536)
            if not data:
                raise ConnectionError("etcd hung up")
            self._rest += data
        length = int.from_bytes(self._rest[:3], "big")
        kind, flags = self._rest[3], self._rest[4]
        of = int.from_bytes(self._rest[5:9], "big") & 0x7FFFFFFF
        payload, self._rest = self._rest[9 : 9 + length], self._rest[9 + length :]
        return kind, flags, of, payload


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def _literals(*headers: tuple[str, str]) -> bytes:
    """Return headers as HPACK literals that are not indexed (RFC 7541, section 6.2.2)."""
    return b"".join(
        b"\0" + bytes((len(name),)) + name.encode() + bytes((len(value),)) + value.encode()
        for name, value in headers
    )


def _field(number: int, value: bytes) -> bytes:
    return bytes((number << 3 | 2, len(value))) + value


def _parse(message: bytes) -> dict[int, int | bytes]:
    """Return the fields of a protobuf message that are whole numbers or bytes."""
    found: dict[int, int | bytes] = {}
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        if tag & 7 == 0:
            found[tag >> 3], at = _varint(message, at)
        elif tag & 7 == 2:
            length, at = _varint(message, at)
            found[tag >> 3] = message[at : at + length]
            at += length
        else:
            break
    return found


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


@contextlib.contextmanager
def etcd(scratch: Path) -> Iterator[Etcd]:
    """Run three nodes on loopback with etcd's defaults, their disks under ``scratch``; give a client of the leader."""
    program = etcd_server()
    ports = free_ports(2 * _NODES)
    peers = ",".join(f"n{node}=http://127.0.0.1:{ports[2 * node]}" for node in range(_NODES))
    with contextlib.ExitStack() as ends:
        log = ends.enter_context((scratch / "etcd.log").open("ab"))
        nodes = []
        for node in range(_NODES):
            own, client = (f"http://127.0.0.1:{port}" for port in ports[2 * node : 2 * node + 2])
            command = [program, "--name", f"n{node}", "--data-dir", str(scratch / f"etcd-{node}")]
            command += ["--listen-peer-urls", own, "--initial-advertise-peer-urls", own]
            command += ["--listen-client-urls", client, "--advertise-client-urls", client]
            command += ["--initial-cluster", peers, "--initial-cluster-state", "new"]
            command += ["--logger", "zap", "--log-level", "error"]
            nodes.append(ends.enter_context(child(command, stdout=log, stderr=log, env=dict(os.environ))))
        found = until(lambda: _leader(ports[1::2]), "etcd's leader")
        ends.callback(found.close)
        yield found


def _leader(ports: list[int]) -> Etcd | None:
    for port in ports:
        with contextlib.suppress(OSError, KeyError):
            one = Etcd(port)
            if one.leads():
                return one
            one.close()
    return None


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody listens on now."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
