"""What the scenarios train on and with: data sets, members, targets; and what users may change of that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from swarm_common.errors import UsageError
from swarm_common.events import Target
from swarm_coordinator.plans import Param, Scenario
from swarm_coordinator.suites.ensemble.costs import types_for

CLASSES = ("weighted", "soft", "majority", "stacking", "bayesian", "greedy", "best_single", "best")
VALUES = tuple(name for name in CLASSES if name != "majority")
#: Strategies that learn from out-of-fold predictions, and so need folds.
LEARNING = ("weighted", "stacking", "bayesian", "greedy", "best_single", "best")
SIZES: Mapping[str, tuple[int, int, int]] = {
    "digits": (1797, 64, 10),
    "breast_cancer": (569, 30, 2),
    "wine": (178, 13, 3),
    "diabetes": (442, 10, 0),
}
"""Rows, features and classes of scikit-learn's own data sets; no classes means values."""


TEST_FOLDS = Param(
    name="test_folds",
    type="int",
    default=0,
    low=0,
    high=20,
    description="2 and more hold out each of so many folds in turn, in place of test_share; iterations repeat",
)


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A member of an ensemble."""

    name: str
    model_type: str
    hyperparameters: dict[str, Any] = {}


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """What a scenario trains on, and with."""

    dataset: str
    models: tuple[Model, ...]
    rows: int
    features: int
    classes: int
    """0 where values are predicted."""
    make: dict[str, Any] = {}
    """For made data, without the number of rows."""

    @property
    def problem(self) -> str:
        """``classification`` or ``regression``."""
        return "classification" if self.classes else "regression"


def member(model_type: str, name: str = "", **hyperparameters: Any) -> Model:
    """Return a member, called like its type unless it has a name of its own."""
    return Model(name=name or model_type, model_type=model_type, hyperparameters=hyperparameters)


def _made(
    rows: int,
    features: int,
    informative: int,
    models: Sequence[Model],
    *,
    classes: int = 0,
    noise: float = 0.0,
) -> Case:
    make: dict[str, Any] = {"n_features": features, "n_informative": informative}
    make |= {"n_redundant": 2, "n_classes": classes} if classes else {"noise": noise}
    return Case(
        dataset="synthetic_classification" if classes else "synthetic_regression",
        models=tuple(models),
        rows=rows,
        features=features,
        classes=classes,
        make=make,
    )


def _real(dataset: str, models: Sequence[Model]) -> Case:
    rows, features, classes = SIZES[dataset]
    return Case(dataset=dataset, models=tuple(models), rows=rows, features=features, classes=classes)


REAL_CLASSES = (
    member("hist_gradient_boost", max_iter=40),
    member("neural_network", hidden_layer_sizes=[64], max_iter=200),
    member("random_forest", n_estimators=100),
    member("svm", kernel="rbf", C=10.0),
    member("logistic_regression", max_iter=1000),
)
REAL_VALUES = (
    member("hist_gradient_boost", max_iter=40),
    member("random_forest", n_estimators=100),
    member("svm", kernel="rbf", C=100.0),
    member("ridge_regression", alpha=1.0),
    member("lasso_regression", alpha=0.1),
)
_SMALL = (
    member("gradient_boost", n_estimators=50),
    member("neural_network", hidden_layer_sizes=[50, 25], max_iter=500),
    member("random_forest", n_estimators=50),
    member("svm", kernel="rbf"),
    member("logistic_regression", max_iter=1000),
)


def _mlp(*layers: int, name: str = "") -> Model:
    return member("neural_network", name, hidden_layer_sizes=list(layers), max_iter=500)


CASES: Mapping[str, Case] = {
    "digits": _real("digits", REAL_CLASSES),
    "breast_cancer": _real("breast_cancer", REAL_CLASSES),
    "wine": _real("wine", REAL_CLASSES),
    "diabetes": _real("diabetes", REAL_VALUES),
    "classification_ensemble": _made(
        10_000,
        20,
        15,
        (
            member("random_forest", n_estimators=100),
            member("gradient_boost", n_estimators=100),
            _mlp(100, 50, 10),
            member("svm", kernel="rbf"),
            member("logistic_regression", max_iter=1000),
        ),
        classes=4,
    ),
    "regression_ensemble": _made(
        5_000,
        20,
        15,
        (
            member("linear_regression"),
            member("ridge_regression", alpha=1.0),
            member("lasso_regression", alpha=0.1),
            member("elastic_net", alpha=0.5),
            member("random_forest", n_estimators=100),
        ),
        noise=0.1,
    ),
    "classification_ensemble_small": _made(1_000, 20, 15, _SMALL, classes=3),
    "classification_ensemble_large": _made(
        10_000,
        50,
        40,
        (
            member("random_forest", n_estimators=100),
            member("gradient_boost", n_estimators=100),
            _mlp(100, 50, 25),
            member("svm", kernel="rbf"),
            member("logistic_regression", max_iter=1000),
            member("xgboost", n_estimators=100),
            member("lightgbm", n_estimators=100),
            member("random_forest", "random_forest_deep", n_estimators=200, max_depth=10),
        ),
        classes=5,
    ),
    "regression_ensemble_small": _made(
        1_000,
        15,
        12,
        (
            member("linear_regression"),
            member("ridge_regression", alpha=1.0),
            member("lasso_regression", alpha=0.1),
            member("random_forest", n_estimators=50),
            member("gradient_boost", n_estimators=50),
        ),
        noise=0.1,
    ),
    "regression_ensemble_large": _made(
        5_000,
        30,
        25,
        (
            member("linear_regression"),
            member("ridge_regression", alpha=1.0),
            member("lasso_regression", alpha=0.1),
            member("elastic_net", alpha=0.5),
            member("random_forest", n_estimators=100),
            member("gradient_boost", n_estimators=100),
            member("xgboost", n_estimators=100),
            _mlp(100, 50),
        ),
        noise=0.05,
    ),
    "hyperparameter_tuning_ensemble": _made(
        2_000,
        25,
        20,
        (
            member("random_forest", "random_forest_50_d5", n_estimators=50, max_depth=5),
            member("random_forest", "random_forest_100_d10", n_estimators=100, max_depth=10),
            member("random_forest", "random_forest_200", n_estimators=200),
            member("svm", "svm_linear_01", kernel="linear", C=0.1),
            member("svm", "svm_rbf_1", kernel="rbf", C=1.0),
            member("svm", "svm_rbf_10", kernel="rbf", C=10.0),
            _mlp(50, name="neural_network_50"),
            _mlp(100, 50, name="neural_network_100_50"),
        ),
        classes=4,
    ),
    "cross_validation_ensemble": _made(
        1_500,
        20,
        15,
        (
            member("random_forest", n_estimators=100),
            member("gradient_boost", n_estimators=100),
            member("svm", kernel="rbf"),
            member("logistic_regression", max_iter=1000),
            _mlp(100, 50),
        ),
        classes=3,
    ),
}


def _target(metric: str, op: Any, target: float) -> Target:
    return Target(metric=metric, op=op, target=target)


def _scenario(
    name: str,
    description: str,
    *targets: Target,
    combination: str = "weighted",
    iterations: int = 1,
    folds: int = 3,
    timeout_s: float = 600.0,
) -> Scenario:
    case = CASES[name]
    return Scenario(
        name=name,
        description=description,
        params=case_params(case, combination=combination, iterations=iterations, folds=folds),
        targets=targets,
        timeout_s=timeout_s,
    )


def case_params(
    case: Case, *, combination: str = "weighted", iterations: int = 1, folds: int = 3
) -> tuple[Param, ...]:
    """Return the parameters of a scenario that trains, combines and scores."""
    return (
        Param(
            name="combination",
            type="str",
            default=combination,
            choices=CLASSES if case.classes else VALUES,
            description="how the members become one answer; all but soft and majority learn on out-of-fold predictions",
        ),
        *shared_params(case, iterations=iterations, folds=folds),
    )


def shared_params(case: Case, *, iterations: int, folds: int) -> tuple[Param, ...]:
    """Return the parameters that every scenario over a case has: splits, rows, members."""
    rows = Param(
        name="rows",
        type="int",
        default=case.rows,
        low=40,
        high=1_000_000,
        description="rows that are made, the held-out ones included",
    )
    return (
        *split_params(iterations=iterations, folds=folds),
        *((rows,) if case.make else ()),
        *member_params(tuple(model.name for model in case.models), case.problem),
    )


def split_params(*, iterations: int, folds: int) -> tuple[Param, ...]:
    """Return the parameters that say how rows are held out and cut into folds."""
    return (
        Param(
            name="iterations",
            type="int",
            default=iterations,
            low=1,
            high=100,
            description="how often all is done anew on another split; with 2 or more, intervals are over splits",
        ),
        Param(
            name="folds",
            type="int",
            default=folds,
            low=0,
            high=20,
            description="folds of the out-of-fold predictions; 0 does without (soft, majority)",
        ),
        Param(
            name="test_share",
            type="float",
            default=0.2,
            low=0.05,
            high=0.5,
            description="share of rows held out",
        ),
        TEST_FOLDS,
    )


def member_params(names: Sequence[str], problem: str) -> tuple[Param, ...]:
    """Return the parameters that say which models take part."""
    others = tuple(name for name in types_for(problem) if name not in names)
    return (
        Param(
            name="models",
            type="list",
            default=list(names),
            choices=(*names, *others),
            description="members of the ensemble: the scenario's own, or any type with its defaults",
        ),
        *_about_members(),
    )


def any_member_params() -> tuple[Param, ...]:
    """Return :func:`member_params` where the data, and with them the members, are a parameter themselves."""
    names = dict.fromkeys(model.name for case in CASES.values() for model in case.models)
    every = (*types_for("classification"), *types_for("regression"))
    return (
        Param(
            name="models",
            type="list",
            default=[],
            choices=tuple(dict.fromkeys((*names, *every))),
            description="members of the ensemble; none means those of the data set's own scenario",
        ),
        *_about_members(),
    )


def _about_members() -> tuple[Param, ...]:
    return (
        Param(
            name="own_models",
            type="list",
            default=[],
            description="further members of types that you registered under the entry point swarmbench.models",
        ),
        Param(
            name="hyperparameters",
            type="dict",
            default={},
            description='by member, over the scenario\'s: {"svm": {"C": 3}}',
        ),
        Param(
            name="device",
            type="str",
            default="cpu",
            choices=("cpu", "cuda", "gpu"),
            description="where those types train that can choose (xgboost, lightgbm, catboost)",
        ),
    )


def case_param(description: str) -> Param:
    """Return the parameter that says which data are worked on."""
    return Param(name="case", type="str", default="wine", choices=tuple(CASES), description=description)


ROWS_OF_CASE = Param(
    name="rows",
    type="int",
    default=0,
    low=0,
    high=1_000_000,
    description="rows of made data; 0 means as many as the case has",
)


def members_of(known: Sequence[Model], params: Mapping[str, Any]) -> list[Model]:
    """Return the members that the parameters choose, with their hyperparameters.

    Raises :class:`UsageError` for none at all, one named twice, and hyperparameters of a member that is not there.
    """
    by_name = {model.name: model for model in known}
    models = [by_name.get(name, member(name)) for name in params["models"]]
    models += [member(name) for name in params["own_models"]]
    names = [model.name for model in models]
    if not models:
        raise UsageError("params.models is empty; name at least one model", field="params.models", given="[]")
    if len(set(names)) < len(names):
        raise UsageError(
            f"params.models names a member twice: {', '.join(names)}",
            field="params.models",
            given=", ".join(names),
        )
    given = params["hyperparameters"]
    for name, value in given.items():
        if name not in names or not isinstance(value, dict):
            raise UsageError(
                f"params.hyperparameters.{name} is no object of a member's hyperparameters; members are"
                f" {', '.join(names)}",
                field=f"params.hyperparameters.{name}",
                given=str(value)[:100],
                allowed=", ".join(names),
            )
    return [
        msgspec.structs.replace(model, hyperparameters={**model.hyperparameters, **given.get(model.name, {})})
        for model in models
    ]


SCENARIOS: tuple[Scenario, ...] = (
    _scenario(
        "digits",
        "1,797 images of handwritten digits, 10 classes (scikit-learn)",
        _target("accuracy", ">=", 0.95),
        _target("seconds", "<=", 120),
    ),
    _scenario(
        "breast_cancer",
        "569 tumours, benign or malignant, 30 features (scikit-learn)",
        _target("accuracy", ">=", 0.92),
        _target("seconds", "<=", 60),
    ),
    _scenario(
        "wine",
        "178 wines of 3 growers, 13 features (scikit-learn)",
        _target("accuracy", ">=", 0.92),
        _target("seconds", "<=", 60),
    ),
    _scenario(
        "diabetes",
        "442 patients, how far diabetes went in a year, 10 features (scikit-learn)",
        _target("r2", ">=", 0.35),
        _target("seconds", "<=", 60),
    ),
    _scenario(
        "classification_ensemble",
        "10,000 made rows, 20 features (15 informative, 2 redundant), 4 classes, on 5 splits",
        _target("accuracy", ">=", 0.90),
        _target("consensus_time", "<", 5),
        iterations=5,
        timeout_s=3600.0,
    ),
    _scenario(
        "regression_ensemble",
        "5,000 made rows, 20 features (15 informative), noise 0.1, on 3 splits",
        combination="bayesian",
        iterations=3,
        timeout_s=1800.0,
    ),
    _scenario(
        "classification_ensemble_small",
        "1,000 made rows, 20 features (15 informative, 2 redundant), 3 classes",
        _target("accuracy", ">=", 0.85),
        _target("f1", ">=", 0.80),
        _target("seconds", "<=", 60),
    ),
    _scenario(
        "classification_ensemble_large",
        "10,000 made rows, 50 features (40 informative, 2 redundant), 5 classes, 8 models",
        _target("accuracy", ">=", 0.90),
        _target("f1", ">=", 0.85),
        _target("seconds", "<=", 300),
        combination="bayesian",
        timeout_s=1800.0,
    ),
    _scenario(
        "regression_ensemble_small",
        "1,000 made rows, 15 features (12 informative), noise 0.1",
        _target("r2", ">=", 0.80),
        _target("seconds", "<=", 60),
    ),
    _scenario(
        "regression_ensemble_large",
        "5,000 made rows, 30 features (25 informative), noise 0.05, 8 models",
        _target("r2", ">=", 0.85),
        _target("seconds", "<=", 300),
        combination="stacking",
        timeout_s=1800.0,
    ),
    _scenario(
        "hyperparameter_tuning_ensemble",
        "2,000 made rows, 25 features (20 informative, 2 redundant), 4 classes; one type in several settings",
        _target("accuracy", ">=", 0.88),
        _target("diversity", ">=", 0.3),
        _target("seconds", "<=", 180),
        combination="majority",
    ),
    _scenario(
        "cross_validation_ensemble",
        "1,500 made rows, 20 features (15 informative, 2 redundant), 3 classes, 5 folds",
        _target("accuracy", ">=", 0.87),
        _target("cv_accuracy", ">=", 0.85),
        _target("seconds", "<=", 120),
        folds=5,
    ),
)
