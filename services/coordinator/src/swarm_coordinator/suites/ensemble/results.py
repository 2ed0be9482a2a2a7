"""What an ensemble's run has measured: metrics, the leaderboard, and the best single model beside all of it."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from swarm_common.events import Data, Metric
from swarm_common.events.agent import DataPrepared, ModelTrained
from swarm_common.events.consensus import Reached
from swarm_common.events.metrics import Compared, Comparison, Scored
from swarm_coordinator.plans import Fact, SoFar
from swarm_coordinator.suites.ensemble.tasks import Plan, named, step_name

D = TypeVar("D", bound=Data)


class Measured(msgspec.Struct, frozen=True):
    """What happened to one way to combine, on every split."""

    scored: tuple[Fact, ...]
    reached: tuple[Fact, ...]
    compared: Fact | None
    """Of several splits."""

    @property
    def comparison(self) -> Comparison | None:
        """The ensemble beside the best single model; ``None`` where there are no folds to choose one by."""
        data = self.scored[0].data if self.compared is None else self.compared.data
        assert isinstance(data, Scored | Compared)  # noqa: S101 - measured() has looked
        return data.versus_best if isinstance(data, Scored) else data.comparison


def one(sofar: SoFar, task: str, kind: type[D]) -> Fact:
    """Return what a task recorded of a kind; its plan says that it does."""
    return next(fact for fact in sofar.facts[task] if isinstance(fact.data, kind))


def trained(sofar: SoFar) -> list[Fact]:
    """Return what was trained, by task."""
    return [
        fact
        for name in sorted(sofar.facts)
        for fact in sofar.facts[name]
        if isinstance(fact.data, ModelTrained)
    ]


def measured(sofar: SoFar, plan: Plan, strategy: str) -> Measured:
    """Return what one way to combine came to."""
    score, combine, compare = (
        step_name(step, strategy, plan.strategies) for step in ("score", "combine", "compare")
    )
    splits = range(len(plan.data))
    return Measured(
        tuple(one(sofar, named(score, split), Scored) for split in splits),
        tuple(one(sofar, named(combine, split), Reached) for split in splits),
        one(sofar, compare, Compared) if compare in sofar.facts else None,
    )


def mean_of(metrics: Sequence[Metric], name: str = "") -> Metric:
    """Return one metric from those of every split: of a single one itself, of several mean, smallest and largest."""
    first = metrics[0]
    if len(metrics) == 1:
        return msgspec.structs.replace(first, name=name or first.name)
    values = [metric.value for metric in metrics if metric.value is not None]
    return Metric(
        name=name or first.name,
        value=statistics.fmean(values) if len(values) == len(metrics) else None,
        unit=first.unit,
        better=first.better,
        n=len(metrics),
        low=min(values, default=None),
        high=max(values, default=None),
        estimator="mean over splits; smallest and largest",
        timing=first.timing,
        source=tuple(source for metric in metrics for source in metric.source),
        reason="" if len(values) == len(metrics) else next(m.reason for m in metrics if m.value is None),
    )


def ensemble_metrics(sofar: SoFar, plan: Plan, strategy: str) -> tuple[Metric, ...]:
    """Return scores of the combination and of the best single model, agreement, and what all of it cost."""
    found = measured(sofar, plan, strategy)
    scored = [fact.data for fact in found.scored if isinstance(fact.data, Scored)]
    metrics = {
        metric.name: mean_of([_named(split.metrics, metric.name) for split in scored])
        for metric in scored[0].metrics
    }
    if found.compared is not None and isinstance(found.compared.data, Compared):
        metrics[plan.main] = found.compared.data.ensemble
    ordered = [metrics.pop(plan.main), *metrics.values()]
    return (
        *(_sourced(metric, found.scored) for metric in ordered),
        *_beside_best(plan, found),
        *_of_consensus(plan, found),
        *_of_cost(sofar, plan, ordered[0]),
    )


def _named(metrics: Iterable[Metric], name: str) -> Metric:
    return next(metric for metric in metrics if metric.name == name)


def _sourced(metric: Metric, facts: Sequence[Fact]) -> Metric:
    return (
        metric
        if metric.source
        else msgspec.structs.replace(metric, source=tuple(fact.event for fact in facts))
    )


def _beside_best(plan: Plan, found: Measured) -> tuple[Metric, ...]:
    """Return the best single model's score, and what the ensemble has over it."""
    main, source = plan.main, tuple(fact.event for fact in found.scored)
    versus = found.comparison
    unit = "ratio"
    if versus is None:
        reason = "there is no best single model: without folds there is nothing to choose it by"
        return (
            Metric(name=f"best_single_{main}", value=None, unit=unit, source=source, reason=reason),
            Metric(name="over_best_single", value=None, unit=unit, source=source, reason=reason),
        )
    scored = [fact.data for fact in found.scored if isinstance(fact.data, Scored)]
    best = mean_of(
        [_named(split.members[split.best_single], main) for split in scored], f"best_single_{main}"
    )
    tested = "" if versus.p_value is None else f", p {versus.p_value:.3g}"
    names = ", ".join(dict.fromkeys(split.best_single for split in scored))
    return (
        msgspec.structs.replace(best, estimator=f"{names}, chosen out of fold; {best.estimator}"),
        Metric(
            name="over_best_single",
            value=versus.difference,
            unit=unit,
            n=versus.n,
            low=versus.low,
            high=versus.high,
            estimator=f"{versus.verdict} ({versus.method}{tested})",
            source=source if found.compared is None else (found.compared.event,),
        ),
    )


