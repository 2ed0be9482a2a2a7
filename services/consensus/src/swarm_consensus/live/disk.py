"""The disk of one agent: a file to which records are appended, each with its length and checksum.

What is on it after a crash is a prefix of what was written: reading ends at the first record that is not whole (a *torn
tail*), and what comes after is cut off, so that it can never be taken for something newer.

The file is written with zeros ahead of need, and its records end where a length is 0. It is mapped into memory: what is
written there is the system's at once and outlives this process, without a system call; and as the file's length does
not change, a sync has to write the records' blocks alone, and not the file system's journal as well.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Union

import msgspec

from swarm_consensus.protocols.core import Record

_HEAD = struct.Struct("<II")
_AHEAD = 1 << 18


class Disk:
    """One file. :meth:`write` puts records into it, :meth:`sync` waits until they are on the disk."""

    def __init__(self, path: Path, kinds: tuple[type[Record], ...]) -> None:
        self.path = path
        self.syncs = 0
        """How often the disk was waited for."""
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Union[kinds]).decode  # noqa: UP007 - known at run time alone
        self._at = self._room = 0
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._map: mmap.mmap | None = None

    def restore(self) -> list[Record]:
        """Return the records that are whole, in the order they were written, and cut off what follows them.

        To be called once, before anything is written.
        """
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
        self._extend(0)
        return found

    def write(self, records: Sequence[Record]) -> None:
        """Append records. They outlive this process from now on, and the machine after the next :meth:`sync`."""
        at = self._at
        for record in records:
            body = self._encode(record)
            start = at + _HEAD.size
            end = start + len(body)
            if end + _HEAD.size > self._room:
                self._extend(end - self._at)
            assert self._map is not None  # noqa: S101 - there is one since the restore
            # The head last: without it, what a killed process has left of a record is no record.
            self._map[start:end] = body
            _HEAD.pack_into(self._map, at, len(body), zlib.crc32(body))
            at = end
        self._at = at

    def sync(self) -> None:
        """Wait until the disk has everything that was written."""
        self.syncs += 1
        os.fdatasync(self._file)

    def close(self) -> None:
        """Give back the file, which stays."""
        if self._map is not None:
            self._map.close()
        os.close(self._file)

    def _extend(self, need: int) -> None:
        """Write zeros ahead, so that there is room for ``need`` bytes and the head that ends them."""
        if self._map is not None:
            self._map.close()
        at, room = self._room, self._room
        while room < self._at + need + _HEAD.size:
            room += _AHEAD
        os.ftruncate(self._file, room)
        self._room = room
        self._map = mmap.mmap(self._file, room)
        self._map[at:room] = bytes(room - at)  # now, and not when the first record on a page is in a hurry
