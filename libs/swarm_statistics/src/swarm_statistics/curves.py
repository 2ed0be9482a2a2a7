"""Cost curves: how the time of an operation grows with its size, and whether that is what was promised.

A size's time is the 10th percentile of its samples: what interrupts work only ever adds to it, the more the longer it
takes, so that on a machine in use medians of large sizes are of the machine and not of the work; and the least of all
would be less the more samples there are.

Two views of the same times. The *exponent* is the slope of log time over log size: Theil-Sen's median of the slopes of
all pairs of points (Sen 1968), which a size at which a cache overflows does not turn, with a percentile bootstrap over
the samples of each size. And the *model* is that of the growths whose shape fits best: for each, time is ``a * f(n)``,
fitted by least squares of logarithms, so that all sizes count alike. Small sizes carry a constant part that is not of
the growth and makes a curve flatter; a verdict is about steeper ones alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np

GROWTHS: Mapping[str, Callable[[float], float]] = {
    "constant": lambda n: 1.0,  # noqa: ARG005
    "log n": lambda n: math.log2(n + 1),
    "linear": lambda n: n,
    "n log n": lambda n: n * math.log2(n + 1),
    "quadratic": lambda n: n * n,
}
"""By name, how time may grow with the size ``n``; ``log2(n + 1)`` is not 0 at 1, and a heap of n has as many levels."""
SHARE = 0.10
"""Of a size's samples, those that are below its time."""
FEWEST = 3
"""Sizes; two points lie on every curve."""
TOLERANCE = 0.15
"""By how much an exponent may lie above the promised one: caches and allocators make larger sizes dearer in all."""
_RESAMPLES = 1000


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """A fitted cost curve."""

    sizes: tuple[int, ...]
    times: tuple[float, ...]
    """By size, the 10th percentile of its samples."""
    exponent: float
    low: float
    """Lower end of the 95 % interval of ``exponent``."""
    high: float
    model: str
    """Which of :data:`GROWTHS` fits best."""
    errors: dict[str, float]
    """By growth, the root mean square of what is left of log time: 0.1 is about 10 % off."""


def fit(samples: Mapping[int, Sequence[float]], *, seed: int, name: str) -> Curve | None:
    """Return the curve of samples by size; ``None`` for fewer than three sizes.

    Args:
        samples: By size, times in any one unit; those of 0 or less are below what the clock can see, and left out.
        seed: Of the run; with ``name`` it says which resamples are drawn.
        name: Of what is fitted.
    """
    rng = np.random.default_rng([seed % 2**64, *name.encode()])
    seen = {size: np.array([one for one in found if one > 0.0]) for size, found in sorted(samples.items())}
    seen = {size: found for size, found in seen.items() if len(found)}
    if len(seen) < FEWEST:
        return None
    logs = np.log(np.array(list(seen), dtype=float))
    times = np.array([np.quantile(found, SHARE) for found in seen.values()])
    drawn = np.stack(
        [
            np.quantile(found[rng.integers(0, len(found), (_RESAMPLES, len(found)))], SHARE, axis=1)
            for found in seen.values()
        ],
        axis=1,
    )
    slopes = _theil_sen(logs, np.log(drawn))
    low, high = np.quantile(slopes, (0.025, 0.975))
    exponent = float(_theil_sen(logs, np.log(times)[None, :])[0])
    errors = {name: _error(list(seen), times, growth) for name, growth in GROWTHS.items()}
    return Curve(
        sizes=tuple(seen),
        times=tuple(float(time) for time in times),
        exponent=exponent,
        low=min(float(low), exponent),
        high=max(float(high), exponent),
        model=min(errors, key=errors.__getitem__),
        errors=errors,
    )


def promised(growth: str, sizes: Sequence[int]) -> float:
    """Return the exponent that a growth has over these sizes: that of ``n log n`` is a little over 1.

    Raises ``KeyError`` for a growth that :data:`GROWTHS` does not have.
    """
    logs = np.log(np.array(sizes, dtype=float))
    return float(_theil_sen(logs, np.log([[GROWTHS[growth](size) for size in sizes]]))[0])


def verdict(curve: Curve, growth: str, tolerance: float = TOLERANCE) -> str:
    """Return ``kept``, ``steeper`` or ``undecided``: whether time grows no faster than promised.

    *kept*: the whole interval of the exponent is at most ``tolerance`` above that of ``growth``. *steeper*: none of it
    is. *undecided*: the interval has both. ``not promised``: ``growth`` is empty.
    """
    if not growth:
        return "not promised"
    most = promised(growth, curve.sizes) + tolerance
    if curve.high <= most:
        return "kept"
    return "steeper" if curve.low > most else "undecided"


def _theil_sen(logs: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the median slope of each row of ``values`` over ``logs``."""
    pairs = list(itertools.combinations(range(len(logs)), 2))
    slopes = [(values[:, j] - values[:, i]) / (logs[j] - logs[i]) for i, j in pairs]
    found: np.ndarray = np.median(np.stack(slopes), axis=0)
    return found


def _error(sizes: Sequence[int], times: np.ndarray, growth: Callable[[float], float]) -> float:
    left = np.log(times) - np.log([growth(size) for size in sizes])
    return float(np.sqrt(np.mean((left - left.mean()) ** 2)))
