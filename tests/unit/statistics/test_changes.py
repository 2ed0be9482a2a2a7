"""Change points, beside those of Apache Otava 0.8.0 on the same series."""

from __future__ import annotations

import math
import random
from statistics import NormalDist

import numpy as np
import pytest
from scipy import stats

from swarm_statistics.changes import Change, _best_division, _block_sums, change_points

#: Of ``otava.analysis.compute_change_points(series(k), window_len=50, max_pvalue=0.001, min_magnitude=0.05)``.
OTAVA: dict[int, list[int]] = {
    0: [],
    1: [2, 8, 14],
    2: [5, 42],
    3: [9],
    4: [4, 7, 31],
    5: [64],
    6: [],
    7: [21, 32, 41],
    9: [21, 47, 49],
    10: [8, 45, 87],
    12: [],
    13: [],
    14: [75],
    15: [8],
    16: [25],
    17: [15, 23],
    18: [20, 24],
    19: [41, 47],
    20: [],
    21: [10],
    22: [1, 19, 36],
    23: [20, 32, 60],
    24: [9],
    25: [],
    26: [9],
    27: [87],
    28: [15, 40],
    29: [11, 45, 109],
    30: [],
    31: [2],
    32: [],
    33: [],
    34: [21, 33],
    35: [23],
    36: [10, 25],
    37: [],
    38: [],
    39: [3, 82, 107],
    40: [24, 59, 86],
    41: [42, 93],
    42: [23],
    43: [25],
    44: [24, 29],
    45: [],
    46: [34],
    47: [19, 29, 40],
}
#: A step that Otava 0.8.0 does not report: it takes back the weaker of two neighbouring divisions, and then does not
#: judge the one before it again.
STEP = [
    98.5,
    98.3,
    99.1,
    100.7,
    100.5,
    116.9,
    119.6,
    120.6,
    118.4,
    120.6,
    120.9,
    119.7,
    118.7,
    119.6,
    120.3,
    120.3,
]


def series(k: int) -> list[float]:
    draw = random.Random(f"changes/{k}")  # noqa: S311 - seeded, nothing secret
    length, spread = draw.randrange(12, 120), draw.choice([0.01, 0.03, 0.05])
    values = [100 * math.exp(spread * NormalDist().inv_cdf(draw.random())) for _ in range(length)]
    for _ in range(draw.randrange(4)):
        at, step = draw.randrange(1, length), draw.choice([0.8, 0.9, 1.1, 1.3])
        values[at:] = [value * step for value in values[at:]]
    return [round(value, 3) for value in values]


@pytest.mark.parametrize("k", OTAVA)
def test_changes_are_where_otava_finds_them(k: int) -> None:
    assert [change.index for change in change_points(series(k))] == OTAVA[k]


def test_a_step_beside_a_division_that_is_taken_back_is_found() -> None:
    (change,) = change_points(STEP)
    assert change.index == 5
    assert (change.before, change.after) == pytest.approx((99.42, 119.59), abs=0.01)
    assert change.magnitude == pytest.approx(0.203, abs=0.001)


def test_p_is_that_of_students_t() -> None:
    (change,) = change_points(STEP)
    assert change.p == pytest.approx(stats.ttest_ind(STEP[:5], STEP[5:]).pvalue)


def test_the_best_division_has_the_largest_energy_distance_by_its_definition() -> None:
    values = np.array(series(3)[:14])

    def distance(at: int, end: int) -> float:
        left, right = values[:at], values[at:end]
        n, m = len(left), len(right)
        between = 2 * np.abs(np.subtract.outer(left, right)).mean()
        inside = [
            np.abs(np.subtract.outer(part, part)).sum() / (len(part) * (len(part) - 1))
            if len(part) > 1
            else 0.0
            for part in (left, right)
        ]
        return float(n * m / (n + m) * (between - sum(inside)))

    best = max((distance(at, end), at) for at in range(1, 14) for end in range(at + 1, 15))
    found = _best_division(_block_sums(np.abs(np.subtract.outer(values, values))), 0, 14)
    assert found == pytest.approx(best)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0], [5.0] * 40])
def test_a_short_or_level_series_has_none(values: list[float]) -> None:
    assert change_points(values) == ()


def test_a_step_without_noise_is_a_change_and_a_small_one_is_none() -> None:
    (change,) = change_points([10.0] * 6 + [11.0] * 6)
    assert change == Change(index=6, before=10.0, after=11.0, p=0.0)
    assert change_points([10.0] * 6 + [10.4] * 6) == ()
    assert [change.index for change in change_points([10.0] * 6 + [10.4] * 6, min_magnitude=0.03)] == [6]


def test_a_series_without_change_seldom_has_one() -> None:
    draw = np.random.default_rng(3)
    found = [bool(change_points(np.exp(draw.normal(0, 0.05, 60)))) for _ in range(100)]
    assert np.mean(found) <= 0.06


def test_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        change_points([1.0, math.nan])
    with pytest.raises(ValueError, match="window"):
        change_points([1.0, 2.0], window=1)
