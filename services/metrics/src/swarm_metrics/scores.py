"""Scores of predictions against the truth, with bootstrap intervals.

Formulas are those of ``sklearn.metrics`` with ``average="macro"`` and ``zero_division=0``; the tests hold them equal to
the last digit, log loss to the twelfth. A confusion matrix holds all that the scores of classes need, so a resample is
one of those.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarm_common.errors import UsageError
from swarm_common.events import Better, Metric
from swarm_common.resampling import RESAMPLES, Floats, counts, interval, stream_of
from swarm_metrics.calibration import BINS, calibration, expected_calibration_error, settled

Ints = NDArray[np.int64]
_INTERVAL = f"95 % percentile bootstrap over rows, {RESAMPLES} resamples"
_CLASS_SCORES = {
    "accuracy": "share of right rows",
    "precision": "mean over classes",
    "recall": "mean over classes",
    "f1": "mean over classes",
}
_VALUE_SCORES: dict[str, tuple[str, Better, str]] = {
    "mse": ("target^2", "lower", "mean of squared errors"),
    "mae": ("target", "lower", "mean of absolute errors"),
    "r2": ("ratio", "higher", "1 - squared errors / squared deviations from the mean"),
}


def score(
    truth: NDArray[Any],
    predictions: Sequence[Floats],
    sources: Sequence[tuple[str, ...]],
    *,
    seed: int,
    name: str,
) -> list[tuple[Metric, ...]]:
    """Return the metrics of each prediction: class probabilities ``(rows, classes)`` or values ``(rows,)``.

    Log loss and calibration error are there for classes only. ``sources`` are the ids of the events behind each.
    ``seed`` and ``name`` (of the task) give the stream of the bootstrap. Raises :class:`UsageError` for shapes that do
    not fit.
    """
    for prediction in predictions:
        if len(prediction) != len(truth):
            raise UsageError(f"{len(prediction)} predictions for {len(truth)} held-out rows", field="needs")
    if not len(truth):
        raise UsageError("there are no held-out rows to score", field="needs")
    stream = stream_of(seed, name)
    if predictions and predictions[0].ndim == 1:
        return _score_values(truth, predictions, sources, stream)
    found = _score_classes(truth, predictions, sources, stream)
    losses = _log_losses(truth, predictions, sources, stream_of(seed, f"{name}/log_loss"))
    return [
        (*metrics, lost, _calibration_error(truth, prediction, source))
        for metrics, lost, prediction, source in zip(found, losses, predictions, sources, strict=True)
    ]


def confusion(truth: Ints, predicted: Ints, classes: int) -> Ints:
    """Return ``(classes, classes)``: rows are the truth, columns the predictions."""
    return np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)


def confusion_of(truth: Ints, probabilities: Floats) -> tuple[tuple[int, ...], ...]:
    """Return the confusion matrix of each row's likeliest class, the lowest of equals, as plain numbers."""
    matrix = confusion(truth, probabilities.argmax(axis=1), probabilities.shape[1])
    return tuple(tuple(row) for row in matrix.tolist())


def class_scores(matrices: NDArray[Any]) -> dict[str, Floats]:
    """Return accuracy, precision, recall and f1 of confusion matrices ``(..., classes, classes)``.

    Macro averages go over the classes that occur in truth or prediction; a quotient by zero counts as 0.
    """
    matrices = np.asarray(matrices, dtype=np.float64)
    right = np.diagonal(matrices, axis1=-2, axis2=-1)
    true, predicted = matrices.sum(axis=-1), matrices.sum(axis=-2)
    occurs = true + predicted > 0

    def macro(top: Floats, bottom: Floats) -> Floats:
        each = np.divide(top, bottom, out=np.zeros_like(bottom), where=bottom > 0)
        return np.asarray(each.sum(axis=-1) / occurs.sum(axis=-1))

    return {
        "accuracy": right.sum(axis=-1) / true.sum(axis=-1),
        "precision": macro(right, predicted),
        "recall": macro(right, true),
        "f1": macro(2 * right, true + predicted),
    }


def mean_squared_error(truth: Floats, prediction: Floats) -> float:
    """Return the mean of squared errors."""
    return float(np.mean((truth - prediction) ** 2))


def mean_absolute_error(truth: Floats, prediction: Floats) -> float:
    """Return the mean of absolute errors."""
    return float(np.mean(np.abs(truth - prediction)))


def r2(truth: Floats, prediction: Floats) -> float:
    """Return the coefficient of determination; of a truth that does not vary, 1 where it was met and 0 else."""
    missed = float(((truth - prediction) ** 2).sum())
    spread = float(((truth - truth.mean()) ** 2).sum())
    return 1 - missed / spread if spread else float(missed == 0)


def log_losses(truth: Ints, probabilities: Floats) -> Floats:
    """Return each row's -ln of the probability of its true class, in nats; infinite where that is 0.

    Other probabilities are moved away from 0 and 1 by what their type can tell, as ``sklearn.metrics.log_loss`` does.
    """
    own = probabilities[np.arange(len(truth)), truth]
    tiny = np.finfo(own.dtype).eps
    with np.errstate(divide="ignore"):
        return np.asarray(-np.log(np.where(own > 0, np.clip(own, tiny, 1 - tiny), 0.0)), dtype=np.float64)


