"""Whether probabilities mean what they say: calibration bins and the expected calibration error.

Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks" (2017), section 2: equal-width bins of the
winning class's probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarm_common.events.metrics import CalibrationBin
from swarm_common.resampling import Floats

BINS = 15


def settled(value: float) -> float:
    """Return ``value`` to 12 significant digits.

    Logarithms and long sums differ in their last bits from one kind of processor to another; what is recorded should
    not.
    """
    return float(f"{value:.12g}")


def calibration(truth: NDArray[Any], probabilities: Floats) -> tuple[CalibrationBin, ...]:
    """Return the bins ``(low, high]`` that have rows, by rising confidence.

    ``probabilities`` are ``(rows, classes)``; the winning class is the likeliest, the lowest of equals.
    """
    # Shares of votes are sums such as .2 + .2 + .2, which lies a last bit above the edge .6 that it means.
    confidence = np.round(probabilities.max(axis=1), 12)
    right = probabilities.argmax(axis=1) == truth
    edges = np.round(np.arange(BINS + 1) / BINS, 12)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, BINS - 1)
    found = []
    for index in np.unique(place).tolist():
        inside = place == index
        found.append(
            CalibrationBin(
                low=float(edges[index]),
                high=float(edges[index + 1]),
                rows=int(inside.sum()),
                confidence=settled(float(confidence[inside].mean())),
                accuracy=settled(float(right[inside].mean())),
            )
        )
    return tuple(found)


def expected_calibration_error(bins: Sequence[CalibrationBin]) -> float:
    """Return the mean distance between confidence and accuracy over the bins, weighted by their rows."""
    rows = sum(one.rows for one in bins)
    return settled(sum(one.rows * abs(one.accuracy - one.confidence) for one in bins) / rows)
