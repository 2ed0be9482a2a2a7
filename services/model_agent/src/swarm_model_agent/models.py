"""Types of model: one table from the names users give to scikit-learn's estimators, and to those that speak its way.

Three libraries are extras (``pip install 'swarm-model-agent[boosting]'``); further types come from other
distributions, see :mod:`~swarm_model_agent.registry`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

from sklearn.base import BaseEstimator, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import (
    BayesianRidge,
    ElasticNet,
    Lasso,
    LinearRegression,
    LogisticRegression,
    Ridge,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from swarm_common.errors import UsageError
from swarm_model_agent import devices, registry
from swarm_model_agent.registry import ModelType

__all__ = [
    "MODEL_TYPES",
    "ModelType",
    "build",
    "device_of",
    "estimator",
    "hyperparameters_of",
    "known_types",
    "wants_scaling",
]

_BOOSTERS = "swarm_model_agent.boosters"

# The workers are one a core, so each library gets one thread. None writes to the console or the disk by itself.
_XGBOOST = ModelType(
    f"{_BOOSTERS}.xgboost:Classifier",
    f"{_BOOSTERS}.xgboost:Regressor",
    extra="xgboost",
    defaults={"n_jobs": 1},  # its warnings are Python's, and stand in the event
    further=(
        *("normalize_type", "one_drop", "rate_drop", "sample_type", "skip_drop"),  # of booster "dart"
        *("feature_selector", "top_k", "updater"),  # of booster "gblinear"
        *("huber_slope", "max_cached_hist_node", "quantile_alpha", "refresh_leaf", "tweedie_variance_power"),
    ),
    device="device",
)
_LIGHTGBM = ModelType(
    f"{_BOOSTERS}.lightgbm:Classifier",
    f"{_BOOSTERS}.lightgbm:Regressor",
    extra="lightgbm",
    defaults={"n_jobs": 1, "verbosity": -1, "deterministic": True, "force_row_wise": True},
    further=(
        *("alpha", "boost_from_average", "cat_l2", "cat_smooth", "data_sample_strategy", "deterministic"),
        *("device_type", "drop_rate", "extra_trees", "fair_c", "feature_fraction_bynode", "force_col_wise"),
        *("force_row_wise", "interaction_constraints", "is_unbalance", "linear_lambda", "linear_tree"),
        *("max_bin", "max_delta_step", "max_drop", "min_data_in_bin", "min_data_per_group"),
        *(
            "monotone_constraints",
            "neg_bagging_fraction",
            "other_rate",
            "path_smooth",
            "poisson_max_delta_step",
        ),
        *("pos_bagging_fraction", "scale_pos_weight", "skip_drop", "top_rate", "tweedie_variance_power"),
        *("uniform_drop", "use_quantized_grad", "verbose", "verbosity", "xgboost_dart_mode"),
    ),
    same=(("verbose", "verbosity"), ("force_col_wise", "force_row_wise")),
    device="device_type",
)
_CATBOOST = ModelType(
    f"{_BOOSTERS}.catboost:Classifier",
    f"{_BOOSTERS}.catboost:Regressor",
    extra="catboost",
    defaults={"thread_count": 1, "logging_level": "Silent", "allow_writing_files": False},
    same=(("random_seed", "random_state"), ("logging_level", "silent", "verbose")),
    device="task_type",
    devices={"cuda": "GPU", "gpu": "GPU"},
)

MODEL_TYPES: dict[str, ModelType] = {
    "ada_boost": ModelType(AdaBoostClassifier, AdaBoostRegressor),
    "bayesian_ridge": ModelType(None, BayesianRidge, wants_scaling=True),
    "catboost": _CATBOOST,
    "decision_tree": ModelType(DecisionTreeClassifier, DecisionTreeRegressor),
    "elastic_net": ModelType(None, ElasticNet, wants_scaling=True),
    "extra_trees": ModelType(ExtraTreesClassifier, ExtraTreesRegressor),
    "gradient_boost": ModelType(GradientBoostingClassifier, GradientBoostingRegressor),
    "hist_gradient_boost": ModelType(HistGradientBoostingClassifier, HistGradientBoostingRegressor),
    "k_neighbors": ModelType(KNeighborsClassifier, KNeighborsRegressor, wants_scaling=True),
    "lasso_regression": ModelType(None, Lasso, wants_scaling=True),
    "lightgbm": _LIGHTGBM,
    "linear_discriminant": ModelType(LinearDiscriminantAnalysis, None, wants_scaling=True),
    "linear_regression": ModelType(None, LinearRegression, wants_scaling=True),
    "linear_svm": ModelType(LinearSVC, LinearSVR, wants_scaling=True, calibrated=True),
    "logistic_regression": ModelType(LogisticRegression, None, wants_scaling=True),
    "naive_bayes": ModelType(GaussianNB, None),
    "neural_network": ModelType(MLPClassifier, MLPRegressor, wants_scaling=True),
    "random_forest": ModelType(RandomForestClassifier, RandomForestRegressor),
    "ridge_regression": ModelType(None, Ridge, wants_scaling=True),
    "svm": ModelType(SVC, SVR, wants_scaling=True, calibrated=True),
    "xgboost": _XGBOOST,
}

#: What scikit-learn sets a parameter to that it is about to remove: nothing a user could have chosen.
_DEPRECATED = "deprecated"
_SEED = "random_state"


def build(
    name: str,
    problem: str,
    hyperparameters: Mapping[str, Any],
    *,
    seed: int,
    scale: bool = True,
    device: str = "cpu",
) -> BaseEstimator:
    """Return the unfitted model: an estimator, behind a scaler where its type wants one.

    Arguments and errors are those of :func:`estimator`.
    """
    model = estimator(name, problem, hyperparameters, seed=seed, device=device)
    if not (scale and wants_scaling(name)):
        return model
    return Pipeline([("scale", StandardScaler()), ("model", model)])


def estimator(
    name: str, problem: str, hyperparameters: Mapping[str, Any], *, seed: int, device: str = "cpu"
) -> BaseEstimator:
    """Return the unfitted estimator by itself, calibrated where it has no probabilities of its own.

    ``seed`` is its ``random_state``, unless the hyperparameters give one. ``device`` is ``cpu``, ``cuda`` or ``gpu``;
    types that have no such setting (see :func:`device_of`) stay on the CPU. Raises :class:`UsageError` for a type that
    is unknown, broken, not installed or does not solve this ``problem``, for a hyperparameter that the estimator does
    not have and for a device that is not there.
    """
    entry = _entry(name, problem)
    prototype = entry.prototype(name, problem)
    known = _known(prototype, entry)
    for key in hyperparameters:
        if key not in known:
            title = getattr(prototype, "__name__", type(prototype).__name__)
            raise UsageError(
                f"{name} ({title}) has no hyperparameter {key!r}; it has {', '.join(sorted(known))}",
                field=f"params.hyperparameters.{key}",
                given=key,
                allowed=", ".join(sorted(known)),
            )
    settings = dict(entry.defaults) | _seeds(known, seed)
    for group in entry.same:
        if not hyperparameters.keys().isdisjoint(group):
            settings = {key: value for key, value in settings.items() if key not in group}
    settings |= {key: _meant(key, value, known[key]) for key, value in hyperparameters.items()}
    settings |= devices.setting(name, entry, device, hyperparameters)
    made = prototype(**settings) if isinstance(prototype, type) else clone(prototype).set_params(**settings)
    if entry.calibrated and problem == "classification":
        return CalibratedClassifierCV(made, ensemble=False)
    return made


def known_types(problem: str) -> tuple[str, ...]:
    """Return the types that solve a problem and can be built here: installed, and those of others that load."""
    own = [name for name, entry in MODEL_TYPES.items() if entry.solves(problem) and entry.installed()]
    return (*own, *(name for name, entry in _brought().items() if entry.solves(problem)))


def wants_scaling(name: str) -> bool:
    """Say whether a type is sensitive to the scale of features, so that :func:`build` puts a scaler before it."""
    return _any_entry(name).wants_scaling


def device_of(name: str) -> str | None:
    """Return the hyperparameter by which a type is told its device; ``None`` where it stays on the CPU."""
    return _any_entry(name).device or None


def hyperparameters_of(model: BaseEstimator) -> dict[str, Any]:
    """Return the hyperparameters of the estimator within a model, as it reports them itself, as JSON can say them."""
    inner = (
        model.named_steps["model"] if isinstance(model, Pipeline) and "model" in model.named_steps else model
    )
    if isinstance(inner, CalibratedClassifierCV):
        inner = inner.estimator
    if isinstance(
        inner, Pipeline
    ):  # a prototype of somebody's: `step__parameter`, without the steps themselves
        params = {key: value for key, value in inner.get_params().items() if "__" in key}
    else:
        params = inner.get_params(deep=False)
    return {key: _plain(value) for key, value in params.items() if not _is_deprecated(value)}


def _known(prototype: Any, entry: ModelType) -> dict[str, Any]:
    """Return the names of the hyperparameters that can be given, each with its default."""
    if isinstance(prototype, type):
        # The signature, too: CatBoost's get_params names only what it was given.
        named = inspect.signature(prototype).parameters.values()
        found = {
            one.name: one.default for one in named if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
        }
        found |= prototype().get_params(deep=False)
    else:
        found = prototype.get_params(deep=True)
    known = {key: value for key, value in found.items() if not _is_deprecated(value)}
    return dict.fromkeys(entry.further) | known


def _seeds(known: Mapping[str, Any], seed: int) -> dict[str, int]:
    """Return the seed under each name that wants one: the estimator's own and those of steps in a prototype."""
    return {
        key: seed
        for key, value in known.items()
        if value is None and (key == _SEED or key.endswith(f"__{_SEED}"))
    }


