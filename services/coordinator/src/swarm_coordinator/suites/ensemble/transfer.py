"""Configuration ``knowledge_transfer``: what other data taught says in which order candidates are tried on new data.

The sources' candidates are cross-validated, what that teaches is remembered, and the memory advises an order for the
target. A warm start tries the candidates in that order, a cold start in any. To know both exactly and not from a lucky
draw, every candidate is evaluated once on the target: the warm start's score after ``k`` evaluations is that of its
first ``k``, the cold start's is the expectation over all orders. Models are then made of what each would have found.
"""

from __future__ import annotations

import hashlib
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from swarm_common.errors import UsageError
from swarm_common.events import Metric, Task
from swarm_common.events.agent import DataPrepared
from swarm_common.events.memory import Advised, Learned
from swarm_coordinator.plans import Finish, Param, Scenario, SoFar, Step
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
)
from swarm_coordinator.suites.ensemble.cases import CASES, case_param, split_params
from swarm_coordinator.suites.ensemble.exploration import (
    all_cpu,
    arm_over,
    arm_score,
    model_rows,
    often,
    over_splits,
)
from swarm_coordinator.suites.ensemble.results import one
from swarm_coordinator.suites.ensemble.tasks import Plan, named, prepare_task
from swarm_coordinator.suites.noop import seconds

#: The arms; the second is the baseline.
WARM, COLD = "warm", "cold"
_SOURCES: Mapping[str, tuple[str, ...]] = {
    "classification": ("breast_cancer", "digits", "wine"),
    "regression": ("diabetes", "regression_ensemble_small"),
}
"""By problem: where lessons come from if nothing is said, less the target."""


def plan(sofar: SoFar) -> Step | Finish:
    """Plan lessons and advice, then the target's evaluations, then both arms' models, then say what they came to."""
    own = CASES[sofar.params["case"]]
    learns_from_made = any(CASES[source].make for source in _sources(sofar))
    rows = sofar.params["rows"] if own.make or not learns_from_made else 0
    what = pool_plan(sofar.params["case"], {**sofar.params, "rows": rows}, sofar.seed)
    if sofar.step == 0:
        return Step(tasks=_lessons(sofar, what))
    if sofar.step == 1:
        pulls = [(name, fold) for name in _advised(sofar) for fold in range(what.folds)]
        tasks = [fold_tasks(what, split, pulls) for split in range(len(what.data))]
        # In the advised order, and the splits side by side.
        return Step(tasks=tuple(task for side_by_side in zip(*tasks, strict=True) for task in side_by_side))
    if sofar.step == 2:
        return Step(tasks=_models(sofar, what))
    return Finish(result=_result(sofar, what), metrics=(*_metrics(sofar, what), seconds(sofar.elapsed_s)))


def expected_best(scores: Sequence[float]) -> list[float]:
    """Return the expected best score after 1 to n evaluations in an order of which all are equally likely. Exact.

    The i-th lowest of n is the best of k in ``comb(i - 1, k - 1)`` of the ``comb(n, k)`` ways to draw k of them.
    """
    ordered, n = sorted(scores), len(scores)
    return [
        sum(score * math.comb(at, k - 1) for at, score in enumerate(ordered)) / math.comb(n, k)
        for k in range(1, n + 1)
    ]


def expected_until(good: int, n: int) -> float:
    """Return after how many evaluations the first of ``good`` among ``n`` is met, expected over all orders. Exact."""
    return (n + 1) / (good + 1)


