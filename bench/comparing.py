"""How often `swarm compare` errs: simulated sessions whose truth is known, through the code of the command.

Nothing is timed here: what is counted are verdicts, and the intervals are those of the counts (Clopper and Pearson).
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from kit.cli import alone
from kit.measure import Bench, Row
from scipy import stats

from swarm_statistics.changes import change_points

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.sessions import HARD, SAME, SLOWER, SLOWER_HARD, Seen, autoregressive, simulate

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


#: Series of 60 values: their spread, the correlation of neighbours, a step of 10 % in the middle, what is promised.
SERIES = (
    (0.05, 0.0, False, "<= 5"),
    (0.05, 0.5, False, ""),
    (0.05, 0.0, True, ">= 95"),
    (0.1, 0.0, True, ""),
)
_LENGTH = 60


def _change_row(spread: float, correlation: float, step: bool, series: int, target: str) -> Row:
    draw = np.random.default_rng([round(1000 * spread), round(10 * correlation), step])
    found = []
    for _ in range(series):
        values = autoregressive(draw, correlation, spread, (1, _LENGTH))[0]
        values[_LENGTH // 2 :] += math.log(1.1) * step
        found.append([change.index for change in change_points(np.exp(values))])
    hits = sum(bool(one) for one in found)
    near = sum(any(abs(at - _LENGTH // 2) <= 3 for at in one) for one in found)
    low, high = stats.binomtest(hits, series).proportion_ci()
    what = f"{_LENGTH} values, sd {spread:.0%}, correlation {correlation:g}"
    beside = f"; {near / series:.1%} within three values of it" if step else ""
    return Row(
        name="change found" if step else "false change",
        what=f"{what}{', a step of 10 %' if step else ''}; {low:.1%} to {high:.1%} of {series}{beside}",
        unit="%",
        samples=(100 * hits / series,),
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
    rows += [_change_row(*series[:3], sessions, series[3]) for series in SERIES]
    return rows, [f"{sessions} pairs of sessions each; without a target: what these methods cannot do"]


BENCH = Bench("comparing", "how often `swarm compare` errs", run)

if __name__ == "__main__":
    alone(BENCH)
