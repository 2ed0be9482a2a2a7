"""The search space of pipelines: what can stand in each block, how to draw from it, and recipes known to be good.

A pipeline is seven blocks: ``impute``, ``encode``, ``scale``, ``features`` (what is made of them), ``select``,
``model`` and ``hyperparameters`` (which depend on the model). The optimizer proposes in these words and model-agent
builds them; nothing here imports a numerical library.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from swarm_common.errors import UsageError

#: The blocks, in the order in which data pass through them; the last sets what the last but one leaves open.
BLOCKS = ("impute", "encode", "scale", "features", "select", "model", "hyperparameters")
#: With more features than this, all pairs of them are too many.
_MOST_FOR_PAIRS = 30
#: With more features than this, several columns for each are too many.
_MOST_FOR_BASES = 100
#: A step to a neighbouring value, as standard deviation on the range's scale from 0 to 1.
_STEP = 0.2


class Spec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole pipeline. The defaults are each block's plainest choice."""

    impute: str = "mean"
    encode: str = "ordinal"
    scale: str = "none"
    features: str = "none"
    select: str = "none"
    model: str
    """A type of model: ``random_forest``."""
    hyperparameters: dict[str, Any] = {}
    """Of the model; those left out keep their library's defaults."""


class Int(msgspec.Struct, frozen=True, tag=True):
    """Whole numbers from ``low`` to ``high``, both included; ``log`` draws them evenly by their logarithm."""

    low: int
    high: int
    log: bool = False


class Float(msgspec.Struct, frozen=True, tag=True):
    """Numbers from ``low`` to ``high``; ``log`` draws them evenly by their logarithm."""

    low: float
    high: float
    log: bool = False


class Choice(msgspec.Struct, frozen=True, tag=True):
    """One of some values that JSON can say."""

    options: tuple[Any, ...]


Range = Int | Float | Choice


class Model(msgspec.Struct, frozen=True):
    """What is searched for a type of model."""

    ranges: dict[str, Range]
    plain: dict[str, Any] = {}
    """Hyperparameters it starts from, where the library's defaults do not do."""


class Space(msgspec.Struct, frozen=True):
    """All pipelines for some data."""

    problem: str
    """``classification`` or ``regression``."""
    n_features: int
    choices: dict[str, tuple[str, ...]]
    """By block but ``hyperparameters``: what can stand there, the plainest first."""
    models: dict[str, Model]
    """By type of model, as ``choices["model"]`` names them."""

    @property
    def blocks(self) -> tuple[str, ...]:
        """The blocks in which there is a choice, in their order."""
        return tuple(block for block in BLOCKS if block == "hyperparameters" or len(self.choices[block]) > 1)


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """A pipeline known to be good, why, and who says so."""

    name: str
    spec: Spec
    why: str
    source: str


_FOREST = Model(
    {
        "n_estimators": Int(50, 300, log=True),
        "max_depth": Choice((None, 6, 12, 24)),
        "max_features": Choice(("sqrt", 0.33, 0.66, 1.0)),
        "min_samples_leaf": Int(1, 16, log=True),
    }
)
_HISTOGRAM = Model(
    {
        "learning_rate": Float(0.02, 0.3, log=True),
        "max_iter": Int(30, 200, log=True),
        "max_leaf_nodes": Int(4, 64, log=True),
        "min_samples_leaf": Int(5, 50, log=True),
        "l2_regularization": Float(1e-3, 10.0, log=True),
    }
)
_NETWORK = Model(
    {
        "hidden_layer_sizes": Choice(([32], [64], [128], [64, 32])),
        "alpha": Float(1e-5, 1.0, log=True),
        "learning_rate_init": Float(3e-4, 3e-2, log=True),
    }
)
_KERNEL: dict[str, Range] = {"C": Float(0.03, 100.0, log=True), "kernel": Choice(("rbf", "linear", "poly"))}
#: Without scaling the solver may go on for minutes: it stops after so many steps, and warns.
_STEPS = {"max_iter": 100_000}
_GAMMA = Choice(("scale", "auto", 0.001, 0.01, 0.1, 1.0))

