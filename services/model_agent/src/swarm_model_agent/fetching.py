"""Files of users beside the workers: fetched from the object store once, before a task that needs them is done."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

from swarm_common import datafiles
from swarm_common.datafiles import DataFile
from swarm_common.errors import InvalidEvent, NotFound, UsageError
from swarm_common.log.blobs import Blobs

#: What the files may have together; those used last stay, and those in use.
KEPT_BYTES = 2 * 1024**3


class Files:
    """A directory with files of users, each under its sha256."""

    def __init__(self, folder: Path, blobs: Blobs) -> None:
        self._folder = folder
        self._blobs = blobs
        self._fetching: dict[str, asyncio.Lock] = {}
        self._in_use: Counter[str] = Counter()

    @contextlib.asynccontextmanager
    async def holding(self, text: str) -> AsyncIterator[None]:
        """Have a file beside the workers for the length of a ``with`` block.

        Raises :class:`UsageError` for what names no file, and for one that the object store does not hold.
        """
        file = datafiles.parse(text, "params.file")
        name = file.sha256
        self._in_use[name] += 1
        try:
            async with self._fetching.setdefault(name, asyncio.Lock()):
                await self._fetch(file)
            yield
        finally:
            self._in_use[name] -= 1
            if not self._in_use[name]:
                del self._in_use[name]
                self._fetching.pop(name, None)

    async def _fetch(self, file: DataFile) -> None:
        path = self._folder / file.sha256
        with contextlib.suppress(FileNotFoundError):
            os.utime(path)  # used now
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        # Under another name first: half of a file is never taken for one, nor is another instance's.
        scratch = self._folder / f"fetching-{os.getpid()}-{file.sha256}"
        try:
            await self._blobs.save(file.ref, scratch, most=datafiles.MOST_BYTES)
            scratch.rename(path)
        except (NotFound, InvalidEvent) as error:
            raise UsageError(
                f"{file} cannot be worked on: {error}; send it again with `swarm run -p data=PATH`",
                field="params.file",
                given=str(file),
            ) from error
        finally:
            scratch.unlink(missing_ok=True)
        self._prune()

    def _prune(self) -> None:
        """Remove the files that were not used for longest, beyond what may be kept."""
        found = [(path, path.stat()) for path in self._folder.iterdir() if len(path.name) == 64]
        found.sort(key=lambda pair: -pair[1].st_mtime_ns)
        total = 0
        for path, stat in found:
            total += stat.st_size
            if total > KEPT_BYTES and path.name not in self._in_use:
                path.unlink(missing_ok=True)
