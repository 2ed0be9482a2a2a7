"""An ensemble's wall time beside scikit-learn's own ``VotingClassifier`` and ``StackingClassifier`` with ``n_jobs=2``.

Same data, models, scaling, folds and seeds (taken from the run's own log), both warm: the peer has the split data in
memory and its pool of processes up; ours has run once. Ours is timed from request to completion, the peer from ``fit``
to the accuracy on the held-out rows, which must come out the same. Ours scores every member and bootstraps intervals
in that time as well.

The last case has the classic gradient boosting, which takes more than half of all CPU seconds: there it matters who
starts first, and that a fold is a task of its own.
"""

from __future__ import annotations

import asyncio
import os
import time
import warnings
from collections.abc import Sequence
from typing import Any

from joblib.externals.loky import get_reusable_executor
from kit.cli import alone, run_async
from kit.measure import Bench, Row, ratios, turns
from kit.servers import Runs, stack
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.metrics import accuracy_score
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from swarm_common import Client
from swarm_common.errors import SwarmError
from swarm_common.events import Event
from swarm_common.events.benchmark import Completed, Requested, TaskScheduled
from swarm_model_agent.datasets import HeldOut, Training, load_held_out, load_training
from swarm_model_agent.models import build
from swarm_model_agent.params import PartParams, read

JOBS = 2
_LIMIT_S = 1800.0
#: HistGradientBoosting in place of the classic: a member on the critical path alone would bound everything by itself.
LARGE = {
    "models": ["random_forest", "hist_gradient_boost", "neural_network", "svm", "logistic_regression"],
    "iterations": 1,
}
#: Scenario, its parameters, turns against VotingClassifier, turns against StackingClassifier.
CASES: Sequence[tuple[str, dict[str, Any], int, int]] = (
    ("classification_ensemble_small", {}, 11, 7),
    ("digits", {}, 7, 5),
    ("classification_ensemble", LARGE, 3, 3),
    ("classification_ensemble", {"iterations": 1}, 2, 2),
)
_STACKING_FOLDS = 5


def _request(scenario: str, params: dict[str, Any]) -> Requested:
    return Requested(suite="ensemble", scenario=scenario, params=params)


def _same_models(events: list[Event], seed: int) -> tuple[list[tuple[str, Any]], Training, HeldOut, int]:
    """Return what a run trained, in the order in which it was scheduled, its data, and the seed of its split."""
    estimators: dict[str, Any] = {}
    data, held_out, split_seed = None, None, 0
    for event in events:
        task = event.data
        if isinstance(task, TaskScheduled) and task.kind in {"train", "train_part"}:
            params = read(task.params, PartParams)
            data, held_out, split_seed = load_training(params), load_held_out(params), params.split_seed
            estimators[params.model] = build(
                params.model_type, data.problem, params.hyperparameters, seed=seed, scale=params.scale
            )
    if data is None or held_out is None:
        raise SwarmError("the run trained nothing")
    return list(estimators.items()), data, held_out, split_seed


def _accuracy(events: list[Event]) -> float:
    (completed,) = [event.data for event in events if isinstance(event.data, Completed)]
    return next(
        float(metric.value)
        for metric in completed.metrics
        if metric.name == "accuracy" and metric.value is not None
    )


async def _beside(
    runs: Runs, client: Client, scenario: str, params: dict[str, Any], repeats: int
) -> list[Row]:
    """Return the rows of one scenario beside the peer that does the same."""
    request = _request(scenario, params)
    run, _ = await runs.run(request, patience_s=600)
    events = await client.events(run)
    estimators, data, held_out, split_seed = _same_models(events, request.seed)
    accuracy = _accuracy(events)
    peer: VotingClassifier | StackingClassifier
    if params["combination"] == "stacking":
        folds = StratifiedKFold(params["folds"], shuffle=True, random_state=split_seed)
        peer = StackingClassifier(estimators, cv=folds, n_jobs=JOBS)
    else:
        peer = VotingClassifier(estimators, voting="soft", n_jobs=JOBS)

    async def ours(_: int) -> float:
        return (await runs.run(request, patience_s=600))[1]

    def fit() -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of convergence: ours records it in its events
            began = time.perf_counter()
            found = accuracy_score(held_out.y, peer.fit(data.x, data.y).predict(held_out.x))
            seconds = time.perf_counter() - began
        if abs(found - accuracy) > 1e-12:
            raise SwarmError(f"{scenario}: the peer scores {found}, ours {accuracy}: not the same fits")
        return seconds

    async def theirs(_: int) -> float:
        return await asyncio.to_thread(fit)  # our client's loop goes on meanwhile

    mine, other = await turns(repeats, ours, theirs)
    kind = type(peer).__name__.removesuffix("Classifier").lower()
    short = scenario.replace("classification_ensemble", "made").replace("made_", "")
    short += "" if "models" in params or scenario != "classification_ensemble" else " classic"
    what = f"{scenario}, {params['combination']}, {params['folds']} folds, accuracy {accuracy:.4f}"
    return [
        Row(name=f"{short} {kind} ours", what=what, unit="s", samples=mine),
        Row(
            name=f"{short} {kind} peer",
            what=f"{type(peer).__name__}(n_jobs={JOBS})",
            unit="s",
            samples=other,
        ),
        Row(
            name=f"{short} {kind}",
            what="ours / peer",
            unit="x",
            samples=ratios(mine, other),
            target="<= 1.0" if kind == "voting" else "<= 0.7",
        ),
    ]


async def _measure(quick: bool) -> tuple[list[Row], list[str]]:
    rows = []
    os.environ["PYTHONWARNINGS"] = "ignore"  # of the peer's processes
    with stack() as (settings, _), threadpool_limits(1):  # as in the workers of both
        async with Client(settings=settings) as client, Runs(client) as runs:
            for scenario, params, voting, stacking in CASES[:1] if quick else CASES:
                soft = {**params, "combination": "soft", "folds": 0}
                stacked = {**params, "combination": "stacking", "folds": _STACKING_FOLDS}
                rows += await _beside(runs, client, scenario, soft, 2 if quick else voting)
                rows += await _beside(runs, client, scenario, stacked, 2 if quick else stacking)
    get_reusable_executor(reuse=True).shutdown(wait=True)
    return rows, []


def run(quick: bool) -> tuple[list[Row], list[str]]:
    return run_async(_measure(quick), limit_s=_LIMIT_S)


BENCH = Bench("ensemble", "wall time of an ensemble, warm", run)

if __name__ == "__main__":
    alone(BENCH)
