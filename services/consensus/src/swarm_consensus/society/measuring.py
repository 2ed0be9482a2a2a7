"""The tasks: each is one call with plain arguments, to be made in a process of its own, and gives its event.

Whoever makes the call need not have numpy loaded: the service has its heartbeats to send.
"""

from __future__ import annotations

import math
import time
from types import ModuleType
from typing import TYPE_CHECKING

from swarm_common.events.consensus import EmergenceMeasured, KnowledgeSpread, QualityMeasured
from swarm_consensus.protocols import MECHANISMS
from swarm_consensus.society.params import EmergeParams, JudgeParams, SpreadParams

if TYPE_CHECKING:
    from swarm_common.resampling import Floats


def judge(params: JudgeParams, seed: int, task: str) -> QualityMeasured:
    """Have a swarm decide ``params.trials`` questions; see :mod:`~swarm_consensus.society.quality`."""
    from swarm_consensus.society import quality  # noqa: PLC0415 - slow import

    began = time.perf_counter_ns()
    weights = quality.track_record(params, seed, task)
    found = quality.judged(
        params,
        (quality.block(params, seed, task, number, weights) for number in quality.blocks(params)),
        weights,
    )
    return QualityMeasured(
        task=task,
        mechanism=params.mechanism,
        agents=params.agents,
        world=params.world,
        made_of="votes" if MECHANISMS[params.mechanism].votes else "one_proposal",
        trials=params.trials,
        undecided=found.undecided,
        right=found.right,
        low=found.low,
        high=found.high,
        best_agent=found.best_agent,
        mean_agent=found.mean_agent,
        expected=found.expected,
        expected_by=found.expected_by,
        optimum=found.optimum,
        weights=found.weights,
        messages=found.messages,
        elapsed_s=_since(began),
    )


def spread(params: SpreadParams, seed: int, task: str) -> KnowledgeSpread:
    """Let a fact spread ``params.repetitions`` times; see :mod:`~swarm_consensus.society.gossip`."""
    import numpy as np  # noqa: PLC0415 - slow import

    from swarm_common.resampling import stream_of  # noqa: PLC0415 - slow import
    from swarm_consensus.scoring import settled  # noqa: PLC0415 - slow import
    from swarm_consensus.society import gossip  # noqa: PLC0415 - beside its like

    began = time.perf_counter_ns()
    seeds = np.random.default_rng(stream_of(seed, task)).integers(2**62, size=params.repetitions)
    courses = [gossip.once(params.way, params.agents, loss=params.loss, seed=each) for each in seeds.tolist()]
    bound = math.log2(params.agents)
    known = params.way == "push" and not params.loss
    return KnowledgeSpread(
        task=task,
        way=params.way,
        agents=params.agents,
        loss=params.loss,
        rounds=tuple(course.rounds for course in courses),
        messages=tuple(course.messages for course in courses),
        curve=gossip.mean_curve(courses, params.agents),
        bound=settled(bound),
        expected=settled(bound + math.log(params.agents)) if known else None,
        elapsed_s=_since(began),
    )


def emerge(params: EmergeParams, seed: int, task: str) -> EmergenceMeasured:
    """Measure a phenomenon and its null model, ``params.repetitions`` of each, and what lies between them.

    See :mod:`~swarm_consensus.society.specialisation`, :mod:`~swarm_consensus.society.cascades` and
    :mod:`~swarm_consensus.society.effects`.
    """
    from swarm_common.resampling import stream_of  # noqa: PLC0415 - slow import
    from swarm_consensus.society import cascades, specialisation  # noqa: PLC0415 - slow import
    from swarm_consensus.society.effects import effect  # noqa: PLC0415 - slow import

    began = time.perf_counter_ns()
    stream = stream_of(seed, task)
    what: ModuleType
    if params.phenomenon == "specialisation":
        what = specialisation
        observed, null = _divisions(params, stream)
        shares: dict[str, float] = {}
    else:
        what = cascades
        observed, null, shares = _conformities(params, stream)
    found = effect(observed, null, [*stream, 2])
    return EmergenceMeasured(
        task=task,
        phenomenon=params.phenomenon,
        agents=params.agents,
        measure=what.MEASURE,
        null_model=what.NULL_MODEL,
        observed=tuple(observed.tolist()),
        null=tuple(null.tolist()),
        effect=found.delta,
        low=found.low,
        high=found.high,
        p_value=found.p_value,
        shares=shares,
        elapsed_s=_since(began),
    )


def _divisions(params: EmergeParams, stream: list[int]) -> tuple[Floats, Floats]:
    from swarm_consensus.society import specialisation  # noqa: PLC0415 - slow import

    observed, null = (
        specialisation.division(
            params.agents, params.jobs, params.repetitions, learning=learning, stream=[*stream, number]
        )
        for number, learning in enumerate((params.learning, 0.0))
    )
    return observed, null


def _conformities(params: EmergeParams, stream: list[int]) -> tuple[Floats, Floats, dict[str, float]]:
    from swarm_consensus.society import cascades  # noqa: PLC0415 - slow import

    together, alone = (
        cascades.choose(
            params.agents,
            params.repetitions,
            accuracy=params.accuracy,
            social=social,
            stream=[*stream, number],
        )
        for number, social in enumerate((True, False))
    )
    return (
        cascades.conformity(together),
        cascades.conformity(alone),
        cascades.shares(together, params.accuracy),
    )


def _since(began_ns: int) -> float:
    return (time.perf_counter_ns() - began_ns) / 1e9
