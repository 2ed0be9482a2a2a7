"""Configuration ``exploration_exploitation``: a pool of candidates explored under a budget, then the best of it used.

Several ways to explore stand beside each other on the same data and the same budget of pulls: successive halving, an
upper confidence bound, and the same to each candidate. A fold that two of them ask for is done once and counted for
both. Each way's best are then trained on all rows, combined, and scored on rows that no exploration has seen.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from swarm_common.errors import UsageError
from swarm_common.events import Metric, Task
from swarm_common.events.agent import DataPrepared, ModelTrained
from swarm_common.events.consensus import Reached
from swarm_common.events.metrics import Compared, Comparison, Scored
from swarm_coordinator.plans import Fact, Finish, Param, Scenario, SoFar, Step
from swarm_coordinator.suites.ensemble.bandits import ARMS, Explored, Limits, explore
from swarm_coordinator.suites.ensemble.candidates import (
    arm_tasks,
    compare_task,
    dearest_first,
    final_tasks,
    fold_name,
    fold_tasks,
    full_scores,
    parts_cpu_s,
    pool_params,
    pool_plan,
    pull_made,
)
from swarm_coordinator.suites.ensemble.cases import case_param, split_params
from swarm_coordinator.suites.ensemble.results import mean_of, one, trained
from swarm_coordinator.suites.ensemble.tasks import Plan, named, prepare_task
from swarm_coordinator.suites.noop import seconds

#: The arm that the others are held against.
BASELINE = "uniform"


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """What one way to explore came to, on every split."""

    name: str
    explored: tuple[Explored, ...]
    chosen: tuple[tuple[str, ...], ...]
    """The best first."""


def plan(sofar: SoFar) -> Step | Finish:
    """Plan the next round of every arm, then each arm's models, then say what they came to."""
    what, arms, limits = _plan(sofar), sofar.params["arms"], _limits(sofar)
    tasks: list[Task] = []
    exploring = False
    for split, data in enumerate(what.data):
        if sofar.step == 0:
            tasks.append(prepare_task(named("prepare", split), data))
        found = {arm: _explored(sofar, what, arm, split, limits) for arm in arms}
        pending = {pull for one_arm in found.values() for pull in one_arm.pending}
        exploring = exploring or bool(pending)
        if pending:
            rank = {name: at for at, name in enumerate(dearest_first(what, (name for name, _ in pending)))}
            tasks += fold_tasks(what, split, sorted(pending, key=lambda pull: (rank[pull[0]], pull[1])))
        elif named(f"score-{arms[0]}", split) not in sofar.results:
            chosen = {arm: _chosen(sofar, arm, found[arm]) for arm in arms}
            names = {name for best in chosen.values() for name in best}
            tasks += final_tasks(what, split, sorted(names), sofar.results)
            tasks += [task for arm in arms for task in arm_tasks(split, arm, chosen[arm])]
    if tasks and not exploring:
        tasks += [compare_task(what, arm, BASELINE) for arm in _compared(what, arms)]
    if tasks:
        return Step(tasks=tuple(tasks))
    return Finish(result=_result(sofar, what), metrics=(*_metrics(sofar, what), seconds(sofar.elapsed_s)))


def _plan(sofar: SoFar) -> Plan:
    params = sofar.params
    what = pool_plan(params["case"], params, sofar.seed)
    arms = params["arms"]
    if not arms or len(set(arms)) < len(arms):
        raise UsageError(
            f"params.arms is {', '.join(arms) or 'empty'}; name one or more of {', '.join(ARMS)}, each once",
            field="params.arms",
            given=", ".join(arms),
            allowed=", ".join(ARMS),
        )
    if params["pulls"] < len(what.models):
        raise UsageError(
            f"params.pulls is {params['pulls']}; each of the {len(what.models)} candidates is pulled at least once",
            field="params.pulls",
            given=str(params["pulls"]),
            allowed=f"{len(what.models)} and more",
        )
    return what


