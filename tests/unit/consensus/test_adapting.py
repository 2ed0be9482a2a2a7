"""Weights that follow a stream: they find what is good now, and never know what is to come."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss, mean_squared_error

from support.voices import without_folds
from swarm_common.errors import UsageError
from swarm_consensus.adapting import adapt
from swarm_consensus.combining import Combined, Member, combine

ROWS, BLOCK = 600, 50
SEEDS = st.integers(0, 2**32 - 1)
USUAL = {"block": BLOCK, "rate": 5.0, "share": 0.05}


def drifting(seed: int = 0, *, values: bool = False) -> tuple[Any, Any, list[Member]]:
    """Return truths of the training rows and of a stream in whose middle two members change places."""
    rng = np.random.default_rng(seed)
    late = np.arange(ROWS) >= ROWS // 2
    if values:
        y_train, y_stream = rng.normal(50, 9, 100), rng.normal(50, 9, ROWS)
        noise = [np.where(late, 9, 1), np.where(late, 1, 9), np.full(ROWS, 12)]
        return (
            y_train,
            y_stream,
            [
                Member(f"m{n}", y_stream + rng.normal(0, sd), y_train + rng.normal(0, sd[0], 100))
                for n, sd in enumerate(noise)
            ],
        )
    y_train, y_stream = rng.integers(0, 2, 100), rng.integers(0, 2, ROWS)
    skill = [np.where(late, 0.45, 0.9), np.where(late, 0.9, 0.45), np.full(ROWS, 0.5)]
    members = []
    for number, sure in enumerate(skill):
        sides = [
            np.where(rng.random(len(truth)) < chance, truth, 1 - truth)
            for truth, chance in ((y_stream, sure), (y_train, sure[0]))
        ]
        members.append(Member(f"m{number}", *(np.eye(2)[side] * 0.8 + 0.1 for side in sides)))
    return y_train, y_stream, members


def adapted(case: tuple[Any, Any, list[Member]], **changed: Any) -> Combined:
    y_train, y_stream, members = case
    return adapt(members, y_train, y_stream, **{**USUAL, **changed})


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("values", [False, True], ids=["classes", "values"])
def test_weights_that_follow_beat_weights_that_do_not(seed: int, values: bool) -> None:
    case = y_train, y_stream, members = drifting(seed, values=values)
    loss = mean_squared_error if values else log_loss
    static = combine(members, y_train, "weighted", seed=seed, name="x")
    following = loss(y_stream, adapted(case).prediction)
    assert following < 0.9 * loss(y_stream, static.prediction)
    assert following < 0.9 * loss(y_stream, adapted(case, rate=0.0, share=0.0).prediction)


@given(SEEDS, st.integers(0, ROWS // BLOCK - 1), st.booleans())
def test_the_truth_of_a_block_changes_no_prediction_up_to_it(seed: int, block: int, values: bool) -> None:
    y_train, y_stream, members = drifting(seed, values=values)
    other = y_stream.copy()
    other[block * BLOCK : (block + 1) * BLOCK] = 1 - other[block * BLOCK : (block + 1) * BLOCK]
    one, two = adapted((y_train, y_stream, members)), adapted((y_train, other, members))
    end = (block + 1) * BLOCK
    assert np.array_equal(one.prediction[:end], two.prediction[:end])
    assert one.trajectory[: block + 1] == two.trajectory[: block + 1]
    assert (*one.trajectory, tuple(one.weights.values()))[block + 1] != (
        *two.trajectory,
        tuple(two.weights.values()),
    )[block + 1]


@given(SEEDS, st.floats(0, 50), st.floats(0, 0.99), st.integers(1, ROWS - 1))
def test_all_weights_sum_to_one_and_predictions_are_mixed_by_them(
    seed: int, rate: float, share: float, block: int
) -> None:
    case = drifting(seed)
    found = adapted(case, rate=rate, share=share, block=block)
    assert len(found.trajectory) == math.ceil(ROWS / block)
    assert np.allclose(np.sum([*found.trajectory, list(found.weights.values())], axis=1), 1)
    weights = np.repeat(found.trajectory, block, axis=0)[:ROWS].T
    expected = sum(w[:, None] * m.held_out for w, m in zip(weights, case[2], strict=True))
    assert np.allclose(found.prediction, expected)


def test_the_update_is_that_of_fixed_share() -> None:
    """Herbster and Warmuth 1998, figure 1: loss update, then share update."""
    case = drifting(3)
    found = adapted(case)
    _, truth, members = case
    weights, so_far = np.array(found.trajectory[0]), []
    for block, used in enumerate(found.trajectory):
        assert used == pytest.approx(weights)
        rows = slice(block * BLOCK, (block + 1) * BLOCK)
        losses = np.array([log_loss(truth[rows], m.held_out[rows], labels=[0, 1]) for m in members])
        so_far.append(losses.mean())
        kept = weights * np.exp(-5 * losses / np.mean(so_far))
        kept /= kept.sum()
        weights = 0.95 * kept + 0.05 * (1 - kept) / 2
    assert list(found.weights.values()) == pytest.approx(weights)


def test_the_first_block_goes_by_out_of_fold_losses_or_is_equal() -> None:
    y_train, y_stream, members = drifting()
    static = combine(members, y_train, "weighted", seed=0, name="x")
    found = adapted((y_train, y_stream, members))
    assert found.trajectory[0] == pytest.approx(list(static.weights.values()))
    assert found.losses == static.losses
    blind = adapted((y_train, y_stream, without_folds(members)))
    assert blind.trajectory[0] == (1 / 3, 1 / 3, 1 / 3)
    assert blind.losses == {}


def test_who_shares_comes_back_sooner() -> None:
    case = drifting()
    late = ROWS // BLOCK // 2 + 3
    with_share, without = adapted(case), adapted(case, share=0.0)
    assert with_share.trajectory[late][1] > without.trajectory[late][1] + 0.2


def test_units_do_not_matter() -> None:
    y_train, y_stream, members = drifting(values=True)
    thousands = [Member(m.name, m.held_out * 1e3, m.out_of_fold * 1e3) for m in members]
    one = adapted((y_train, y_stream, members))
    other = adapted((y_train * 1e3, y_stream * 1e3, thousands))
    assert np.allclose(one.trajectory, other.trajectory)


def test_members_that_are_always_right_stay_as_they_are() -> None:
    truth = np.arange(20.0)
    found = adapt([Member(name, truth, None) for name in "ab"], truth, truth, block=5, rate=5.0, share=0.0)
    assert found.trajectory == ((0.5, 0.5),) * 4


def test_one_member_alone_keeps_all_weight() -> None:
    y_train, y_stream, members = drifting()
    assert set(adapted((y_train, y_stream, members[:1])).trajectory) == {(1.0,)}


def test_a_stream_of_one_block_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing can be learned") as caught:
        adapted(drifting(), block=ROWS)
    assert caught.value.field == "params.block"


def test_members_that_predict_another_stream_are_refused() -> None:
    y_train, y_stream, members = drifting()
    with pytest.raises(UsageError, match="599 rows"):
        adapted((y_train, y_stream[:-1], members))
