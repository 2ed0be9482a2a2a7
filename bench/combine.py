"""Combining 2,000 rows x 5 classes x 8 models, strategy by strategy, as the service's handler does it.

The figure is ``consensus_s`` of the event: from the predictions as they travel to the answer, with weights learned, the
score cross-fitted, gains with intervals, diversity and agreement. The floor beside it is the least that any combination
does: the mean of the held-out predictions, and the class it names, in numpy. All take turns.
"""

from __future__ import annotations

import time
from typing import Any, Self

import numpy as np
from kit.cli import alone, run_async
from kit.measure import Bench, Row, turns
from threadpoolctl import threadpool_limits

from swarm_common.events import Array, Data, Event
from swarm_common.events.agent import DataPrepared, Predicted
from swarm_common.events.benchmark import TaskScheduled
from swarm_common.events.consensus import Reached
from swarm_common.events.envelope import new_event
from swarm_common.runtime.history import RecordedHistory
from swarm_common.runtime.service import Work
from swarm_consensus import stacking
from swarm_consensus.combining import STRATEGIES
from swarm_consensus.service import combine

ROWS, CLASSES, MODELS = 2000, 5, 8


def _predictions(seed: int) -> list[Data]:
    """Return what came before: models of rising skill whose errors go together in part, as those of real ones do."""
    rng = np.random.default_rng(seed)
    truths = rng.integers(0, CLASSES, (2, ROWS))
    shared = rng.normal(0, 1.0, (2, ROWS, CLASSES))
    found: list[Data] = []
    for number in range(MODELS):
        own = rng.normal(0, 0.7, (2, ROWS, CLASSES))
        evidence = (2.0 + 0.1 * number) * np.eye(CLASSES)[truths] + shared + own
        sure = np.exp(1.5 * evidence)
        sure /= sure.sum(axis=2, keepdims=True)
        name = f"model-{number}"
        found.append(
            Predicted(task=name, model=name, held_out=Array.of(sure[0]), out_of_fold=Array.of(sure[1]))
        )
    held_out, train = (Array.of(truth.astype(np.int16)) for truth in truths)
    prepared = DataPrepared(
        task="prepare",
        dataset="made",
        problem="classification",
        n_train=ROWS,
        n_test=ROWS,
        n_features=1,
        classes=tuple("abcde"),
        y_train=train,
        y_test=held_out,
        sha256="",
        split_seed=seed,
        elapsed_s=0.0,
    )
    return [prepared, *found]


def _works() -> dict[str, Work]:
    """Return a task of every strategy over one log."""
    log: list[Event] = []

    def add(data: Data) -> Event:
        log.append(
            new_event(
                data,
                run="run-1",
                source="/swarm/bench/1",
                cause=f"cause-{len(log)}",
                handler="bench",
                time_ns=time.time_ns(),
            )
        )
        return log[-1]

    before = _predictions(42)
    for data in before:
        add(data)
    needs = tuple(str(data.task) for data in before)  # type: ignore[attr-defined]
    return {
        strategy: Work(
            add(
                TaskScheduled(
                    task="combine",
                    kind="combine",
                    service="consensus",
                    needs=needs,
                    params={"strategy": strategy},
                    seed=42,
                )
            ),
            RecordedHistory(log),
        )
        for strategy in STRATEGIES
    }


class _Fits:
    """Seconds spent in the fits of stacking since it was last asked."""

    def __init__(self) -> None:
        self._fit, self._seconds = stacking.fit, 0.0

    def __enter__(self) -> Self:
        stacking.fit = self
        return self

    def __exit__(self, *_: object) -> None:
        stacking.fit = self._fit

    def __call__(self, *arguments: Any) -> Any:
        began = time.perf_counter()
        found = self._fit(*arguments)
        self._seconds += time.perf_counter() - began
        return found

    def taken(self) -> float:
        seconds, self._seconds = self._seconds, 0.0
        return seconds


async def _measure(quick: bool) -> tuple[list[Row], list[str]]:
    works = _works()
    told: dict[str, Reached] = {}
    fits: dict[str, list[float]] = {"stacking": [], "best": []}
    held_out = [data.held_out.numpy() for data in _predictions(42) if isinstance(data, Predicted)]

    async def floor(_: int) -> float:
        began = time.perf_counter()
        mean = held_out[0] / MODELS
        for prediction in held_out[1:]:
            mean += prediction / MODELS
        mean.argmax(axis=1)
        return 1e3 * (time.perf_counter() - began)

    with threadpool_limits(1), _Fits() as fitting:  # as in the service

        def side(strategy: str) -> Any:
            async def one(turn: int) -> float:
                told[strategy] = reached = await combine(works[strategy])
                if (seconds := fitting.taken()) and turn >= 0:
                    fits[strategy].append(1e3 * seconds)
                return 1e3 * reached.consensus_s

            return one

        floors, *ours = await turns(7 if quick else 41, floor, *(side(strategy) for strategy in STRATEGIES))
    rows = [Row(name="floor", what="mean of 8 predictions and argmax, numpy", unit="ms", samples=floors)]
    for strategy, samples in zip(STRATEGIES, ours, strict=True):
        score = f"out-of-fold accuracy {told[strategy].out_of_fold_score:.3f}"
        if strategy in fits:
            rest = tuple(all_of_it - fit for all_of_it, fit in zip(samples, fits[strategy], strict=True))
            rows.append(
                Row(
                    name=strategy, what=f"{score}, fits of scikit-learn's and all", unit="ms", samples=samples
                )
            )
            target = "< 10" if strategy == "stacking" else ""
            rows.append(
                Row(
                    name=f"{strategy}, no fit", what="less those fits", unit="ms", samples=rest, target=target
                )
            )
        else:
            rows.append(Row(name=strategy, what=score, unit="ms", samples=samples, target="< 10"))
    return rows, [f"`best` works out all {len(STRATEGIES) - 1} others and took {told['best'].strategy}"]


def run(quick: bool) -> tuple[list[Row], list[str]]:
    return run_async(_measure(quick))


BENCH = Bench("combine", f"one answer of {MODELS} models, {ROWS:,} rows, {CLASSES} classes", run)

if __name__ == "__main__":
    alone(BENCH)
