"""Runs beside runs: like with like, a row a metric, a verdict a row. Needs numpy and scipy: import it late."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from swarm_cli.comparing_facts import fact_rows
from swarm_cli.comparing_groups import Group, Settings, grouped
from swarm_cli.comparing_rows import Row, Tested, ended_rows
from swarm_cli.comparing_runs import Facts
from swarm_cli.comparing_samples import paired, sampled
from swarm_statistics.comparing import Verdict, exit_code, judge
from swarm_statistics.independence import deflated
from swarm_statistics.multiplicity import adjusted
from swarm_statistics.power import needed


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """All rows, and what is to be known beside them."""

    verdict: Verdict
    rows: tuple[Row, ...]
    threshold: float
    alpha: float
    looks: int = 1
    """How often the pairs may be judged until something is decided: each look is at ``alpha / looks``."""
    notes: tuple[str, ...] = ()
    """What had no partner, and what was left out."""

    @property
    def open(self) -> bool:
        """Whether nothing regressed, and more pairs could decide what is inconclusive.

        They cannot where seeds differ, nor where it is plain that a metric changed, but not whether that is better.
        """
        return self.verdict == "inconclusive" and any(
            row.verdict == "inconclusive" and row.p_adjusted is not None and not self._plain(row)
            for row in self.rows
        )

    def _plain(self, row: Row) -> bool:
        return (
            row.better == "neither"
            and (row.p_adjusted or 0.0) < self.alpha / self.looks
            and abs(row.shift or 0.0) >= self.threshold
        )

    @property
    def exit_code(self) -> int:
        return exit_code(row.verdict for row in self.rows) if self.rows else 3


def compare_runs(base: Sequence[Facts], head: Sequence[Facts], settings: Settings) -> Comparison:
    """Return the comparison of two sides of runs."""
    groups, notes = grouped(base, head)
    done: list[Row] = []
    tested: list[Tested] = []
    for group in groups:
        done += ended_rows(group)
        like = group.completed()
        if not (like.base and like.head):
            continue
        facts, samples, more = _split(like, settings)
        notes += more
        done += [row for name in facts for row in fact_rows(like, name, settings)]
        tested += sampled(like, samples, settings)
    return conclude(done, tested, settings, notes)


def compare_pairs(base: Sequence[Facts], head: Sequence[Facts], settings: Settings) -> Comparison:
    """Return the comparison of two arms that took turns; ``base[i]`` and ``head[i]`` are one pair."""
    first = head[0]
    group = Group(
        suite=first.suite,
        scenario=first.scenario,
        params=first.params,
        base=tuple(base),
        head=tuple(head),
    )
    facts, samples, notes = _split(group, settings)
    if base[0].params != first.params:
        notes.append("the arms ran with different parameters: a default changed between them")
    done = [row for name in facts for row in fact_rows(group, name, settings)]
    return conclude(done, paired(group, samples, settings), settings, notes)


def conclude(
    done: Sequence[Row], tested: Sequence[Tested], settings: Settings, notes: Iterable[str]
) -> Comparison:
    """Adjust the p of the rows that were tested for their number, and judge them."""
    raw = [deflated(one.finding.p, one.certainty) for one in tested]
    ps = adjusted(raw)
    rows = [*done]
    for one, p, p_adjusted in zip(tested, raw, ps, strict=True):
        judged = judge(
            one.finding,
            p_adjusted,
            better=one.row.better,  # type: ignore[arg-type]
            alpha=settings.level,
            violations=one.violations,
            certainty=one.certainty,
        )
        open_ = judged.verdict == "inconclusive"
        tests = p_adjusted / p if p > 0 else 1.0
        rows.append(
            msgspec.structs.replace(
                one.row,
                p=one.finding.p,
                p_adjusted=p_adjusted,
                verdict=judged.verdict,
                reason=judged.reason,
                needs=needed(one.finding, alpha=settings.level, tests=tests) if open_ else None,
            )
        )
    verdicts = {row.verdict for row in rows}
    order: tuple[Verdict, ...] = ("regression", "inconclusive", "improvement", "equal")
    overall: Verdict = next((verdict for verdict in order if verdict in verdicts), "inconclusive")
    return Comparison(
        verdict=overall,
        rows=tuple(rows),
        threshold=settings.threshold,
        alpha=settings.alpha,
        looks=settings.looks,
        notes=tuple(dict.fromkeys(notes)),
    )


def _split(group: Group, settings: Settings) -> tuple[list[str], list[str], list[str]]:
    """Return the metrics that are facts, those that are samples, and words about those of one side only."""
    names = [
        {one.name: one for run in side for one in run.metrics if one.value is not None}
        for side in (group.base, group.head)
    ]
    silent = {one.name for side in (group.base, group.head) for run in side for one in run.metrics}
    notes = []
    facts: list[str] = []
    samples: list[str] = []
    repeatable = all(run.deterministic for run in group.runs)
    for name in dict.fromkeys([*names[0], *names[1], *sorted(silent - {*names[0], *names[1]})]):
        if settings.metrics and name not in settings.metrics:
            continue
        if name not in names[0] or name not in names[1]:
            sides = [side for side, found in zip(("base", "head"), names, strict=True) if name not in found]
            notes.append(f"{group.title}: {name} was not measured in {' and '.join(sides)}")
            continue
        timing = names[0][name].timing or names[1][name].timing
        (samples if timing or not repeatable else facts).append(name)
    return facts, samples, notes