MODELS: Mapping[str, Mapping[str, Model]] = {
    "classification": {
        "logistic_regression": Model({"C": Float(1e-3, 100.0, log=True)}, {"max_iter": 1000}),
        "random_forest": _FOREST,
        "hist_gradient_boost": _HISTOGRAM,
        "svm": Model({**_KERNEL, "gamma": _GAMMA}, _STEPS),
        "neural_network": _NETWORK,
    },
    "regression": {
        "ridge_regression": Model({"alpha": Float(1e-3, 1000.0, log=True)}),
        "elastic_net": Model(
            {"alpha": Float(1e-3, 10.0, log=True), "l1_ratio": Float(0.05, 0.95)}, {"max_iter": 5000}
        ),
        "lasso_regression": Model({"alpha": Float(1e-3, 10.0, log=True)}, {"max_iter": 5000}),
        "random_forest": _FOREST,
        "hist_gradient_boost": _HISTOGRAM,
        "svm": Model({**_KERNEL, "gamma": _GAMMA, "epsilon": Float(0.01, 1.0, log=True)}, _STEPS),
        "neural_network": _NETWORK,
    },
}
#: Types of model that need an extra of model-agent; searched where they are asked for.
EXTRA_MODELS: Mapping[str, Model] = {
    "xgboost": Model(
        {
            "learning_rate": Float(0.02, 0.3, log=True),
            "n_estimators": Int(50, 300, log=True),
            "max_depth": Int(2, 10),
            "subsample": Float(0.5, 1.0),
        }
    ),
    "lightgbm": Model(
        {
            "learning_rate": Float(0.02, 0.3, log=True),
            "n_estimators": Int(50, 300, log=True),
            "num_leaves": Int(4, 64, log=True),
            "min_child_samples": Int(5, 50, log=True),
        }
    ),
    "catboost": Model(
        {
            "learning_rate": Float(0.02, 0.3, log=True),
            "iterations": Int(50, 300, log=True),
            "depth": Int(2, 8),
        }
    ),
}


def space(
    problem: str,
    n_features: int,
    *,
    categorical: bool = False,
    missing: bool = False,
    extra_models: tuple[str, ...] = (),
) -> Space:
    """Return the pipelines for data of this kind.

    ``impute`` and ``encode`` are blocks with a choice only where there is something to impute or to encode. What would
    make too many columns of this many features is left out. Raises :class:`UsageError` for an unknown problem or model.
    """
    if problem not in MODELS:
        raise UsageError(
            f"{problem!r} is no problem; there are classification and regression",
            field="params.problem",
            given=problem,
            allowed="classification, regression",
        )
    if n_features < 1:
        raise UsageError(
            f"{n_features} features are none to learn from", field="params.n_features", given=str(n_features)
        )
    for name in extra_models:
        _known(name, tuple(EXTRA_MODELS), "params.extra_models")
    models = {**MODELS[problem], **{name: EXTRA_MODELS[name] for name in extra_models}}
    several = n_features > 1
    features = ["none"]
    features += ["pca_95", "pca_80"] if several else []
    features += ["interactions", "polynomial"] if several and n_features <= _MOST_FOR_PAIRS else []
    features += ["bins", "splines"] if n_features <= _MOST_FOR_BASES else []
    select = ("none", "variance", "best_75", "best_50", "best_25", "model_based")
    impute = ("mean", "median", "most_frequent", "indicator", "nearest")
    return Space(
        problem,
        n_features,
        {
            "impute": impute if missing else impute[:1],
            "encode": ("ordinal", "onehot", "target") if categorical else ("ordinal",),
            "scale": ("none", "standard", "minmax", "robust", "power", "quantile"),
            "features": tuple(features),
            "select": select if several else select[:1],
            "model": tuple(models),
        },
        models,
    )


def sample(space: Space, rng: random.Random) -> Spec:
    """Return a pipeline drawn evenly: each block by itself, then each hyperparameter of the model."""
    drawn = {block: rng.choice(options) for block, options in space.choices.items()}
    return Spec(**drawn, hyperparameters=_hyperparameters(space.models[drawn["model"]], rng))


def vary(space: Space, spec: Spec, block: str, rng: random.Random) -> Spec:
    """Return the pipeline with another choice in one block.

    Another model comes with its plain hyperparameters or with drawn ones, as likely. Of the hyperparameters each moves
    by even chance: a number to one near it (a whole number may round back to itself), a choice to another.
    Raises :class:`UsageError` for a block without a choice.
    """
    if block not in space.blocks:
        raise UsageError(
            f"{block!r} is no block with a choice here; those are {', '.join(space.blocks)}",
            field="block",
            given=block,
            allowed=", ".join(space.blocks),
        )
    if block == "hyperparameters":
        return replace(spec, hyperparameters=_moved(space.models[spec.model], spec.hyperparameters, rng))
    choice = rng.choice([option for option in space.choices[block] if option != getattr(spec, block)])
    if block != "model":
        return replace(spec, **{block: choice})
    model = space.models[choice]
    plain = rng.random() < 0.5
    return replace(
        spec, model=choice, hyperparameters=dict(model.plain) if plain else _hyperparameters(model, rng)
    )


