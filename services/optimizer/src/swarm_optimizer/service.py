"""Optimizer: suggestions out of measured facts. Wiring only; the rules are in :mod:`~swarm_optimizer.rules`."""

from __future__ import annotations

from swarm_common.events.benchmark import Completed
from swarm_common.events.optimizer import Suggested
from swarm_common.runtime.service import Service, Work
from swarm_optimizer.rules import suggest

service = Service("optimizer", "optimizer", description="Suggests what a run could have done without.")


@service.reaction(Completed, pure=True)
async def look_at(work: Work) -> Suggested:
    """Look at a completed run."""
    return suggest(await work.run_events())