def drawn(names: Sequence[str], seed: int, split: int) -> list[str]:
    """Return the names in an order that belongs to the seed and the split, and to nothing that they have scored."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}/cold/{split}/{name}".encode()).digest())


def _sources(sofar: SoFar) -> list[str]:
    case = sofar.params["case"]
    problem = CASES[case].problem
    allowed = [name for name, one_case in CASES.items() if one_case.problem == problem and name != case]
    given = sofar.params["sources"] or [name for name in _SOURCES[problem] if name != case]
    if len(set(given)) < len(given) or not set(given) <= set(allowed):
        raise UsageError(
            f"params.sources is {', '.join(given)}; {case} can learn from {', '.join(allowed)}, each once",
            field="params.sources",
            given=", ".join(given),
            allowed=", ".join(allowed),
        )
    return list(given)


def _lessons(sofar: SoFar, what: Plan) -> tuple[Task, ...]:
    """Return the tasks that learn from the sources, and the one that advises."""
    ready = [prepare_task(named("prepare", split), data) for split, data in enumerate(what.data)]
    costly: list[Task] = []
    learning: list[Task] = []
    for source in _sources(sofar):
        theirs = _source_plan(sofar, source)
        prepare = prepare_task(f"prepare-{source}", theirs.data[0])
        pulls = [
            (name, fold)
            for name in dearest_first(theirs, (model.name for model in theirs.models))
            for fold in range(theirs.folds)
        ]
        folds = [
            msgspec.structs.replace(task, id=f"{source}-{task.id}") for task in fold_tasks(theirs, 0, pulls)
        ]
        ready.append(prepare)
        costly += folds
        learning.append(
            Task(
                id=f"learn-{source}",
                kind="learn",
                service="memory_sync",
                params={"name": source},
                after=(prepare.id, *(task.id for task in folds)),
            )
        )
    everything = sofar.params["memory"] == "all"
    advise = Task(
        id="advise",
        kind="advise_from_all" if everything else "advise",
        service="memory_sync",
        params={"target": sofar.params["case"], "candidates": [model.name for model in what.models]},
        after=("prepare", *(task.id for task in learning)),
    )
    return (*ready, *costly, *learning, advise)


def _source_plan(sofar: SoFar, source: str) -> Plan:
    """Return the plan of a source: the same pool on one split of its data."""
    rows = sofar.params["rows"] if CASES[source].make else 0
    return pool_plan(source, {**sofar.params, "iterations": 1, "test_folds": 0, "rows": rows}, sofar.seed)


def _advised(sofar: SoFar) -> list[str]:
    data = one(sofar, "advise", Advised).data
    assert isinstance(data, Advised)  # noqa: S101 - one() has looked
    return [advice.candidate for advice in data.order]


def _order(sofar: SoFar, arm: str, split: int) -> list[str]:
    """Return the order in which an arm tries the candidates."""
    advised = _advised(sofar)
    return advised if arm == WARM else drawn(advised, sofar.seed, split)


def _chosen(sofar: SoFar, what: Plan, arm: str, split: int) -> list[str]:
    """Return the best of the few that an arm has tried."""
    scores = full_scores(sofar, what, split)
    tried = _order(sofar, arm, split)[: sofar.params["budget"]]
    return sorted(tried, key=lambda name: (-scores[name], name))[: sofar.params["top"]]


def _models(sofar: SoFar, what: Plan) -> tuple[Task, ...]:
    tasks: list[Task] = []
    for split in range(len(what.data)):
        chosen = {arm: _chosen(sofar, what, arm, split) for arm in (WARM, COLD)}
        tasks += final_tasks(what, split, sorted({*chosen[WARM], *chosen[COLD]}), sofar.results)
        tasks += [task for arm in (WARM, COLD) for task in arm_tasks(split, arm, chosen[arm])]
    if len(what.data) > 1:
        tasks.append(compare_task(what, WARM, COLD))
    return tuple(tasks)


class Curves(msgspec.Struct, frozen=True, kw_only=True):
    """How fast both starts find what is good, on one split."""

    warm: list[float]
    """Best cross-validated score after 1 to n evaluations."""
    cold: list[float]
    """The same, expected over all orders."""
    warm_until: int
    """Evaluations until within the tolerance of the best of all."""
    cold_until: float


def _curves(sofar: SoFar, what: Plan, split: int) -> Curves:
    scores = full_scores(sofar, what, split)
    order = _order(sofar, WARM, split)
    good = max(scores.values()) - sofar.params["within"]
    warm = [max(scores[name] for name in order[: at + 1]) for at in range(len(order))]
    return Curves(
        warm=warm,
        cold=expected_best(list(scores.values())),
        warm_until=next(at for at, score in enumerate(warm, 1) if score >= good),
        cold_until=expected_until(sum(score >= good for score in scores.values()), len(scores)),
    )


def _cost_s(sofar: SoFar, what: Plan, arm: str) -> float:
    """Return the CPU seconds of an arm: the folds it tried, and its models' fits on all rows."""
    tasks = []
    for split in range(len(what.data)):
        tried = _order(sofar, arm, split)[: sofar.params["budget"]]
        tasks += [fold_name(name, fold, split) for name in tried for fold in range(what.folds)]
        tasks += [f"{named(f'train-{name}', split)}-all" for name in _chosen(sofar, what, arm, split)]
    return parts_cpu_s(sofar, tasks)