def _log_losses(
    truth: Ints, predictions: Sequence[Floats], sources: Sequence[tuple[str, ...]], stream: list[int]
) -> list[Metric]:
    rows = len(truth)
    table = np.stack([log_losses(truth, prediction) for prediction in predictions], axis=1)
    never = np.isinf(table).sum(axis=0).tolist()
    # 0 times infinity is no number; the ends of an infinite column are not used.
    finite = np.where(np.isinf(table), 0.0, table)
    low, high = interval(np.concatenate([block @ finite for block in counts(rows, stream)]) / rows)
    return [
        Metric(
            name="log_loss",
            value=None if never[index] else settled(float(table[:, index].mean())),
            unit="nats",
            better="lower",
            n=rows,
            low=None if never[index] else settled(float(low[index])),
            high=None if never[index] else settled(float(high[index])),
            estimator=f"mean of -ln p(true class); {_INTERVAL}",
            source=source,
            reason=f"{never[index]} of {rows} rows got probability 0 for their true class: the loss is infinite"
            if never[index]
            else "",
        )
        for index, source in enumerate(sources)
    ]


def _calibration_error(truth: Ints, prediction: Floats, source: tuple[str, ...]) -> Metric:
    return Metric(
        name="ece",
        value=expected_calibration_error(calibration(truth, prediction)),
        unit="ratio",
        better="lower",
        n=len(truth),
        estimator=f"mean |confidence - accuracy| over {BINS} equal-width bins (Guo et al. 2017);"
        " no interval, for resamples of it are biased upward",
        source=source,
    )


def _score_classes(
    truth: NDArray[Any], predictions: Sequence[Floats], sources: Sequence[tuple[str, ...]], stream: list[int]
) -> list[tuple[Metric, ...]]:
    rows, rng = len(truth), np.random.default_rng(stream)
    found = []
    for prediction, source in zip(predictions, sources, strict=True):
        # Classes that occur nowhere count for no mean, nor can a resample bring them.
        occurring, both = np.unique(np.concatenate([truth, prediction.argmax(axis=1)]), return_inverse=True)
        matrix = confusion(both[:rows], both[rows:], len(occurring))
        values = class_scores(matrix)
        # To draw rows with replacement and count their cells is to draw cells: one multinomial a resample.
        drawn = rng.multinomial(rows, matrix.ravel() / rows, size=RESAMPLES)
        resampled = class_scores(drawn.reshape(RESAMPLES, *matrix.shape))
        found.append(
            tuple(
                _metric(
                    name,
                    float(values[name]),
                    _ends(resampled[name]),
                    rows=rows,
                    unit="ratio",
                    better="higher",
                    how=how,
                    source=source,
                )
                for name, how in _CLASS_SCORES.items()
            )
        )
    return found


def _score_values(
    truth: Floats, predictions: Sequence[Floats], sources: Sequence[tuple[str, ...]], stream: list[int]
) -> list[tuple[Metric, ...]]:
    rows = len(truth)
    formulas: dict[str, Callable[[Floats, Floats], float]] = {
        "mse": mean_squared_error,
        "mae": mean_absolute_error,
        "r2": r2,
    }
    centred = truth - truth.mean()
    columns = [truth - prediction for prediction in predictions]
    table = np.stack([centred, centred**2, *(c**2 for c in columns), *(abs(c) for c in columns)], axis=1)
    sums = np.concatenate([block @ table for block in counts(rows, stream)])
    spread = sums[:, 1] - sums[:, 0] ** 2 / rows
    found = []
    for index, (prediction, source) in enumerate(zip(predictions, sources, strict=True)):
        squares, absolutes = sums[:, 2 + index], sums[:, 2 + len(predictions) + index]
        resampled = {
            "mse": squares / rows,
            "mae": absolutes / rows,
            # A resample of equal rows has no spread: its r2 says nothing and counts as 0.
            "r2": 1 - np.divide(squares, spread, out=np.ones_like(spread), where=spread > 0),
        }
        found.append(
            tuple(
                _metric(
                    name,
                    formulas[name](truth, prediction),
                    # These are sums over matrix products, whose order of additions is the processor's.
                    (settled(ends[0]), settled(ends[1])),
                    rows=rows,
                    unit=unit,
                    better=better,
                    how=how,
                    source=source,
                )
                for name, (unit, better, how) in _VALUE_SCORES.items()
                for ends in [_ends(resampled[name])]
            )
        )
    return found


def _ends(resampled: Floats) -> tuple[float, float]:
    low, high = interval(resampled)
    return float(low), float(high)


def _metric(
    name: str,
    value: float,
    ends: tuple[float, float],
    *,
    rows: int,
    unit: str,
    better: Better,
    how: str,
    source: tuple[str, ...],
) -> Metric:
    return Metric(
        name=name,
        value=value,
        unit=unit,
        better=better,
        n=rows,
        low=ends[0],
        high=ends[1],
        estimator=f"{how}; {_INTERVAL}",
        source=source,
    )
