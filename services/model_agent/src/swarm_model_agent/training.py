"""Fitting a model and predicting with it: out of fold, for the rows kept apart, and along a stream.

A training may be done whole or in parts: one fold, the fit on all rows, some trees of that. Parts put together give
what the whole gives, so how the work is shared is nobody's concern but the planner's.
"""

from __future__ import annotations

import os
import resource
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import Pipeline

from swarm_common import clock
from swarm_common.errors import UsageError
from swarm_common.events import Array
from swarm_common.events.agent import ModelTrained, PartTrained, Predicted
from swarm_common.pipelines import read_spec
from swarm_model_agent import tables
from swarm_model_agent.assembling import assemble
from swarm_model_agent.datasets import Floats, Training, load_held_out, load_training
from swarm_model_agent.models import build, estimator, hyperparameters_of, wants_scaling
from swarm_model_agent.params import PartParams, Stream, TrainParams

_MAX_SEED = 2**32 - 1
_FORESTS = (ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor)


class Meter:
    """What a piece of work costs: wall and CPU time of this process, from its making on."""

    def __init__(self) -> None:
        self.started = clock.format_ns(clock.now_ns())
        self._wall_ns, self._cpu_s = time.perf_counter_ns(), _cpu_s()

    def wall_s(self) -> float:
        """Return seconds since the meter was made."""
        return (time.perf_counter_ns() - self._wall_ns) / 1e9

    def cpu_s(self) -> float:
        """Return the CPU seconds (user and system) since then, by ``getrusage``."""
        return _cpu_s() - self._cpu_s


def train(task: str, params: TrainParams, *, seed: int, instance: str = "") -> tuple[ModelTrained, Predicted]:
    """Fit a model on all training rows, and before that once a fold where folds are asked for.

    Returns what it cost and what it predicts. The same parameters and seed give the same predictions, bit for bit, in
    whichever process. Raises :class:`UsageError` for parameters that cannot be met.
    """
    wanted = msgspec.structs.asdict(params)
    folds = [
        train_part(task, PartParams(**wanted, fold=fold), seed=seed, instance=instance)
        for fold in range(params.folds)
    ]
    whole = train_part(task, PartParams(**wanted), seed=seed, instance=instance)
    trained, predicted = assemble(task, params.model, [*folds, whole])
    return msgspec.structs.replace(trained, parts=1), predicted


def train_part(task: str, params: PartParams, *, seed: int, instance: str = "") -> PartTrained:
    """Do one part of a training: a fold, or the fit on all rows, or some of its trees.

    Returns predictions for the rows that the fit has not seen, and what it cost. Raises :class:`UsageError` for
    parameters that cannot be met.
    """
    meter = Meter()
    data = load_training(params)
    model = model_of(params, data, seed)
    hyperparameters: dict[str, Any] | None = None
    seen, unseen = _rows(params, data)
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        with _blaming(params):
            if params.trees is not None:
                hyperparameters = hyperparameters_of(model)  # the whole forest's
                model = _some_trees(model, params)
            work = Meter()
            if params.stream is not None and params.fold is None:
                fit_s, predictions = _follow(model, data, params, params.stream)
            else:
                fit = Meter()
                x, y = (data.x, data.y) if params.fold is None else (data.x[seen], data.y[seen])
                model.fit(x, y)
                fit_s = fit.wall_s()
                rows = load_held_out(params).x if params.fold is None else data.x[unseen]
                predictions = predict(model, rows, data.classes)
            elapsed_s = work.wall_s()
    return PartTrained(
        task=task,
        model=params.model,
        model_type=params.model_type or params.spec.get("model", ""),
        hyperparameters=hyperparameters or hyperparameters_of(model),
        device=params.device,
        n_train=len(data.y),
        n_features=data.x.shape[1],
        folds=params.folds,
        fold=params.fold,
        trees=params.trees,
        rows=None if params.fold is None else Array.of(unseen.astype(np.int32)),
        predictions=Array.of(predictions),
        score=None if params.fold is None else score(data.y[unseen], predictions),
        score_name="accuracy" if data.classes else "r2",
        fit_s=fit_s,
        elapsed_s=elapsed_s,
        cpu_s=meter.cpu_s(),
        max_rss_bytes=max_rss_bytes(),
        worker=f"{instance}/{os.getpid()}",
        started=meter.started,
        waited_s=0.0,
        warnings=texts(noted),
    )


def model_of(params: TrainParams, data: Training, seed: int) -> BaseEstimator:
    """Return the unfitted model that the parameters describe: a type, or a whole pipeline.

    Columns of words and missing values need more than a type: then it stands behind a pipeline that fills and encodes
    them, fitted with it. Raises :class:`UsageError` for what cannot be built.
    """
    if not 0 <= seed <= _MAX_SEED:
        raise UsageError(
            f"seed {seed} is no random_state", field="seed", given=str(seed), allowed=f"0 to {_MAX_SEED}"
        )
    if params.spec:
        # Only here, since it builds on the types of model.
        from swarm_model_agent.blocks import pipeline_of  # noqa: PLC0415

        return pipeline_of(
            read_spec(params.spec), data.problem, categorical=data.about.categorical, seed=seed
        )
    if params.dataset == "file":
        # Always, gaps or none: what stands before a model must not depend on what held-out rows lack.
        name = params.model_type
        return tables.wrapped(
            estimator(name, data.problem, params.hyperparameters, seed=seed, device=params.device),
            data,
            scale=params.scale and wants_scaling(name),
            fill=name not in tables.TAKE_MISSING,
        )
    return build(
        params.model_type,
        data.problem,
        params.hyperparameters,
        seed=seed,
        scale=params.scale,
        device=params.device,
    )


