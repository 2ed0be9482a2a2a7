"""A row a metric: what it says, and what is known before it is judged."""

from __future__ import annotations

import statistics
from typing import Any

import msgspec

from swarm_cli.comparing_groups import Group, Per, values_of
from swarm_statistics.comparing import Finding, Verdict, proportions


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


def open_row(group: Group, name: str, reason: str, *, per: Per, n: int = 0) -> Row:
    """Return a row about which nothing can be said, and why."""
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
