"""XGBoost's estimators (Chen and Guestrin, *XGBoost: A Scalable Tree Boosting System*, 2016) as scikit-learn's are."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from xgboost import XGBClassifier, XGBRegressor

__all__ = ["Classifier", "Regressor"]


class Classifier(XGBClassifier):
    """``XGBClassifier`` for any labels: its own fit takes 0 to k-1 alone, and a fold may miss one of them."""

    objective: Any

    def fit(self, X: ArrayLike, y: ArrayLike, **more: Any) -> Self:  # noqa: N803 - scikit-learn's name
        """Fit; raises ``ValueError`` where there is one class only, as scikit-learn's boosting does."""
        self.__dict__.pop("labels_", None)  # of an earlier fit: while fitting, the classes are the codes
        labels, codes = np.unique(np.asarray(y), return_inverse=True)
        if len(labels) < 2:
            raise ValueError(f"y holds {len(labels)} class; two at least are needed")
        # A fit sets the objective by its number of classes, and the next one may see fewer.
        objective = self.objective
        try:
            super().fit(X, codes, **more)
        finally:
            self.objective = objective
        self.labels_ = labels
        return self

    def predict(self, X: ArrayLike, **more: Any) -> NDArray[Any]:  # noqa: N803 - scikit-learn's name
        """Return the most probable label of each row."""
        found = np.asarray(super().predict(X, **more))
        return found if more.get("output_margin") else self.labels_[found]

    @property
    def classes_(self) -> NDArray[Any]:
        """The labels that the fit saw, ascending: the columns of ``predict_proba``."""
        labels: NDArray[Any] | None = self.__dict__.get("labels_")
        return np.arange(self.n_classes_) if labels is None else labels


Regressor = XGBRegressor
