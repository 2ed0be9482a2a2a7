"""Losses and scores, as scikit-learn defines them; and figures that do not depend on the processor."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarm_common.resampling import Floats

#: What a probability is told from nothing by.
TINY = float(np.finfo(np.float64).eps)


def settled(value: float, digits: int = 12) -> float:
    """Return ``value`` to so many significant digits.

    Logarithms and long sums differ in their last bits from one kind of processor to another; what is recorded, and what
    weights are made from, should not.
    """
    return float(f"{value:.{digits}g}")


def settled_all(values: Floats, digits: int = 12) -> Floats:
    """Return an array of :func:`settled` values."""
    flat = [settled(value, digits) for value in values.ravel().tolist()]
    return np.array(flat, dtype=np.float64).reshape(values.shape)


def row_losses(truth: NDArray[Any], prediction: Floats) -> Floats:
    """Return each row's log loss in nats ``(..., rows)``, or squared error.

    ``prediction`` is ``(..., classes, rows)``, or ``(..., 1, rows)`` for values. A row of probabilities is made to sum
    to 1 by what it sums to: a fold may not have seen a class.
    """
    if prediction.shape[-2] == 1:
        return np.asarray((truth - prediction[..., 0, :]) ** 2)
    own = prediction[..., truth, np.arange(len(truth))]
    own = own / np.maximum(prediction.sum(axis=-2), TINY)
    return np.asarray(-np.log(np.clip(own, TINY, 1 - TINY)))


def named(voices: Floats) -> NDArray[np.uint8]:
    """Return the likeliest class, the lowest of equals, of ``(..., classes, rows)``: ``(..., rows)``.

    The same as ``argmax``, in a fraction of its time: that goes row by row, and a row here is a few numbers.
    """
    most = voices.max(axis=-2)
    below = voices[..., 0, :] < most
    found = below.astype(np.min_scalar_type(voices.shape[-2]))
    for each in range(1, voices.shape[-2] - 1):
        below &= voices[..., each, :] < most
        found += below
    return np.asarray(found)


def loss(truth: NDArray[Any], prediction: Floats) -> float:
    """Return log loss in nats (as ``sklearn.metrics.log_loss`` defines it), or the mean squared error of values.

    ``prediction`` is ``(rows, classes)`` or ``(rows,)``.
    """
    return settled(float(row_losses(truth, np.atleast_2d(prediction.T)).mean()))


def score(truth: NDArray[Any], prediction: Floats) -> float:
    """Return the accuracy of class probabilities, or the coefficient of determination r2 of values.

    ``prediction`` is ``(rows, classes)`` or ``(rows,)``.
    """
    return score_of(truth, np.atleast_2d(prediction.T))


def score_of(truth: NDArray[Any], voice: Floats) -> float:
    """Return :func:`score` of ``(classes, rows)``, or ``(1, rows)`` for values."""
    if len(voice) > 1:
        return float((named(voice) == truth).mean())
    spread = float(((truth - truth.mean()) ** 2).sum())
    missed = float(((truth - voice[0]) ** 2).sum())
    return 1 - missed / spread if spread else float(missed == 0)