def _metrics(sofar: SoFar, what: Plan) -> tuple[Metric, ...]:
    budget = min(sofar.params["budget"], len(what.models))
    curves = [_curves(sofar, what, split) for split in range(len(what.data))]
    scores = {arm: arm_score(sofar, what, arm, COLD) for arm in (WARM, COLD)}
    how = f"best {sofar.params['top']} of the first {budget} in the advised order"
    source = [
        sofar.results[fold_name(model.name, fold, split)].event
        for split in range(len(what.data))
        for model in what.models
        for fold in range(what.folds)
    ]
    within = f"evaluations until within {sofar.params['within']:g} of the best of all"
    return (
        msgspec.structs.replace(scores[WARM], estimator=f"{how}; {scores[WARM].estimator}"),
        *(msgspec.structs.replace(score, name=f"score.{arm}") for arm, score in scores.items()),
        arm_over(sofar, what, WARM, COLD)[0],
        *(
            over_splits(name, values, estimator, source=source, unit=unit, better=better)
            for name, values, estimator, unit, better in (
                (
                    f"best_of_{budget}.warm",
                    [curve.warm[budget - 1] for curve in curves],
                    f"best cross-validated score of the first {budget} in the advised order",
                    "ratio",
                    "higher",
                ),
                (
                    f"best_of_{budget}.cold",
                    [curve.cold[budget - 1] for curve in curves],
                    f"the same, exact expectation over all orders of {len(what.models)}",
                    "ratio",
                    "higher",
                ),
                ("evaluations.warm", [curve.warm_until for curve in curves], within, "count", "lower"),
                (
                    "evaluations.cold",
                    [curve.cold_until for curve in curves],
                    f"{within}, exact expectation over all orders",
                    "count",
                    "lower",
                ),
                (
                    "evaluations_saved",
                    [curve.cold_until - curve.warm_until for curve in curves],
                    "evaluations.cold less evaluations.warm",
                    "count",
                    "higher",
                ),
            )
        ),
        *(
            Metric(
                name=f"cpu_time.{arm}",
                value=_cost_s(sofar, what, arm),
                unit="s",
                better="lower",
                timing=True,
                estimator=f"CPU time of {budget} evaluations and of its models' fits; without that of the lessons",
                source=scores[arm].source,
            )
            for arm in (WARM, COLD)
        ),
        _lessons_cpu(sofar),
        all_cpu(sofar),
    )


def _lessons_cpu(sofar: SoFar) -> Metric:
    """Return the CPU seconds that the lessons took: what a warm start costs before it starts."""
    learned = [f"learn-{source}" for source in _sources(sofar)]
    folds = [
        task
        for source in _sources(sofar)
        for task, fact in sofar.results.items()
        if task.startswith(f"{source}-train-") and fact.data.type == "agent.part_trained"
    ]
    return Metric(
        name="cpu_time.lessons",
        value=parts_cpu_s(sofar, folds),
        unit="s",
        better="lower",
        n=len(folds),
        timing=True,
        estimator="CPU time of cross-validating all candidates on the sources",
        source=tuple(sofar.results[task].event for task in learned),
    )


