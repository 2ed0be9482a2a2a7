"""How often `swarm compare` errs: simulated sessions whose truth is known, through the code of the command.

Nothing is timed here: what is counted are verdicts, and the intervals are those of the counts (Clopper and Pearson).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from kit.cli import alone
from kit.measure import Bench, Row
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.sessions import HARD, SAME, SLOWER, SLOWER_HARD, Seen, simulate

SESSIONS = 1000
#: Worlds, and what is promised of them in per cent.
GROUPS = ((SAME, "<= 5"), (HARD, ""), (SLOWER, ">= 95"), (SLOWER_HARD, ""))


def _seen(group: int, at: int, seed: int) -> Seen:
    return simulate(GROUPS[group][0][at], seed)


def _row(pool: ProcessPoolExecutor, group: int, at: int, sessions: int) -> Row:
    worlds, target = GROUPS[group]
    world = worlds[at]
    seen = list(pool.map(partial(_seen, group, at), range(sessions), chunksize=20))
    hits = sum(one.found if world.slower else one.false for one in seen)
    low, high = stats.binomtest(hits, sessions).proportion_ci()
    others = (
        sum(one.false for one in seen) if world.slower else sum(one.verdict == "inconclusive" for one in seen)
    )
    beside = "a false regression beside it" if world.slower else "inconclusive"
    return Row(
        name="found" if world.slower else "false alarm",
        what=f"{world.name}; {low:.1%} to {high:.1%} of {sessions}; {others / sessions:.1%} {beside}",
        unit="%",
        samples=(100 * hits / sessions,),
        target=target,
    )


def run(quick: bool) -> tuple[Sequence[Row], Sequence[str]]:
    sessions = 60 if quick else SESSIONS
    with ProcessPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        rows = [
            _row(pool, group, at, sessions)
            for group in range(len(GROUPS))
            for at in range(len(GROUPS[group][0]))
        ]
    return rows, [f"{sessions} pairs of sessions each; without a target: what these methods cannot do"]


BENCH = Bench("comparing", "how often `swarm compare` errs", run)

if __name__ == "__main__":
    alone(BENCH)
