"""Suite ``ensemble``: several models train, vote, and are held against the truth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from swarm_common.errors import UsageError
from swarm_common.events import Metric, Target, Task
from swarm_common.events.agent import DataPrepared, ModelTrained
from swarm_common.events.consensus import Reached
from swarm_common.events.memory import Recalled
from swarm_common.events.metrics import Scored
from swarm_common.memory_key import memory_key
from swarm_coordinator.plans import Fact, Finish, Param, Scenario, SoFar, Step
from swarm_coordinator.suites.noop import seconds


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A member of an ensemble."""

    name: str
    model_type: str
    hyperparameters: dict[str, Any] = {}
    cost: float = 1.0
    """Rough share of the work: the dearest start first, so that no worker is left with it at the end."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """What a scenario trains on, and with."""

    dataset: str
    models: tuple[Model, ...]
    make: dict[str, Any] = {}


def _model(name: str, cost: float = 1.0, **hyperparameters: Any) -> Model:
    return Model(name=name, model_type=name, hyperparameters=hyperparameters, cost=cost)


_REAL = (
    _model("hist_gradient_boost", 5.0, max_iter=40),
    _model("neural_network", 4.0, hidden_layer_sizes=[64], max_iter=200),
    _model("random_forest", 2.0, n_estimators=100),
    _model("svm", 1.0, kernel="rbf", C=10.0),
    _model("logistic_regression", 0.5, max_iter=1000),
)
_SMALL = (
    _model("gradient_boost", 5.0, n_estimators=50),
    _model("neural_network", 4.0, hidden_layer_sizes=[50, 25], max_iter=500),
    _model("random_forest", 2.0, n_estimators=50),
    _model("svm", 1.0, kernel="rbf"),
    _model("logistic_regression", 0.5, max_iter=1000),
)
CASES: Mapping[str, Case] = {
    "digits": Case(dataset="digits", models=_REAL),
    "breast_cancer": Case(dataset="breast_cancer", models=_REAL),
    "classification_ensemble_small": Case(
        dataset="synthetic_classification",
        models=_SMALL,
        make={"n_samples": 1000, "n_features": 20, "n_informative": 15, "n_redundant": 2, "n_classes": 3},
    ),
}
_MEMBERS = sorted({model.name for case in CASES.values() for model in case.models})


def _params(case: Case) -> tuple[Param, ...]:
    names = tuple(model.name for model in case.models)
    return (
        Param(
            name="combination",
            type="str",
            default="weighted",
            choices=("weighted", "soft", "majority"),
            description="weighted by 1/loss squared, out of fold; or equal voices: mean probability, majority of votes",
        ),
        Param(
            name="folds",
            type="int",
            default=3,
            low=0,
            high=20,
            description="folds of the out-of-fold predictions that weights come from; 0 does without (soft, majority)",
        ),
        Param(
            name="test_share",
            type="float",
            default=0.2,
            low=0.05,
            high=0.5,
            description="share of rows held out",
        ),
        Param(
            name="models",
            type="list",
            default=list(names),
            choices=names,
            description="members of the ensemble",
        ),
    )


class Ensemble:
    """Models as agents, one answer: prepare, train in parallel, combine, score."""

    name = "ensemble"
    description = (
        "Models as agents: trained in parallel, combined by out-of-fold skill, scored on held-out rows"
    )
    scenarios = (
        Scenario(
            name="digits",
            description="1,797 images of handwritten digits, 10 classes (scikit-learn)",
            params=_params(CASES["digits"]),
            targets=(
                Target(metric="accuracy", op=">=", target=0.95),
                Target(metric="seconds", op="<=", target=120),
            ),
        ),
        Scenario(
            name="breast_cancer",
            description="569 tumours, benign or malignant, 30 features (scikit-learn)",
            params=_params(CASES["breast_cancer"]),
            targets=(
                Target(metric="accuracy", op=">=", target=0.92),
                Target(metric="seconds", op="<=", target=60),
            ),
        ),
        Scenario(
            name="classification_ensemble_small",
            description="1,000 made rows, 20 features (15 informative, 2 redundant), 3 classes",
            params=_params(CASES["classification_ensemble_small"]),
            targets=(
                Target(metric="accuracy", op=">=", target=0.85),
                Target(metric="f1", op=">=", target=0.80),
                Target(metric="seconds", op="<=", target=60),
            ),
        ),
    )

    def plan(self, sofar: SoFar) -> Step | Finish:
        """Return all tasks at once, then the scores."""
        if sofar.step == 0:
            return Step(tasks=ensemble_tasks(self.name, sofar.scenario, sofar.params, sofar.seed))
        return Finish(
            result=ensemble_result(sofar), metrics=(*ensemble_metrics(sofar), seconds(sofar.elapsed_s))
        )


def ensemble_tasks(
    suite: str, scenario: str, params: Mapping[str, Any], seed: int, *, case: str = ""
) -> tuple[Task, ...]:
    """Return the tasks of an ensemble: recall and prepare, train each model, combine, score.

    Raises :class:`UsageError` for parameters that do not go together.
    """
    what = CASES[case or scenario]
    if params["folds"] == 1 or (params["combination"] == "weighted" and params["folds"] < 2):
        raise UsageError(
            f"params.folds is {params['folds']}; weights need at least 2 folds, soft and majority do with 0",
            field="params.folds",
            given=str(params["folds"]),
            allowed="2 to 20",
        )
    data = {"dataset": what.dataset, "test_share": params["test_share"], "split_seed": seed}
    if what.make:
        data["make"] = {**what.make, "random_state": seed}
    models = [model for model in what.models if model.name in params["models"]]
    if not models:
        raise UsageError("params.models is empty; name at least one model", field="params.models", given="[]")
    models.sort(key=lambda model: -model.cost)
    trains = tuple(
        Task(
            id=f"train-{model.name}",
            kind="train",
            service="model_agent",
            lane="cpu",
            params={
                **data,
                "model": model.name,
                "model_type": model.model_type,
                "hyperparameters": model.hyperparameters,
                "folds": params["folds"],
            },
        )
        for model in models
    )
    names = tuple(task.id for task in trains)
    return (
        *trains,
        Task(id="prepare", kind="prepare", service="model_agent", lane="cpu", params=data),
        Task(
            id="recall",
            kind="recall",
            service="memory_sync",
            params={"key": memory_key(suite, scenario, dict(params))},
        ),
        Task(
            id="combine",
            kind="combine",
            service="consensus",
            after=("prepare", *names),
            params={"strategy": params["combination"]},
        ),
        Task(id="score", kind="score", service="metrics", after=("prepare", *names, "combine")),
    )


def ensemble_metrics(sofar: SoFar) -> tuple[Metric, ...]:
    """Return scores of the combination, agreement, and what consensus and training cost."""
    scored, reached = _fact(sofar, Scored), _fact(sofar, Reached)
    trained = _trained(sofar)
    best = _best_single(scored.data)
    return (
        *scored.data.metrics,
        Metric(
            name="best_single_accuracy",
            value=best[1],
            unit="ratio",
            n=1,
            estimator=f"best of the models alone on the held-out rows: {best[0]}",
            source=(scored.event,),
        ),
        Metric(
            name="agreement",
            value=reached.data.agreement,
            unit="ratio",
            better="neither",
            source=(reached.event,),
            estimator="mean share of pairs of models that name the same class",
            reason="" if reached.data.agreement is not None else "models give values, not classes",
        ),
        Metric(
            name="consensus_time",
            value=reached.data.consensus_s,
            unit="s",
            better="lower",
            n=1,
            timing=True,
            source=(reached.event,),
        ),
        Metric(
            name="cpu_time",
            value=sum(fact.data.cpu_s for fact in trained),
            unit="s",
            better="lower",
            n=len(trained),
            timing=True,
            estimator="sum over the models of their workers' CPU time",
            source=tuple(fact.event for fact in trained),
        ),
        *(
            Metric(
                name=f"fit_time.{fact.data.model}",
                value=fact.data.fit_s,
                unit="s",
                better="lower",
                n=1,
                timing=True,
                source=(fact.event,),
            )
            for fact in trained
        ),
    )


def ensemble_result(sofar: SoFar) -> dict[str, Any]:
    """Return the leaderboard and how the answer was made."""
    scored, reached, prepared = _fact(sofar, Scored), _fact(sofar, Reached), _fact(sofar, DataPrepared)
    recalled = _fact(sofar, Recalled).data
    models = []
    for fact in _trained(sofar):
        data = fact.data
        held_out = next(
            (m.value for m in scored.data.members.get(data.model, ()) if m.name == "accuracy"), None
        )
        models.append(
            {
                "model": data.model,
                "accuracy": held_out,
                "out_of_fold": sum(data.fold_scores) / len(data.fold_scores) if data.fold_scores else None,
                "weight": reached.data.weights.get(data.model),
                "gain": reached.data.gain.get(data.model),
                "fit_s": data.fit_s,
                "cpu_s": data.cpu_s,
            }
        )
    models.sort(key=lambda model: (-(model["accuracy"] or 0.0), str(model["model"])))
    return {
        "dataset": prepared.data.dataset,
        "n_train": prepared.data.n_train,
        "n_test": prepared.data.n_test,
        "strategy": reached.data.strategy,
        "models": models,
        "confusion": scored.data.confusion,
        "best_known": None if recalled.best is None else msgspec.to_builtins(recalled.best),
    }


def _best_single(scored: Scored) -> tuple[str, float | None]:
    found = [
        (model, metric.value)
        for model, metrics in scored.members.items()
        for metric in metrics
        if metric.name == "accuracy" and metric.value is not None
    ]
    return max(sorted(found), key=lambda pair: pair[1], default=("none", None))


def _all(sofar: SoFar) -> Iterable[Fact]:
    for name in sorted(sofar.facts):
        yield from sofar.facts[name]


def _fact(sofar: SoFar, kind: type[Any]) -> Any:
    """Return the one fact of a type; every plan of this suite leads to one."""
    return next(fact for fact in _all(sofar) if isinstance(fact.data, kind))


def _trained(sofar: SoFar) -> list[Any]:
    return [fact for fact in _all(sofar) if isinstance(fact.data, ModelTrained)]
