"""Given predictions in the log, when a combination is scheduled, then an answer that held-out truth cannot move."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from swarm_common.errors import NotFound, UsageError
from swarm_common.events import Array, digest_view
from swarm_common.events.agent import DataPrepared, Predicted
from swarm_common.events.consensus import Reached
from swarm_consensus.service import _rehearse, combine

rng = np.random.default_rng(5)
Y_TRAIN, Y_TEST = rng.integers(0, 2, 80), rng.integers(0, 2, 20)
NEEDS = ("prepare", "train-a", "train-b")


def prepared(y_test: Any = Y_TEST) -> DataPrepared:
    return DataPrepared(
        task="prepare",
        dataset="coins",
        problem="classification",
        n_train=80,
        n_test=20,
        n_features=1,
        classes=("heads", "tails"),
        y_train=Array.of(Y_TRAIN.astype(np.int16)),
        y_test=Array.of(y_test.astype(np.int16)),
        sha256="",
        split_seed=42,
        elapsed_s=0.1,
    )


def predicted(name: str, *, folds: bool = True) -> Predicted:
    sure = np.random.default_rng(ord(name)).dirichlet([2, 1], 100)
    return Predicted(
        task=f"train-{name}",
        model=name,
        held_out=Array.of(sure[:20]),
        out_of_fold=Array.of(sure[20:]) if folds else None,
    )


async def reached(log: Any, data: DataPrepared | None = None, **params: Any) -> Reached:
    for event in (data or prepared(), predicted("a"), predicted("b")):
        log.add(event)
    return await combine(log.task("combine", task="combine", needs=NEEDS, params=params, seed=42))


async def test_an_answer_is_made(log: Any) -> None:
    found = await reached(log, strategy="weighted")
    assert (found.task, found.strategy, found.members) == ("combine", "weighted", ("a", "b"))
    assert found.prediction.numpy().shape == (20, 2)
    assert set(found.gain) == set(found.gain_low) == set(found.gain_high) == {"a", "b"}
    assert found.consensus_s > 0


async def test_the_same_inputs_give_the_same_answer(log: Any) -> None:
    one = await reached(log, strategy="weighted")
    again = await combine(log.work(log.events[-1]))
    assert digest_view(one) == digest_view(again)


@pytest.mark.parametrize("strategy", ["weighted", "soft", "majority"])
async def test_the_held_out_truth_is_not_read(log: Any, strategy: str) -> None:
    other = type(log)()
    shuffled = prepared(1 - Y_TEST)
    assert digest_view(await reached(log, strategy=strategy)) == digest_view(
        await reached(other, shuffled, strategy=strategy)
    )


async def test_the_training_truth_is(log: Any) -> None:
    other = type(log)()
    flipped = msgspec.structs.replace(prepared(), y_train=Array.of((1 - Y_TRAIN).astype(np.int16)))
    one, two = await reached(log, strategy="weighted"), await reached(other, flipped, strategy="weighted")
    assert one.weights != two.weights


async def test_predictions_without_data_are_refused(log: Any) -> None:
    log.add(predicted("a"))
    with pytest.raises(UsageError, match=r"one agent\.data_prepared"):
        await combine(log.task("combine", needs=("train-a",), params={"strategy": "soft"}))


async def test_a_missing_input_is_an_error_that_may_pass(log: Any) -> None:
    log.add(prepared())
    with pytest.raises(NotFound, match="train-b"):
        await combine(log.task("combine", needs=("prepare", "train-b"), params={"strategy": "soft"}))


def test_the_rehearsal_works() -> None:
    _rehearse()
