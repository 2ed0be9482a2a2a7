"""Consensus: makes one answer out of many. Wiring only; the arithmetic is in :mod:`~swarm_consensus.combining`."""

from __future__ import annotations

import asyncio
import os
import struct
import time

from swarm_common.errors import UsageError
from swarm_common.events import Array
from swarm_common.events.agent import DataPrepared, Predicted
from swarm_common.events.consensus import Reached
from swarm_common.runtime.host import Context
from swarm_common.runtime.service import Service, Work

service = Service("consensus", "consensus", description="Makes one answer out of many.")


@service.on_start
async def warm_up(context: Context) -> None:
    """Load numpy beside and combine something small, so that neither readiness nor the first task waits for it."""
    context.spawn(asyncio.to_thread(_rehearse), "warm-up")


def _rehearse() -> None:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when numpy is loaded: these matrices are small
    sure = Array("<f8", (2, 2), struct.pack("<4d", 0.9, 0.1, 0.1, 0.9))
    members = [Predicted(task="", model=name, held_out=sure, out_of_fold=sure) for name in "ab"]
    _reach(Array("<i2", (2,), struct.pack("<2h", 0, 1)), members, "weighted", seed=0, task="")


@service.task("combine", lane="io", pure=True)
async def combine(work: Work) -> Reached:
    """Combine the predictions among the task's inputs by ``params.strategy``."""
    prepared = await work.inputs_of(DataPrepared)
    predicted = [data for _, data in await work.inputs_of(Predicted)]
    if len(prepared) != 1:
        raise UsageError(f"the task needs one agent.data_prepared; it has {len(prepared)}", field="needs")
    strategy = work.task.params.get("strategy", "weighted")
    # In a thread: long bootstraps must not keep the loop from its heartbeats.
    return await asyncio.to_thread(
        _reach, prepared[0][1].y_train, predicted, strategy, seed=work.task.seed, task=work.task.task
    )


def _reach(y_train: Array, predicted: list[Predicted], strategy: str, *, seed: int, task: str) -> Reached:
    from swarm_consensus import combining  # noqa: PLC0415 - slow import

    began = time.perf_counter_ns()
    members = [
        combining.Member(
            data.model,
            data.held_out.numpy(),
            None if data.out_of_fold is None else data.out_of_fold.numpy(),
        )
        for data in predicted
    ]
    found = combining.combine(members, y_train.numpy(), strategy, seed=seed, name=task)
    return Reached(
        task=task,
        strategy=strategy,
        members=tuple(member.name for member in members),
        weights=found.weights,
        losses=found.losses,
        prediction=Array.of(found.prediction),
        agreement=found.agreement,
        confidence=found.confidence,
        out_of_fold_score=found.out_of_fold_score,
        gain={name: gain.value for name, gain in found.gains.items()},
        gain_low={name: gain.low for name, gain in found.gains.items()},
        gain_high={name: gain.high for name, gain in found.gains.items()},
        consensus_s=(time.perf_counter_ns() - began) / 1e9,
    )
