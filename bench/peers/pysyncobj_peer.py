"""One node of PySyncObj with a counter, driven over its standard input: ``leads`` or a number of increments to time."""

from __future__ import annotations

import json
import sys
import time

from pysyncobj import SyncObj, SyncObjConf, replicated

TUNED = {
    "autoTickPeriod": 0.002,
    "appendEntriesPeriod": 0.002,
    "raftMinTimeout": 0.4,
    "raftMaxTimeout": 1.4,
}
CONFIGS = {"defaults": {}, "tuned": TUNED, "unbatched": {**TUNED, "appendEntriesUseBatch": False}}


class Counter(SyncObj):
    """A counter that all nodes have."""

    def __init__(self, own: str, others: list[str], conf: SyncObjConf) -> None:
        super().__init__(own, others, conf)
        self._count = 0

    @replicated
    def add(self) -> int:
        """Count one more and return how many it are."""
        self._count += 1
        return self._count


def main() -> None:
    config, own, *others = sys.argv[1:]
    counter = Counter(own, others, SyncObjConf(**CONFIGS[config]))
    for line in sys.stdin:
        if line.strip() == "leads":
            leader = counter.getStatus()["leader"]
            print(json.dumps(leader is not None and str(leader) == own), flush=True)
            continue
        latencies = []
        for _ in range(int(line)):
            began = time.perf_counter()
            counter.add(sync=True, timeout=10.0)
            latencies.append(1e6 * (time.perf_counter() - began))
        print(json.dumps(latencies), flush=True)


if __name__ == "__main__":
    main()
