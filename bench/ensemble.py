"""An ensemble's wall time beside scikit-learn's own ``VotingClassifier(voting="soft", n_jobs=2)``.

Same data, models, scaling and seeds (taken from the run's own log), both warm: the peer has the split data in memory
and its pool of processes up; ours has run once. Ours is timed from request to completion, the peer from ``fit`` to the
accuracy on the held-out rows, which must come out the same.
"""

from __future__ import annotations

import asyncio
import os
import time
import warnings

from joblib.externals.loky import get_reusable_executor
from kit.cli import alone, run_async
from kit.measure import Bench, Row, ratios, turns
from kit.servers import Runs, stack
from sklearn.ensemble import VotingClassifier
from sklearn.metrics import accuracy_score
from threadpoolctl import threadpool_limits

from swarm_common import Client
from swarm_common.errors import SwarmError
from swarm_common.events import Event
from swarm_common.events.benchmark import Completed, Requested, TaskScheduled
from swarm_model_agent.datasets import HeldOut, Training, load_held_out, load_training
from swarm_model_agent.models import build
from swarm_model_agent.params import TrainParams, read

SCENARIOS = ("classification_ensemble_small", "digits")
JOBS = 2


def _request(scenario: str) -> Requested:
    return Requested(suite="ensemble", scenario=scenario, params={"combination": "soft", "folds": 0})


def _same_models(events: list[Event]) -> tuple[VotingClassifier, Training, HeldOut]:
    """Return what a run trained as one VotingClassifier, in the order in which it was scheduled, and its data."""
    estimators, data, held_out = [], None, None
    for event in events:
        task = event.data
        if isinstance(task, TaskScheduled) and task.kind == "train":
            params = read(task.params, TrainParams)
            data, held_out = load_training(params), load_held_out(params)
            model = build(
                params.model_type, data.problem, params.hyperparameters, seed=task.seed, scale=params.scale
            )
            estimators.append((params.model, model))
    if data is None or held_out is None:
        raise SwarmError("the run trained nothing")
    return VotingClassifier(estimators, voting="soft", n_jobs=JOBS), data, held_out


def _accuracy(events: list[Event]) -> float:
    (completed,) = [event.data for event in events if isinstance(event.data, Completed)]
    return next(
        float(metric.value)
        for metric in completed.metrics
        if metric.name == "accuracy" and metric.value is not None
    )


async def _compare(client: Client, runs: Runs, scenario: str, repeats: int) -> list[Row]:
    run, _ = await runs.run(_request(scenario))
    events = await client.events(run)
    voting, data, held_out = _same_models(events)
    accuracy = _accuracy(events)

    async def ours(_: int) -> float:
        return (await runs.run(_request(scenario)))[1]

    def vote() -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of convergence: ours records it in its events
            began = time.perf_counter()
            found = accuracy_score(held_out.y, voting.fit(data.x, data.y).predict(held_out.x))
            seconds = time.perf_counter() - began
        if abs(found - accuracy) > 1e-12:
            raise SwarmError(
                f"{scenario}: VotingClassifier scores {found}, ours {accuracy}: not the same fits"
            )
        return seconds

    async def theirs(_: int) -> float:
        return await asyncio.to_thread(vote)  # our client's loop goes on meanwhile

    mine, other = await turns(repeats, ours, theirs)
    short = scenario.replace("classification_ensemble_", "")
    what = f"{scenario}, soft, no folds, accuracy {accuracy:.4f}"
    return [
        Row(name=f"{short} ours", what=what, unit="s", samples=mine),
        Row(
            name=f"{short} peer",
            what=f"VotingClassifier(voting='soft', n_jobs={JOBS})",
            unit="s",
            samples=other,
        ),
        Row(
            name=f"{short} ratio", what="ours / peer", unit="x", samples=ratios(mine, other), target="<= 1.1"
        ),
    ]


async def _measure(quick: bool) -> tuple[list[Row], list[str]]:
    rows = []
    os.environ["PYTHONWARNINGS"] = "ignore"  # of the peer's processes
    with stack() as (settings, _), threadpool_limits(1):  # as in the workers of both
        async with Client(settings=settings) as client, Runs(client) as runs:
            for scenario, repeats in ((SCENARIOS[0], 2),) if quick else zip(SCENARIOS, (11, 7), strict=True):
                rows += await _compare(client, runs, scenario, repeats)
    get_reusable_executor(reuse=True).shutdown(wait=True)
    return rows, []


def run(quick: bool) -> tuple[list[Row], list[str]]:
    return run_async(_measure(quick))


BENCH = Bench("ensemble", "wall time of an ensemble, warm", run)

if __name__ == "__main__":
    alone(BENCH)
