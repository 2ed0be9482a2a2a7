"""Types of model: one table from the names users give to scikit-learn's estimators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

from swarm_common.errors import UsageError


class ModelType(msgspec.Struct, frozen=True):
    """What stands behind a name, for each kind of problem it can solve."""

    classifier: type[BaseEstimator] | None = None
    regressor: type[BaseEstimator] | None = None
    wants_scaling: bool = False
    """Whether it is sensitive to the scale of features, so that a ``StandardScaler`` goes first."""
    calibrated: bool = False
    """Whether the classifier has no probabilities of its own.

    Then it stands in ``CalibratedClassifierCV(..., ensemble=False)`` (Platt 1999, five folds), which scikit-learn 1.9
    recommends in place of ``SVC(probability=True)``.
    """


MODEL_TYPES: dict[str, ModelType] = {
    "elastic_net": ModelType(None, ElasticNet, wants_scaling=True),
    "gradient_boost": ModelType(GradientBoostingClassifier, GradientBoostingRegressor),
    "hist_gradient_boost": ModelType(HistGradientBoostingClassifier, HistGradientBoostingRegressor),
    "lasso_regression": ModelType(None, Lasso, wants_scaling=True),
    "linear_regression": ModelType(None, LinearRegression, wants_scaling=True),
    "logistic_regression": ModelType(LogisticRegression, None, wants_scaling=True),
    "neural_network": ModelType(MLPClassifier, MLPRegressor, wants_scaling=True),
    "random_forest": ModelType(RandomForestClassifier, RandomForestRegressor),
    "ridge_regression": ModelType(None, Ridge, wants_scaling=True),
    "svm": ModelType(SVC, SVR, wants_scaling=True, calibrated=True),
}

#: What scikit-learn sets a parameter to that it is about to remove: nothing a user could have chosen.
_DEPRECATED = "deprecated"


def build(
    name: str, problem: str, hyperparameters: Mapping[str, Any], *, seed: int, scale: bool = True
) -> BaseEstimator:
    """Return the unfitted model: an estimator, behind a scaler where its type wants one.

    ``seed`` is its ``random_state``, unless the hyperparameters give one. Raises :class:`UsageError` for an
    unknown type, one that does not solve this ``problem`` and a hyperparameter that the estimator does not have.
    """
    entry = _entry(name, problem)
    kind = entry.classifier if problem == "classification" else entry.regressor
    assert kind is not None  # noqa: S101 - _entry has looked
    known = {key: value for key, value in kind().get_params(deep=False).items() if value != _DEPRECATED}
    for key in hyperparameters:
        if key not in known:
            raise UsageError(
                f"{name} ({kind.__name__}) has no hyperparameter {key!r}; it has {', '.join(known)}",
                field=f"params.hyperparameters.{key}",
                given=key,
                allowed=", ".join(known),
            )
    seeded = {"random_state": seed} if "random_state" in known else {}
    estimator = kind(**{**seeded, **hyperparameters})
    if entry.calibrated and problem == "classification":
        estimator = CalibratedClassifierCV(estimator, ensemble=False)
    if not (scale and entry.wants_scaling):
        return estimator
    return Pipeline([("scale", StandardScaler()), ("model", estimator)])


def hyperparameters_of(model: BaseEstimator) -> dict[str, Any]:
    """Return the hyperparameters of the estimator within a model, as it reports them itself."""
    inner = model[-1] if isinstance(model, Pipeline) else model
    if isinstance(inner, CalibratedClassifierCV):
        inner = inner.estimator
    params = inner.get_params(deep=False)
    return {key: _plain(value) for key, value in params.items() if value != _DEPRECATED}


def _plain(value: Any) -> Any:
    """Return a value as JSON can say it; what it cannot say, as text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return repr(value)


def _entry(name: str, problem: str) -> ModelType:
    fitting = [
        key
        for key, entry in MODEL_TYPES.items()
        if (entry.classifier if problem == "classification" else entry.regressor) is not None
    ]
    if name not in fitting:
        known = f"does not solve {problem}" if name in MODEL_TYPES else "is no type of model"
        raise UsageError(
            f"{name!r} {known}; for {problem} there are {', '.join(fitting)}",
            field="params.model_type",
            given=name,
            allowed=", ".join(fitting),
        )
    return MODEL_TYPES[name]