def _of_consensus(plan: Plan, found: Measured) -> tuple[Metric, ...]:
    facts = [(fact, fact.data) for fact in found.reached if isinstance(fact.data, Reached)]

    def metric(name: str, values: Sequence[float | None], unit: str, reason: str, **more: Any) -> Metric:
        known = [value for value in values if value is not None]
        return Metric(
            name=name,
            value=statistics.fmean(known) if known else None,
            unit=unit,
            n=len(values),
            source=tuple(fact.event for fact, _ in facts),
            reason="" if known else reason,
            low=min(known) if len(known) > 1 else None,
            high=max(known) if len(known) > 1 else None,
            **more,
        )

    values = "members give values, not classes"
    single = "there is one member"
    no_folds = "there are no out-of-fold predictions"
    common = (
        metric(
            "consensus_variance",
            [data.variance for _, data in facts],
            "ratio" if plan.classes else "target^2",
            single,
            better="neither",
            estimator="weighted variance among members, mean over held-out rows",
        ),
        metric(
            f"cv_{plan.main}",
            [data.out_of_fold_score for _, data in facts],
            "ratio",
            no_folds,
            estimator="the combination on the training rows, out of fold, its own learning cross-fitted",
        ),
        metric(
            "consensus_time", [data.consensus_s for _, data in facts], "s", "", better="lower", timing=True
        ),
    )
    if not plan.classes:
        return common
    return (
        metric(
            "agreement",
            [data.agreement for _, data in facts],
            "ratio",
            single if plan.classes else values,
            better="neither",
            estimator="mean share of pairs of models that name the same class",
        ),
        metric(
            "diversity",
            [data.diversity for _, data in facts],
            "ratio",
            single,
            better="neither",
            estimator="mean share of rows on which two models disagree, over pairs",
        ),
        *common,
    )


def _of_cost(sofar: SoFar, plan: Plan, main: Metric) -> tuple[Metric, ...]:
    facts = [(fact, fact.data) for fact in trained(sofar) if isinstance(fact.data, ModelTrained)]
    source = tuple(fact.event for fact, _ in facts)
    cpu_s = sum(data.cpu_s for _, data in facts)
    splits = len(plan.data)
    per_second = main.value / (cpu_s / splits) if main.value is not None and cpu_s > 0 else None
    by_model: dict[str, list[tuple[Fact, ModelTrained]]] = {}
    for fact, data in facts:
        by_model.setdefault(data.model, []).append((fact, data))
    return (
        Metric(
            name="cpu_time",
            value=cpu_s,
            unit="s",
            better="lower",
            n=len(facts),
            timing=True,
            estimator="sum over the trainings of their workers' CPU time (getrusage)",
            source=source,
        ),
        Metric(
            name=f"{plan.main}_per_cpu_second",
            value=per_second,
            unit="1/s",
            better="higher",
            n=splits,
            timing=True,
            estimator=f"{plan.main} divided by the CPU seconds of training for one split",
            source=source,
            reason="" if per_second is not None else "no CPU time was measured",
        ),
        *(
            Metric(
                name=f"fit_time.{model}",
                value=statistics.fmean(data.fit_s for _, data in found),
                unit="s",
                better="lower",
                n=len(found),
                timing=True,
                source=tuple(fact.event for fact, _ in found),
            )
            for model, found in sorted(by_model.items())
        ),
    )


