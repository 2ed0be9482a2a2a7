"""The view as the service keeps it: filled from the log, asked in threads of its own, made anew beside the old one."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import structlog

from swarm_common.errors import Conflict
from swarm_common.log.reader import Replay
from swarm_common.log.streams import STREAM
from swarm_common.runtime.context import Context
from swarm_metrics import asking
from swarm_metrics.feed import Feed
from swarm_metrics.projection import Projection, beside, file_in, put_in_place
from swarm_metrics.schema import TABLES, VERSION

log = structlog.get_logger(__name__)

Query = Callable[[sqlite3.Connection, Mapping[str, Any]], Any]
#: Queries at once; SQLite lets them read while the view is written.
_READERS = 2
_MAPPED = 256 * 1024 * 1024
#: How long a query waits for a view that is being read from the log before it is answered with what there is.
PATIENCE_S = 0.5
_LOOK_S = 0.02


class Reader:
    """Answers queries on connections that only read, in threads: the service's loop is held by none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._own = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._threads = ThreadPoolExecutor(_READERS, "view-reader", initializer=self._open)

    async def ask(self, query: Query, given: Mapping[str, Any]) -> Any:
        """Return a query's answer, all of it from one state of the view."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._answer, query, given)

    def _open(self) -> None:
        connection = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=ro",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA query_only = ON")
        connection.execute(f"PRAGMA mmap_size = {_MAPPED}")  # a system call for each page took half the time
        self._own.connection = connection
        self._connections.append(connection)

    def _answer(self, query: Query, given: Mapping[str, Any]) -> Any:
        with snapshot(self._own.connection) as connection:
            return query(connection, given)

    def close(self) -> None:
        """Answer what has been asked, then close."""
        self._threads.shutdown()
        for connection in self._connections:
            connection.close()


@contextlib.contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Let all that is read in a ``with`` block be of one state."""
    connection.execute("BEGIN")
    try:
        yield connection
    finally:
        connection.execute("COMMIT")


class _Filling:
    """A projection, and what reads the log into it."""

    def __init__(self, context: Context, projection: Projection, *, live: int) -> None:
        self.projection = projection
        self.feed = Feed(projection, context.log.resolve, tracer=context.tracer, live=live)
        self._context = context
        self._replay: Replay | None = None
        self._writing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._writing = self._context.spawn(self.feed.run(), "view")
        self._replay = await self._context.log.replay(self.feed.take, after=self.projection.position)

    @property
    def behind(self) -> int:
        """How many events of the log are not in the projection yet."""
        return self.feed.waiting + (self._replay.pending if self._replay else 0)

    async def stop(self) -> None:
        """Take nothing more and write what has been taken."""
        if self._replay is not None:
            await self._replay.stop()
        await self.feed.flush()
        if self._writing is not None:
            self._writing.cancel()
        self.feed.close()


class View:
    """The view that is asked, and the one that is made to take its place."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        where = context.settings.data_dir
        if not where:
            # A file, too: only of a file can threads read one state while the next is written.
            self._directory = tempfile.TemporaryDirectory(prefix="swarm-metrics-")
            where = self._directory.name
        self.path = file_in(where)
        self._open: asyncio.Event = asyncio.Event()
        self._now: _Filling
        self._next: _Filling | None = None
        self._reader: Reader

    async def start(self) -> None:
        """Open the view and read on from where it stands."""
        # A log that was made anew counts from 1 again: the time of its making tells them apart.
        info = await self._context.broker.js.stream_info(STREAM)
        projection = Projection(self.path)
        projection.begin(str(info.created))
        self._use(_Filling(self._context, projection, live=info.state.last_seq))
        await self._now.start()

    def _use(self, filling: _Filling) -> None:
        self._now = filling
        self._reader = Reader(self.path)
        self._open.set()

    async def ask(self, query: Query, given: Mapping[str, Any]) -> tuple[Any, int]:
        """Return a query's answer, with all in it that has arrived, and how many events it is behind the log."""
        await self._open.wait()
        await self._caught_up(self._now, PATIENCE_S)
        await self._open.wait()  # another view may be taking this one's place meanwhile
        answer = await self._reader.ask(query, given)
        return answer, self._now.behind

    async def _caught_up(self, filling: _Filling, patience_s: float | None = None) -> None:
        """Wait until a projection is as far as the log, or for so long."""
        began = time.monotonic()
        while True:
            left = None if patience_s is None else max(0.0, began + patience_s - time.monotonic())
            await asyncio.wait({filling.feed.hurry()}, timeout=left)
            if not filling.behind or left == 0:
                return
            await asyncio.sleep(_LOOK_S)

    @property
    def rebuilding(self) -> int | None:
        """How many events the view that is being made is behind the log; ``None`` where none is made."""
        return None if self._next is None else self._next.behind

    async def rebuild(self) -> dict[str, Any]:
        """Begin to make the view anew from the log, beside this one, which answers until the other is complete."""
        if self._next is not None:
            raise Conflict(f"the view is being rebuilt already; {self._next.behind} events are left")
        info = await self._context.broker.js.stream_info(STREAM)
        projection = beside(self.path)
        projection.begin(str(info.created))
        self._next = _Filling(self._context, projection, live=info.state.last_seq)
        await self._next.start()
        self._context.spawn(self._exchange(self._next), "rebuild")
        return {"rebuilding": self._next.behind}

    async def _exchange(self, fresh: _Filling) -> None:
        began = time.perf_counter()
        await self._caught_up(fresh)
        await fresh.stop()
        self._open.clear()
        old, live = self._now, fresh.projection.position
        await old.stop()
        await asyncio.to_thread(self._reader.close)
        old.projection.close()
        put_in_place(fresh.projection, self.path)
        self._next = None
        self._use(_Filling(self._context, Projection(self.path), live=live))
        await self._now.start()
        log.info("view_rebuilt", position=live, seconds=round(time.perf_counter() - began, 3))

    async def close(self) -> None:
        """Answer what has been asked, write what has arrived, and close."""
        fillings = [filling for filling in (self._next, self._now) if filling is not None]
        for filling in fillings:
            await filling.stop()
        # Readers first: only who may write can put the write-ahead log back into the file.
        await asyncio.to_thread(self._reader.close)
        for filling in fillings:
            filling.projection.close()
        if self._directory is not None:
            self._directory.cleanup()


def about(connection: sqlite3.Connection, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the view is of, how far it is, and how many rows its tables have."""
    asking.only(given)
    log_name, position = state(connection)
    rows = {
        table: int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - our own names
        for table in TABLES
    }
    return {"version": VERSION, "log": log_name, "position": position, "rows": rows}


def state(connection: sqlite3.Connection) -> tuple[str, int]:
    """Return which log the view is of, and the sequence of its last event."""
    name, position = connection.execute("SELECT log, seq FROM position").fetchone()
    return str(name), int(position)
