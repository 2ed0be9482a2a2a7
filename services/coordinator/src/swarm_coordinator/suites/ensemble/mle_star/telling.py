"""What a run of searches comes to: its metrics and its result."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from swarm_common import pipelines
from swarm_common.events import Metric
from swarm_common.events.agent import CandidateEvaluated, LeaksChecked
from swarm_common.events.metrics import Compared, Scored
from swarm_common.events.optimizer import Proposed
from swarm_coordinator.plans import Fact, SoFar
from swarm_coordinator.suites.ensemble.mle_star.ending import (
    COMBINATION,
    Arms,
    lead_of,
    main_metric,
    others_of,
)
from swarm_coordinator.suites.ensemble.mle_star.searching import (
    ARMS,
    FROM_RECIPES,
    HALVING,
    LLM,
    MORE_ARMS,
    Arm,
    prepared_of,
)
from swarm_coordinator.suites.ensemble.results import ensemble_metrics, ensemble_result, mean_of, one
from swarm_coordinator.suites.ensemble.tasks import Plan, named
from swarm_coordinator.suites.noop import seconds

#: Reasons for a refusal that a result repeats; the events have all.
_REASONS = 20
_WHAT: Mapping[str, str] = {
    "mle_star": "recipes, then the block that ablation finds to matter most is refined",
    "random": "drawn evenly from the space",
    "random_block": "as mle_star without ablation: the block to refine is drawn",
    "tpe": "Optuna's tree-structured Parzen estimator",
    LLM: "as mle_star, but a language model proposes how to vary the block; rules fill up what it leaves open",
    HALVING: "scikit-learn's HalvingRandomSearchCV: many candidates on few rows, few on all",
}
_TRANSFORM_LEAKS = ("unseen_rows", "not_repeatable")


def _plan(sofar: SoFar, splits: Sequence[dict[str, Any]]) -> Plan:
    """Return the run's end as a plan, for its results are those of any ensemble."""
    prepared = prepared_of(sofar)
    return Plan(
        data=tuple(splits),
        models=(),
        strategies=(COMBINATION,),
        folds=sofar.params["folds"],
        rows=prepared.n_train,
        features=prepared.n_features,
        classes=len(prepared.classes),
    )


def _held_out(sofar: SoFar, splits: Sequence[Any], name: str) -> Metric:
    """Return the score of an arm's best pipeline on the held-out rows."""
    main = main_metric(sofar)
    facts = [one(sofar, named("score", split), Scored) for split in range(len(splits))]
    found = [
        next(metric for metric in fact.data.members[name] if metric.name == main)
        for fact in facts
        if isinstance(fact.data, Scored)
    ]
    over = mean_of(found)
    if "compare" in sofar.results:  # its intervals allow for splits that share rows
        compared = one(sofar, "compare", Compared).data
        assert isinstance(compared, Compared)  # noqa: S101 - one() has looked
        over = compared.members[name]
    source = tuple(fact.event for fact in facts)
    return msgspec.structs.replace(over, name=f"held_out.{name}", source=source)


def metrics_of(sofar: SoFar, splits: Sequence[dict[str, Any]], arms: Arms) -> tuple[Metric, ...]:
    """Return the metrics of the combined answer, of every arm's best pipeline, and of what the searches cost."""
    every = range(len(splits))
    searched = [lead_of(sofar), *others_of(sofar, splits, arms)]
    leaks = _leaks(sofar)
    source = tuple(fact.event for fact, _ in leaks)
    return (
        *ensemble_metrics(sofar, _plan(sofar, splits), COMBINATION),
        *(_held_out(sofar, splits, name) for name in searched),
        *(
            Metric(
                name=f"cv.{name}",
                value=statistics.fmean(arms[split, name].ranked[0].score or 0.0 for split in every),
                unit="ratio",
                n=len(splits),
                estimator="the best candidate's mean over the folds, which chose it: too good by what choosing adds",
            )
            for name in searched
        ),
        *(
            Metric(
                name=f"search_cpu.{name}",
                value=sum(data.cpu_s for split in every for data in arms[split, name].evaluated),
                unit="s",
                better="lower",
                n=sum(len(arms[split, name].evaluated) for split in every),
                timing=True,
                estimator="sum over the evaluations of their workers' CPU time (getrusage)",
            )
            for name in sofar.params["arms"]
        ),
        Metric(
            name="leaks",
            value=float(sum(leak.kind in _TRANSFORM_LEAKS for _, data in leaks for leak in data.leaks)),
            unit="count",
            better="lower",
            n=len(leaks),
            estimator="pipelines that know rows they were not fitted to, or cannot be repeated",
            source=source,
        ),
        Metric(
            name="duplicate_rows",
            value=float(max(data.duplicates for _, data in leaks)),
            unit="count",
            better="lower",
            n=len(leaks),
            estimator="held-out rows with the features of a training row; largest of the splits",
            source=source,
        ),
        *_llm_tokens(sofar, splits),
        seconds(sofar.elapsed_s),
    )


