"""How far the neural suite can be believed: scores over seeds, and how often a control is taken for learning.

A control learns from the same numbers without what relates them, so whatever it says of *above chance* or *learned* is
a false alarm. Each task is learned once; runs of so many tasks are then put together from them, as the planner does. No
figure here is a time.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence

from kit.cli import alone
from kit.measure import Bench, Row

from swarm_common.events.agent import PatternLearned
from swarm_common.patterns import PATTERNS
from swarm_coordinator.plans import Fact
from swarm_coordinator.suites.neural.measures import Measured, measured, resampled
from swarm_model_agent.params import PatternParams
from swarm_model_agent.patterns.learning import learn_pattern

_TASKS, _RUNS = 40, 200
_QUICK_TASKS, _QUICK_RUNS = 10, 20
REPEATS = (1, 5)


def _learned(pattern: str, tasks: int, *, shuffled: bool) -> list[PatternLearned]:
    return [
        learn_pattern(
            f"{pattern}-{at}", PatternParams(pattern=pattern, repeat=at, timings=2, shuffled=shuffled), seed=0
        )
        for at in range(tasks)
    ]


def _runs(tasks: Sequence[PatternLearned], repeats: int, runs: int) -> list[Measured]:
    """Return what runs of ``repeats`` tasks each would have said; all tasks are used before one is used again."""
    if repeats == 1:
        chosen = [[task] for task in tasks]
    else:
        rng = random.Random(f"{tasks[0].pattern}/{repeats}")  # noqa: S311 - seeded, nothing secret
        chosen = [rng.sample(list(tasks), repeats) for _ in range(runs)]
    return [
        measured([(Fact(data.task, data, ""), data) for data in one], at, resampled(one, at))
        for at, one in enumerate(chosen)
    ]


def run(quick: bool) -> tuple[list[Row], list[str]]:
    """Return scores of each pattern, and the false alarms of all controls."""
    tasks, runs = (_QUICK_TASKS, _QUICK_RUNS) if quick else (_TASKS, _RUNS)
    rows = []
    alarms: dict[tuple[str, int], list[bool]] = {}
    found: dict[tuple[str, int], list[bool]] = {}
    covered: dict[int, list[bool]] = {repeats: [] for repeats in REPEATS}
    for pattern in PATTERNS:
        real, control = (_learned(pattern, tasks, shuffled=shuffled) for shuffled in (False, True))
        scores = [data.score for data in real]
        rows.append(
            Row(
                name=f"{pattern}",
                what=f"score over seeds; sd {100 * statistics.stdev(scores):.2f}",
                unit="points",  # of a hundred: the table has two digits behind the point
                samples=tuple(100 * score for score in scores),
            )
        )
        for repeats in REPEATS:
            for kind, of in ((found, real), (alarms, control)):
                said = _runs(of, repeats, runs)
                kind.setdefault(("above chance", repeats), []).extend(one.above_chance for one in said)
                kind.setdefault(("learned", repeats), []).extend(one.learned for one in said)
                if of is real:
                    mean = statistics.fmean(scores)
                    covered[repeats] += [one.low <= mean <= one.high for one in said]
    for (what, repeats), said in alarms.items():
        rows.append(_share(f"false {what}, {repeats} tasks", f"of {len(said)} controls", said, "<= 5"))
    for (what, repeats), said in found.items():
        rows.append(_share(f"{what}, {repeats} tasks", f"of {len(said)} patterns", said, ">= 95"))
    for repeats, said in covered.items():
        rows.append(
            _share(
                f"interval holds the mean of all seeds, {repeats} tasks", f"of {len(said)} patterns", said, ""
            )
        )
    return rows, [f"{tasks} tasks a pattern, learned and as controls; runs of 5 are drawn from them"]


def _share(name: str, what: str, said: Sequence[bool], target: str) -> Row:
    return Row(name=name, what=what, unit="%", samples=(100 * sum(said) / len(said),), target=target)


BENCH = Bench("neural", "how far the neural suite can be believed", run)


if __name__ == "__main__":
    alone(BENCH)
