"""The end of a search: held-out rows are opened, the best of each arm is trained and scored, and the arms compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from swarm_common import pipelines
from swarm_common.errors import UsageError
from swarm_common.events import Task
from swarm_common.events.agent import CandidateEvaluated
from swarm_coordinator.plans import SoFar
from swarm_coordinator.suites.ensemble.mle_star.searching import Arm, prepared_of
from swarm_coordinator.suites.ensemble.tasks import named

COMBINATION = "best"
Arms = Mapping[tuple[int, str], Arm]


def lead_of(sofar: SoFar) -> str:
    """Return the arm whose pipelines are combined."""
    arms: list[str] = sofar.params["arms"]
    return arms[0] if "mle_star" not in arms else "mle_star"


def others_of(sofar: SoFar, splits: Sequence[Any], arms: Arms) -> list[str]:
    """Return the other arms that found something on every split."""
    lead = lead_of(sofar)
    return [
        name
        for name in sofar.params["arms"]
        if name != lead and all(arms[split, name].ranked for split in range(len(splits)))
    ]


def members_of(sofar: SoFar, splits: Sequence[Any], arms: Arms) -> list[list[CandidateEvaluated]]:
    """Return the leading arm's pipelines that are combined, for each split, as many on each.

    The best comes first; then the best of each further type of model, for those err in other rows; then what is left.
    """
    lead = lead_of(sofar)
    found = []
    for split in range(len(splits)):
        ranked = arms[split, lead].ranked
        if not ranked:
            reasons = next(
                (data.failed for data in arms[split, lead].evaluated if data.failed), "none was tried"
            )
            raise UsageError(
                f"arm {lead} found no pipeline that can be fitted: {reasons}", field="params.arms"
            )
        first: dict[str, CandidateEvaluated] = {}
        for data in ranked:
            first.setdefault(data.spec.model, data)
        rest = [data for data in ranked if data is not first[data.spec.model]]
        found.append([*first.values(), *rest][: sofar.params["top"]])
    most = min(len(members) for members in found)
    return [members[:most] for members in found]


def final_tasks(sofar: SoFar, splits: Sequence[dict[str, Any]], arms: Arms) -> Iterator[Task]:
    """Yield the tasks that open the held-out rows, all at once, and the leak checks."""
    lead, others = lead_of(sofar), others_of(sofar, splits, arms)
    for split, (data, members) in enumerate(zip(splits, members_of(sofar, splits, arms), strict=True)):
        prepare = named("prepare", split)
        train = [
            _train(
                sofar, split, data, lead if place == 0 else f"{lead}_{place + 1}", candidate.spec, folds=True
            )
            for place, candidate in enumerate(members)
        ]
        best = {name: arms[split, name].ranked[0] for name in others}
        alone = [_train(sofar, split, data, name, found.spec, folds=False) for name, found in best.items()]
        ids = tuple(task.id for task in train)
        yield from (*train, *alone)
        yield from _scored(split, "", COMBINATION, (prepare, *ids), tuple(task.id for task in alone))
        if len(splits) > 1:
            for name in (lead, *others):
                yield from _scored(split, f"-{name}", "soft", (prepare, named(f"train-{name}", split)), ())
        checked = {pipelines.key(found.spec): found for found in (members[0], *best.values())}
        for found in checked.values():
            yield _leak_check(sofar, data, found)
    if len(splits) > 1:
        yield from _compared(sofar, splits, lead, others)


def _train(
    sofar: SoFar, split: int, data: dict[str, Any], name: str, spec: pipelines.Spec, *, folds: bool
) -> Task:
    return Task(
        id=named(f"train-{name}", split),
        kind="train",
        service="model_agent",
        lane="cpu",
        params={
            **data,
            "model": name,
            "spec": msgspec.to_builtins(spec),
            "folds": sofar.params["folds"] if folds else 0,
        },
    )


def _scored(
    split: int, suffix: str, strategy: str, needs: tuple[str, ...], beside: tuple[str, ...]
) -> tuple[Task, Task]:
    """Return the tasks that combine models and score the outcome, with others that only stand beside it."""
    combine = named(f"combine{suffix}", split)
    return (
        Task(id=combine, kind="combine", service="consensus", after=needs, params={"strategy": strategy}),
        Task(
            id=named(f"score{suffix}", split),
            kind="score",
            service="metrics",
            after=(*needs, *beside, combine),
        ),
    )


def _leak_check(sofar: SoFar, data: dict[str, Any], found: CandidateEvaluated) -> Task:
    return Task(
        id=f"leaks-{found.candidate}",
        kind="check_leaks",
        service="model_agent",
        lane="cpu",
        params={
            **data,
            "candidate": found.candidate,
            "spec": msgspec.to_builtins(found.spec),
            "folds": sofar.params["folds"],
        },
    )


def _compared(sofar: SoFar, splits: Sequence[Any], lead: str, others: Sequence[str]) -> Iterator[Task]:
    """Yield the comparisons over splits: the ensemble with its best member, the leading arm with each other."""
    every = range(len(splits))
    prepared = [named("prepare", split) for split in every]

    def compare(suffix: str, own: str, baseline: str) -> Task:
        other = [named(baseline, split) for split in every] if baseline else "best_single"
        mine = [named(own, split) for split in every]
        return Task(
            id=f"compare{suffix}",
            kind="compare",
            service="metrics",
            after=(*mine, *(other if isinstance(other, list) else ()), *prepared),
            params={"metric": main_metric(sofar), "baseline": other},
        )

    yield compare("", "score", "")
    for name in others:
        yield compare(f"-{name}", f"score-{lead}", f"score-{name}")


def main_metric(sofar: SoFar) -> str:
    """Return the name of the score that arms are held against each other by."""
    return "accuracy" if prepared_of(sofar).classes else "r2"