def ensemble_result(sofar: SoFar, plan: Plan, strategy: str) -> dict[str, Any]:
    """Return the leaderboard, how the answer was made, and the verdict."""
    found = measured(sofar, plan, strategy)
    scored = [fact.data for fact in found.scored if isinstance(fact.data, Scored)]
    reached = [fact.data for fact in found.reached if isinstance(fact.data, Reached)]
    prepared = one(sofar, "prepare", DataPrepared).data
    assert isinstance(prepared, DataPrepared)  # noqa: S101 - one() has looked
    chosen = dict.fromkeys(split.best_single for split in scored)
    result: dict[str, Any] = {
        "dataset": prepared.dataset,
        "problem": prepared.problem,
        "main": plan.main,
        "n_train": prepared.n_train,
        "n_test": prepared.n_test,
        "iterations": len(plan.data),
        "strategy": strategy,
        "models": [
            {**row, "best_single": row["model"] in chosen}
            for row in _leaderboard(sofar, plan, found, scored, reached)
        ],
        "ensemble": strategy_row(plan, found, strategy),
        "verdict": None if found.comparison is None else msgspec.to_builtins(found.comparison),
        "confusion": msgspec.to_builtins(scored[0].confusion),
    }
    if prepared.notes:
        result["notes"] = list(prepared.notes)
    if strategy == "best":
        result["chosen"] = [split.strategy for split in reached]
        result["considered"] = reached[0].considered
    return result


def strategy_row(plan: Plan, found: Measured, strategy: str) -> dict[str, Any]:
    """Return a way to combine as a row: its score, out of fold, its time, and the verdict on it."""
    scored = [fact.data for fact in found.scored if isinstance(fact.data, Scored)]
    reached = [fact.data for fact in found.reached if isinstance(fact.data, Reached)]
    main = mean_of([_named(split.metrics, plan.main) for split in scored])
    if found.compared is not None and isinstance(found.compared.data, Compared):
        main = found.compared.data.ensemble
    versus = found.comparison
    return {
        "strategy": strategy,
        "score": main.value,
        "low": main.low,
        "high": main.high,
        "out_of_fold": _mean([data.out_of_fold_score for data in reached]),
        "consensus_s": _mean([data.consensus_s for data in reached]),
        "verdict": None if versus is None else versus.verdict,
        "p_value": None if versus is None else versus.p_value,
    }


def _leaderboard(
    sofar: SoFar, plan: Plan, found: Measured, scored: Sequence[Scored], reached: Sequence[Reached]
) -> list[dict[str, Any]]:
    by_model: dict[str, list[ModelTrained]] = {}
    for fact in trained(sofar):
        if isinstance(fact.data, ModelTrained):
            by_model.setdefault(fact.data.model, []).append(fact.data)
    compared = found.compared.data if found.compared is not None else None
    rows = []
    for model, data in by_model.items():
        score = mean_of([_named(split.members[model], plan.main) for split in scored])
        if isinstance(compared, Compared):
            score = compared.members.get(model, score)
        rows.append(
            {
                "model": model,
                "model_type": data[0].model_type,
                "score": score.value,
                "low": score.low,
                "high": score.high,
                "out_of_fold": _mean([value for one_split in data for value in one_split.fold_scores]),
                "weight": _mean([split.weights.get(model) for split in reached]),
                "gain": _mean([split.gain.get(model) for split in reached]),
                "fit_s": _mean([one_split.fit_s for one_split in data]),
                "cpu_s": sum(one_split.cpu_s for one_split in data),
                "device": data[0].device,
            }
        )
    rows.sort(
        key=lambda row: (-(row["score"] if isinstance(row["score"], float) else -1e300), str(row["model"]))
    )
    return rows


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None
