"""``snapshot_reads`` and ``snapshot_writes``: a map that many read while another writes.

Readers are tasks of one event loop, as in the services. The writer is a thread beside it, which the interpreter may
let in between any two instructions of theirs. Each reading is timed by itself; where the writer was let in within a
reading, its time is that reading's, too.
"""

from __future__ import annotations

import asyncio
import threading
import time

from swarm_common.events import Samples
from swarm_common.timing import clock_of
from swarm_metrics.primitives.case import Case, Fact, Prepared, require
from swarm_metrics.primitives.harness import name_of
from swarm_primitives.snapshots import Snapshot
from swarm_primitives.store import Outdated, Store

_KEYS = 1000
_TOGETHER = 4
"""Keys that the writer always writes together, with one number: whoever sees two numbers has seen half a change."""
_READS = 10
"""Of each reader, one after the other, before it is another's turn."""
_TURNS = 2
"""Of each reader in a loop; something is committed between them, whatever is committed within."""
_KEPT = 2_000
"""Single readings that are told: of the last loops, every so many."""
_LAST = 20_000


class _Writer(threading.Thread):
    """Commits from when it is told to begin until it is told to pause."""

    def __init__(self, store: Store[int, int]) -> None:
        super().__init__(daemon=True)
        self.commits = 0
        self._store = store
        self._writing = threading.Event()
        self._over = False
        self.start()

    def begin(self) -> None:
        self._writing.set()

    def pause(self) -> None:
        self._writing.clear()

    def end(self) -> None:
        self._over = True
        self._writing.set()
        self.join()

    def run(self) -> None:
        while self._writing.wait() and not self._over:
            staged = self._store.begin()
            number = (staged.get(0) or 0) + 1
            for key in range(_TOGETHER):
                staged[key] = number
            self.commits += 1
            self._store.commit(staged)
            time.sleep(0)  # hands the interpreter over, as whatever waits for a broker does


class _Readers:
    """What readers found."""

    def __init__(self, store: Store[int, int]) -> None:
        self.store = store
        self.torn = 0
        self.times_ns: list[int] = []

    async def turn(self, at: int) -> None:
        """Read a few keys, each timed, and look whether a snapshot is of one moment."""
        store, times, clock = self.store, self.times_ns, time.perf_counter_ns
        for number in range(_READS):
            key = (at * _READS + number) % _KEYS
            began = clock()
            store.now.get(key)
            ended = clock()
            times.append(ended - began)
        now = store.now
        if len({now[key] for key in range(_TOGETHER)}) > 1:
            self.torn += 1


def prepare_reads(size: int, _seed: int) -> Prepared:
    """Return ``size`` readers and a writer; an operation is one reading: the present snapshot, and a key's value."""
    store: Store[int, int] = Store(dict.fromkeys(range(_KEYS), 0))
    readers, writer, loop = _Readers(store), _Writer(store), asyncio.new_event_loop()
    cost_ns = clock_of().cost_ns
    single_us: list[float] = []
    seen: list[Snapshot[int, int]] = []

    async def turn() -> None:
        await asyncio.gather(*(readers.turn(at) for at in range(size)))

    def run(loops: int) -> int:
        elapsed = 0.0
        writer.begin()
        for _ in range(loops):
            readers.times_ns.clear()
            for _ in range(_TURNS):
                first = store.now
                while store.now is first:
                    time.sleep(0)
                loop.run_until_complete(turn())
            elapsed += sum(readers.times_ns)
            single_us.extend(max(taken - cost_ns, 0.0) / 1e3 for taken in readers.times_ns)
            del single_us[:-_LAST]
            seen[:] = [*seen[:1], store.now]
        writer.pause()
        # Every reading had the clock read twice, and once a loop that is taken off by who asked.
        return round(elapsed - loops * (size * _READS * _TURNS - 1) * cost_ns)

    def single() -> tuple[Samples, ...]:
        some = single_us[:: max(1, len(single_us) // _KEPT)]
        name = f"{name_of('snapshot_reads', '', size)}.single"
        return (Samples(name=name, unit="us", values=tuple(round(one, 5) for one in some)),)

    def check() -> dict[str, Fact]:
        writer.end()
        now = store.now
        require(len(seen) > 0, "nothing was read")
        require(readers.torn == 0, f"{readers.torn} readers saw half a change")
        require(now[0] == writer.commits == now.version, f"{now[0]} is left of {writer.commits} commits")
        require(now.version >= _TURNS, "nothing was committed while readers read")
        whole = all(len({old[key] for key in range(_TOGETHER)}) == 1 for old in seen)
        require(whole and seen[0][0] == seen[0].version, "an old version has changed")
        return {"readers": size, "torn": readers.torn, "keys": len(now)}

    def teardown() -> None:
        writer.end()
        loop.close()

    return Prepared(run=run, operations=size * _READS * _TURNS, check=check, also=single, teardown=teardown)


def prepare_writes(size: int, _seed: int) -> Prepared:
    """Return a map of 1,000 keys; an operation is to stage ``size`` writes, each on what was read, and commit them."""
    store: Store[int, int] = Store(dict.fromkeys(range(_KEYS), 0))
    commits = [0]

    def commit() -> None:
        staged = store.begin()
        for key in range(size):
            staged[key] = (staged.get(key) or 0) + 1
        store.commit(staged)
        commits[0] += 1

    def run(loops: int) -> None:
        for _ in range(loops):
            commit()

    def check() -> dict[str, Fact]:
        before, held = store.now, dict(store.now)
        require(before.version == commits[0] > 0, f"version {before.version} after {commits[0]} commits")
        require(all(held[key] == commits[0] for key in range(size)), "a commit is missing")
        require(not any(held[key] for key in range(size, _KEYS)), "what nobody wrote has changed")
        late = store.begin()
        for key in range(size):
            late[key] = late.get(key) or 0
        commit()
        require(dict(before) == held, "the old version has changed")
        now, refused = store.now, False
        try:
            store.commit(late)
        except Outdated as outdated:
            refused = len(outdated.keys) == size
        require(refused and store.now is now, "a change on what has changed since was made")
        return {"writes": size, "keys": len(now)}

    return Prepared(run=run, check=check)


CASES = (
    Case(
        scenario="snapshot_reads",
        sizes=(10, 50, 100, 500, 1000),
        operation="one reading of the present snapshot by one of n readers, while a writer commits",
        growth="constant",
        prepare=prepare_reads,
    ),
    Case(
        scenario="snapshot_writes",
        sizes=(10, 50, 100, 200),
        operation=f"n writes staged, each on what was read, and committed as one, in a map of {_KEYS:,} keys",
        growth="linear",
        prepare=prepare_writes,
    ),
)