def _limits(sofar: SoFar) -> Limits:
    params = sofar.params
    return Limits(
        pulls=params["pulls"],
        folds=params["folds"],
        batch=params["batch"],
        width=params["width"],
        cpu_s=params["cpu_budget_s"],
    )


def _explored(sofar: SoFar, what: Plan, arm: str, split: int, limits: Limits) -> Explored:
    names = [model.name for model in what.models]
    return explore(ARMS[arm][0], names, lambda name, fold: pull_made(sofar, name, fold, split), limits)


def _chosen(sofar: SoFar, arm: str, explored: Explored) -> tuple[str, ...]:
    return tuple(ARMS[arm][1](explored.scores)[: sofar.params["top"]])


def _compared(what: Plan, arms: Sequence[str]) -> list[str]:
    """Return the arms that can be compared with the baseline: there must be one, and several splits."""
    return [arm for arm in arms if arm != BASELINE] if len(what.data) > 1 and BASELINE in arms else []


def _arms(sofar: SoFar, what: Plan) -> list[Arm]:
    limits = _limits(sofar)
    found = []
    for name in sofar.params["arms"]:
        explored = tuple(_explored(sofar, what, name, split, limits) for split in range(len(what.data)))
        found.append(
            Arm(name=name, explored=explored, chosen=tuple(_chosen(sofar, name, one) for one in explored))
        )
    return found


def _scored(sofar: SoFar, what: Plan, arm: str) -> list[tuple[Fact, Scored]]:
    facts = [one(sofar, named(f"score-{arm}", split), Scored) for split in range(len(what.data))]
    return [(fact, fact.data) for fact in facts if isinstance(fact.data, Scored)]


def _main(metrics: Sequence[Metric], name: str) -> Metric:
    return next(metric for metric in metrics if metric.name == name)


def arm_score(sofar: SoFar, what: Plan, arm: str, baseline: str) -> Metric:
    """Return an arm's main score on held-out rows: of several splits with an interval over them."""
    found = _scored(sofar, what, arm)
    score = mean_of([_main(scored.metrics, what.main) for _, scored in found])
    compares = sorted(task for task in sofar.facts if task.startswith("compare-"))
    for task in compares if arm == baseline else [f"compare-{arm}"]:
        data = sofar.facts[task][-1].data if task in sofar.facts else None
        if isinstance(data, Compared):
            score = data.baseline if arm == baseline else data.ensemble
    return msgspec.structs.replace(score, source=tuple(fact.event for fact, _ in found))


def arm_over(sofar: SoFar, what: Plan, arm: str, baseline: str) -> tuple[Metric, Comparison | None]:
    """Return what an arm has over the baseline, tested where there are several splits to test it on."""
    name = f"over_{baseline}.{arm}"
    if f"compare-{arm}" in sofar.facts:
        fact = one(sofar, f"compare-{arm}", Compared)
        assert isinstance(fact.data, Compared)  # noqa: S101 - one() has looked
        versus = fact.data.comparison
        tested = "" if versus.p_value is None else f", p {versus.p_value:.3g}"
        metric = Metric(
            name=name,
            value=versus.difference,
            unit="ratio",
            n=versus.n,
            low=versus.low,
            high=versus.high,
            estimator=f"{versus.verdict} ({versus.method}{tested})",
            source=(fact.event,),
        )
        return metric, versus
    mine, other = _scored(sofar, what, arm), _scored(sofar, what, baseline)
    values = [_main(scored.metrics, what.main).value for (_, scored) in (*mine, *other)]
    value = None if None in values else (values[0] or 0.0) - (values[1] or 0.0)
    metric = Metric(
        name=name,
        value=value,
        unit="ratio",
        n=1,
        estimator=f"{arm} less {baseline}, on one split: no test",
        source=tuple(fact.event for fact, _ in (*mine, *other)),
        reason="" if value is not None else "one of both was not scored",
    )
    return metric, None


