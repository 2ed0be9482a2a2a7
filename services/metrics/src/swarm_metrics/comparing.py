"""Is an ensemble better than a baseline, or is that chance? Paired: both sides see the same rows, or the same splits.

One split: McNemar's exact test (classes) or a paired permutation test (values), over held-out rows. Several splits of
the same rows: the corrected resampled t-test of Nadeau and Bengio, "Inference for the Generalization Error" (2003),
section 4. Training sets overlap, so scores of several splits vary less than those of fresh data would; the plain t-test
takes that for certainty and finds differences where there are none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarm_common.errors import UsageError
from swarm_common.events import Better, Metric
from swarm_common.events.metrics import Comparison, Pair, Verdict
from swarm_common.resampling import RESAMPLES, Floats, counts, interval
from swarm_metrics.calibration import settled

#: A p value below this says "better" or "worse".
ALPHA = 0.05
FLIPS = 9999
CORRECTED = "corrected resampled t-test"
#: Where splits share no rows and there is nothing to correct.
PLAIN = "paired t-test"
_BLOCK = 65536
_POSSIBLE: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(("accuracy", "precision", "recall", "f1", "ece"), (0.0, 1.0)),
    **dict.fromkeys(("log_loss", "mse", "mae"), (0.0, inf)),
    "r2": (-inf, 1.0),
}
_ONE_SPLIT = "one split: two scores alone cannot be tested; repeat with 2 or more iterations"
_NO_VARIANCE = "all splits give the same difference: there is no variance to test it against"


def best_single(losses: Mapping[str, float], models: Sequence[str]) -> tuple[str, str]:
    """Return the model with the least out-of-fold loss, the first by name of equals; or nothing, and why."""
    known = [(losses[model], model) for model in models if model in losses]
    if known:
        return min(known)[1], ""
    return "", "no out-of-fold losses to choose by: the models were trained without folds"


def verdict(difference: float, p_value: float | None, better: Better) -> Verdict:
    """Return what a test shows of a difference (ensemble less baseline) in a metric of that direction."""
    if p_value is None or p_value >= ALPHA or difference == 0:
        return "no difference shown"
    return "better" if (difference > 0) == (better == "higher") else "worse"


def compare_rows(
    truth: NDArray[Any], ensemble: Floats, baseline: Floats, *, name: str, stream: list[int]
) -> Comparison:
    """Compare two predictions of the same held-out rows: by accuracy of class probabilities, or by r2 of values.

    The interval is a paired percentile bootstrap over rows: both scores see the same resample. ``name`` is the
    baseline's; ``stream`` (see :func:`~swarm_common.resampling.stream_of`) gives the resamples.
    """
    classes = ensemble.ndim == 2
    found = _by_class if classes else _by_value
    difference, p_value, (low, high) = found(truth, ensemble, baseline, stream)
    return Comparison(
        metric="accuracy" if classes else "r2",
        baseline=name,
        difference=settled(difference),
        low=settled(float(low)),
        high=settled(float(high)),
        p_value=settled(p_value),
        method=(
            "McNemar's exact test"
            if classes
            else f"paired permutation test of squared errors, {FLIPS} permutations"
        ),
        estimator=f"difference on the same rows; 95 % paired percentile bootstrap, {RESAMPLES} resamples",
        n=len(truth),
        verdict=verdict(difference, p_value, "higher"),
    )


def mcnemar(gained: int, lost: int) -> float:
    """Return the exact two-sided p value of McNemar's test (1947): of rows that only one side has right.

    Where both are equally good, each such row is a fair coin; ``scipy.stats.binomtest`` gives the same number. Whole
    numbers give it without loading scipy, for which the first run on a cold service would wait.
    """
    coins = gained + lost
    ways = 1
    below = 0
    for heads in range(min(gained, lost) + 1):
        below += ways
        ways = ways * (coins - heads) // (heads + 1)
    return min(1.0, float(2 * below / (1 << coins)))


def permutation_test(differences: Floats, stream: list[int], flips: int = FLIPS) -> float:
    """Return the two-sided p value of a mean of paired differences: Fisher's randomisation test, by random signs.

    Where both sides are equally good, each difference could as well have the other sign. The observed signs count as
    one of the permutations, so that p is never 0 (Phipson and Smyth 2010).
    """
    rng = np.random.default_rng(stream)
    rows = len(differences)
    total = float(differences.sum())
    # Sums of the same numbers in another order differ in their last bits and still are as extreme.
    least = abs(total) * (1 - 1e-9)
    height = max(1, _BLOCK // rows)
    extreme = 0
    for start in range(0, flips, height):
        kept = rng.integers(0, 2, size=(min(height, flips - start), rows), dtype=np.int8)
        extreme += int((np.abs(2 * (kept @ differences) - total) >= least).sum())
    return (extreme + 1) / (flips + 1)


def _by_class(
    truth: NDArray[Any], ensemble: Floats, baseline: Floats, stream: list[int]
) -> tuple[float, float, tuple[Floats, Floats]]:
    rows = len(truth)
    right, other = ensemble.argmax(axis=1) == truth, baseline.argmax(axis=1) == truth
    gained, lost = int((right & ~other).sum()), int((other & ~right).sum())
    # Rows are of three kinds. To draw rows and count their kinds is to draw kinds: one multinomial a resample.
    shares = np.array([gained, lost, rows - gained - lost]) / rows
    drawn = np.random.default_rng(stream).multinomial(rows, shares, size=RESAMPLES)
    resampled = (drawn[:, 0] - drawn[:, 1]) / rows
    return (gained - lost) / rows, mcnemar(gained, lost), interval(resampled)


def _by_value(
    truth: Floats, ensemble: Floats, baseline: Floats, stream: list[int]
) -> tuple[float, float, tuple[Floats, Floats]]:
    rows = len(truth)
    less = (truth - baseline) ** 2 - (truth - ensemble) ** 2
    centred = truth - truth.mean()  # the spread does not change, and squares of small numbers lose less
    table = np.stack([less, centred, centred**2], axis=1)
    sums = np.concatenate([block @ table for block in counts(rows, stream)])
    # A resample of equal rows tells no prediction from another: no difference.
    resampled = _shares(sums[:, 0], sums[:, 2] - sums[:, 1] ** 2 / rows)
    difference = float(_shares(less.sum(), (centred**2).sum()))
    return difference, permutation_test(less, [*stream, 1]), interval(resampled)


def _shares(parts: Any, wholes: Any) -> Floats:
    wholes = np.asarray(wholes)
    return np.asarray(parts / np.where(wholes > 0, wholes, np.inf))


def corrected_t_test(differences: Sequence[float], ratio: float) -> tuple[float, float, float] | None:
    """Return p value and 95 % interval of the mean of differences over splits; ``None`` where all are equal.

    ``ratio`` is test rows by training rows: the variance of the mean counts as ``(1/n + ratio)`` times that of the
    differences (Nadeau and Bengio 2003, equation 9), where the plain t-test has ``1/n``.
    """
    from scipy.special import stdtr  # noqa: PLC0415 - 27 MiB that an idle service does without

    found = t_interval(differences, ratio)
    if found is None:
        return None
    low, high = found
    mean = float(np.mean(differences))
    t = abs(mean) / _error(differences, ratio)
    return settled(2 * float(stdtr(len(differences) - 1, -t))), low, high


def t_interval(values: Sequence[float], ratio: float) -> tuple[float, float] | None:
    """Return the 95 % t-interval of a mean over splits, its variance corrected as in :func:`corrected_t_test`.

    ``None`` for a single value, and where all values are equal.
    """
    from scipy.special import stdtrit  # noqa: PLC0415 - see above

    # Equal differences of scores, such as 0.9 - 0.8 and 0.7 - 0.6, may differ in their last bits.
    if len(values) < 2 or max(values) - min(values) < 1e-12:
        return None
    mean = float(np.mean(values))
    half = float(stdtrit(len(values) - 1, 0.975)) * _error(values, ratio)
    return settled(mean - half), settled(mean + half)


def _error(values: Sequence[float], ratio: float) -> float:
    return float(np.sqrt((1 / len(values) + ratio) * np.var(values, ddof=1)))


def compare_splits(
    pairs: Sequence[Pair], *, metric: Metric, baseline: str, ratio: float, single: Comparison | None = None
) -> Comparison:
    """Compare two sides over splits of the same rows.

    ``metric`` gives name and direction, ``baseline`` the name of the other side, ``ratio`` test rows by training rows
    (0 where the splits share no rows). One split is not tested here: ``single`` says what its rows show, where they
    were compared in this metric. Without any variance there is no test either, unless nothing differs at all (p is 1).
    Raises :class:`UsageError` for a metric in which nothing is better.
    """
    if metric.better == "neither":
        raise UsageError(
            f"{metric.name} has no better direction: nothing can be better in it",
            field="params.metric",
            given=metric.name,
        )
    if len(pairs) == 1 and single is not None and single.metric == metric.name:
        return single
    differences = [pair.ensemble - pair.baseline for pair in pairs]
    tested = corrected_t_test(differences, ratio) if len(pairs) > 1 else None
    p_value, low, high = tested or (None, None, None)
    difference = settled(float(np.mean(differences)))
    reason = "" if tested else _ONE_SPLIT if len(pairs) == 1 else _NO_VARIANCE
    if tested is None and len(pairs) > 1 and all(abs(each) < 1e-12 for each in differences):
        p_value, low, high, difference, reason = 1.0, 0.0, 0.0, 0.0, ""
    return Comparison(
        metric=metric.name,
        better=metric.better,
        baseline=baseline,
        difference=difference,
        low=low,
        high=high,
        p_value=p_value,
        method="none" if len(pairs) == 1 else CORRECTED if ratio else PLAIN,
        estimator=(
            f"mean of the differences on {len(pairs)} splits; {_interval_text(len(pairs), ratio)}"
            if len(pairs) > 1
            else "difference on one split"
        ),
        n=len(pairs),
        verdict=verdict(difference, p_value, metric.better),
        reason=reason,
    )


def over_splits(metrics: Sequence[Metric], ratio: float) -> Metric:
    """Return the mean of one metric over splits, with a corrected t-interval; its sources are all of theirs.

    The interval ends where no value can lie beyond. A split where it could not be measured leaves no value, and its
    reason. One split keeps its own interval.
    """
    first = metrics[0]
    if len(metrics) == 1:
        return first
    sources = tuple(dict.fromkeys(source for metric in metrics for source in metric.source))
    values = [metric.value for metric in metrics if metric.value is not None]
    shape: Mapping[str, Any] = {
        "name": first.name,
        "unit": first.unit,
        "better": first.better,
        "source": sources,
    }
    if len(values) < len(metrics):
        missing = next(metric.reason for metric in metrics if metric.value is None)
        return Metric(value=None, n=len(metrics), reason=missing or "not measured on every split", **shape)
    ends = t_interval(values, ratio)
    least, most = _POSSIBLE.get(first.name, (-inf, inf))
    return Metric(
        value=settled(float(np.mean(values))),
        n=len(values),
        low=None if ends is None else max(ends[0], least),
        high=None if ends is None else min(ends[1], most),
        estimator=f"mean over {len(values)} splits; "
        + (_interval_text(len(values), ratio) if ends is not None else "all equal: no interval"),
        **shape,
    )


def _interval_text(splits: int, ratio: float) -> str:
    if not ratio:
        return "95 % t-interval"
    return f"95 % t-interval, variance times 1/{splits} + {ratio:.3g} (Nadeau and Bengio 2003)"
