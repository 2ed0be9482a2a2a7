"""A row a metric: what is a fact seed by seed, and what is a sample that a test has to judge."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import msgspec

from swarm_cli.comparing_checks import (
    FEWEST,
    Table,
    apart_reasons,
    certainty_of,
    host_reasons,
    look_at_order,
    order_words,
)
from swarm_cli.comparing_groups import Group, Per, Settings, Units, many, units_of, values_of
from swarm_cli.comparing_runs import Facts
from swarm_statistics.comparing import Finding, Verdict, find, judge, proportions


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of one group of like runs."""

    suite: str
    scenario: str
    params: dict[str, Any]
    metric: str
    unit: str
    better: str
    timing: bool
    base: float | None
    """Median of the side."""
    head: float | None
    base_low: float | None = None
    """Ends of the run's own interval, where the side is a single run."""
    base_high: float | None = None
    head_low: float | None = None
    head_high: float | None = None
    shift: float | None = None
    """Head over base, as a part of base: 0.1 is 10 % more."""
    low: float | None = None
    """Ends of the interval of ``shift``; ``None`` is without bound."""
    high: float | None = None
    p: float | None = None
    p_adjusted: float | None = None
    """For the number of metrics that were tested (Benjamini-Hochberg)."""
    method: str
    per: Per
    """What one value stands for."""
    n_base: int
    n_head: int
    samples: int | None = None
    """Single measurements inside the runs of both sides."""
    verdict: Verdict
    reason: str
    needs: int | None = None
    """How many values a side (pairs, for pairs) would probably decide; only where the verdict is open."""


class Tested(msgspec.Struct, frozen=True, kw_only=True):
    """A row that waits for its p to be adjusted."""

    row: Row
    finding: Finding
    violations: tuple[str, ...]
    certainty: float = 1.0


def fact_rows(group: Group, name: str, settings: Settings) -> list[Row]:
    """Return the row of a metric that the same code always computes alike: its differences need no test."""
    sides = [_by_seed(side, name) for side in (group.base, group.head)]
    seeds = [seed for seed in sides[0] if seed in sides[1]]
    if not seeds:
        return [_open(group, name, "no seed is the same on both sides", per="seed")]
    unsteady = [side for side in sides if any(len(set(side[seed])) > 1 for seed in seeds)]
    if unsteady:
        words = "runs of one seed differ although they say that they repeat"
        return [_open(group, name, words, per="seed", n=len(seeds))]
    base, head = ([side[seed][0] for seed in seeds] for side in sides)
    found = find(base, head, paired=True, threshold=settings.threshold, alpha=settings.alpha)
    same = base == head
    if not same and found.large:
        judged = judge(found, 0.0, better=group.measure(name).better, alpha=settings.alpha)
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


def sampled(group: Group, names: Sequence[str], settings: Settings) -> list[Tested]:
    """Return the rows of metrics that vary from run to run: timings, and all of runs that do not repeat."""
    starts = units_of(group)
    singly = Units(
        base=tuple((run,) for run in group.base), head=tuple((run,) for run in group.head), per="run"
    )
    machine = (*host_reasons(group.base, group.head), *apart_reasons(group.base, group.head))
    looked = None if starts.paired or starts.violations else look_at_order(_table(group, starts))
    words = order_words(*looked) if looked else {}
    found = []
    for name in names:
        timing = group.measure(name).timing
        units = starts if timing else singly
        base, head = _paired_values(units, name) if units.paired else _side_values(units, name)
        if not (base and head):
            continue
        finding = find(base, head, paired=units.paired, threshold=settings.threshold, alpha=settings.alpha)
        row = new_row(
            group,
            name,
            finding=finding,
            base=finding.base,
            head=finding.head,
            shift=finding.relative(finding.shift.estimate),
            method=method_of(finding),
            per=units.per,
            n=(len(base), len(head)),
        )
        broken: tuple[str, ...] = ()
        certainty = 1.0
        if timing:
            broken = (*units.violations, *machine, *words.get("", ()), *words.get(name, ()))
            if not broken and not units.paired and min(len(base), len(head)) < FEWEST:
                broken = (f"fewer than {FEWEST} {units.per}s on a side do not say how much they vary",)
            if looked and name in looked[0]:
                certainty = certainty_of(looked[0][name], len(base) + len(head))
        found.append(Tested(row=row, finding=finding, violations=broken, certainty=certainty))
    return found


def paired(group: Group, names: Sequence[str], settings: Settings) -> list[Tested]:
    """Return the rows of arms that took turns in an order that a coin chose: nothing but the pairs is assumed."""
    units = Units(
        base=tuple((run,) for run in group.base),
        head=tuple((run,) for run in group.head),
        per="pair",
        paired=True,
    )
    found = []
    for name in names:
        base, head = _paired_values(units, name)
        if not base:
            continue
        finding = find(base, head, paired=True, threshold=settings.threshold, alpha=settings.alpha)
        row = new_row(
            group,
            name,
            finding=finding,
            base=finding.base,
            head=finding.head,
            shift=finding.relative(finding.shift.estimate),
            method=method_of(finding),
            per="pair",
            n=(len(base), len(head)),
        )
        found.append(Tested(row=row, finding=finding, violations=()))
    return found


