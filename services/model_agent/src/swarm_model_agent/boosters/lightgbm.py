"""LightGBM's estimators (Ke and others, *LightGBM: A Highly Efficient Gradient Boosting Decision Tree*, 2017)."""

from __future__ import annotations

from typing import Any, Self

from lightgbm import LGBMClassifier, LGBMRegressor
from lightgbm.basic import LightGBMError
from numpy.typing import ArrayLike


class _Refusing:
    """A value that LightGBM refuses is a ``ValueError``, as it is with scikit-learn's estimators."""

    def fit(self, X: ArrayLike, y: ArrayLike, **more: Any) -> Self:  # noqa: N803 - scikit-learn's name
        """Fit as LightGBM does."""
        try:
            super().fit(X, y, **more)  # type: ignore[misc]  # of the class beside
        except LightGBMError as error:
            raise ValueError(str(error)) from error
        return self


class Classifier(_Refusing, LGBMClassifier):
    """``LGBMClassifier``; it takes any labels."""


class Regressor(_Refusing, LGBMRegressor):
    """``LGBMRegressor``."""