def over_splits(
    name: str, values: Sequence[float], estimator: str, *, source: Sequence[str], **more: Any
) -> Metric:
    """Return a figure that every split has: the mean, and of several the smallest and the largest."""
    several = len(values) > 1
    return Metric(
        name=name,
        value=statistics.fmean(values),
        n=len(values),
        low=min(values) if several else None,
        high=max(values) if several else None,
        estimator=f"{estimator}; mean over splits, smallest and largest" if several else estimator,
        source=tuple(source),
        **more,
    )


def _metrics(sofar: SoFar, what: Plan) -> tuple[Metric, ...]:
    arms = _arms(sofar, what)
    scores = {arm.name: arm_score(sofar, what, arm.name, BASELINE) for arm in arms}
    others = [arm.name for arm in arms if arm.name != BASELINE and BASELINE in scores]
    first = arms[0].name
    costs = {arm.name: _cost_s(sofar, what, arm) for arm in arms}
    return (
        msgspec.structs.replace(
            scores[first], estimator=f"best {sofar.params['top']} of {first}; {scores[first].estimator}"
        ),
        *(msgspec.structs.replace(score, name=f"score.{name}") for name, score in scores.items()),
        *(arm_over(sofar, what, name, BASELINE)[0] for name in others),
        *(metric for arm in arms for metric in _of_exploration(sofar, what, arm)),
        *(
            Metric(
                name=f"cpu_time.{arm.name}",
                value=costs[arm.name],
                unit="s",
                better="lower",
                timing=True,
                estimator="CPU time of its pulls and its models' fits, also of those that it shares with others",
                source=scores[arm.name].source,
            )
            for arm in arms
        ),
        all_cpu(sofar),
    )


def all_cpu(sofar: SoFar) -> Metric:
    """Return the CPU seconds of everything that was fitted, each part once."""
    parts = [task for task, fact in sofar.results.items() if fact.data.type == "agent.part_trained"]
    return Metric(
        name="cpu_time",
        value=parts_cpu_s(sofar, parts),
        unit="s",
        better="lower",
        n=len(parts),
        timing=True,
        estimator="sum over all parts of trainings of their workers' CPU time (getrusage)",
        source=tuple(sofar.results[task].event for task in sorted(parts)),
    )


def _of_exploration(sofar: SoFar, what: Plan, arm: Arm) -> tuple[Metric, ...]:
    """Return regret, the share of pulls that the best got, and how many there were."""
    splits = range(len(what.data))
    best = [_best_full(sofar, what, split) for split in splits]
    regrets = [_regret(sofar, what, arm, split) for split in splits]
    shares = [
        len(explored.scores[name]) / explored.pulls
        for explored, (name, _) in zip(arm.explored, best, strict=True)
    ]
    source = [
        sofar.results[task].event
        for split in splits
        for name in arm.chosen[split][:1]
        for task in _folds_of(what, [name], split)
    ]
    return (
        over_splits(
            f"regret.{arm.name}",
            regrets,
            "cross-validated score of the best candidate that was evaluated on all folds, less that of the arm's first",
            source=source,
            unit="ratio",
            better="lower",
        ),
        over_splits(
            f"share_of_best.{arm.name}",
            shares,
            "share of the arm's pulls that went to that best candidate",
            source=source,
            unit="ratio",
        ),
        over_splits(
            f"pulls.{arm.name}",
            [explored.pulls for explored in arm.explored],
            "folds that it asked for",
            source=source,
            unit="count",
            better="neither",
        ),
    )


def _folds_of(what: Plan, names: Sequence[str], split: int) -> list[str]:
    return [fold_name(name, fold, split) for name in names for fold in range(what.folds)]


def _best_full(sofar: SoFar, what: Plan, split: int) -> tuple[str, float]:
    """Return the best of the candidates that some arm, or the models made in the end, evaluated on all folds."""
    return min(full_scores(sofar, what, split).items(), key=lambda pair: (-pair[1], pair[0]))


