"""What a fit costs, estimated before it is done: the dearest start first, what is too dear for one core is shared out.

An estimate only orders and cuts work. It decides nothing about results, and what a fit truly cost is measured by its
worker. The figures are CPU seconds of one core of 2024, from fits of 8,000 rows and 20 features.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

Cost = Callable[[Mapping[str, Any], int, int, int], float]
"""From hyperparameters, rows, features and classes (0 for values) to CPU seconds of a fit."""


def _trees(count: float, rows: int, width: float) -> float:
    return count * rows * math.log2(max(rows, 2)) * width * 5e-8


def _forest(given: Mapping[str, Any], rows: int, features: int, classes: int) -> float:
    width = math.sqrt(features) if classes else features
    depth = given.get("max_depth") or 64
    shallow = min(1.0, depth / math.log2(max(rows, 2)))
    return 0.01 + _trees(given.get("n_estimators", 100), rows, width) * shallow


def _boosting(given: Mapping[str, Any], rows: int, features: int, classes: int) -> float:
    trees = given.get("n_estimators", 100) * (classes if classes > 2 else 1)
    return 0.01 + float(trees) * rows * features * 2.4e-7


def _histograms(given: Mapping[str, Any], rows: int, features: int, classes: int) -> float:
    rounds = given.get("max_iter", given.get("n_estimators", given.get("iterations", 100)))
    trees = rounds * (classes if classes > 2 else 1)
    return 0.02 + float(trees) * (5e-4 + rows * features * 1.5e-8)


def _network(given: Mapping[str, Any], rows: int, features: int, classes: int) -> float:
    layers = [features, *given.get("hidden_layer_sizes", [100]), max(classes, 1)]
    weights = sum(before * after for before, after in itertools.pairwise(layers))
    epochs = min(given.get("max_iter", 200), 120)
    return float(epochs * (rows * weights * 6e-10 + rows / 200 * 2.5e-4))


def _vectors(_given: Mapping[str, Any], rows: int, features: int, classes: int) -> float:
    once = rows * rows * (features + 20) * 4e-10
    return 0.01 + once * (4.2 if classes else 1.0)


def _linear(_given: Mapping[str, Any], rows: int, features: int, classes: int) -> float:
    return 0.004 + rows * features * max(classes, 1) * 5e-8


def _neighbours(_given: Mapping[str, Any], rows: int, features: int, _classes: int) -> float:
    return 0.004 + rows * rows * features * 2e-10


_CLASSIFIES, _REGRESSES = "classification", "regression"
_BOTH = (_CLASSIFIES, _REGRESSES)
_TYPES: Mapping[str, tuple[tuple[str, ...], Cost]] = {
    "random_forest": (_BOTH, _forest),
    "extra_trees": (_BOTH, _forest),
    "gradient_boost": (_BOTH, _boosting),
    "hist_gradient_boost": (_BOTH, _histograms),
    "xgboost": (_BOTH, _histograms),
    "lightgbm": (_BOTH, _histograms),
    "catboost": (_BOTH, _histograms),
    "neural_network": (_BOTH, _network),
    "svm": (_BOTH, _vectors),
    "k_neighbors": (_BOTH, _neighbours),
    "decision_tree": (_BOTH, _linear),
    "ada_boost": (_BOTH, _boosting),
    "logistic_regression": ((_CLASSIFIES,), _linear),
    "naive_bayes": ((_CLASSIFIES,), _linear),
    "linear_discriminant": ((_CLASSIFIES,), _linear),
    "linear_svm": (_BOTH, _linear),
    "linear_regression": ((_REGRESSES,), _linear),
    "bayesian_ridge": ((_REGRESSES,), _linear),
    "ridge_regression": ((_REGRESSES,), _linear),
    "lasso_regression": ((_REGRESSES,), _linear),
    "elastic_net": ((_REGRESSES,), _linear),
}
#: Types whose fit on all rows can be shared out by trees.
FORESTS = ("random_forest", "extra_trees")


def types_for(problem: str) -> tuple[str, ...]:
    """Return the types of model that solve a problem, as planners know them."""
    return tuple(name for name, (problems, _) in _TYPES.items() if problem in problems)


def cost_s(model_type: str, given: Mapping[str, Any], *, rows: int, features: int, classes: int) -> float:
    """Return the CPU seconds that a fit may take; of a type that nobody knows, as much as a forest's."""
    cost = _TYPES[model_type][1] if model_type in _TYPES else _forest
    try:
        return max(cost(given, rows, features, classes), 0.001)
    except (TypeError, ValueError):  # a hyperparameter that is no number: the worker will say so
        return 1.0
