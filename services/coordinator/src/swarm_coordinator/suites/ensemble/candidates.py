"""A pool of candidates to choose from: types of model with hyperparameters, cross-validated fold by fold.

A fold that is done is a part of a training (``agent.part_trained``), and sees training rows alone. What is chosen in
the end gets the folds it lacks and the fit on all rows, and is put together with those it has.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from swarm_common.errors import UsageError
from swarm_common.events import Task
from swarm_common.events.agent import PartTrained
from swarm_coordinator.plans import Fact, Param, SoFar
from swarm_coordinator.suites.ensemble.bandits import Pull
from swarm_coordinator.suites.ensemble.cases import CASES, ROWS_OF_CASE, Model, member
from swarm_coordinator.suites.ensemble.costs import cost_s
from swarm_coordinator.suites.ensemble.tasks import Plan, named, plan_of, train_params, training_task
from swarm_primitives.scheduling import Hint, ordered

_FEWEST_ROWS = 40
_BOTH = (
    member("decision_tree", "decision_tree_5", max_depth=5),
    member("extra_trees", "extra_trees_50", n_estimators=50),
    member("hist_gradient_boost", "hist_gradient_boost_40", max_iter=40),
    member("k_neighbors", "k_neighbors_5", n_neighbors=5),
    member("k_neighbors", "k_neighbors_15", n_neighbors=15),
    member("random_forest", "random_forest_50", n_estimators=50),
)
#: By problem: the candidates, each called by what it is, since that is what lessons remember it by.
POOL: Mapping[str, tuple[Model, ...]] = {
    "classification": (
        *_BOTH,
        member("logistic_regression", "logistic_regression_001", C=0.01, max_iter=1000),
        member("logistic_regression", "logistic_regression_1", C=1.0, max_iter=1000),
        member("naive_bayes"),
        member("neural_network", "neural_network_32", hidden_layer_sizes=[32], max_iter=200),
        member("svm", "svm_rbf_1", kernel="rbf", C=1.0),
        member("svm", "svm_rbf_10", kernel="rbf", C=10.0),
    ),
    "regression": (
        *_BOTH,
        member("elastic_net", "elastic_net_05", alpha=0.5),
        member("lasso_regression", "lasso_regression_01", alpha=0.1),
        member("linear_regression"),
        member("ridge_regression", "ridge_regression_10", alpha=10.0),
        member("svm", "svm_rbf_10", kernel="rbf", C=10.0),
        member("svm", "svm_rbf_100", kernel="rbf", C=100.0),
    ),
}


def pool_params() -> tuple[Param, ...]:
    """Return the parameters that say how many rows are made, and which candidates there are."""
    return (
        ROWS_OF_CASE,
        Param(
            name="candidates",
            type="list",
            default=[],
            choices=tuple(dict.fromkeys(model.name for pool in POOL.values() for model in pool)),
            description="those of the pool to choose from; none means all that fit the problem",
        ),
        Param(
            name="top",
            type="int",
            default=3,
            low=1,
            high=12,
            description="how many of the best are trained on all rows and combined",
        ),
    )


def pool_plan(case: str, params: Mapping[str, Any], seed: int) -> Plan:
    """Return the plan of a case whose members are the candidates.

    Raises :class:`UsageError` for fewer than two, one named twice, one that does not fit the problem, and for rows to
    be made where no data are made, or too few of them.
    """
    what = CASES[case]
    if params["rows"] and (not what.make or params["rows"] < _FEWEST_ROWS):
        allowed = f"0, {_FEWEST_ROWS} and more" if what.make else "0"
        raise UsageError(
            f"params.rows is {params['rows']}; for {case} allowed is {allowed}",
            field="params.rows",
            given=str(params["rows"]),
            allowed=allowed,
        )
    pool = {model.name: model for model in POOL[what.problem]}
    names = params["candidates"] or list(pool)
    if len(set(names)) < max(2, len(names)) or not set(names) <= set(pool):
        raise UsageError(
            f"params.candidates is {', '.join(names)}; for {case} name at least two of {', '.join(pool)}, each once",
            field="params.candidates",
            given=", ".join(names),
            allowed=", ".join(pool),
        )
    return plan_of(what, {**params, "device": "cpu"}, seed, [pool[name] for name in names], "weighted")


def fold_tasks(plan: Plan, split: int, pulls: Iterable[tuple[str, int]]) -> list[Task]:
    """Return the tasks of these candidates' folds, in their order."""
    models = {model.name: model for model in plan.models}
    return [
        _part(plan, models[name], split, fold_name(name, fold, split), {"fold": fold}) for name, fold in pulls
    ]