def neutral(space: Space, spec: Spec, block: str) -> Spec:
    """Return the pipeline with a block's plainest choice, for ablation.

    That is the block left out where it can be; the linear model with its plain hyperparameters in place of the model;
    the library's defaults in place of the hyperparameters. It may be the same pipeline.
    """
    if block == "hyperparameters":
        return replace(spec, hyperparameters=dict(space.models[spec.model].plain))
    plainest = space.choices[block][0]
    if block == "model" and spec.model != plainest:
        return replace(spec, model=plainest, hyperparameters=dict(space.models[plainest].plain))
    return replace(spec, **{block: plainest})


def check(space: Space, spec: Spec) -> None:
    """Raise :class:`UsageError`, naming the block, for a pipeline that does not lie in the space."""
    for block, options in space.choices.items():
        _known(getattr(spec, block), options, f"spec.{block}")
    model = space.models[spec.model]
    for name, value in spec.hyperparameters.items():
        field = f"spec.hyperparameters.{name}"
        if name not in model.ranges and name not in model.plain:
            _known(name, (*model.ranges, *model.plain), field)
        if name in model.ranges and not _lies_in(model.ranges[name], value):
            allowed = range_text(model.ranges[name])
            raise UsageError(
                f"{field} is {value!r}; allowed is {allowed}", field=field, given=str(value), allowed=allowed
            )


def read_spec(plain: Any, field: str = "params.spec") -> Spec:
    """Return the pipeline that decoded JSON says; raises :class:`UsageError` naming what does not fit."""
    try:
        return msgspec.convert(plain, Spec)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"{field} is no pipeline: {error}",
            field=field,
            given=str(plain)[:200],
            allowed=", ".join(Spec.__struct_fields__),
        ) from None


def key(spec: Spec) -> str:
    """Return one text for one pipeline, so that pipelines can be told apart."""
    return msgspec.json.encode(spec, order="deterministic").decode()


def describe(spec: Spec) -> str:
    """Return a pipeline as people say it: ``standard > pca_95 > svm (C=10)``; what is plain is left out."""
    plain = Spec(model="")
    usual = [models[spec.model].plain for models in MODELS.values() if spec.model in models]
    steps = [getattr(spec, block) for block in BLOCKS[:5] if getattr(spec, block) != getattr(plain, block)]
    given = ", ".join(
        f"{name}={_short(value)}"
        for name, value in sorted(spec.hyperparameters.items())
        if all(name not in model or model[name] != value for model in usual)
    )
    return " > ".join([*steps, f"{spec.model} ({given})" if given else spec.model])


def recipes(space: Space) -> tuple[Recipe, ...]:
    """Return those of :data:`RECIPES` that lie in the space, in their order."""
    return tuple(_fitting(space))


def _fitting(space: Space) -> Iterator[Recipe]:
    for recipe in RECIPES[space.problem]:
        # What a recipe says of words and gaps does not matter where there are none.
        idle = {block: space.choices[block][0] for block in BLOCKS[:2] if len(space.choices[block]) == 1}
        fitted = replace(recipe, spec=replace(recipe.spec, **idle))
        try:
            check(space, fitted.spec)
        except UsageError:
            continue
        yield fitted


def rounded(range_: Float, value: float) -> float:
    """Return a drawn number with four digits, for more tell nothing, within the range."""
    return min(max(float(f"{value:.4g}"), range_.low), range_.high)


def _hyperparameters(model: Model, rng: random.Random) -> dict[str, Any]:
    return {**model.plain, **{name: _at(range_, rng.random()) for name, range_ in model.ranges.items()}}


