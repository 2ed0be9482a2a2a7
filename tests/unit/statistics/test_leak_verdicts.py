"""The detector of leaks on series whose answer is known: how often it is wrong. In full size: bench/collection.py."""

from __future__ import annotations

from collections import Counter

import pytest

from support.growing import CLEAN, LEAKING, LEVEL, MIB, pair
from swarm_statistics.leaks import BLOCK, LEAST_BLOCKS, Growth, confirm, detect

TIMES = 40


def verdicts(name: str) -> Counter[str]:
    maker = (CLEAN | LEAKING)[name]
    found: Counter[str] = Counter()
    for turn in range(TIMES):
        single, double = pair(maker, f"{name}/{turn}")
        found[confirm(detect(single), detect(double)).verdict] += 1
    return found


@pytest.mark.parametrize(
    "name", [name for name in CLEAN if name not in {"four one-way steps", "random walk"}]
)
def test_what_does_not_leak_is_never_called_a_leak(name: str) -> None:
    assert verdicts(name)["leak"] == 0


@pytest.mark.parametrize("name", ["four one-way steps", "random walk"])
def test_what_looks_like_a_leak_is_called_one_in_at_most_five_of_a_hundred(name: str) -> None:
    assert verdicts(name)["leak"] <= 0.05 * TIMES


@pytest.mark.parametrize("name", LEAKING)
def test_a_leak_of_a_thousandth_a_sample_is_found(name: str) -> None:
    assert verdicts(name)["leak"] >= 0.98 * TIMES


def rising(samples: int, per_sample: float, start: float = LEVEL) -> list[float]:
    return [start + per_sample * index for index in range(samples)]


def test_growth_is_told_in_bytes_and_by_sample() -> None:
    found = detect(rising(480, MIB / 4))
    assert found.verdict == "suspected"
    assert found.per_sample == pytest.approx(MIB / 4)
    assert found.growth == pytest.approx(MIB / 4 * BLOCK * (found.blocks - 1))
    assert "rises steadily, by 76.00 MiB" in found.reason


def test_too_few_samples_say_how_many_are_needed_and_so_many_are_enough() -> None:
    found = detect(rising(5 * BLOCK * 3 // 2, MIB))
    assert (found.verdict, found.blocks, found.p_value) == ("too few samples", 5, None)
    assert f"take {found.needed} samples" in found.reason
    assert detect(rising(found.needed, MIB)).verdict == "suspected"
    assert detect(rising(found.needed - 1, MIB)).verdict == "too few samples"


def test_what_grows_by_less_than_a_mebibyte_or_two_percent_does_not_matter() -> None:
    assert detect(rising(480, 0.9 * MIB / 304, start=10 * MIB)).verdict == "no leak"
    assert detect(rising(480, 1.5 * MIB / 304, start=10 * MIB)).verdict == "suspected"
    assert detect(rising(480, 0.018 * LEVEL / 304)).verdict == "no leak"


def test_warm_up_does_not_count() -> None:
    samples = rising(160, MIB) + [LEVEL + 160 * MIB] * 320
    assert detect(samples).verdict == "no leak"


def test_blocks_hold_a_collection_however_rare() -> None:
    # Garbage of 100 MiB piles up over 40 samples: blocks of 16 would see its slope, not its floor.
    samples = [LEVEL + (index % 40) / 40 * 100 * MIB for index in range(480)]
    found = detect(samples, collections=range(0, 480, 40))
    assert (found.block, found.blocks, found.verdict) == (40, 8, "no leak")
    assert detect(samples[:300], collections=range(0, 300, 40)).needed == LEAST_BLOCKS * 40 * 3 // 2


def growth(per_sample: float) -> Growth:
    return detect(rising(480, per_sample))


@pytest.mark.parametrize(
    ("double", "verdict"),
    [(2.0, "leak"), (1.6, "leak"), (1.0, "suspected"), (3.0, "suspected"), (0.0, "suspected")],
)
def test_only_doubled_work_that_doubles_growth_makes_it_a_leak(double: float, verdict: str) -> None:
    found = confirm(growth(MIB / 4), growth(double * MIB / 4))
    assert found.verdict == verdict
    assert found.ratio == pytest.approx(double, abs=0.01)


def test_growth_in_one_half_only_is_not_confirmed() -> None:
    # By the trend alone both grow, and the second twice as much.
    first, second = ([LEVEL] * 300 + rising(180, step * MIB) for step in (0.5, 1.0))
    single, double = detect(first), detect(second)
    assert (single.verdict, double.verdict) == ("suspected", "suspected")
    assert confirm(single, double).verdict == "suspected"


def test_what_cannot_be_told_is_not_confirmed_either_way() -> None:
    few = detect(rising(50, MIB))
    assert confirm(few, growth(MIB)).verdict == "too few samples"
    assert confirm(growth(0), growth(0)).verdict == "no leak"
