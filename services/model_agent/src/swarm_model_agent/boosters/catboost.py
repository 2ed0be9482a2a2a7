"""CatBoost's estimators (Prokhorenkova and others, *CatBoost: unbiased boosting with categorical features*, 2018)."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from catboost import CatBoostClassifier, CatBoostError, CatBoostRegressor
from numpy.typing import ArrayLike, NDArray


class _Plain:
    """What scikit-learn expects of an estimator and CatBoost's do otherwise."""

    def __sklearn_clone__(self) -> Self:
        """Return an unfitted copy; CatBoost copies lists it is given, which scikit-learn's ``clone`` takes amiss."""
        return type(self)(**self.get_params())  # type: ignore[attr-defined]  # of the class beside

    def fit(self, X: ArrayLike, y: ArrayLike, **more: Any) -> Self:  # noqa: N803 - scikit-learn's name
        """Fit; a value that CatBoost refuses is a ``ValueError``."""
        try:
            super().fit(X, y, **more)  # type: ignore[misc]  # of the class beside
        except CatBoostError as error:
            raise ValueError(str(error)) from error
        return self

    def predict(self, X: ArrayLike, **more: Any) -> NDArray[Any]:  # noqa: N803 - scikit-learn's name
        """Return one prediction a row; CatBoost gives labels of more than two classes as a column."""
        found = np.asarray(super().predict(X, **more))  # type: ignore[misc]  # of the class beside
        return found[:, 0] if found.ndim == 2 and found.shape[1] == 1 else found


class Classifier(_Plain, CatBoostClassifier):
    """``CatBoostClassifier``; it takes any labels."""


class Regressor(_Plain, CatBoostRegressor):
    """``CatBoostRegressor``."""