def _moved(model: Model, given: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """Return the hyperparameters with each moved by even chance, at least one of them."""
    names = list(model.ranges)
    moving = [name for name in names if rng.random() < 0.5] or [rng.choice(names)]
    moved = {**model.plain, **given}
    for name in moving:
        moved[name] = _near(model.ranges[name], moved.get(name), rng)
    return moved


def _at(range_: Range, share: float) -> Any:
    """Return the value that lies at this share, 0 to 1, of the range."""
    if isinstance(range_, Choice):
        return range_.options[min(int(share * len(range_.options)), len(range_.options) - 1)]
    low, high = float(range_.low), float(range_.high)
    if isinstance(range_, Int):
        low, high = low - 0.499, high + 0.499  # each whole number has a whole step around it
    value = (
        math.exp(math.log(low) + share * math.log(high / low)) if range_.log else low + share * (high - low)
    )
    if isinstance(range_, Int):
        return min(max(round(value), range_.low), range_.high)
    return rounded(range_, value)


def _near(range_: Range, value: Any, rng: random.Random) -> Any:
    """Return another value: near a number, any other of a choice; any at all where there is none yet."""
    if isinstance(range_, Choice):
        return rng.choice([option for option in range_.options if option != value] or list(range_.options))
    if not _lies_in(range_, value):
        return _at(range_, rng.random())
    low, high = float(range_.low), float(range_.high)
    share = math.log(value / low) / math.log(high / low) if range_.log else (value - low) / (high - low)
    return _at(range_, min(max(share + rng.gauss(0.0, _STEP), 0.0), 1.0))


def _lies_in(range_: Range, value: Any) -> bool:
    if isinstance(range_, Choice):
        # Not `in`: True is 1 there, and 1 is 1.0.
        return any(type(option) is type(value) and option == value for option in range_.options)
    if isinstance(value, bool) or not isinstance(value, int if isinstance(range_, Int) else int | float):
        return False
    return range_.low <= value <= range_.high


def _known(name: str, known: tuple[str, ...], field: str) -> None:
    if name not in known:
        allowed = ", ".join(known)
        raise UsageError(
            f"{field} is {name!r}; there are {allowed}", field=field, given=name, allowed=allowed
        )


def range_text(range_: Range) -> str:
    """Return a range as people say it: ``a number from 0.001 to 100``."""
    if isinstance(range_, Choice):
        return ", ".join(str(option) for option in range_.options)
    kind = "a whole number" if isinstance(range_, Int) else "a number"
    return f"{kind} from {range_.low:g} to {range_.high:g}"


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).replace(" ", "")


def _recipe(name: str, why: str, source: str, model: str, *blocks: str, **hyperparameters: Any) -> Recipe:
    """Return a recipe whose further ``blocks`` are scale, features and select, as far as given."""
    chosen = dict(zip(("scale", "features", "select"), blocks, strict=False))
    words = "onehot" if model not in {"random_forest", "hist_gradient_boost"} else "ordinal"
    spec = Spec(**chosen, encode=words, model=model, hyperparameters=hyperparameters)
    return Recipe(name=name, spec=spec, why=why, source=source)


