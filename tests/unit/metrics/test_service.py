"""Given predictions and a consensus in the log, when a score is scheduled, then metrics that name their sources."""

from __future__ import annotations

import subprocess
import sys
from math import log as ln
from typing import Any

import numpy as np
import pytest

from swarm_common.errors import UsageError
from swarm_common.events import Array, digest_view
from swarm_common.events.agent import DataPrepared, Predicted
from swarm_common.events.consensus import Reached
from swarm_common.events.metrics import Scored
from swarm_metrics.service import _rehearse, score

Y = np.array([0, 1, 1, 0])
RIGHT = np.eye(2)[Y]
HALF = np.eye(2)[[0, 1, 0, 1]]
NEEDS = ("prepare", "train-a", "train-b", "combine")


def prepared(**more: Any) -> DataPrepared:
    given = {
        "dataset": "coins",
        "problem": "classification",
        "classes": ("heads", "tails"),
        "y_train": Array.of(Y.astype(np.int16)),
        "y_test": Array.of(Y.astype(np.int16)),
    } | more
    return DataPrepared(
        task="prepare", n_train=4, n_test=4, n_features=1, sha256="", split_seed=1, elapsed_s=0.1, **given
    )


def reached(prediction: Any, losses: dict[str, float] | None = None) -> Reached:
    return Reached(
        task="combine",
        strategy="soft",
        members=("a", "b"),
        weights={"a": 0.5, "b": 0.5},
        losses=losses or {},
        prediction=Array.of(prediction),
        agreement=0.5,
        confidence=0.75,
        out_of_fold_score=None,
        consensus_s=0.1,
    )


def fill(
    log: Any, data: DataPrepared, *predictions: Any, losses: dict[str, float] | None = None
) -> list[Any]:
    a, b, combined = predictions
    return [
        log.add(item)
        for item in (
            data,
            Predicted(task="train-a", model="a", held_out=Array.of(a)),
            Predicted(task="train-b", model="b", held_out=Array.of(b)),
            reached(combined, losses),
        )
    ]


def values(metrics: Any) -> dict[str, float]:
    return {metric.name: metric.value for metric in metrics}


async def test_combination_and_members_are_scored(log: Any) -> None:
    data, a, _, answer = fill(log, prepared(), HALF, RIGHT, 0.8 * RIGHT + 0.1)
    found = await score(log.task("score", task="score", needs=NEEDS, seed=1))
    assert isinstance(found, Scored)
    assert values(found.metrics) == {
        "accuracy": 1, "precision": 1, "recall": 1, "f1": 1, "log_loss": pytest.approx(-ln(0.9)), "ece": 0.1
    }  # fmt: skip
    assert values(found.members["a"]) == {
        "accuracy": 0.5, "precision": 0.5, "recall": 0.5, "f1": 0.5, "log_loss": None, "ece": 0.5
    }  # fmt: skip
    assert found.confusion == ((2, 0), (0, 2))
    assert found.metrics[0].source == (data.id, answer.id)
    assert found.members["a"][0].source == (data.id, a.id)
    assert found.elapsed_s > 0


async def test_the_calibration_of_the_combination_is_kept(log: Any) -> None:
    fill(log, prepared(), HALF, RIGHT, 0.8 * RIGHT + 0.1)
    found = await score(log.task("score", needs=NEEDS))
    (one,) = found.calibration
    assert (one.rows, one.confidence, one.accuracy) == (4, 0.9, 1)


async def test_the_best_single_model_is_chosen_by_losses_and_not_by_what_is_scored(log: Any) -> None:
    fill(log, prepared(), HALF, RIGHT, RIGHT, losses={"a": 0.1, "b": 0.2})
    found = await score(log.task("score", needs=NEEDS))
    assert (found.best_single, found.best_single_reason) == ("a", "")
    assert found.versus_best is not None
    assert (found.versus_best.baseline, found.versus_best.metric) == ("a", "accuracy")
    assert (found.versus_best.difference, found.versus_best.n) == (0.5, 4)
    assert found.versus_best.p_value == 0.5  # two rows gained and none lost: two fair coins
    assert found.versus_best.verdict == "no difference shown"


async def test_without_folds_there_is_no_best_single_model(log: Any) -> None:
    fill(log, prepared(), HALF, RIGHT, RIGHT)
    found = await score(log.task("score", needs=NEEDS))
    assert (found.best_single, found.versus_best) == ("", None)
    assert "without folds" in found.best_single_reason


async def test_values_have_no_confusion(log: Any) -> None:
    truth = np.array([1.0, 2.0, 3.0, 4.0])
    values_prepared = prepared(
        problem="regression", classes=(), y_train=Array.of(truth), y_test=Array.of(truth)
    )
    fill(log, values_prepared, truth, truth + 1, truth + 0.5)
    found = await score(log.task("score", needs=NEEDS))
    assert (found.confusion, found.calibration) == ((), ())
    assert values(found.metrics) == {"mse": 0.25, "mae": 0.5, "r2": 0.8}
    assert values(found.members["a"])["r2"] == 1


async def test_the_same_inputs_give_the_same_metrics(log: Any) -> None:
    fill(log, prepared(), HALF, RIGHT, HALF)
    work = log.task("score", needs=NEEDS, seed=9)
    assert digest_view(await score(work)) == digest_view(await score(work))


async def test_another_run_with_the_same_inputs_has_the_same_digest(log: Any) -> None:
    other = type(log)()
    other.add(prepared())  # so that all ids of the other run are others
    found = []
    for run in (log, other):
        fill(run, prepared(), HALF, RIGHT, HALF)
        found.append(await score(run.task("score", needs=NEEDS, seed=9)))
    one, two = found
    assert one.metrics[0].source != two.metrics[0].source
    assert digest_view(one) == digest_view(two)


async def test_without_a_consensus_there_is_nothing_to_score(log: Any) -> None:
    log.add(prepared())
    with pytest.raises(UsageError, match=r"one consensus\.reached"):
        await score(log.task("score", needs=("prepare",)))


def test_the_rehearsal_works() -> None:
    _rehearse()


def test_an_idle_service_does_without_scipy() -> None:
    code = (
        "import sys; from swarm_metrics.service import _rehearse; _rehearse(); print('scipy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