def _asked(sofar: SoFar, splits: Sequence[Any]) -> list[tuple[Fact, Proposed]]:
    """Return the steps at which a language model was asked, over all splits."""
    found = []
    for split in range(len(splits)):
        step = 0
        while (task := f"propose-{named(LLM, split)}-{step}") in sofar.results:
            fact = sofar.results[task]
            if isinstance(fact.data, Proposed) and fact.data.model:
                found.append((fact, fact.data))
            step += 1
    return found


def _llm_tokens(sofar: SoFar, splits: Sequence[Any]) -> Iterator[Metric]:
    """Yield what a language model read and wrote, where one was to be asked."""
    if LLM not in sofar.params["arms"]:
        return
    asked = _asked(sofar, splits)
    counts = [
        data.tokens_in + data.tokens_out
        for _, data in asked
        if data.tokens_in is not None and data.tokens_out is not None
    ]
    counted = len(counts) == len(asked)
    yield Metric(
        name="tokens.llm",
        value=float(sum(counts)) if counted else None,
        unit="count",
        better="lower",
        n=len(asked),
        estimator="tokens of questions and answers, as the language model's server counted them",
        source=tuple(fact.event for fact, _ in asked),
        reason="" if counted else "the language model's server did not count them",
    )


def _leaks(sofar: SoFar) -> list[tuple[Fact, LeaksChecked]]:
    found = [sofar.results[name] for name in sorted(sofar.results)]
    return [(fact, fact.data) for fact in found if isinstance(fact.data, LeaksChecked)]


def result_of(sofar: SoFar, splits: Sequence[dict[str, Any]], arms: Arms) -> dict[str, Any]:
    """Return the result: that of an ensemble, a row for each arm, the ablation, and notes on what may be claimed."""
    lead, others = lead_of(sofar), others_of(sofar, splits, arms)
    result = ensemble_result(sofar, _plan(sofar, splits), COMBINATION)
    rows = [
        _arm_row(sofar, splits, arms, name, scored=name in (lead, *others)) for name in sofar.params["arms"]
    ]
    rows.sort(key=lambda row: (row["score"] is None, -(row["score"] or 0.0), row["arm"]))
    notes = list(result.get("notes", ()))
    if len(splits) == 1 and others:
        notes.append("One split: differences between arms are not tested; ask for 5 iterations or more.")
    first = ARMS[:-1] if sofar.params["recipes"] else tuple(name for name in ARMS if name in FROM_RECIPES)
    if LLM in sofar.params["arms"]:
        first = (*first, *(name for name in MORE_ARMS if name not in first))
        notes.append(_llm_note(next(row["llm"] for row in rows if row["arm"] == LLM)))
    notes.append(f"From recipes start {', '.join(first)}; the others draw from the whole space.")
    return {
        **result,
        "lead": lead,
        "budget": sofar.params["budget"],
        "arms": rows,
        "ablation": _ablation(sofar, lead),
        "leaks": [
            {"candidate": data.candidate, **msgspec.to_builtins(leak)}
            for _, data in _leaks(sofar)
            for leak in data.leaks
        ],
        "notes": notes,
    }


