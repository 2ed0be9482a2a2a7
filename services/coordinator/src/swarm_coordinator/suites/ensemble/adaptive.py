"""Configuration ``adaptive_learning``: weights that follow performance along a stream whose rule changes.

The members differ in type and in how much of the past they learn from, and are fitted again as the stream goes on.
Beside each other stand weights made once, from the rows before the stream, and weights that follow each block's losses.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import msgspec

from swarm_common.events import Metric, Target, Task
from swarm_common.events.agent import DataPrepared
from swarm_common.events.consensus import Reached
from swarm_common.events.metrics import Compared, Scored
from swarm_coordinator.plans import Finish, Param, Scenario, SoFar, Step
from swarm_coordinator.suites.ensemble.costs import cost_s
from swarm_coordinator.suites.ensemble.results import mean_of, one, trained
from swarm_coordinator.suites.ensemble.tasks import by_cost, named, prepare_task
from swarm_coordinator.suites.noop import seconds

_TYPES: dict[str, dict[str, Any]] = {
    "logistic_regression": {"max_iter": 1000},
    "naive_bayes": {},
    "random_forest": {"n_estimators": 20},
}
#: The two ways to combine, and the task of each.
_ARMS = {"adaptive": "adapt", "static": "combine"}
_FEATURES = 10
_BEFORE = 0.25
"""Share of the rows that lie before the stream."""


def plan(sofar: SoFar) -> Step | Finish:
    """Plan the members along every stream, both ways to weigh them, and their comparison."""
    if sofar.step == 0:
        return Step(tasks=_tasks(sofar))
    return Finish(result=_result(sofar), metrics=(*_metrics(sofar), seconds(sofar.elapsed_s)))


def _tasks(sofar: SoFar) -> tuple[Task, ...]:
    params, streams = sofar.params, range(sofar.params["iterations"])
    training: list[tuple[float, Task]] = []
    rest: list[Task] = []
    for stream in streams:
        seed = (sofar.seed + stream) % 2**32
        data = {
            "dataset": "synthetic_drift",
            "order": "time",
            "test_share": 1 - _BEFORE,
            "split_seed": seed,
            "make": {
                "n_samples": params["rows"],
                "n_features": _FEATURES,
                "concepts": params["concepts"],
                "turn": params["turn"],
                "random_state": seed,
            },
        }
        members = []
        for name, model_type, window in _members(params["window"]):
            task = Task(
                id=named(f"train-{name}", stream),
                kind="train",
                service="model_agent",
                lane="cpu",
                params={
                    **data,
                    "model": name,
                    "model_type": model_type,
                    "hyperparameters": _TYPES[model_type],
                    "folds": params["folds"],
                    "stream": {"block": params["block"], "refit": params["refit"], "window": window},
                },
            )
            rows = window or params["rows"]
            cost = cost_s(model_type, _TYPES[model_type], rows=rows, features=_FEATURES, classes=2)
            training.append((cost, task))
            members.append(task.id)
        prepare = prepare_task(named("prepare", stream), data)
        rest.append(prepare)
        rest += _weighed(params, stream, (prepare.id, *members))
    compare = [_compared(params)] if len(streams) > 1 else []
    return (*by_cost(training), *rest, *compare)


def _members(window: int) -> list[tuple[str, str, int]]:
    """Return name, type and window of each member: all the past, or its last rows."""
    return [
        (f"{model_type}_{memory}", model_type, rows)
        for model_type in _TYPES
        for memory, rows in (("all", 0), (f"last_{window}", window))
    ]


def _weighed(params: Any, stream: int, needs: tuple[str, ...]) -> list[Task]:
    adapting = {"block": params["block"], "rate": params["rate"], "share": params["share"]}
    tasks = [
        Task(
            id=named("combine", stream),
            kind="combine",
            service="consensus",
            after=needs,
            params={"strategy": "weighted"},
        ),
        Task(id=named("adapt", stream), kind="adapt", service="consensus", after=needs, params=adapting),
    ]
    tasks += [
        Task(
            id=named(f"score-{arm}", stream),
            kind="score",
            service="metrics",
            after=(*needs, named(task, stream)),
        )
        for arm, task in _ARMS.items()
    ]
    return tasks


def _compared(params: Any) -> Task:
    """Return the task that compares both over the streams: each is drawn anew, so no correction is due."""
    streams = range(params["iterations"])
    static = [named("score-static", stream) for stream in streams]
    return Task(
        id="compare",
        kind="compare",
        service="metrics",
        after=(*(named("score-adaptive", stream) for stream in streams), *static),
        params={"metric": "accuracy", "baseline": static, "train_rows": params["rows"], "test_rows": 0},
    )


def _scores(sofar: SoFar, arm: str) -> list[Scored]:
    streams = range(sofar.params["iterations"])
    found = [one(sofar, named(f"score-{arm}", stream), Scored).data for stream in streams]
    return [data for data in found if isinstance(data, Scored)]


def _accuracy(sofar: SoFar, arm: str) -> Metric:
    """Return the mean accuracy of an arm over the streams."""
    facts = [one(sofar, named(f"score-{arm}", s), Scored) for s in range(sofar.params["iterations"])]
    found = mean_of(
        [next(metric for metric in data.metrics if metric.name == "accuracy") for data in _scores(sofar, arm)]
    )
    return msgspec.structs.replace(found, source=tuple(fact.event for fact in facts))


def _metrics(sofar: SoFar) -> tuple[Metric, ...]:
    adaptive, static = _accuracy(sofar, "adaptive"), _accuracy(sofar, "static")
    facts = trained(sofar)
    differences = [
        _value(mine) - _value(other)
        for mine, other in zip(_scores(sofar, "adaptive"), _scores(sofar, "static"), strict=True)
    ]
    over = Metric(
        name="over_static",
        value=statistics.fmean(differences),
        unit="ratio",
        n=len(differences),
        source=(*adaptive.source, *static.source),
        estimator="adaptive less static, on one stream: no test",
    )
    if "compare" in sofar.facts:
        fact = one(sofar, "compare", Compared)
        assert isinstance(fact.data, Compared)  # noqa: S101 - one() has looked
        found = fact.data.comparison
        tested = "" if found.p_value is None else f", p {found.p_value:.3g}"
        over = msgspec.structs.replace(
            over,
            low=found.low,
            high=found.high,
            estimator=f"{found.verdict} ({found.method}{tested})",
            source=(fact.event,),
        )
    return (
        adaptive,
        msgspec.structs.replace(static, name="accuracy.static"),
        over,
        Metric(
            name="cpu_time",
            value=sum(getattr(fact.data, "cpu_s", 0.0) for fact in facts),
            unit="s",
            better="lower",
            n=len(facts),
            timing=True,
            estimator="sum over the members of their workers' CPU time (getrusage)",
            source=tuple(fact.event for fact in facts),
        ),
    )


def _value(scored: Scored) -> float:
    return next(metric.value or 0.0 for metric in scored.metrics if metric.name == "accuracy")


def _result(sofar: SoFar) -> dict[str, Any]:
    prepared = one(sofar, "prepare", DataPrepared).data
    reached = one(sofar, "adapt", Reached).data
    assert isinstance(prepared, DataPrepared)  # noqa: S101 - one() has looked
    assert isinstance(reached, Reached)  # noqa: S101
    arms = [
        {"arm": arm, "score": metric.value, "low": metric.low, "high": metric.high}
        for arm, metric in ((arm, _accuracy(sofar, arm)) for arm in _ARMS)
    ]
    members = [
        {"model": name, **{key: value for key, value in row.items() if key != "name"}}
        for name, row in _member_rows(sofar).items()
    ]
    result: dict[str, Any] = {
        "dataset": prepared.dataset,
        "problem": prepared.problem,
        "main": "accuracy",
        "n_train": prepared.n_train,
        "n_test": prepared.n_test,
        "iterations": sofar.params["iterations"],
        "strategy": "adaptive",
        "models": sorted(members, key=lambda row: (-row["score"], row["model"])),
        "arms": arms,
        "trajectory": {"members": list(reached.members), "weights": msgspec.to_builtins(reached.trajectory)},
    }
    if "compare" in sofar.facts:
        compared = one(sofar, "compare", Compared).data
        assert isinstance(compared, Compared)  # noqa: S101 - one() has looked
        result["verdict"] = msgspec.to_builtins(compared.comparison)
    return result


def _member_rows(sofar: SoFar) -> dict[str, dict[str, Any]]:
    scored = _scores(sofar, "adaptive")
    rows = {}
    for name, model_type, _ in _members(sofar.params["window"]):
        score = mean_of([next(m for m in split.members[name] if m.name == "accuracy") for split in scored])
        mine = [fact.data for fact in trained(sofar) if getattr(fact.data, "model", "") == name]
        rows[name] = {
            "model_type": model_type,
            "score": score.value,
            "low": score.low,
            "high": score.high,
            "cpu_s": sum(getattr(data, "cpu_s", 0.0) for data in mine),
        }
    return rows


def _param(name: str, kind: Any, default: Any, low: float, high: float, description: str) -> Param:
    return Param(name=name, type=kind, default=default, low=low, high=high, description=description)


SCENARIOS: tuple[tuple[Scenario, Callable[[SoFar], Step | Finish]], ...] = (
    (
        Scenario(
            name="adaptive_learning",
            description="Weights that follow losses along streams whose rule turns, beside weights made once",
            params=(
                _param("iterations", "int", 5, 1, 100, "how many streams, each drawn anew"),
                _param(
                    "rows", "int", 4000, 400, 1_000_000, "rows of a stream; the first quarter lies before it"
                ),
                _param("concepts", "int", 5, 1, 100, "how many rules follow each other"),
                _param(
                    "turn", "float", 0.5, 0, 1, "how far each rule turns: 0 not at all, 1 into its opposite"
                ),
                _param("block", "int", 50, 1, 10_000, "rows that are predicted before their truth is seen"),
                _param("refit", "int", 2, 1, 1000, "blocks from one fit of a member to its next"),
                _param("window", "int", 300, 20, 100_000, "rows that forgetful members learn from"),
                _param("rate", "float", 5.0, 0, 1000, "how fast weights follow losses; 0 leaves them alone"),
                _param(
                    "share", "float", 0.05, 0, 0.99, "what of its weight a member hands on after each block"
                ),
                _param("folds", "int", 3, 2, 20, "folds of the out-of-fold predictions before the stream"),
            ),
            targets=(Target(metric="over_static", op=">", target=0.0),),
            timeout_s=1800.0,
        ),
        plan,
    ),
)