def _result(sofar: SoFar, what: Plan) -> dict[str, Any]:
    prepared = one(sofar, "prepare", DataPrepared).data
    advised = one(sofar, "advise", Advised).data
    assert isinstance(prepared, DataPrepared)  # noqa: S101 - one() has looked
    assert isinstance(advised, Advised)  # noqa: S101
    splits = range(len(what.data))
    curves = [_curves(sofar, what, split) for split in splits]
    result: dict[str, Any] = {
        "dataset": prepared.dataset,
        "problem": prepared.problem,
        "main": what.main,
        "n_train": prepared.n_train,
        "n_test": prepared.n_test,
        "iterations": len(what.data),
        "strategy": WARM,
        "models": model_rows(sofar, what, (WARM, COLD)),
        "arms": [_arm_row(sofar, what, arm, curves) for arm in (WARM, COLD)],
        "curves": {
            "evaluations": list(range(1, len(what.models) + 1)),
            WARM: [statistics.fmean(at) for at in zip(*(curve.warm for curve in curves), strict=True)],
            COLD: [statistics.fmean(at) for at in zip(*(curve.cold for curve in curves), strict=True)],
        },
        "advice": [msgspec.to_builtins(advice) for advice in advised.order],
        "heard": [msgspec.to_builtins(heard) for heard in advised.lessons],
        "lessons": [_lesson_row(sofar, source) for source in _sources(sofar)],
        "candidates": _candidate_rows(sofar, what),
    }
    if advised.left_out:
        result["left_out"] = list(advised.left_out)
    versus = arm_over(sofar, what, WARM, COLD)[1]
    if versus is not None:
        result["verdict"] = msgspec.to_builtins(versus)
    return result


def _arm_row(sofar: SoFar, what: Plan, arm: str, curves: Sequence[Curves]) -> dict[str, Any]:
    score = arm_score(sofar, what, arm, COLD)
    budget = min(sofar.params["budget"], len(what.models))
    chosen = [_chosen(sofar, what, arm, split) for split in range(len(what.data))]
    until = [curve.warm_until if arm == WARM else curve.cold_until for curve in curves]
    return {
        "arm": arm,
        "score": score.value,
        "low": score.low,
        "high": score.high,
        "evaluations": budget * len(what.data),
        "until_good": statistics.fmean(until),
        "best_of_budget": statistics.fmean(getattr(curve, arm)[budget - 1] for curve in curves),
        "cpu_s": _cost_s(sofar, what, arm),
        "chosen": often(chosen),
    }


def _lesson_row(sofar: SoFar, source: str) -> dict[str, Any]:
    data = one(sofar, f"learn-{source}", Learned).data
    assert isinstance(data, Learned)  # noqa: S101 - one() has looked
    return {
        "name": data.name,
        "rows": data.rows,
        "features": data.features,
        "classes": data.classes,
        "ranking": {ranked.candidate: ranked.score for ranked in data.ranking},
    }


def _candidate_rows(sofar: SoFar, what: Plan) -> list[dict[str, Any]]:
    """Return every candidate with its cross-validated score on the target, in the advised order."""
    scores = [full_scores(sofar, what, split) for split in range(len(what.data))]
    types = {model.name: model for model in what.models}
    return [
        {
            "candidate": name,
            "model_type": types[name].model_type,
            "hyperparameters": types[name].hyperparameters,
            "out_of_fold": statistics.fmean(found[name] for found in scores),
        }
        for name in _advised(sofar)
    ]


SCENARIOS: tuple[tuple[Scenario, Callable[[SoFar], Step | Finish]], ...] = (
    (
        Scenario(
            name="knowledge_transfer",
            description="What other data sets taught orders the candidates for a new one, beside a cold start",
            params=(
                case_param("scenario whose data are the target"),
                Param(
                    name="sources",
                    type="list",
                    default=[],
                    choices=tuple(CASES),
                    description="scenarios whose data teach; none means the real data sets of the target's problem",
                ),
                Param(
                    name="memory",
                    type="str",
                    default="run",
                    choices=("run", "all"),
                    description="whose lessons advise: this run's, or those of all runs so far",
                ),
                Param(
                    name="budget",
                    type="int",
                    default=4,
                    low=1,
                    high=100,
                    description="how many candidates each start may evaluate before it chooses",
                ),
                Param(
                    name="within",
                    type="float",
                    default=0.005,
                    low=0,
                    high=1,
                    description="what counts as found: a cross-validated score no further from the best of all",
                ),
                *split_params(iterations=5, folds=3),
                *pool_params(),
            ),
            timeout_s=3600.0,
            timed_by=("memory",),
        ),
        plan,
    ),
)