#: In place of a search of the web: pipelines that the literature found good, the most widely useful first.
RECIPES: Mapping[str, tuple[Recipe, ...]] = {
    "classification": (
        _recipe(
            "forest",
            "A forest of a hundred deep trees needs no scaling and hardly any tuning.",
            "Breiman, Random Forests, Machine Learning 45, 2001",
            "random_forest",
            n_estimators=100,
        ),
        _recipe(
            "svm",
            "A radial kernel on standardised features is strong on small and middling data.",
            "Hsu, Chang and Lin, A Practical Guide to Support Vector Classification, 2003",
            "svm",
            "standard",
            C=10.0,
            kernel="rbf",
            gamma="scale",
        ),
        _recipe(
            "logistic",
            "A regularised linear model is hard to beat where classes are nearly linear, and cheap.",
            "Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, 2009, section 4.4",
            "logistic_regression",
            "standard",
            max_iter=1000,
            C=1.0,
        ),
        _recipe(
            "boosting",
            "Boosted trees over binned features lead on most tabular data.",
            "Friedman, Greedy Function Approximation, Annals of Statistics 29, 2001; "
            "Ke and others, LightGBM, NIPS 2017",
            "hist_gradient_boost",
            learning_rate=0.1,
            max_iter=60,
        ),
        _recipe(
            "network",
            "One hidden layer finds smooth interactions once inputs are standardised.",
            "LeCun, Bottou, Orr and Müller, Efficient BackProp, 1998, section 4.3",
            "neural_network",
            "standard",
            hidden_layer_sizes=[64],
        ),
        _recipe(
            "components",
            "Principal components take out the noise of features that say the same; a radial kernel does the rest.",
            "Jolliffe, Principal Component Analysis, 2002, chapter 8",
            "svm",
            "standard",
            "pca_95",
            C=10.0,
            kernel="rbf",
            gamma="scale",
        ),
        _recipe(
            "splines",
            "Splines let a linear model bend, feature by feature.",
            "Eilers and Marx, Flexible Smoothing with B-splines and Penalties, Statistical Science 11, 1996",
            "logistic_regression",
            "standard",
            "splines",
            max_iter=1000,
            C=0.1,
        ),
        _recipe(
            "selected_svm",
            "Half of the features, those that tell classes apart alone, where many are noise.",
            "Guyon and Elisseeff, An Introduction to Variable and Feature Selection, JMLR 3, 2003",
            "svm",
            "standard",
            "none",
            "best_50",
            C=3.0,
            kernel="rbf",
            gamma="scale",
        ),
        _recipe(
            "power",
            "A power transform makes skewed features symmetric, as a linear model likes them.",
            "Yeo and Johnson, A New Family of Power Transformations, Biometrika 87, 2000",
            "logistic_regression",
            "power",
            max_iter=1000,
            C=1.0,
        ),
        _recipe(
            "slow_boosting",
            "Small steps and small trees generalise better where rows are few.",
            "Friedman, Greedy Function Approximation, Annals of Statistics 29, 2001, section 5",
            "hist_gradient_boost",
            learning_rate=0.05,
            max_iter=100,
            max_leaf_nodes=8,
        ),
    ),
    "regression": (
        _recipe(
            "forest",
            "A forest of a hundred deep trees needs no scaling and hardly any tuning.",
            "Breiman, Random Forests, Machine Learning 45, 2001",
            "random_forest",
            n_estimators=100,
            max_features=0.33,
        ),
        _recipe(
            "ridge",
            "A linear model whose coefficients are held small stands up to features that go together.",
            "Hoerl and Kennard, Ridge Regression, Technometrics 12, 1970",
            "ridge_regression",
            "standard",
            alpha=10.0,
        ),
        _recipe(
            "boosting",
            "Boosted trees over binned features lead on most tabular data.",
            "Friedman, Greedy Function Approximation, Annals of Statistics 29, 2001; "
            "Ke and others, LightGBM, NIPS 2017",
            "hist_gradient_boost",
            learning_rate=0.1,
            max_iter=60,
        ),
        _recipe(
            "elastic",
            "Both penalties at once: few features, and those that go together enter together.",
            "Zou and Hastie, Regularization and Variable Selection via the Elastic Net, JRSS B 67, 2005",
            "elastic_net",
            "standard",
            max_iter=5000,
            alpha=0.1,
            l1_ratio=0.5,
        ),
        _recipe(
            "splines",
            "Splines let a linear model bend, feature by feature.",
            "Eilers and Marx, Flexible Smoothing with B-splines and Penalties, Statistical Science 11, 1996",
            "ridge_regression",
            "standard",
            "splines",
            alpha=10.0,
        ),
        _recipe(
            "lasso",
            "Of many features the few that matter keep a coefficient.",
            "Tibshirani, Regression Shrinkage and Selection via the Lasso, JRSS B 58, 1996",
            "lasso_regression",
            "standard",
            max_iter=5000,
            alpha=1.0,
        ),
        _recipe(
            "slow_boosting",
            "Small steps and small trees generalise better where rows are few.",
            "Friedman, Greedy Function Approximation, Annals of Statistics 29, 2001, section 5",
            "hist_gradient_boost",
            learning_rate=0.05,
            max_iter=100,
            max_leaf_nodes=8,
        ),
        _recipe(
            "interactions",
            "Products of pairs of features, held small by the penalty.",
            "Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, 2009, chapter 5",
            "ridge_regression",
            "standard",
            "interactions",
            alpha=100.0,
        ),
        _recipe(
            "svm",
            "A radial kernel with an insensitive band around the values.",
            "Drucker and others, Support Vector Regression Machines, NIPS 1996",
            "svm",
            "standard",
            C=100.0,
            kernel="rbf",
            gamma="scale",
        ),
        _recipe(
            "components",
            "Regression on principal components, where features say the same.",
            "Jolliffe, Principal Component Analysis, 2002, chapter 8",
            "ridge_regression",
            "standard",
            "pca_95",
            alpha=1.0,
        ),
    ),
}
