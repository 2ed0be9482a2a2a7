"""``snapshot_reads`` and ``snapshot_writes``: a map that many threads read while one writes.

Readers and the writer are threads, which the interpreter may take turns of between any two instructions: of all that
share memory in one process they are the hardest to keep apart. Each reading is timed by itself; what a thread waited
for its turn is in the time where it fell inside of a reading, and nowhere else.
"""

from __future__ import annotations

import threading
import time

from swarm_common.events import Samples
from swarm_common.timing import clock_of
from swarm_metrics.primitives.case import Case, Fact, Prepared, require
from swarm_metrics.primitives.harness import name_of
from swarm_primitives.store import Outdated, Store

_KEYS = 1000
_TOGETHER = 4
"""Keys that the writer always writes together, with one number: whoever sees two numbers has seen half a change."""
_READS = 20
"""Of each reader in a loop."""
_KEPT = 2_000
"""Single readings that are told: of the last loops, every so many."""
_LAST = 20_000
_ENOUGH = 20
"""Samples: in each, all readers have had their turns."""


class _Swarm:
    """A store, its writer and its readers, which all wait until they are told to go."""

    def __init__(self, readers: int) -> None:
        self.store: Store[int, int] = Store(dict.fromkeys(range(_KEYS), 0))
        self.readers = readers
        self.torn = 0
        self.commits = 0
        self.versions: set[int] = set()
        self.single_ns: list[list[int]] = [[] for _ in range(readers)]
        self._gate = threading.Barrier(readers + 2)
        self._left = 0
        self._counting = threading.Lock()
        self._over = False
        self._threads = [
            threading.Thread(target=self._read, args=(at,), daemon=True) for at in range(readers)
        ]
        self._threads.append(threading.Thread(target=self._write, daemon=True))
        for thread in self._threads:
            thread.start()

    def turn(self) -> None:
        """Let every reader read its times, while the writer commits until the last of them is done."""
        self._left = self.readers
        for times in self.single_ns:
            times.clear()
        self._gate.wait()
        self._gate.wait()

    def end(self) -> None:
        self._over = True
        self._gate.abort()
        for thread in self._threads:
            thread.join()

    def _read(self, at: int) -> None:
        store, times, clock = self.store, self.single_ns[at], time.perf_counter_ns
        while self._told():
            for number in range(_READS):
                key = (at * _READS + number) % _KEYS
                began = clock()
                store.now.get(key)
                ended = clock()
                times.append(ended - began)
            self._look()
            with self._counting:
                self._left -= 1
            self._told()

    def _look(self) -> None:
        """See whether a snapshot is of one moment, and keep its version."""
        now = self.store.now
        if len({now[key] for key in range(_TOGETHER)}) > 1:
            self.torn += 1
        self.versions.add(now.version)

    def _write(self) -> None:
        store = self.store
        while self._told():
            while True:
                staged = store.begin()
                number = (staged.get(0) or 0) + 1
                for key in range(_TOGETHER):
                    staged[key] = number
                store.commit(staged)
                self.commits += 1
                if not self._left:
                    break
                time.sleep(0)  # hands the interpreter over, so that commits lie among the readings
            self._told()

    def _told(self) -> bool:
        """Wait for all the others; return whether to go on."""
        try:
            self._gate.wait()
        except threading.BrokenBarrierError:
            return False
        return not self._over


def prepare_reads(size: int, _seed: int) -> Prepared:
    """Return ``size`` readers and a writer; an operation is one reading: the present snapshot, and a key's value."""
    swarm = _Swarm(size)
    cost_ns = clock_of().cost_ns
    single_us: list[float] = []

    def run(loops: int) -> int:
        elapsed = 0.0
        for _ in range(loops):
            swarm.turn()
            for times in swarm.single_ns:
                elapsed += sum(times)
                single_us.extend(max(taken - cost_ns, 0.0) / 1e3 for taken in times)
        del single_us[:-_LAST]
        # Every reading had the clock read twice, and once a loop that is taken off by who asked.
        return round(elapsed - loops * (size * _READS - 1) * cost_ns)

    def single() -> tuple[Samples, ...]:
        name = name_of("snapshot_reads", "", size)
        some = single_us[:: max(1, len(single_us) // _KEPT)]
        return (Samples(name=f"{name}.single", unit="us", values=tuple(round(one, 5) for one in some)),)

    def check() -> dict[str, Fact]:
        now = swarm.store.now
        require(swarm.torn == 0, f"{swarm.torn} readers saw half a change")
        require(now[0] == swarm.commits == now.version, f"{now[0]} is left of {swarm.commits} commits")
        require(len(swarm.versions) > 1, "nothing was committed while readers read")
        return {"readers": size, "torn": swarm.torn, "keys": len(now)}

    return Prepared(run=run, operations=size * _READS, check=check, also=single, teardown=swarm.end)


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
        operation="one reading of the present snapshot by one of n threads, while another commits",
        growth="constant",
        most_samples=_ENOUGH,
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
