"""Stacking (Wolpert 1992): a model over the members' out-of-fold predictions.

It is that of scikit-learn's ``StackingClassifier`` and ``StackingRegressor`` with their defaults. Importing this
imports scikit-learn, so it is imported where stacking is asked for and nowhere else.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, RidgeCV

from swarm_common.resampling import Floats
from swarm_consensus.scoring import settled_all

#: Digits of coefficients and decimals of probabilities: far beyond what the solver's tolerance leaves of meaning, and
#: short of the last bits, in which processors differ.
_DIGITS = 8
_FILTERS = threading.Lock()  # catch_warnings() is for one thread at a time


class Stacked(msgspec.Struct, frozen=True):
    """A fitted model over the members."""

    model: Any
    classes: int
    """How many; 1 for values."""
    warnings: tuple[str, ...]

    def predict(self, predictions: Sequence[Floats]) -> Floats:
        """Return class probabilities ``(rows, classes)`` or values ``(rows,)``."""
        features = features_of(predictions)
        if self.classes == 1:
            # One by one: a matrix product rounds differently on different processors.
            values = np.full(len(features), float(self.model.intercept_))
            for coefficient, column in zip(self.model.coef_.tolist(), features.T, strict=True):
                values += coefficient * column
            return values
        # A class that the fit has not seen gets nothing.
        found = np.zeros((len(features), self.classes))
        found[:, self.model.classes_] = np.round(self.model.predict_proba(features), _DIGITS)
        return found

    @property
    def coefficients(self) -> tuple[tuple[float, ...], ...]:
        """One row a class (one alone for two): intercept, then the features' coefficients."""
        rows = np.column_stack([np.atleast_1d(self.model.intercept_), np.atleast_2d(self.model.coef_)])
        return tuple(tuple(row) for row in rows.tolist())


def features_of(predictions: Sequence[Floats]) -> Floats:
    """Return ``(rows, features)``: of two classes the second's probability, of more all, of values the value."""
    if predictions[0].ndim == 1:
        return np.column_stack(predictions)
    first = 1 if predictions[0].shape[1] == 2 else 0
    return np.hstack([prediction[:, first:] for prediction in predictions])


def fit(predictions: Sequence[Floats], truth: NDArray[Any]) -> Stacked:
    """Fit ``LogisticRegression()`` (classes) or ``RidgeCV()`` (values) on out-of-fold predictions.

    Coefficients are rounded to 8 significant digits, probabilities to 8 decimals. Where ``truth`` has only one class,
    that is certain.
    """
    classes = predictions[0].shape[1] if predictions[0].ndim == 2 else 1
    features = features_of(predictions)
    if classes > 1 and len(found := np.unique(truth)) == 1:
        return Stacked(_Certain(found, features.shape[1]), classes, ())
    model = LogisticRegression() if classes > 1 else RidgeCV()
    with _FILTERS, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model.fit(features, truth)
    model.coef_, model.intercept_ = _rounded(model.coef_), _rounded(model.intercept_)
    return Stacked(model, classes, tuple(dict.fromkeys(str(one.message).split("\n")[0] for one in said)))


def _rounded(values: Any) -> Any:
    rounded = settled_all(np.asarray(values, dtype=np.float64), _DIGITS)
    return rounded if rounded.ndim else float(rounded)


class _Certain:
    """What a fit on one class comes to."""

    def __init__(self, classes_: NDArray[Any], features: int) -> None:
        self.classes_ = classes_
        self.coef_, self.intercept_ = np.zeros((1, features)), np.zeros(1)

    def predict_proba(self, features: Floats) -> Floats:
        """Return ones."""
        return np.ones((len(features), 1))
