"""An ensemble's wall time beside scikit-learn's own ``VotingClassifier`` and ``StackingClassifier`` with ``n_jobs=2``.

Same data, models, scaling, folds and seeds (taken from the run's own log), both warm: the peer has the split data in
memory and its pool of processes up; ours has run once. Ours is timed from request to completion, the peer from ``fit``
to the accuracy on the held-out rows, which must come out the same. Ours scores every member and bootstraps intervals
in that time as well.

And our own run on one worker beside two, with the bound that the work itself sets: all CPU seconds, by half of them or
by the longest task, whichever is more.
"""

from __future__ import annotations

import asyncio
import contextlib
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
from swarm_common.events.agent import ModelTrained, PartTrained
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


def _bound(events: list[Event], cores: int) -> float:
    """Return how much faster the run's training could be on so many cores as on one, by its own CPU seconds."""
    costs = [
        event.data.cpu_s
        for event in events
        if isinstance(event.data, PartTrained)
        or (isinstance(event.data, ModelTrained) and event.data.parts == 1)
    ]
    return sum(costs) / max(sum(costs) / cores, *costs)


async def _speed_up(quick: bool) -> list[Row]:
    """Return our wall time on one worker beside two: two stacks, the same request, turn by turn."""
    scenario = "classification_ensemble"
    request = _request(scenario, {**LARGE, **({"rows": 1000} if quick else {})})
    async with contextlib.AsyncExitStack() as opened:
        sides: list[Runs] = []
        clients: list[Client] = []
        for workers in (1, JOBS):
            settings, _ = opened.enter_context(stack(cpu_workers=workers))
            clients.append(await opened.enter_async_context(Client(settings=settings)))
            sides.append(await opened.enter_async_context(Runs(clients[-1])))
        warm = [await side.run(request, patience_s=600) for side in sides]
        events = await clients[1].events(warm[1][0])
        single, double = (lambda _, side=side: _seconds(side, request) for side in sides)
        alone_s, shared_s = await turns(2 if quick else 5, single, double)
    bound = _bound(events, JOBS)
    return [
        Row(name="one worker", what=f"{scenario}, 5 models, 3 folds", unit="s", samples=alone_s),
        Row(name=f"{JOBS} workers", what="the same", unit="s", samples=shared_s),
        Row(name="speed-up", what="one / two", unit="x", samples=ratios(alone_s, shared_s), target=">= 1.8"),
        Row(
            name="bound",
            what="of the work: CPU seconds / max(half of them, longest task)",
            unit="x",
            samples=(bound,),
        ),
    ]


async def _seconds(side: Runs, request: Requested) -> float:
    return (await side.run(request, patience_s=600))[1]


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
    rows += await _speed_up(quick)
    return rows, []


def run(quick: bool) -> tuple[list[Row], list[str]]:
    return run_async(_measure(quick), limit_s=_LIMIT_S)


BENCH = Bench("ensemble", "wall time of an ensemble, warm", run)

if __name__ == "__main__":
    alone(BENCH)
