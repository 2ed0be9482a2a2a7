"""The tasks of an ensemble: train every member, combine, score, compare; on one split or on several.

What a member's training would hold up is shared out: a task for each fold and one for the fit on all rows, a
forest's by shares of its trees. Who cuts what depends on the estimated costs alone and never on how many workers there
are, so that a run is the same on one worker and on four.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from swarm_common.errors import UsageError
from swarm_common.events import Task
from swarm_coordinator.suites.ensemble.cases import LEARNING, Case, Model
from swarm_coordinator.suites.ensemble.costs import FORESTS, cost_s
from swarm_primitives.scheduling import Hint, ordered

#: A training is shared out that is estimated to take longer, in CPU seconds; a task costs milliseconds.
SHARED_FROM_S = 0.3
#: A forest's fit on all rows is cut into shares no dearer than this part of all the work.
_SHARE = 1 / 8
_MOST_SHARES = 8
_LONGEST_TASK_S = 3600.0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is trained on what, and what becomes of it."""

    data: tuple[dict[str, Any], ...]
    """Parameters of the data, a set for each split."""
    models: tuple[Model, ...]
    strategies: tuple[str, ...]
    """Ways to combine. Of a single one, tasks are called ``combine`` and ``score``."""
    folds: int
    device: str = "cpu"
    rows: int
    """Training rows, about."""
    features: int
    classes: int
    """0 where values are predicted."""

    @property
    def main(self) -> str:
        """The score that decides: ``accuracy`` or ``r2``."""
        return "accuracy" if self.classes else "r2"


def plan_of(
    case: Case, params: Mapping[str, Any], seed: int, models: Sequence[Model], *strategies: str
) -> Plan:
    """Return the plan of a case; raises :class:`UsageError` for parameters that do not go together."""
    check_folds(params["folds"], strategies)
    rows = params.get("rows") or case.rows
    made = {"make": {**case.make, "n_samples": rows, "random_state": seed}} if case.make else {}
    share = 1 / params["test_folds"] if params["test_folds"] else params["test_share"]
    return Plan(
        data=tuple({"dataset": case.dataset, **split, **made} for split in splits_of(params, seed)),
        models=tuple(models),
        strategies=strategies,
        folds=params["folds"],
        device=params["device"],
        rows=math.ceil(rows * (1 - share)),
        features=case.features,
        classes=case.classes,
    )


def splits_of(params: Mapping[str, Any], seed: int) -> list[dict[str, Any]]:
    """Return how rows are held out, a set of parameters for each split: ``iterations`` times, or as often every fold.

    Raises :class:`UsageError` for a single fold, which would hold out everything.
    """
    folds = params["test_folds"]
    if folds == 1:
        raise UsageError(
            "params.test_folds is 1, which would hold out all rows; 0 holds out test_share of them",
            field="params.test_folds",
            given="1",
            allowed="0, 2 to 20",
        )
    seeds = [(seed + iteration) % 2**32 for iteration in range(params["iterations"])]
    if not folds:
        return [{"test_share": params["test_share"], "split_seed": drawn} for drawn in seeds]
    return [{"split_seed": drawn, "test_fold": [fold, folds]} for drawn in seeds for fold in range(folds)]


def check_folds(folds: int, strategies: Iterable[str]) -> None:
    """Raise :class:`UsageError` where a way to combine needs out-of-fold predictions and there are none."""
    learning = next((strategy for strategy in strategies if strategy in LEARNING), "")
    if folds == 1 or (learning and folds < 2):
        raise UsageError(
            f"params.folds is {folds}; {learning or 'a fold'} needs at least 2, soft and majority do with 0",
            field="params.folds",
            given=str(folds),
            allowed="2 to 20",
        )


def named(name: str, iteration: int) -> str:
    """Return a task's name on one of several splits: plain on the first, numbered from the second on."""
    return name if iteration == 0 else f"{name}-{iteration + 1}"


def ensemble_tasks(plan: Plan) -> tuple[Task, ...]:
    """Return all tasks of a plan, the dearest first and each that waits for others behind them."""
    training: list[tuple[float, Task]] = []
    rest: list[Task] = []
    for iteration, data in enumerate(plan.data):
        rest.append(prepare_task(named("prepare", iteration), data))
        for model in plan.models:
            parts, whole = train_tasks(plan, model, data, named(f"train-{model.name}", iteration))
            training += parts
            if whole is not None:
                rest.append(whole)
        trained = [named(f"train-{model.name}", iteration) for model in plan.models]
        rest += _combined(plan, iteration, (named("prepare", iteration), *trained))
    tasks = [*by_cost(training), *rest]
    tasks += [_compared(plan, strategy) for strategy in plan.strategies if len(plan.data) > 1 and plan.folds]
    return tuple(tasks)


