"""Order that matters is seen: neighbours that are alike, and trends, of one metric and of all together."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from swarm_statistics.independence import deflated, effective, orders
from swarm_statistics.ranks import mann_whitney


def autoregressive(draw: np.random.Generator, rho: float, shape: tuple[int, int]) -> NDArray[np.float64]:
    noise = draw.normal(size=shape)
    values = np.empty(shape)
    values[:, 0] = noise[:, 0]
    for at in range(1, shape[1]):
        values[:, at] = rho * values[:, at - 1] + math.sqrt(1 - rho**2) * noise[:, at]
    return values


def test_independent_runs_are_seldom_suspected() -> None:
    draw = np.random.default_rng(1)
    ps = []
    for at in range(60):
        found = orders(draw.normal(size=(2, 5, 12)), seed=at, permutations=199)
        ps += [found.mean.alike_p, found.mean.trend_p, found.common.alike_p, found.common.trend_p]
    ps = np.array(ps)
    for limit in (0.05, 0.2, 0.5):
        assert abs((ps <= limit).mean() - limit) < 0.07


def test_runs_that_resemble_those_before_them_are_seen_in_thirty_metrics_and_in_one() -> None:
    draw = np.random.default_rng(2)
    many = orders([autoregressive(draw, 0.3, (30, 20)) for _ in range(2)])
    assert many.mean.alike_p < 0.001
    one = orders([autoregressive(draw, 0.8, (1, 40)) for _ in range(2)])
    assert one.alone[0].alike_p < 0.001
    assert 0.5 < one.alone[0].autocorrelation < 0.95


def test_a_machine_that_slows_down_is_seen_in_what_the_metrics_share() -> None:
    draw = np.random.default_rng(3)
    slower = np.linspace(0, 0.1, 40)
    values = slower + draw.normal(0, 0.1, (30, 40))
    found = orders([values[:, :20], values[:, 20:]])
    assert found.common.trend_p < 0.001
    assert found.common.trend > 0.5
    falling = orders([-values[:, :20], -values[:, 20:]])
    assert falling.common.trend == pytest.approx(-found.common.trend)


def test_a_change_between_the_sides_is_no_drift() -> None:
    draw = np.random.default_rng(4)
    base, head = draw.normal(size=(10, 20)), draw.normal(size=(10, 20)) + 5
    found = orders([base, head])
    assert min(found.mean.trend_p, found.mean.alike_p, found.common.trend_p, found.common.alike_p) > 0.01


def test_only_ranks_count_and_the_seed_decides_the_shuffles() -> None:
    draw = np.random.default_rng(5)
    sides = draw.normal(size=(2, 3, 10))
    assert orders(sides, seed=1) == orders(sides, seed=1) == orders(np.exp(sides * 3), seed=1)
    assert orders(sides, seed=1).alone[0].trend == orders(sides, seed=2).alone[0].trend


def test_a_metric_that_never_changes_has_no_order() -> None:
    found = orders([[[1.0] * 6], [[1.0] * 6]], permutations=99)
    assert (found.alone[0].autocorrelation, found.alone[0].alike_p, found.alone[0].trend_p) == (0.0, 1.0, 1.0)


def test_values_that_depend_on_each_other_count_for_fewer() -> None:
    assert effective(101, -0.5) == 101
    assert effective(101, 0.29) == pytest.approx(101 * 0.7 / 1.3)
    assert [effective(n, 0.9) for n in (0, 1)] == [0.0, 1.0]
    assert deflated(0.03, 1.0) == pytest.approx(0.03)
    assert deflated(0.03, 0.25) == pytest.approx(0.278, abs=0.001)  # z of 2.17 becomes 1.085
    assert deflated(1.0, 0.25) == 1.0


def test_a_p_at_the_corrected_size_keeps_its_level_for_dependent_values() -> None:
    draw = np.random.default_rng(6)
    raw, corrected = [], []
    for at in range(150):
        base, head = (autoregressive(draw, 0.6, (1, 20)) for _ in range(2))
        p = mann_whitney(base[0], head[0])
        share = effective(40, orders([base, head], seed=at, permutations=1).alone[0].autocorrelation) / 40
        raw.append(p < 0.05)
        corrected.append(deflated(p, share) < 0.05)
    assert np.mean(raw) > 0.2
    assert np.mean(corrected) < 0.12