def _regret(sofar: SoFar, what: Plan, arm: Arm, split: int) -> float:
    return _best_full(sofar, what, split)[1] - full_scores(sofar, what, split)[arm.chosen[split][0]]


def _cost_s(sofar: SoFar, what: Plan, arm: Arm) -> float:
    """Return the CPU seconds of an arm: what it pulled, and what its models took beyond that."""
    tasks = []
    for split, (explored, chosen) in enumerate(zip(arm.explored, arm.chosen, strict=True)):
        tasks += [
            fold_name(name, fold, split) for name, had in explored.scores.items() for fold in range(len(had))
        ]
        tasks += [
            *_folds_of(what, chosen, split),
            *(f"{named(f'train-{name}', split)}-all" for name in chosen),
        ]
    return parts_cpu_s(sofar, tasks)


def _result(sofar: SoFar, what: Plan) -> dict[str, Any]:
    arms = _arms(sofar, what)
    prepared = one(sofar, "prepare", DataPrepared).data
    assert isinstance(prepared, DataPrepared)  # noqa: S101 - one() has looked
    splits = range(len(what.data))
    result: dict[str, Any] = {
        "dataset": prepared.dataset,
        "problem": prepared.problem,
        "main": what.main,
        "n_train": prepared.n_train,
        "n_test": prepared.n_test,
        "iterations": len(what.data),
        "strategy": arms[0].name,
        "models": model_rows(sofar, what, [arm.name for arm in arms]),
        "arms": [_arm_row(sofar, what, arm) for arm in arms],
        "best": [_best_full(sofar, what, split)[0] for split in splits],
        "candidates": _candidate_rows(sofar, what, arms),
    }
    if sofar.params["cpu_budget_s"]:
        result["cpu_budget_s"] = sofar.params["cpu_budget_s"]
    versus = _verdict(sofar, what, arms[0].name)
    if versus is not None:
        result["verdict"] = msgspec.to_builtins(versus)
    return result


def _verdict(sofar: SoFar, what: Plan, arm: str) -> Comparison | None:
    return arm_over(sofar, what, arm, BASELINE)[1] if f"compare-{arm}" in sofar.facts else None


def _arm_row(sofar: SoFar, what: Plan, arm: Arm) -> dict[str, Any]:
    score = arm_score(sofar, what, arm.name, BASELINE)
    regret, share, _ = (metric.value for metric in _of_exploration(sofar, what, arm))
    pulls = sum(explored.pulls for explored in arm.explored)
    versus = _verdict(sofar, what, arm.name)
    return {
        "arm": arm.name,
        "score": score.value,
        "low": score.low,
        "high": score.high,
        "pulls": pulls,
        "evaluations": pulls,
        "rounds": max(explored.rounds for explored in arm.explored),
        "regret": regret,
        "share_of_best": share,
        "cpu_s": _cost_s(sofar, what, arm),
        "explore_cpu_s": sum(explored.cpu_s for explored in arm.explored),
        "chosen": often(arm.chosen),
        "verdict": None if versus is None else versus.verdict,
        "p_value": None if versus is None else versus.p_value,
    }


def often(chosen: Sequence[Sequence[str]]) -> list[str]:
    """Return what was chosen on any split: most often before the others, then earlier, then by name."""
    names = {name for best in chosen for name in best}
    at = {name: [best.index(name) for best in chosen if name in best] for name in names}
    return sorted(names, key=lambda name: (-len(at[name]), sum(at[name]) / len(at[name]), name))