def final_tasks(plan: Plan, split: int, names: Sequence[str], done: Mapping[str, Fact]) -> list[Task]:
    """Return the tasks that make models of the chosen: folds that were not done, the fit on all rows, putting together.

    Those that are ``done`` are inputs like the others. The dearest comes first.
    """
    models = {model.name: model for model in plan.models}
    parts: list[Task] = []
    joined: list[Task] = []
    for name in dearest_first(plan, names):
        whole = named(f"train-{name}", split)
        folds = [fold_name(name, fold, split) for fold in range(plan.folds)]
        missing = [(name, fold) for fold, task in enumerate(folds) if task not in done]
        parts += [_part(plan, models[name], split, f"{whole}-all", {}), *fold_tasks(plan, split, missing)]
        joined.append(
            Task(
                id=whole,
                kind="assemble",
                service="model_agent",
                params={"model": name},
                after=(*folds, f"{whole}-all"),
            )
        )
    return parts + joined


def arm_tasks(split: int, arm: str, names: Sequence[str]) -> list[Task]:
    """Return the tasks that combine an arm's chosen and score the combination on the held-out rows."""
    combine = named(f"combine-{arm}", split)
    needs = (named("prepare", split), *(named(f"train-{name}", split) for name in names))
    return [
        Task(id=combine, kind="combine", service="consensus", after=needs, params={"strategy": "weighted"}),
        Task(id=named(f"score-{arm}", split), kind="score", service="metrics", after=(*needs, combine)),
    ]


def compare_task(plan: Plan, arm: str, baseline: str) -> Task:
    """Return the task that compares an arm's scores with another's, over the splits."""
    splits = range(len(plan.data))
    base = [named(f"score-{baseline}", split) for split in splits]
    scores = (*(named(f"score-{arm}", split) for split in splits), *base)
    return Task(
        id=f"compare-{arm}",
        kind="compare",
        service="metrics",
        after=(*scores, *(named("prepare", split) for split in splits)),
        params={"metric": plan.main, "baseline": base},
    )


def dearest_first(plan: Plan, names: Iterable[str]) -> list[str]:
    """Return the candidates, the one whose fit is estimated to take longest first; a tie goes by name."""
    cost = {
        model.name: cost_s(
            model.model_type,
            model.hyperparameters,
            rows=plan.rows,
            features=plan.features,
            classes=plan.classes,
        )
        for model in plan.models
    }
    by_name = sorted(names)
    return ordered(by_name, [Hint(cost=cost[name]) for name in by_name])


def fold_name(name: str, fold: int, split: int) -> str:
    """Return the name of the task of a candidate's fold."""
    return f"{named(f'train-{name}', split)}-fold-{fold}"


def pull_made(sofar: SoFar, name: str, fold: int, split: int) -> Pull | None:
    """Return what a fold scored and cost, ``None`` where it was not done yet."""
    fact = sofar.results.get(fold_name(name, fold, split))
    if fact is None or not isinstance(fact.data, PartTrained) or fact.data.score is None:
        return None
    return Pull(fact.data.score, fact.data.cpu_s)


def full_scores(sofar: SoFar, plan: Plan, split: int) -> dict[str, float]:
    """Return the mean over all folds of every candidate that has them all."""
    found = {}
    for model in plan.models:
        pulls = [pull_made(sofar, model.name, fold, split) for fold in range(plan.folds)]
        scores = [pull.score for pull in pulls if pull is not None]
        if len(scores) == plan.folds:
            found[model.name] = statistics.fmean(scores)
    return found


def parts_cpu_s(sofar: SoFar, tasks: Iterable[str]) -> float:
    """Return the CPU seconds of these parts of trainings, each counted once."""
    facts = [sofar.results[task].data for task in sorted(set(tasks))]
    return sum(data.cpu_s for data in facts if isinstance(data, PartTrained))


def _part(plan: Plan, model: Model, split: int, name: str, part: Mapping[str, Any]) -> Task:
    return training_task("train_part", name, {**train_params(plan, model, plan.data[split]), **part})
