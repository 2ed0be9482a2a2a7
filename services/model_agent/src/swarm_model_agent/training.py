"""Fitting a model and predicting with it: out of fold, and for the rows kept apart."""

from __future__ import annotations

import os
import resource
import sys
import time
import warnings
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import KFold, StratifiedKFold

from swarm_common import clock
from swarm_common.errors import UsageError
from swarm_common.events import Array
from swarm_common.events.agent import ModelTrained, Predicted
from swarm_model_agent.datasets import Floats, Split, fingerprint, load
from swarm_model_agent.models import build, hyperparameters_of
from swarm_model_agent.params import TrainParams

_MAX_SEED = 2**32 - 1


class OutOfFold(msgspec.Struct, frozen=True):
    """Predictions for the training rows, each by a fit that had not seen it, with score and seconds of each fold."""

    predictions: Floats
    scores: tuple[float, ...]
    seconds: tuple[float, ...]


def train(task: str, params: TrainParams, *, seed: int, instance: str = "") -> tuple[ModelTrained, Predicted]:
    """Fit a model on all training rows, and before that once a fold where folds are asked for.

    Returns what it cost and what it predicts. The same parameters and seed give the same predictions, bit for bit, in
    whichever process. Raises :class:`UsageError` for parameters that cannot be met.
    """
    started, cpu_before = clock.format_ns(clock.now_ns()), _cpu_s()
    if not 0 <= seed <= _MAX_SEED:
        raise UsageError(
            f"seed {seed} is no random_state", field="seed", given=str(seed), allowed=f"0 to {_MAX_SEED}"
        )
    data = load(params)
    model = build(params.model_type, data.problem, params.hyperparameters, seed=seed, scale=params.scale)
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        try:
            folds = out_of_fold(model, data, params.folds, params.split_seed) if params.folds else None
            began = time.perf_counter_ns()
            model.fit(data.x_train, data.y_train)
        except (ValueError, TypeError) as error:
            # The data are in order, so it is a hyperparameter's value that scikit-learn refuses; it says which.
            raise UsageError(
                f"{params.model} ({params.model_type}) cannot be fitted: {error}",
                field="params.hyperparameters",
                given=str(params.hyperparameters),
            ) from error
        fitted = time.perf_counter_ns()
        held_out = predict(model, data.x_test, data.classes)
        scored = time.perf_counter_ns()
    trained = ModelTrained(
        task=task,
        model=params.model,
        model_type=params.model_type,
        hyperparameters=hyperparameters_of(model),
        n_train=len(data.y_train),
        n_features=data.x_train.shape[1],
        folds=params.folds,
        fold_scores=folds.scores if folds else (),
        score_name="accuracy" if data.classes else "r2",
        fitted=fingerprint(held_out),
        fit_s=(fitted - began) / 1e9,
        fold_s=folds.seconds if folds else (),
        score_s=(scored - fitted) / 1e9,
        cpu_s=_cpu_s() - cpu_before,
        max_rss_bytes=_max_rss_bytes(),
        worker=f"{instance}/{os.getpid()}",
        started=started,
        waited_s=0.0,
        warnings=_texts(noted),
    )
    predicted = Predicted(
        task=task,
        model=params.model,
        held_out=Array.of(held_out),
        out_of_fold=Array.of(folds.predictions) if folds else None,
    )
    return trained, predicted


def out_of_fold(model: BaseEstimator, data: Split, folds: int, split_seed: int) -> OutOfFold:
    """Predict every training row by a clone fitted without its fold.

    Equal to ``cross_val_predict`` on the same folds; done here because each fold's time and score are wanted as well.
    """
    rows = len(data.y_train)
    most = int(np.bincount(data.y_train).max()) if data.classes else rows
    if not 2 <= folds <= most:
        raise UsageError(
            f"params.folds is {folds}; with {rows} training rows 0 or 2 to {most} can be had",
            field="params.folds",
            given=str(folds),
            allowed=f"0, or 2 to {most}",
        )
    kind = StratifiedKFold if data.classes else KFold
    splitter = kind(folds, shuffle=True, random_state=split_seed)
    predictions = np.zeros((rows, len(data.classes)) if data.classes else rows)
    scores, seconds = [], []
    for seen, unseen in splitter.split(data.x_train, data.y_train):
        began = time.perf_counter_ns()
        fold_model = clone(model).fit(data.x_train[seen], data.y_train[seen])
        predictions[unseen] = predict(fold_model, data.x_train[unseen], data.classes)
        seconds.append((time.perf_counter_ns() - began) / 1e9)
        scores.append(_score(data.y_train[unseen], predictions[unseen]))
    return OutOfFold(predictions, tuple(scores), tuple(seconds))


def predict(model: BaseEstimator, x: Floats, classes: tuple[str, ...]) -> Floats:
    """Return class probabilities ``(rows, classes)``, 0 for a class the fit did not see; or values ``(rows,)``."""
    if not classes:
        return np.asarray(model.predict(x), dtype=np.float64)
    probabilities = np.zeros((len(x), len(classes)))
    probabilities[:, model.classes_] = model.predict_proba(x)
    return probabilities


def _score(truth: NDArray[Any], predictions: Floats) -> float:
    if predictions.ndim == 1:
        return float(r2_score(truth, predictions))
    return float(accuracy_score(truth, predictions.argmax(axis=1)))


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _max_rss_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes but on macOS


def _texts(noted: list[warnings.WarningMessage]) -> tuple[str, ...]:
    """Return what was warned of, each once: ``ConvergenceWarning: ...``."""
    return tuple(
        dict.fromkeys(f"{item.category.__name__}: {str(item.message).splitlines()[0]}" for item in noted)
    )
