"""Given predictions in the log, when a combination is scheduled, then an answer that held-out truth cannot move."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec
import numpy as np
import pytest

from swarm_common.errors import NotFound, UsageError
from swarm_common.events import Array, digest_view
from swarm_common.events.agent import DataPrepared, Predicted
from swarm_common.events.consensus import Reached
from swarm_consensus.combining import STRATEGIES
from swarm_consensus.service import _rehearse, adapt, combine

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
    assert found.diversity == pytest.approx(1 - found.agreement)
    assert np.shape(found.disagreement) == np.shape(found.q_statistic) == (2, 2)
    assert found.variance > 0
    for rows in (found.row_confidence, found.row_agreement):
        assert (rows.dtype, rows.shape) == ("<f4", (20,))
    assert found.row_confidence.numpy().mean() == pytest.approx(found.confidence)


async def test_best_names_what_it_chose_and_what_it_considered(log: Any) -> None:
    found = await reached(log, strategy="best")
    assert set(found.considered) == set(STRATEGIES) - {"best"}
    assert found.considered[found.strategy] == min(found.considered.values())


async def test_the_same_inputs_give_the_same_answer(log: Any) -> None:
    one = await reached(log, strategy="weighted")
    again = await combine(log.work(log.events[-1]))
    assert digest_view(one) == digest_view(again)


@pytest.mark.parametrize("strategy", STRATEGIES)
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


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"strategy": "mean"}, "params.strategy"),
        ({"strategy": ["weighted"]}, "params.strategy"),
        ({"strategy": "weighted", "picks": 10}, "params.picks"),
        ({"strategy": "stacking", "C": 1.0}, "params.C"),
        ({"strategy": "greedy", "iterations": 10}, "params.iterations"),
        ({"strategy": "greedy", "picks": 0}, "params.picks"),
        ({"strategy": "greedy", "picks": 2.5}, "params.picks"),
        ({"strategy": "greedy", "picks": True}, "params.picks"),
        ({"strategy": "greedy", "picks": 1001}, "params.picks"),
    ],
)
async def test_what_a_strategy_would_not_heed_is_refused(
    log: Any, params: dict[str, Any], field: str
) -> None:
    with pytest.raises(UsageError) as caught:
        await reached(log, **params)
    assert caught.value.field == field


async def test_picks_change_what_greedy_does(log: Any) -> None:
    one, many = [
        await reached(type(log)(), strategy="greedy", **more) for more in ({"picks": 1}, {"picks": 40})
    ]
    assert max(one.weights.values()) == 1
    assert one.weights != many.weights


# -- adapt -------------------------------------------------------------------------------------------------


async def followed(log: Any, data: DataPrepared | None = None, **params: Any) -> Reached:
    for event in (data or prepared(), predicted("a"), predicted("b")):
        log.add(event)
    return await adapt(log.task("adapt", task="adapt", needs=NEEDS, params=params, seed=42))


async def test_a_stream_is_followed(log: Any) -> None:
    found = await followed(log, block=8)
    assert (found.task, found.strategy, found.members) == ("adapt", "adaptive", ("a", "b"))
    assert np.shape(found.trajectory) == (3, 2)
    assert sum(found.weights.values()) == pytest.approx(1)
    assert (found.out_of_fold_score, found.gain) == (None, {})
    assert found.prediction.numpy().shape == (20, 2)
    assert digest_view(found) == digest_view(await adapt(log.work(log.events[-1])))


async def test_what_was_predicted_does_not_know_the_last_blocks_truth(log: Any) -> None:
    turned = Y_TEST.copy()
    turned[16:] = 1 - turned[16:]
    one, other = await followed(log, block=8), await followed(type(log)(), prepared(turned), block=8)
    assert one.prediction == other.prediction
    assert one.weights != other.weights


async def test_every_parameter_of_adapt_changes_its_work(log: Any) -> None:
    ways = [{"block": 8}, {"block": 4}, {"block": 8, "rate": 1.0}, {"block": 8, "share": 0.2}]
    found = [await followed(type(log)(), **way) for way in ways]
    assert len({str(one.trajectory) for one in found}) == len(ways)


@pytest.mark.parametrize(
    "params",
    [
        {"block": 0},
        {"block": 20},
        {"block": 2.0},
        {"block": True},
        {"rate": -1.0},
        {"rate": float("inf")},
        {"rate": float("nan")},
        {"rate": "fast"},
        {"share": 1.0},
        {"share": -0.1},
        {"speed": 1},
    ],
)
async def test_what_adapt_cannot_do_is_refused_by_name(log: Any, params: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        await followed(log, **params)
    assert caught.value.field == f"params.{next(iter(params))}"


def test_loading_scikit_learn_is_no_part_of_consensus_s() -> None:
    code = (
        "import sys, time\n"
        "from swarm_common.events import Array\n"
        "from swarm_common.events.agent import Predicted\n"
        "from swarm_consensus import service\n"
        "from swarm_consensus.params import CombineParams\n"
        "sure = Array.of([[.9, .1], [.2, .8]] * 5)\n"
        "both = [Predicted(task=name, model=name, held_out=sure, out_of_fold=sure) for name in 'ab']\n"
        "clock = time.perf_counter_ns\n"
        "def looked():\n"
        "    print('swarm_consensus.stacking' in sys.modules)\n"
        "    return clock()\n"
        "time.perf_counter_ns = looked\n"
        "service._combine(Array.of([0, 1] * 5), both, CombineParams(strategy=sys.argv[1]), seed=1, task='t')\n"
    )
    for strategy, loaded in ("stacking", "True"), ("weighted", "False"):
        command = [sys.executable, "-c", code, strategy]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert set(done.stdout.split()) == {loaded}


def test_the_rehearsal_works() -> None:
    _rehearse()
