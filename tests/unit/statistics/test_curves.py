"""Cost curves: each growth is known for what it is, with and without noise, and a steeper one is not let through."""

from __future__ import annotations

import numpy as np
import pytest

from swarm_statistics import curves
from swarm_statistics.curves import GROWTHS

SIZES = (10, 50, 100, 500, 1000)


def samples(
    growth: str, sigma: float, seed: int, *, n: int = 40, constant: float = 0.0
) -> dict[int, list[float]]:
    rng = np.random.default_rng([seed, len(growth)])
    return {
        size: list((constant + 0.3 * GROWTHS[growth](size)) * np.exp(rng.normal(0.0, sigma, n)))
        for size in SIZES
    }


@pytest.mark.parametrize("growth", GROWTHS)
def test_an_exact_curve_has_its_exponent_and_its_name(growth: str) -> None:
    found = curves.fit(samples(growth, 0.0, 1), seed=1, name="exact")
    assert found is not None
    assert found.exponent == pytest.approx(curves.promised(growth, SIZES))
    assert (found.low, found.high) == pytest.approx((found.exponent, found.exponent))
    assert found.model == growth
    assert found.errors[growth] == pytest.approx(0.0, abs=1e-9)
    assert curves.verdict(found, growth) == "kept"


def test_exponents_are_those_of_the_growths() -> None:
    found = {growth: curves.promised(growth, SIZES) for growth in GROWTHS}
    assert (found["constant"], found["linear"], found["quadratic"]) == pytest.approx((0.0, 1.0, 2.0))
    assert 0.1 < found["log n"] < 0.3
    assert found["n log n"] == pytest.approx(1 + found["log n"])


@pytest.mark.parametrize("growth", GROWTHS)
@pytest.mark.parametrize("seed", range(5))
def test_noise_does_not_rename_a_curve(growth: str, seed: int) -> None:
    found = curves.fit(samples(growth, 0.1, seed), seed=seed, name="noisy")
    assert found is not None
    assert found.model == growth
    assert curves.verdict(found, growth) == "kept"


@pytest.mark.parametrize(
    ("really", "promised"),
    [
        ("quadratic", "linear"),
        ("quadratic", "n log n"),
        ("linear", "constant"),
        ("linear", "log n"),
        ("n log n", "log n"),
    ],
)
def test_what_grows_faster_than_promised_is_steeper(really: str, promised: str) -> None:
    for seed in range(5):
        found = curves.fit(samples(really, 0.1, seed), seed=seed, name="steep")
        assert found is not None
        assert curves.verdict(found, promised) == "steeper"


def test_a_constant_part_makes_a_curve_flatter_and_breaks_no_promise() -> None:
    found = curves.fit(samples("linear", 0.05, 1, constant=100.0), seed=1, name="flat")
    assert found is not None
    assert found.exponent < 0.9
    assert curves.verdict(found, "linear") == "kept"


def test_the_interval_holds_the_exponent_nineteen_times_of_twenty() -> None:
    held = 0
    for seed in range(100):
        found = curves.fit(samples("linear", 0.1, seed), seed=seed, name="covers")
        assert found is not None
        held += found.low <= 1.0 <= found.high
    assert held >= 90


def test_noise_that_hides_the_answer_is_undecided() -> None:
    found = curves.fit(
        {10: [1.0, 9.0, 30.0], 50: [5.0, 50.0, 400.0], 100: [10.0, 90.0, 900.0]}, seed=1, name="noise"
    )
    assert found is not None
    assert curves.verdict(found, "linear") == "undecided"
    assert curves.verdict(found, "") == "not promised"


def test_one_size_that_is_off_does_not_turn_the_slope() -> None:
    found = samples("linear", 0.02, 1)
    found[1000] = [3 * value for value in found[1000]]
    fitted = curves.fit(found, seed=1, name="outlier")
    assert fitted is not None
    assert fitted.exponent == pytest.approx(1.0, abs=0.15)


def test_a_machine_in_use_does_not_make_a_linear_curve_steeper() -> None:
    """Interruptions come by the time that passes: hardly ever in a short sample, in most of the long ones."""
    rng = np.random.default_rng(5)
    found = {
        size: [
            0.3 * size * (1 + 0.02 * rng.random()) + rng.exponential(500.0) * (rng.random() < size / 1400)
            for _ in range(100)
        ]
        for size in SIZES
    }
    assert np.median(found[1000]) > 1.4 * 0.3 * 1000
    fitted = curves.fit(found, seed=1, name="busy")
    assert fitted is not None
    assert fitted.exponent == pytest.approx(1.0, abs=0.05)
    assert curves.verdict(fitted, "linear") == "kept"


def test_two_sizes_are_no_curve_and_what_the_clock_cannot_see_is_left_out() -> None:
    assert curves.fit({10: [1.0], 20: [2.0]}, seed=1, name="two") is None
    assert curves.fit({10: [0.0], 20: [2.0], 30: [3.0]}, seed=1, name="zero") is None


def test_the_same_seed_and_name_draw_the_same_interval() -> None:
    given = samples("linear", 0.1, 1)
    first, again = (curves.fit(given, seed=7, name="curve") for _ in range(2))
    assert first == again
    assert first != curves.fit(given, seed=8, name="curve")
