"""The bootstrap: every resample draws as many rows as there are, and the seed says which."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_common.resampling import RESAMPLES, counts, interval, stream_of


@given(st.integers(1, 300), st.integers(1, 50), st.integers(0, 2**32 - 1))
def test_every_resample_draws_as_many_rows_as_there_are(rows: int, resamples: int, seed: int) -> None:
    drawn = np.concatenate(list(counts(rows, stream_of(seed, "x"), resamples)))
    assert drawn.shape == (resamples, rows)
    assert np.array_equal(drawn.sum(axis=1), np.full(resamples, rows))
    assert drawn.min() >= 0


def test_more_rows_than_a_block_holds_are_drawn_one_resample_at_a_time() -> None:
    blocks = list(counts(100_000, stream_of(1, "x"), 3))
    assert [block.shape for block in blocks] == [(1, 100_000)] * 3


def test_seed_and_name_say_which_rows() -> None:
    def drawn(seed: int, name: str) -> bytes:
        return np.concatenate(list(counts(20, stream_of(seed, name), 10))).tobytes()

    assert drawn(1, "a") == drawn(1, "a")
    assert len({drawn(1, "a"), drawn(2, "a"), drawn(1, "b"), drawn(-1, "a")}) == 4


def test_the_interval_of_a_mean_is_that_of_the_normal_law() -> None:
    values = np.random.default_rng(0).normal(size=400)
    drawn = np.concatenate(list(counts(400, stream_of(1, "x"), RESAMPLES))) @ values / 400
    low, high = interval(drawn)
    half = 1.96 * values.std() / 20
    assert (float(low), float(high)) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)
