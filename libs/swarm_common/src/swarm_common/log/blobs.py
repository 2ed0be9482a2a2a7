"""Claim check: what is too large for an event lies in the object store under its sha256."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from nats.js.errors import NotFoundError, ObjectNotFoundError

from swarm_common.errors import InvalidEvent, NotFound
from swarm_common.log.reader import read_stored
from swarm_common.log.streams import BLOBS, SNAPSHOTS

if TYPE_CHECKING:
    from nats.js.api import ObjectInfo
    from nats.js.object_store import ObjectStore

    from swarm_common.log.broker import Broker

#: Data above this many bytes do not travel inside an event.
CLAIM_CHECK_BYTES = 256 * 1024
_READS = 3
#: How long a thousand chunks, 128 MiB, may take: to a worker far away they are not there at once.
_CHUNKS_S = 60.0


def reference(data: bytes) -> str:
    """Return the ``dataref`` of some bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Blobs:
    """Content-addressed bytes: the same bytes are stored once, and what is read is checked against its name."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._stores: dict[str, ObjectStore] = {}

    async def put(self, data: bytes) -> str:
        """Store bytes and return their reference."""
        ref = reference(data)
        store = await self._store(BLOBS)
        try:
            await store.get_info(ref)
        except (ObjectNotFoundError, NotFoundError):
            await store.put(ref, data)
        return ref

    async def get(self, ref: str) -> bytes:
        """Return the bytes of a reference; raises :class:`NotFound`, or :class:`InvalidEvent` if they are others."""
        data = await self._read(BLOBS, ref)
        if reference(data) != ref:  # all of it was replaced, with the digest beside it
            raise InvalidEvent(f"the object store holds other bytes under {ref}", field="dataref", given=ref)
        return data

    async def save(self, ref: str, path: Path, *, most: int) -> None:
        """Write the bytes of a reference to a file, without holding them all in memory.

        Raises as :meth:`get` does, and :class:`InvalidEvent` for more than ``most`` bytes; the file is then of no use.
        """
        for _ in range(_READS):
            digest, size = hashlib.sha256(), 0
            info = await self._info(BLOBS, ref)
            with path.open("wb") as stream:
                async for chunk in self._chunks(BLOBS, info.nuid or ""):
                    size += len(chunk)
                    if size > most:
                        raise InvalidEvent(
                            f"{ref} has more than {most} bytes, the most that is taken",
                            field="dataref",
                            given=ref,
                        )
                    digest.update(chunk)
                    stream.write(chunk)
            # Whoever writes an object removes the chunks that it replaces, perhaps while they are read here.
            if f"sha256:{digest.hexdigest()}" == ref:
                return
        raise InvalidEvent(f"the object store holds other bytes under {ref}", field="dataref", given=ref)

    async def save_snapshot(self, name: str, data: bytes) -> None:
        """Keep a snapshot, replacing an older one of that name; it can be deleted at any time at no loss."""
        await (await self._store(SNAPSHOTS)).put(name, data)

    async def load_snapshot(self, name: str) -> bytes | None:
        """Return a snapshot, or ``None``."""
        try:
            return await self._read(SNAPSHOTS, name)
        except NotFound:
            return None

    async def _read(self, bucket: str, name: str) -> bytes:
        for _ in range(_READS):
            info = await self._info(bucket, name)
            data = b"".join([chunk async for chunk in self._chunks(bucket, info.nuid or "")])
            # Whoever writes an object removes the chunks that it replaces, perhaps while they are read here.
            if info.digest == f"SHA-256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode()}":
                return data
        raise InvalidEvent(
            f"the object store {bucket} holds other bytes under {name}", field="dataref", given=name
        )

    async def _info(self, bucket: str, name: str) -> ObjectInfo:
        store = await self._store(bucket)
        try:
            return await store.get_info(name)
        except (ObjectNotFoundError, NotFoundError) as error:
            raise NotFound(f"the object store {bucket} holds no {name}") from error

    async def _chunks(self, bucket: str, nuid: str) -> AsyncIterator[bytes]:
        # nats-py joins chunks in quadratic time (findings in docs/decisions/0004); direct gets are linear.
        subject, stream = f"$O.{bucket}.C.{nuid}", f"OBJ_{bucket}"
        async for stored in read_stored(self._broker, subject, stream=stream, timeout_s=_CHUNKS_S):
            yield stored.data

    async def _store(self, bucket: str) -> ObjectStore:
        if bucket not in self._stores:
            self._stores[bucket] = await self._broker.js.object_store(bucket)
        return self._stores[bucket]