def _arm_row(sofar: SoFar, splits: Sequence[Any], arms: Arms, name: str, *, scored: bool) -> dict[str, Any]:
    """Return an arm as a row: its best pipeline's scores, what the search cost, and the leading arm beside it."""
    searches = [arms[split, name] for split in range(len(splits))]
    evaluated = [data for search in searches for data in search.evaluated]
    held_out = _held_out(sofar, splits, name) if scored else None
    best = [search.ranked[0] for search in searches] if scored else []
    described = [pipelines.describe(data.spec) for data in best]
    row: dict[str, Any] = {
        "arm": name,
        "what": _WHAT[name],
        "score": None if held_out is None else held_out.value,
        "low": None if held_out is None else held_out.low,
        "high": None if held_out is None else held_out.high,
        "cv": statistics.fmean(data.score or 0.0 for data in best) if best else None,
        "evaluations": sum(data.evaluations for data in evaluated),
        "failed": sum(bool(data.failed) for data in evaluated),
        "fits": sum(data.fits for data in evaluated),
        "cpu_s": sum(data.cpu_s for data in evaluated),
        "chosen": described[0] if len(described) == 1 else described,
        "candidates": [data.candidate for data in best],
        "specs": [msgspec.to_builtins(data.spec) for data in best],
        "best_so_far": _best_so_far(searches[0]),
    }
    if name == LLM:
        row["llm"] = _llm_row(sofar, splits, evaluated, best)
    if f"compare-{name}" in sofar.results:
        compared = one(sofar, f"compare-{name}", Compared).data
        assert isinstance(compared, Compared)  # noqa: S101 - one() has looked
        row["lead_beside_it"] = msgspec.to_builtins(compared.comparison)
        row["lead_wins"] = sum(pair.ensemble > pair.baseline for pair in compared.pairs)
        row["lead_losses"] = sum(pair.ensemble < pair.baseline for pair in compared.pairs)
    return row


def _llm_row(
    sofar: SoFar,
    splits: Sequence[Any],
    evaluated: Sequence[CandidateEvaluated],
    best: Sequence[CandidateEvaluated],
) -> dict[str, Any]:
    """Return what came of asking a language model: how much of what it proposed was valid, evaluated, and the best."""
    asked = [data for _, data in _asked(sofar, splits)]
    valid = {candidate.name for data in asked for candidate in data.candidates if candidate.by == LLM}
    refused = [reason for data in asked for reason in data.refused]
    return {
        "model": asked[0].model if asked else "",
        "asked": len(asked),
        "proposed": len(valid) + len(refused),
        "valid": len(valid),
        "evaluated": sum(data.candidate in valid for data in evaluated),
        "by_rules": sum(len(data.candidates) for data in asked) - len(valid),
        "best": sum(data.candidate in valid for data in best),
        "splits": len(splits),
        "refused": refused[:_REASONS],
    }


def _llm_note(row: Mapping[str, Any]) -> str:
    if not row["asked"]:
        return "Arm llm: the budget was used up before there was anything to ask the language model."
    times = "once" if row["asked"] == 1 else f"{row['asked']} times"
    return (
        f"Arm llm: of {row['proposed']} variations that {row['model']}, asked {times}, proposed, "
        f"{row['valid']} were valid and new and {row['evaluated']} were evaluated, {row['by_rules']} more by the "
        f"rules; the arm's best pipeline is the language model's on {row['best']} of {row['splits']} splits."
    )


def _best_so_far(search: Arm) -> list[float | None]:
    """Return the best score after each evaluation; ``None`` before the first that could be fitted."""
    best: float | None = None
    path = []
    for data in search.evaluated:
        if data.score is not None:
            best = data.score if best is None else max(best, data.score)
        path.append(best)
    return path


def _ablation(sofar: SoFar, lead: str) -> list[dict[str, Any]]:
    """Return the ablations of the leading arm on the first split: of what, what each block took, what came next."""
    rows: list[dict[str, Any]] = []
    step = 0
    while (task := f"propose-{lead}-{step}") in sofar.results:
        data = sofar.results[task].data
        if isinstance(data, Proposed) and data.phase == "refinement" and data.ablation:
            row = {"of": data.best, "drops": data.ablation, "refined": data.block}
            if not rows or rows[-1]["drops"] != row["drops"]:
                rows.append(row)
        step += 1
    return rows
