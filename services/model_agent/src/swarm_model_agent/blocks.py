"""From the words of a pipeline to scikit-learn's. Every transform stands inside, so it is fitted with the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.feature_selection import (
    SelectFromModel,
    SelectPercentile,
    VarianceThreshold,
    f_classif,
    f_regression,
)
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)

from swarm_common.errors import UsageError
from swarm_common.pipelines import Spec
from swarm_model_agent.models import estimator


class Setting(msgspec.Struct, frozen=True):
    """What a block may depend on beside its name."""

    problem: str
    seed: int


Block = Callable[[Setting], Any]


def _nothing(_: Setting) -> Any:
    return "passthrough"


def _simple(**options: Any) -> Block:
    # A fold in which a column has no value at all must not lose the column: the other folds have it.
    return lambda _: SimpleImputer(keep_empty_features=True, **options)


def _components(share: float) -> Block:
    return lambda setting: PCA(share, svd_solver="full", random_state=setting.seed)


def _best(percentile: int) -> Block:
    return lambda setting: SelectPercentile(
        f_classif if setting.problem == "classification" else f_regression, percentile=percentile
    )


def _model_based(setting: Setting) -> Any:
    trees = ExtraTreesClassifier if setting.problem == "classification" else ExtraTreesRegressor
    return SelectFromModel(trees(n_estimators=50, random_state=setting.seed), threshold="median")


def _target(setting: Setting) -> Any:
    # Whole numbers that are values would be taken for classes.
    kind = "auto" if setting.problem == "classification" else "continuous"
    return TargetEncoder(target_type=kind, random_state=setting.seed)


#: By block: what its words stand for. The words are those of :func:`swarm_common.pipelines.space`.
TABLES: Mapping[str, dict[str, Block]] = {
    "impute": {
        "mean": _simple(strategy="mean"),
        "median": _simple(strategy="median"),
        "most_frequent": _simple(strategy="most_frequent"),
        "indicator": _simple(strategy="mean", add_indicator=True),
        "nearest": lambda _: KNNImputer(keep_empty_features=True),
    },
    "encode": {
        "ordinal": _nothing,  # columns of words come as codes
        "onehot": lambda _: OneHotEncoder(handle_unknown="ignore", sparse_output=False),
        "target": _target,
    },
    "scale": {
        "none": _nothing,
        "standard": lambda _: StandardScaler(),
        "minmax": lambda _: MinMaxScaler(),
        "robust": lambda _: RobustScaler(),
        "power": lambda _: PowerTransformer(),
        "quantile": lambda setting: QuantileTransformer(
            n_quantiles=50, output_distribution="normal", random_state=setting.seed
        ),
    },
    "features": {
        "none": _nothing,
        "pca_95": _components(0.95),
        "pca_80": _components(0.80),
        "interactions": lambda _: PolynomialFeatures(2, interaction_only=True, include_bias=False),
        "polynomial": lambda _: PolynomialFeatures(2, include_bias=False),
        "bins": lambda _: KBinsDiscretizer(
            5, encode="onehot-dense", strategy="quantile", quantile_method="averaged_inverted_cdf"
        ),
        "splines": lambda _: SplineTransformer(n_knots=5, degree=3, include_bias=False),
    },
    "select": {
        "none": _nothing,
        "variance": lambda _: VarianceThreshold(),
        "best_75": _best(75),
        "best_50": _best(50),
        "best_25": _best(25),
        "model_based": _model_based,
    },
}


def pipeline_of(spec: Spec, problem: str, *, categorical: Sequence[int] = (), seed: int) -> Pipeline:
    """Return the unfitted pipeline: fill, encode, scale, make features, select, model; what does nothing is left out.

    ``categorical`` names the columns that hold codes of words: they are filled with the most frequent one and encoded;
    all others are numbers and filled as the spec says. ``seed`` is the ``random_state`` of every step that has one.
    Raises :class:`UsageError` for a word that is not known and for what the model's type refuses.
    """
    setting = Setting(problem, seed)
    steps = {block: _step(spec, block, setting) for block in TABLES}
    fill, encode = steps.pop("impute"), steps.pop("encode")
    named: list[tuple[str, Any]] = [("impute", _columns(fill, encode, categorical))]
    named += [(block, step) for block, step in steps.items() if step != "passthrough"]
    named.append(("model", estimator(spec.model, problem, spec.hyperparameters, seed=seed)))
    return Pipeline(named)


def _columns(fill: Any, encode: Any, categorical: Sequence[int]) -> Any:
    """Return what brings numbers and words to columns without gaps: numbers first, then what the words became."""
    if not categorical:
        return fill
    words: list[tuple[str, Any]] = [
        ("impute", SimpleImputer(strategy="most_frequent", keep_empty_features=True))
    ]
    words += [] if encode == "passthrough" else [("encode", encode)]
    chosen = list(categorical)
    return ColumnTransformer([("words", Pipeline(words), chosen)], remainder=fill, sparse_threshold=0.0)


def _step(spec: Spec, block: str, setting: Setting) -> Any:
    name, table = getattr(spec, block), TABLES[block]
    if name not in table:
        allowed = ", ".join(table)
        raise UsageError(
            f"params.spec.{block} is {name!r}; there are {allowed}",
            field=f"params.spec.{block}",
            given=name,
            allowed=allowed,
        )
    return table[name](setting)