def _meant(key: str, value: Any, default: Any) -> Any:
    """Return a value as the estimator wants it where JSON has no word for it."""
    if isinstance(value, list) and isinstance(default, tuple):
        return tuple(value)
    if isinstance(value, dict) and key.rpartition("__")[2] == "class_weight":
        return {int(label) if str(label).isdecimal() else label: weight for label, weight in value.items()}
    if value in ("nan", "inf", "-inf") and isinstance(default, float):
        return float(value)
    return value


def _plain(value: Any) -> Any:
    """Return a value as JSON can say it; what it cannot say, as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(float(value))
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return repr(value)


def _is_deprecated(value: Any) -> bool:
    return isinstance(value, str) and value == _DEPRECATED


def _brought() -> dict[str, ModelType]:
    """Return the types that other distributions bring and that are in order."""
    found = {}
    for name in registry.claimed():
        if name not in MODEL_TYPES:
            try:
                found[name] = registry.load(name)
            except UsageError:  # said when it is used
                continue
    return found


def _any_entry(name: str) -> ModelType:
    """Return what stands behind a name; raises :class:`UsageError` where there is nothing, or nothing that works."""
    claims = registry.claimed().get(name, ())
    if name in MODEL_TYPES:
        if claims:
            raise UsageError(
                f"type of model {name!r} is built in, and {registry.whose(claims[0])} brings another of that name; "
                f"give its entry point ({registry.GROUP}) another name, or uninstall it",
                field="params.model_type",
                given=name,
            )
        return MODEL_TYPES[name]
    if claims:
        return registry.load(name)
    everywhere = sorted({*MODEL_TYPES, *registry.claimed()})
    raise _unknown(name, "is no type of model", "there are", everywhere)


def _entry(name: str, problem: str) -> ModelType:
    """Return what stands behind a name, if it solves the problem."""
    if name not in MODEL_TYPES and name not in registry.claimed():
        raise _unknown(name, "is no type of model", f"for {problem} there are", known_types(problem))
    entry = _any_entry(name)
    if not entry.solves(problem):
        raise _unknown(name, f"does not solve {problem}", f"for {problem} there are", known_types(problem))
    return entry


def _unknown(name: str, what: str, there: str, names: tuple[str, ...] | list[str]) -> UsageError:
    absent = [key for key, entry in MODEL_TYPES.items() if not entry.installed()]
    extras = f" (not installed: {', '.join(absent)})" if absent else ""
    return UsageError(
        f"{name!r} {what}; {there} {', '.join(names)}{extras}",
        field="params.model_type",
        given=name,
        allowed=", ".join(names),
    )
