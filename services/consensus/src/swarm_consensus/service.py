"""Consensus: makes one answer out of many.

Wiring only; the arithmetic is in :mod:`~swarm_consensus.combining` and :mod:`~swarm_consensus.adapting`.
"""

from __future__ import annotations

import asyncio
import os
import struct
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from swarm_common.errors import UsageError
from swarm_common.events import Array, Data
from swarm_common.events.agent import DataPrepared, Predicted
from swarm_common.events.consensus import (
    EmergenceMeasured,
    KnowledgeSpread,
    QualityMeasured,
    Reached,
    Simulated,
    Weighed,
)
from swarm_common.runtime.context import Context
from swarm_common.runtime.service import Service, Work
from swarm_consensus.params import AdaptParams, CombineParams, adapt_params, combine_params
from swarm_consensus.society import measuring
from swarm_consensus.society.params import emerge_params, judge_params, spread_params
from swarm_consensus.workers import end_workers, in_a_process

if TYPE_CHECKING:
    from swarm_consensus.combining import Combined, Member

service = Service("consensus", "consensus", description="Makes one answer out of many.")


@service.on_start
async def warm_up(context: Context) -> None:
    """Load numpy beside and combine something small, so that neither readiness nor the first task waits for it."""
    context.spawn(asyncio.to_thread(_rehearse), "warm-up")


@service.on_stop
async def stop_workers(_context: Context) -> None:
    """End the processes that simulate."""
    await end_workers()


def _rehearse() -> None:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when numpy is loaded: these matrices are small
    sure = Array("<f8", (2, 2), struct.pack("<4d", 0.9, 0.1, 0.1, 0.9))
    members = [Predicted(task="", model=name, held_out=sure, out_of_fold=sure) for name in "ab"]
    _combine(Array("<i2", (2,), struct.pack("<2h", 0, 1)), members, CombineParams(), seed=0, task="")


@service.task("combine", lane="io", pure=True)
async def combine(work: Work) -> Reached:
    """Combine the predictions among the task's inputs by ``params.strategy``."""
    params = combine_params(work.task.params)
    prepared, predicted = await _inputs(work)
    # In a thread: long bootstraps must not keep the loop from its heartbeats.
    return await asyncio.to_thread(
        _combine, prepared.y_train, predicted, params, seed=work.task.seed, task=work.task.task
    )


@service.task("adapt", lane="io", pure=True)
async def adapt(work: Work) -> Reached:
    """Predict the held-out rows as a stream, weights following the losses of the blocks before."""
    params = adapt_params(work.task.params)
    prepared, predicted = await _inputs(work)
    return await asyncio.to_thread(
        _adapt, prepared.y_train, prepared.y_test, predicted, params, task=work.task.task
    )


async def _inputs(work: Work) -> tuple[DataPrepared, list[Predicted]]:
    prepared = await work.inputs_of(DataPrepared)
    if len(prepared) != 1:
        raise UsageError(f"the task needs one agent.data_prepared; it has {len(prepared)}", field="needs")
    return prepared[0][1], [data for _, data in await work.inputs_of(Predicted)]


def _combine(
    y_train: Array, predicted: Sequence[Predicted], params: CombineParams, *, seed: int, task: str
) -> Reached:
    from swarm_consensus import combining  # noqa: PLC0415 - slow import

    if params.strategy in combining.STACKED:
        from swarm_consensus import stacking  # noqa: F401, PLC0415 - before the clock runs: seconds, once

    def way(members: list[Member]) -> Combined:
        return combining.combine(
            members, y_train.numpy(), params.strategy, seed=seed, name=task, picks=params.picks
        )

    return _reach(task, predicted, way)


def _adapt(
    y_train: Array, y_test: Array, predicted: Sequence[Predicted], params: AdaptParams, *, task: str
) -> Reached:
    from swarm_consensus import adapting  # noqa: PLC0415 - slow import

    def way(members: list[Member]) -> Combined:
        return adapting.adapt(
            members,
            y_train.numpy(),
            y_test.numpy(),
            block=params.block,
            rate=params.rate,
            share=params.share,
        )

    return _reach(task, predicted, way)


