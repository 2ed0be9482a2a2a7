"""Metrics that the same code always computes alike: seed by seed, a difference is a fact."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from swarm_cli.comparing_groups import Group, Settings, many, values_of
from swarm_cli.comparing_rows import Row, new_row, open_row
from swarm_cli.comparing_runs import Facts
from swarm_statistics.comparing import find, judge


def fact_rows(group: Group, name: str, settings: Settings) -> list[Row]:
    """Return the row of a metric that the same code always computes alike: its differences need no test."""
    sides = [_by_seed(side, name) for side in (group.base, group.head)]
    seeds = [seed for seed in sides[0] if seed in sides[1]]
    if not seeds:
        return [open_row(group, name, "no seed is the same on both sides", per="seed")]
    unsteady = [side for side in sides if any(len(set(side[seed])) > 1 for seed in seeds)]
    if unsteady:
        words = "runs of one seed differ although they say that they repeat"
        return [open_row(group, name, words, per="seed", n=len(seeds))]
    base, head = ([side[seed][0] for seed in seeds] for side in sides)
    found = find(base, head, paired=True, threshold=settings.threshold, alpha=settings.level)
    same = base == head
    if not same and found.large:
        judged = judge(found, 0.0, better=group.measure(name).better, alpha=settings.level)
        verdict, reason = judged.verdict, f"{judged.reason}; same seeds, so the difference is a fact"
    else:
        verdict = "equal"
        alike = _digests(group, seeds)
        reason = (
            f"the same in {many(len(seeds), 'seed')}" + (", and so are the digests" if alike else "")
            if same
            else "less than the threshold; same seeds, so the difference is a fact"
        )
    bounded = len(seeds) > 5
    return [
        new_row(
            group,
            name,
            finding=found if bounded else None,
            base=statistics.median(base),
            head=statistics.median(head),
            shift=found.relative(found.shift.estimate),
            method="difference seed by seed",
            per="seed",
            n=(len(seeds), len(seeds)),
            verdict=verdict,
            reason=reason,
        )
    ]


def _by_seed(runs: Sequence[Facts], name: str) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    for run in runs:
        for value in values_of([run], name):
            found.setdefault(run.seed, []).append(value)
    return found


def _digests(group: Group, seeds: Sequence[int]) -> bool:
    sides = [
        {(run.seed, run.digest) for run in side if run.seed in seeds} for side in (group.base, group.head)
    ]
    return sides[0] == sides[1] and all(digest for _, digest in sides[0])
