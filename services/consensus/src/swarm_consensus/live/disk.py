"""The disk of one agent: a file to which records are appended, each with its length and checksum.

What is on it after a crash is a prefix of what was written: reading ends at the first record that is not whole (a *torn
tail*), and what comes after is cut off, so that it can never be taken for something newer.

With ``sync`` the file's space is written with zeros ahead of need. The disk then has to write the records' blocks
alone, and not the file system's journal as well, each time: the length of the file does not change.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Union

import msgspec

from swarm_consensus.protocols.core import Record

_HEAD = struct.Struct("<II")
_AHEAD = 1 << 20
_ZEROS = bytes(_AHEAD)


class Disk:
    """One file. :meth:`write` puts records into it, :meth:`sync` waits until they are on the disk."""

    def __init__(self, path: Path, kinds: tuple[type[Record], ...], *, sync: bool) -> None:
        self.path = path
        self.syncs = 0
        """How often the disk was waited for."""
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Union[kinds]).decode  # noqa: UP007
        self._sync = sync
        self._at = self._room = 0
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def restore(self) -> list[Record]:
        """Return the records that are whole, in the order they were written, and cut off what follows them."""
        data = self.path.read_bytes()
        found: list[Record] = []
        at = 0
        while at + _HEAD.size <= len(data):
            length, checksum = _HEAD.unpack_from(data, at)
            body = data[at + _HEAD.size : at + _HEAD.size + length]
            if not length or len(body) < length or zlib.crc32(body) != checksum:
                break
            found.append(self._decode(body))
            at += _HEAD.size + length
        os.ftruncate(self._file, at)
        self._at = self._room = at
        if self._sync:
            self._extend(0)
        return found

    def write(self, records: Sequence[Record]) -> None:
        """Append records. They outlive this process from now on, and the machine after the next :meth:`sync`."""
        parts: list[bytes] = []
        for record in records:
            body = self._encode(record)
            parts += (_HEAD.pack(len(body), zlib.crc32(body)), body)
        data = b"".join(parts)
        if self._sync and self._at + len(data) + _HEAD.size > self._room:
            self._extend(len(data))
        os.pwrite(self._file, data, self._at)
        self._at += len(data)

    def sync(self) -> None:
        """Wait until the disk has everything that was written."""
        self.syncs += 1
        os.fdatasync(self._file)

    def close(self) -> None:
        """Give back the file, which stays."""
        os.close(self._file)

    def _extend(self, need: int) -> None:
        """Write zeros ahead: the end of the records is where a length is 0."""
        while self._room < self._at + need + _HEAD.size:
            os.pwrite(self._file, _ZEROS, self._room)
            self._room += _AHEAD
        os.fsync(self._file)