def splits(data: Training, folds: int, split_seed: int) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Return the rows seen and unseen in each fold: shuffled, and with the classes in their shares.

    Raises :class:`UsageError` for a number of folds that these rows do not have.
    """
    rows = len(data.y)
    most = int(np.bincount(data.y).max()) if data.classes else rows
    if not 2 <= folds <= most:
        raise UsageError(
            f"params.folds is {folds}; with {rows} training rows 0 or 2 to {most} can be had",
            field="params.folds",
            given=str(folds),
            allowed=f"0 or 2 to {most}",
        )
    kind = StratifiedKFold if data.classes else KFold
    splitter = kind(folds, shuffle=True, random_state=split_seed)
    with warnings.catch_warnings():
        # A class with fewer rows than folds: the rows of it are in some folds, which predict() allows for.
        warnings.simplefilter("ignore", UserWarning)
        return list(splitter.split(data.x, data.y))


def predict(model: BaseEstimator, x: Floats, classes: tuple[str, ...]) -> Floats:
    """Return class probabilities ``(rows, classes)``, 0 for a class the fit did not see; or values ``(rows,)``."""
    if not classes:
        return np.asarray(model.predict(x), dtype=np.float64).reshape(len(x))
    probabilities = np.zeros((len(x), len(classes)))
    probabilities[:, np.asarray(model.classes_, dtype=np.intp)] = model.predict_proba(x)
    return probabilities


def score(truth: NDArray[Any], predictions: Floats) -> float:
    """Return the accuracy of class probabilities, or r2 of values, as scikit-learn computes them."""
    if predictions.ndim == 1:
        return float(r2_score(truth, predictions))
    return float(accuracy_score(truth, predictions.argmax(axis=1)))


def max_rss_bytes() -> int:
    """Return the most memory this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes but on macOS


def texts(noted: Sequence[warnings.WarningMessage]) -> tuple[str, ...]:
    """Return what was warned of, each once: ``ConvergenceWarning: ...``."""
    return tuple(
        dict.fromkeys(f"{item.category.__name__}: {str(item.message).splitlines()[0]}" for item in noted)
    )


def _rows(params: PartParams, data: Training) -> tuple[NDArray[Any], NDArray[Any]]:
    if params.fold is None:
        if params.folds:
            splits(data, params.folds, params.split_seed)  # refuse what the folds would refuse
        nothing = np.empty(0, dtype=np.intp)
        return nothing, nothing
    if params.fold >= params.folds:
        raise UsageError(
            f"params.fold is {params.fold}; of {params.folds} folds there are 0 to {params.folds - 1}",
            field="params.fold",
            given=str(params.fold),
            allowed=f"0 to {params.folds - 1}",
        )
    return splits(data, params.folds, params.split_seed)[params.fold]


@contextmanager
def _blaming(params: TrainParams) -> Iterator[None]:
    """Turn what a library says of a value into a refusal: the data are in order, so it is a hyperparameter's."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{params.model} ({params.model_type or 'pipeline'}) cannot be fitted: {error}",
            field="params.hyperparameters",
            given=str(params.hyperparameters or params.spec),
        ) from error


def _some_trees(model: BaseEstimator, params: PartParams) -> BaseEstimator:
    """Return the model whose forest has only the trees from the first up to the second of ``params.trees``.

    Each tree's own seed is one draw from the forest's ``random_state``: with the draws of the trees before skipped,
    these trees are those of the whole forest.
    """
    assert params.trees is not None  # noqa: S101 - the caller has looked
    first, last = params.trees
    steps = model.steps if isinstance(model, Pipeline) else ()
    forest = steps[-1][1] if steps else model
    if not isinstance(forest, _FORESTS) or forest.warm_start or forest.oob_score:
        raise UsageError(
            f"params.trees is for forests; {params.model} ({params.model_type}) has no trees to share out",
            field="params.trees",
            given=str(params.trees),
        )
    if not first < last <= forest.n_estimators:
        raise UsageError(
            f"params.trees is {first} to {last}; the forest has {forest.n_estimators}",
            field="params.trees",
            given=f"{first} to {last}",
            allowed=f"0 to {forest.n_estimators}",
        )
    draws = np.random.RandomState(forest.random_state)
    draws.randint(np.iinfo(np.int32).max, size=first)
    some = clone(forest).set_params(n_estimators=last - first, random_state=draws)
    return Pipeline([*clone(model).steps[:-1], (steps[-1][0], some)]) if steps else some


def _follow(
    model: BaseEstimator, data: Training, params: TrainParams, stream: Stream
) -> tuple[float, Floats]:
    """Return the seconds of all fits, and predictions of the held-out rows as they would have come in.

    Each fit sees only rows before the block it predicts: test, then train (prequential; Gama, Sebastião and Rodrigues,
    *On evaluating stream learning algorithms*, 2013).
    """
    held_out = load_held_out(params)
    x, y = np.concatenate([data.x, held_out.x]), np.concatenate([data.y, held_out.y])
    first, step = len(data.y), stream.block * stream.refit
    predictions, fit_s = [], 0.0
    for start in range(first, len(y), step):
        begin = max(0, start - stream.window) if stream.window else 0
        fit = Meter()
        if data.classes and len(np.unique(y[begin:start])) < 2:
            begin = 0  # a window of one class teaches nothing: look further back
        fitted = clone(model).fit(x[begin:start], y[begin:start])
        fit_s += fit.wall_s()
        predictions.append(predict(fitted, x[start : start + step], data.classes))
    return fit_s, np.concatenate(predictions)


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


__all__ = [
    "Meter",
    "max_rss_bytes",
    "model_of",
    "predict",
    "score",
    "splits",
    "texts",
    "train",
    "train_part",
]
