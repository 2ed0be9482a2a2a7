"""Metrics that vary from run to run: what counts as one value, what is assumed, what a test finds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from swarm_cli.comparing_checks import (
    FEWEST,
    Table,
    apart_reasons,
    certainty_of,
    host_reasons,
    look_at_order,
    order_words,
)
from swarm_cli.comparing_groups import Group, Settings, Units, units_of, values_of
from swarm_cli.comparing_rows import Tested, method_of, new_row
from swarm_cli.comparing_runs import Facts
from swarm_statistics.comparing import find


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
        finding = find(base, head, paired=units.paired, threshold=settings.threshold, alpha=settings.level)
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
        finding = find(base, head, paired=True, threshold=settings.threshold, alpha=settings.level)
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
