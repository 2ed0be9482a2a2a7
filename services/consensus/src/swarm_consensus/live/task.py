"""The task ``agree_live``: a measurement, its events, and its decisions as spans of the run's trace."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from swarm_common.errors import TaskFailed
from swarm_common.events import Data
from swarm_common.runtime.context import Context
from swarm_common.runtime.service import Work
from swarm_common.tracing import Attributes, Tracer
from swarm_consensus.live.measuring import measure
from swarm_consensus.live.params import live_params
from swarm_consensus.live.telling import Turn

_one_at_a_time = asyncio.Lock()
"""What is timed shares the machine with nothing else of this kind."""


async def agree_live(work: Work, context: Context | None) -> Sequence[Data]:
    """Return ``consensus.decided`` for each decision asked for by itself, then ``consensus.measured``.

    Raises:
        UsageError: The parameters make no sense.
        TaskFailed: A process of the swarm ended that nobody has killed, or the service has no broker.
    """
    params = live_params(work.task.params)
    if context is None:
        raise TaskFailed("agents talk over the broker, and this service has none: it has not been started")
    settings = context.settings
    home = Path(settings.data_dir) if settings.data_dir else None
    async with _one_at_a_time:
        outcome = await measure(
            params, context.broker.url, task=work.task.task, seed=work.task.seed, home=home
        )
    if context.tracer.exports:
        for turn in outcome.turns:
            _trace(context.tracer, params.mechanism, turn)
    return (*outcome.decided, outcome.measured)


def _trace(tracer: Tracer, mechanism: str, turn: Turn) -> None:
    """Record a decision as a span, and its phases as spans below it."""
    ended_ns = turn.began_ns + int(turn.latency_us * 1000)
    attributes: Attributes = {
        "swarm.mechanism": mechanism,
        "swarm.decision": turn.number,
        "swarm.slot": turn.slot,
    }
    decision = tracer.past("decide", "", turn.began_ns, ended_ns, attributes=attributes)
    left_us = sum(lasted for _, lasted in turn.phases_us)
    for phase, lasted_us in turn.phases_us:
        begins_ns = ended_ns - int(left_us * 1000)
        left_us -= lasted_us
        tracer.past(
            f"phase {phase}",
            decision,
            begins_ns,
            begins_ns + int(lasted_us * 1000),
            attributes={"swarm.mechanism": mechanism},
        )


__all__ = ["agree_live"]
