"""Given the scores of several splits in the log, when a comparison is scheduled, then pairs, means and a verdict."""

from __future__ import annotations

from typing import Any

import pytest

from swarm_common.errors import UsageError
from swarm_common.events import Array, Metric, decode, digest_view, encode
from swarm_common.events.agent import DataPrepared
from swarm_common.events.metrics import Compared, Comparison, Scored
from swarm_metrics.comparing import corrected_t_test
from swarm_metrics.service import compare

SPLITS = ("score-0", "score-1", "score-2")
ROWS = {"train_rows": 80, "test_rows": 20}
ENSEMBLE = (0.95, 0.93, 0.96)
SVM = (0.94, 0.90, 0.92)
TREE = (0.91, 0.92, 0.90)


def metrics(value: float | None, reason: str = "") -> tuple[Metric, ...]:
    return (
        Metric(
            name="accuracy", value=value, unit="ratio", n=20, low=0.5, high=1.0, source=("x",), reason=reason
        ),
    )


def scored(task: str, ensemble: float, svm: float, tree: float, best: str = "svm", **more: Any) -> Scored:
    members = {"svm": metrics(svm), "tree": metrics(tree)}
    return Scored(
        task=task, metrics=metrics(ensemble), members=members, best_single=best, elapsed_s=0.1, **more
    )


def prepared(task: str, n_train: int = 80, n_test: int = 20) -> DataPrepared:
    nothing = Array("<i2", (0,), b"")
    return DataPrepared(
        task=task, dataset="coins", problem="classification", n_train=n_train, n_test=n_test, n_features=1,
        y_train=nothing, y_test=nothing, sha256="", split_seed=1, elapsed_s=0.1,
    )  # fmt: skip


def fill(log: Any, **more: Any) -> None:
    for task, *values in zip(SPLITS, ENSEMBLE, SVM, TREE, strict=True):
        log.add(scored(task, *values, **more))


async def compared(log: Any, needs: tuple[str, ...] = SPLITS, **params: Any) -> Compared:
    found = await compare(log.task("compare", task="compare", needs=needs, params=params))
    assert isinstance(found, Compared)
    return found


async def test_splits_are_compared_with_the_model_that_each_chose(log: Any) -> None:
    fill(log)
    found = await compared(log, metric="accuracy", baseline="best_single", **ROWS)
    assert [(pair.ensemble, pair.baseline, pair.model) for pair in found.pairs] == [
        (0.95, 0.94, "svm"),
        (0.93, 0.90, "svm"),
        (0.96, 0.92, "svm"),
    ]
    expected = corrected_t_test([a - b for a, b in zip(ENSEMBLE, SVM, strict=True)], 0.25)
    assert (found.comparison.p_value, found.comparison.low, found.comparison.high) == expected
    assert (found.comparison.n, found.comparison.baseline) == (3, "svm")
    assert (found.ensemble.value, found.baseline.value) == (pytest.approx(0.94667, abs=1e-4), 0.92)
    assert found.members["tree"].value == 0.91
    assert found.elapsed_s > 0
    event = log.add(found)
    assert decode(encode(event)).data == found


async def test_more_test_rows_make_less_sure(log: Any) -> None:
    fill(log)
    few, many = [
        (await compared(log, metric="accuracy", train_rows=80, test_rows=rows)).comparison for rows in (8, 40)
    ]
    assert few.p_value is not None
    assert many.p_value is not None
    assert few.p_value < many.p_value


async def test_rows_are_taken_from_the_data_and_the_largest_share_counts(log: Any) -> None:
    fill(log)
    log.add(prepared("prepare-0"))
    log.add(prepared("prepare-1", n_train=50, n_test=50))
    given = await compared(log, metric="accuracy", train_rows=50, test_rows=50)
    taken = await compared(log, (*SPLITS, "prepare-0", "prepare-1"), metric="accuracy")
    assert taken.comparison == given.comparison


async def test_other_tasks_are_a_baseline_too(log: Any) -> None:
    fill(log)
    for at, value in enumerate((0.90, 0.91, 0.89)):
        log.add(scored(f"random-{at}", value, value, value, best=""))
    others = ["random-2", "random-1", "random-0"]
    found = await compared(log, (*SPLITS, *sorted(others)), metric="accuracy", baseline=others, **ROWS)
    assert [(pair.ensemble, pair.baseline, pair.model) for pair in found.pairs] == [
        (0.95, 0.89, "random-2"),
        (0.93, 0.91, "random-1"),
        (0.96, 0.90, "random-0"),
    ]