def _table(group: Group, units: Units) -> Table:
    """Return the timings of all units, in the order of time: order tells, whichever metrics a user wants to see."""
    names = _all_timings(group)
    base, head = (
        [[_cost(group, name, unit) for unit in side] for name in names] for side in (units.base, units.head)
    )
    return Table(names=tuple(names), base=base, head=head)


def _cost(group: Group, name: str, unit: Sequence[Facts]) -> float:
    value = statistics.median(values_of(unit, name))
    return -value if group.measure(name).better == "higher" else value


def _all_timings(group: Group) -> list[str]:
    """Return the metrics of time that every run has: those whose order tells, whichever a user wants to see."""
    sets = [{one.name for one in run.metrics if one.timing and one.value is not None} for run in group.runs]
    return sorted(set.intersection(*sets))


def _side_values(units: Units, name: str) -> tuple[list[float], list[float]]:
    base, head = (
        [statistics.median(values) for unit in side if (values := values_of(unit, name))]
        for side in (units.base, units.head)
    )
    return base, head


def _paired_values(units: Units, name: str) -> tuple[list[float], list[float]]:
    pairs = [
        (statistics.median(here), statistics.median(there))
        for before, after in zip(units.base, units.head, strict=True)
        if (here := values_of(before, name)) and (there := values_of(after, name))
    ]
    return [one for one, _ in pairs], [other for _, other in pairs]


def method_of(finding: Finding) -> str:
    """Return test and estimate in words."""
    scale = "ratio" if finding.logarithmic else "difference"
    if finding.paired:
        return f"Wilcoxon signed rank; median of Walsh averages of the {scale}"
    return f"Mann-Whitney; Hodges-Lehmann {scale}"


def new_row(
    group: Group,
    name: str,
    *,
    finding: Finding | None,
    base: float | None,
    head: float | None,
    shift: float | None,
    method: str,
    per: Per,
    n: tuple[int, int],
    verdict: Verdict = "inconclusive",
    reason: str = "",
) -> Row:
    """Return a row of a metric of a group."""
    measure = group.measure(name)
    own = [
        next((one for run in side for one in run.metrics if one.name == name), None)
        if len(side) == 1
        else None
        for side in (group.base, group.head)
    ]
    counts = [one.samples for run in group.runs for one in run.metrics if one.name == name and one.samples]
    return Row(
        suite=group.suite,
        scenario=group.scenario,
        params=group.params,
        metric=name,
        unit=measure.unit,
        better=measure.better,
        timing=measure.timing,
        base=base,
        head=head,
        base_low=own[0].low if own[0] else None,
        base_high=own[0].high if own[0] else None,
        head_low=own[1].low if own[1] else None,
        head_high=own[1].high if own[1] else None,
        shift=shift,
        low=finding.relative(finding.shift.low) if finding else None,
        high=finding.relative(finding.shift.high) if finding else None,
        method=method,
        per=per,
        n_base=n[0],
        n_head=n[1],
        samples=sum(counts) if counts else None,
        verdict=verdict,
        reason=reason,
    )


def _open(group: Group, name: str, reason: str, *, per: Per, n: int = 0) -> Row:
    values = [values_of(side, name) for side in (group.base, group.head)]
    return new_row(
        group,
        name,
        finding=None,
        base=statistics.median(values[0]),
        head=statistics.median(values[1]),
        shift=None,
        method="difference seed by seed",
        per=per,
        n=(n, n),
        verdict="inconclusive",
        reason=reason,
    )


def ended_rows(group: Group) -> list[Row]:
    """Return a row about runs that did not complete, where there are any: they have no metrics to speak for them."""
    counts = [
        (sum(run.status == "completed" for run in side), len(side)) for side in (group.base, group.head)
    ]
    if all(done == total for done, total in counts):
        return []
    (here, of_base), (there, of_head) = counts
    p = proportions((here, of_base), (there, of_head))
    shares = (here / of_base, there / of_head)
    reason = f"completed are {here} of {of_base} and {there} of {of_head} runs"
    verdict: Verdict = "inconclusive"
    if p < 0.05:
        verdict = "improvement" if shares[1] > shares[0] else "regression"
    elif shares[0] == shares[1]:
        reason += "; what failed is in the log of each"
    return [
        Row(
            suite=group.suite,
            scenario=group.scenario,
            params=group.params,
            metric="completed",
            unit="ratio",
            better="higher",
            timing=False,
            base=shares[0],
            head=shares[1],
            p=p,
            method="Fisher's exact test",
            per="run",
            n_base=of_base,
            n_head=of_head,
            verdict=verdict,
            reason=reason,
        )
    ]