def _reach(task: str, predicted: Sequence[Predicted], way: Callable[[list[Member]], Combined]) -> Reached:
    from swarm_consensus.combining import Member  # noqa: PLC0415 - slow import

    began = time.perf_counter_ns()
    found = way(
        [
            Member(
                data.model,
                data.held_out.numpy(),
                None if data.out_of_fold is None else data.out_of_fold.numpy(),
            )
            for data in predicted
        ]
    )
    voices, sure = found.voices, found.row_confidence
    return Reached(
        task=task,
        strategy=found.strategy,
        members=tuple(data.model for data in predicted),
        weights=found.weights,
        losses=found.losses,
        prediction=Array.of(found.prediction),
        agreement=voices.agreement,
        confidence=found.confidence,
        out_of_fold_score=found.out_of_fold_score,
        gain={name: gain.value for name, gain in found.gains.items()},
        gain_low={name: gain.low for name, gain in found.gains.items()},
        gain_high={name: gain.high for name, gain in found.gains.items()},
        diversity=voices.diversity,
        disagreement=voices.disagreement,
        q_statistic=found.q_statistic,
        q_statistic_mean=found.q_statistic_mean,
        variance=found.variance,
        row_confidence=None if sure is None else Array.of(sure),
        row_agreement=None if voices.row_agreement is None else Array.of(voices.row_agreement),
        considered=found.considered,
        coefficients=found.coefficients,
        trajectory=found.trajectory,
        warnings=found.warnings,
        consensus_s=(time.perf_counter_ns() - began) / 1e9,
    )


@service.task("judge", lane="cpu", pure=True)
async def judge(work: Work) -> QualityMeasured:
    """Have a swarm decide questions whose answer is known."""
    params = judge_params(work.task.params)
    return await in_a_process(measuring.judge, params, work.task.seed, work.task.task)


@service.task("spread", lane="cpu", pure=True)
async def spread(work: Work) -> KnowledgeSpread:
    """Have a fact passed on until all know it."""
    params = spread_params(work.task.params)
    return await in_a_process(measuring.spread, params, work.task.seed, work.task.task)


@service.task("emerge", lane="cpu", pure=True)
async def emerge(work: Work) -> EmergenceMeasured:
    """Measure what agents do together by local rules, beside a null model."""
    params = emerge_params(work.task.params)
    return await in_a_process(measuring.emerge, params, work.task.seed, work.task.task)


@service.task("simulate", lane="cpu", pure=True)
async def simulate(work: Work) -> Simulated:
    """Run simulated worlds of a mechanism under a fault, and check them after every step."""
    from swarm_consensus.simulator import run  # noqa: PLC0415 - the others need no protocols

    return await in_a_process(run.simulate, work.task.task, run.simulate_params(work.task.params))


@service.task("weigh_agents", lane="cpu", pure=False)
async def weigh_agents(work: Work) -> Weighed:
    """Count the bytes that the agents of a simulated swarm hold."""
    from swarm_consensus.simulator import weighing  # noqa: PLC0415

    try:
        params = msgspec.convert(work.task.params, weighing.WeighParams)
    except msgspec.ValidationError as error:
        allowed = ", ".join(weighing.WeighParams.__struct_fields__)
        raise UsageError(
            f"weigh_agents: {error}; it takes {allowed}", field="params", allowed=allowed
        ) from None
    return await in_a_process(weighing.weigh, work.task.task, params, work.task.seed)


_contexts: list[Context] = []


@service.on_start
async def remember(context: Context) -> None:
    """Keep what live swarms need of this service: settings and tracer."""
    _contexts[:] = [context]


@service.task("agree_live", lane="cpu", pure=False)
async def agree_live(work: Work) -> Sequence[Data]:
    """Have agents in processes of their own decide over the broker, with a fault that really happens."""
    from swarm_consensus.live import task  # noqa: PLC0415 - the others need no protocols

    return await task.agree_live(work, _contexts[0] if _contexts else None)