def model_rows(sofar: SoFar, what: Plan, arms: Sequence[str]) -> list[dict[str, Any]]:
    """Return the models that were made, as a leaderboard: their own scores beside those out of fold."""
    rows: dict[str, dict[str, list[Any]]] = {}
    for split in range(len(what.data)):
        members: dict[str, Metric] = {}
        for arm in arms:
            scored = one(sofar, named(f"score-{arm}", split), Scored).data
            if isinstance(scored, Scored):
                members |= {name: _main(found, what.main) for name, found in scored.members.items()}
        weights = one(sofar, named(f"combine-{arms[0]}", split), Reached).data
        for name, score in members.items():
            row = rows.setdefault(name, {"scores": [], "weights": []})
            row["scores"].append(score)
            if isinstance(weights, Reached) and name in weights.weights:
                row["weights"].append(weights.weights[name])
    made: dict[str, list[ModelTrained]] = {}
    for fact in trained(sofar):
        if isinstance(fact.data, ModelTrained):
            made.setdefault(fact.data.model, []).append(fact.data)
    found = []
    for name, row in rows.items():
        score = mean_of(row["scores"])
        data = made[name]
        found.append(
            {
                "model": name,
                "model_type": data[0].model_type,
                "score": score.value,
                "low": score.low,
                "high": score.high,
                "out_of_fold": statistics.fmean(value for one in data for value in one.fold_scores),
                "weight": statistics.fmean(row["weights"]) if row["weights"] else None,
                "fit_s": statistics.fmean(one.fit_s for one in data),
                "cpu_s": sum(one.cpu_s for one in data),
                "splits": len(data),
            }
        )
    return sorted(found, key=lambda row: (-float(row["score"] or 0.0), row["model"]))


def _candidate_rows(sofar: SoFar, what: Plan, arms: Sequence[Arm]) -> list[dict[str, Any]]:
    """Return every candidate: what its folds scored, and how often each arm pulled it."""
    rows = []
    for model in what.models:
        pulls = [
            pull_made(sofar, model.name, fold, split)
            for split in range(len(what.data))
            for fold in range(what.folds)
        ]
        made = [pull.score for pull in pulls if pull is not None]
        rows.append(
            {
                "candidate": model.name,
                "model_type": model.model_type,
                "hyperparameters": model.hyperparameters,
                "out_of_fold": statistics.fmean(made),
                "folds": len(made),
                "pulls": {
                    arm.name: sum(len(explored.scores[model.name]) for explored in arm.explored)
                    for arm in arms
                },
            }
        )
    return sorted(rows, key=lambda row: (-float(row["out_of_fold"]), row["candidate"]))


def _param(name: str, kind: Any, default: Any, low: float, high: float, description: str) -> Param:
    return Param(name=name, type=kind, default=default, low=low, high=high, description=description)


_ABOUT: Mapping[str, str] = {
    "pulls": "how many folds each arm may ask for, on each split; at least one for each candidate",
    "batch": "of bandit: folds it asks for at once, whatever the number of workers",
    "width": "of bandit: how much the bound is above the mean; 1.41 is UCB1's own, 0 takes the mean",
    "cpu": "CPU seconds after which an arm explores no further, on each split; 0 means none. Depends on timing",
}
SCENARIOS: tuple[tuple[Scenario, Callable[[SoFar], Step | Finish]], ...] = (
    (
        Scenario(
            name="exploration_exploitation",
            description="Twelve candidates explored fold by fold under a budget, in three ways; the best are combined",
            params=(
                case_param("scenario whose data are used"),
                Param(
                    name="arms",
                    type="list",
                    default=list(ARMS),
                    choices=tuple(ARMS),
                    description="ways to explore, beside each other; the first is what the run's score is of",
                ),
                _param("pulls", "int", 30, 2, 10_000, _ABOUT["pulls"]),
                _param("batch", "int", 4, 1, 1000, _ABOUT["batch"]),
                _param("width", "float", 0.05, 0, 10, _ABOUT["width"]),
                _param("cpu_budget_s", "float", 0.0, 0, 1e6, _ABOUT["cpu"]),
                *split_params(iterations=5, folds=5),
                *pool_params(),
            ),
            timeout_s=3600.0,
            timed_by=("cpu_budget_s",),
        ),
        plan,
    ),
)