def by_cost(tasks: Sequence[tuple[float, Task]]) -> list[Task]:
    """Return tasks that come with what they cost, the dearest first; of equals, the one that is first here."""
    return ordered([task for _, task in tasks], [Hint(cost=cost) for cost, _ in tasks])


def prepare_task(name: str, data: Mapping[str, Any]) -> Task:
    """Return the task that says what a split is: its sizes, and the truth."""
    kind = "prepare_file" if data.get("file") else "prepare"
    return Task(id=name, kind=kind, service="model_agent", lane="cpu", params=dict(data))


def train_tasks(
    plan: Plan, model: Model, data: Mapping[str, Any], name: str
) -> tuple[list[tuple[float, Task]], Task | None]:
    """Return the tasks that train a member, with their estimated CPU seconds, and the one that joins them, if any."""
    fit_s = cost_s(
        model.model_type, model.hyperparameters, rows=plan.rows, features=plan.features, classes=plan.classes
    )
    fold_s = fit_s * (1 - 1 / plan.folds) if plan.folds else 0.0
    params = train_params(plan, model, data)
    shares = _shares(plan, model, fit_s)
    if fit_s + plan.folds * fold_s < SHARED_FROM_S or (plan.folds == 0 and len(shares) == 1):
        return [(fit_s + plan.folds * fold_s, training_task("train", name, params))], None
    parts = [
        (fold_s, training_task("train_part", f"{name}-fold-{fold}", {**params, "fold": fold}))
        for fold in range(plan.folds)
    ]
    if len(shares) == 1:
        parts.append((fit_s, training_task("train_part", f"{name}-all", params)))
    else:
        parts += [
            (
                fit_s / len(shares),
                training_task("train_part", f"{name}-trees-{first}", {**params, "trees": [first, last]}),
            )
            for first, last in shares
        ]
    joined = Task(
        id=name,
        kind="assemble",
        service="model_agent",
        params={"model": model.name},
        after=tuple(task.id for _, task in parts),
    )
    return parts, joined


def train_params(plan: Plan, model: Model, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what every task that trains a member on these data asks for."""
    params = {
        **data,
        "model": model.name,
        "model_type": model.model_type,
        "hyperparameters": model.hyperparameters,
        "folds": plan.folds,
    }
    if plan.device != "cpu":
        params["device"] = plan.device
    return params


def training_task(kind: str, name: str, params: dict[str, Any]) -> Task:
    """Return a task that trains, in a worker process."""
    return Task(
        id=name, kind=kind, service="model_agent", lane="cpu", params=params, timeout_s=_LONGEST_TASK_S
    )


def _shares(plan: Plan, model: Model, fit_s: float) -> list[tuple[int, int]]:
    """Return the shares of trees into which a fit on all rows is cut: one of all trees where it is no forest."""
    trees = model.hyperparameters.get("n_estimators", 100)
    whole = [(0, trees)]
    if model.model_type not in FORESTS or not isinstance(trees, int) or fit_s < SHARED_FROM_S:
        return whole
    if model.hyperparameters.get("warm_start") or model.hyperparameters.get("oob_score"):
        return whole
    all_s = len(plan.data) * sum(
        cost_s(m.model_type, m.hyperparameters, rows=plan.rows, features=plan.features, classes=plan.classes)
        for m in plan.models
    )
    folds = 1 + max(plan.folds - 1, 0)
    shares = min(_MOST_SHARES, trees, math.ceil(fit_s / (all_s * folds * _SHARE)))
    ends = [trees * share // shares for share in range(shares + 1)]
    return list(itertools.pairwise(ends))


def _combined(plan: Plan, iteration: int, needs: tuple[str, ...]) -> list[Task]:
    tasks = []
    for strategy in plan.strategies:
        combine = named(step_name("combine", strategy, plan.strategies), iteration)
        tasks += [
            Task(id=combine, kind="combine", service="consensus", after=needs, params={"strategy": strategy}),
            Task(
                id=named(step_name("score", strategy, plan.strategies), iteration),
                kind="score",
                service="metrics",
                after=(*needs, combine),
            ),
        ]
    return tasks


def step_name(step: str, strategy: str, strategies: Sequence[str]) -> str:
    """Return a step's name: it bears the strategy's where there are several."""
    return step if len(strategies) == 1 else f"{step}-{strategy.replace('_', '-')}"


def _compared(plan: Plan, strategy: str) -> Task:
    score = step_name("score", strategy, plan.strategies)
    splits = range(len(plan.data))
    return Task(
        id=step_name("compare", strategy, plan.strategies),
        kind="compare",
        service="metrics",
        after=tuple(named(name, split) for name in (score, "prepare") for split in splits),
        params={"metric": plan.main, "baseline": "best_single"},
    )
