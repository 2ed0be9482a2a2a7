"""Models for tables with gaps and words: what fills and encodes stands before the model and is fitted with it."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from swarm_model_agent.datasets import Training

#: Types that learn which way a missing number goes; theirs stay missing.
TAKE_MISSING = ("catboost", "hist_gradient_boost", "lightgbm", "xgboost")
#: Columns that a column of words becomes at most: its rarest words share one.
MOST_COLUMNS = 64


def wrapped(estimator: BaseEstimator, data: Training, *, scale: bool, fill: bool = True) -> Pipeline:
    """Return the unfitted model that fills, encodes and then is the estimator, as steps ``table`` and ``model``.

    Numbers get the median where missing (unless ``fill`` is false) and are standardised with ``scale``. Words get the
    most frequent one where missing, and a column of 0 and 1 each; one that the fit has not seen counts as rare where
    there are rare ones, else as none. Columns of numbers come first, then those of words, each in their order.
    """
    words = list(data.about.categorical)
    numbers = [at for at in range(data.x.shape[1]) if at not in set(words)]
    steps: list[tuple[str, Any]] = []
    if fill:
        # A column without a value in one fold has some in the others.
        steps.append(("fill", SimpleImputer(strategy="median", keep_empty_features=True)))
    if scale:
        steps.append(("scale", StandardScaler()))
    encoder = OneHotEncoder(
        handle_unknown="infrequent_if_exist", max_categories=MOST_COLUMNS, sparse_output=False
    )
    frequent = SimpleImputer(strategy="most_frequent", keep_empty_features=True)
    columns = [
        ("numbers", Pipeline(steps) if steps else "passthrough", numbers),
        ("words", Pipeline([("fill", frequent), ("encode", encoder)]), words),
    ]
    table = ColumnTransformer([column for column in columns if column[2]], sparse_threshold=0.0)
    return Pipeline([("table", table), ("model", estimator)])