async def test_baselines_are_called_by_what_they_have_in_common(log: Any) -> None:
    fill(log, best="tree")
    assert (await compared(log, metric="accuracy", **ROWS)).comparison.baseline == "tree"
    log.add(scored("score-3", 0.9, 0.8, 0.7, best="svm"))
    found = await compared(log, (*SPLITS, "score-3"), metric="accuracy", **ROWS)
    assert found.comparison.baseline == "best single"
    others = ["score-random", "score-random-2", "score-random-3"]
    for task in others:
        log.add(scored(task, 0.9, 0.9, 0.9))
    found = await compared(log, (*SPLITS, *others), metric="accuracy", baseline=others, **ROWS)
    assert found.comparison.baseline == "random"


async def test_splits_that_share_no_rows_are_said_so_by_no_test_rows(log: Any) -> None:
    fill(log)
    found = await compared(log, metric="accuracy", train_rows=80, test_rows=0)
    assert found.comparison.method == "paired t-test"


async def test_one_split_says_what_its_rows_said(log: Any) -> None:
    versus = Comparison(
        metric="accuracy", baseline="svm", difference=0.01, p_value=0.3, method="McNemar's exact test", n=20,
        verdict="no difference shown",
    )  # fmt: skip
    log.add(scored("score-0", 0.95, 0.94, 0.91, versus_best=versus))
    found = await compared(log, ("score-0",), metric="accuracy", **ROWS)
    assert found.comparison == versus
    assert found.ensemble.low == 0.5
    assert len(found.pairs) == 1


async def test_ids_of_events_stay_out_of_the_digest(log: Any) -> None:
    fill(log)
    found = await compared(log, metric="accuracy", **ROWS)
    assert found.ensemble.source == ("x",)
    view = digest_view(found)
    assert view["ensemble"]["source"] == view["baseline"]["source"] == view["members"]["svm"]["source"] == ()
    assert "elapsed_s" not in view


@pytest.mark.parametrize(
    ("params", "field", "says"),
    [
        ({}, "params.metric", "name the metric"),
        ({"metric": "r2"}, "params.metric", "it has accuracy"),
        ({"metric": "accuracy", "baseline": "svm"}, "params.baseline", "list of tasks"),
        ({"metric": "accuracy", "baseline": ["score-9"]}, "params.baseline", "list of tasks"),
        ({"metric": "accuracy", "baseline": ["score-0"]}, "params.baseline", "needs one beside it"),
        ({"metric": "accuracy", "baseline": list(SPLITS)}, "params.baseline", "needs one beside it"),
        ({"metric": "accuracy", "train_rows": 0}, "params.train_rows", "at least 1"),
        ({"metric": "accuracy", "test_rows": 2.5}, "params.train_rows", "at least 1"),
        ({"metric": "accuracy", "test_rows": None}, "params.train_rows", "agent.data_prepared"),
    ],
)
async def test_what_cannot_be_compared_says_what_is_missing(
    log: Any, params: dict[str, Any], field: str, says: str
) -> None:
    fill(log)
    with pytest.raises(UsageError, match=says) as raised:
        await compared(log, **ROWS | params)
    assert raised.value.field == field


async def test_without_scores_there_is_nothing_to_compare(log: Any) -> None:
    log.add(prepared("prepare"))
    with pytest.raises(UsageError, match=r"one metrics\.scored"):
        await compared(log, ("prepare",), metric="accuracy")


async def test_a_split_without_a_best_single_model_says_why(log: Any) -> None:
    fill(log, best="", best_single_reason="trained without folds")
    with pytest.raises(UsageError, match=r"score-0 names no best single model \(trained without folds\)"):
        await compared(log, metric="accuracy", **ROWS)


async def test_a_metric_that_was_not_measured_everywhere_is_refused(log: Any) -> None:
    log.add(Scored(task="score-0", metrics=metrics(None, "infinite"), members={"svm": metrics(0.9)},
                   best_single="svm", elapsed_s=0.1))  # fmt: skip
    with pytest.raises(UsageError, match="could not be measured on every split"):
        await compared(log, ("score-0",), metric="accuracy", **ROWS)
