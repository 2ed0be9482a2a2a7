"""Our ensemble on one worker beside two, with the bound that the work itself sets.

The bound is all CPU seconds by half of them or by the longest task, whichever is more. Two stacks, the same request,
turn by turn; what of two cores' time training used says how much of the rest is ours and how much the machine's.
"""

from __future__ import annotations

import contextlib

from ensemble import JOBS, LARGE
from kit.cli import alone, run_async
from kit.measure import Bench, Row, ratios, turns
from kit.servers import Runs, stack

from swarm_common import Client
from swarm_common.events import Event
from swarm_common.events.agent import ModelTrained, PartTrained
from swarm_common.events.benchmark import Requested

_LIMIT_S = 1800.0


def _costs(events: list[Event]) -> list[float]:
    """Return the CPU seconds of every task that trained."""
    return [
        event.data.cpu_s
        for event in events
        if isinstance(event.data, PartTrained)
        or (isinstance(event.data, ModelTrained) and event.data.parts == 1)
    ]


async def _measure(quick: bool) -> tuple[list[Row], list[str]]:
    """Return our wall time on one worker beside two: two stacks, the same request, turn by turn."""
    scenario = "classification_ensemble"
    params = {**LARGE, **({"rows": 1000} if quick else {})}
    request = Requested(suite="ensemble", scenario=scenario, params=params)
    async with contextlib.AsyncExitStack() as opened:
        sides: list[Runs] = []
        clients: list[Client] = []
        for workers in (1, JOBS):
            settings, _ = opened.enter_context(stack(cpu_workers=workers))
            clients.append(await opened.enter_async_context(Client(settings=settings)))
            sides.append(await opened.enter_async_context(Runs(clients[-1])))
        warm = [await side.run(request, patience_s=600) for side in sides]
        costs = _costs(await clients[1].events(warm[1][0]))
        busy = sum(costs) / (JOBS * warm[1][1])
        single, double = (lambda _, side=side: _seconds(side, request) for side in sides)
        alone_s, shared_s = await turns(2 if quick else 5, single, double)
    bound = sum(costs) / max(sum(costs) / JOBS, *costs)
    rows = [
        Row(name="one worker", what=f"{scenario}, 5 models, 3 folds", unit="s", samples=alone_s),
        Row(name=f"{JOBS} workers", what="the same", unit="s", samples=shared_s),
        Row(name="speed-up", what="one / two", unit="x", samples=ratios(alone_s, shared_s), target=">= 1.8"),
        Row(
            name="bound",
            what="of the work: CPU seconds / max(half of them, longest task)",
            unit="x",
            samples=(bound,),
        ),
        Row(
            name="busy",
            what=f"training's CPU seconds by those of {JOBS} cores, first run",
            unit="share",
            samples=(busy,),
        ),
    ]
    return rows, []


async def _seconds(side: Runs, request: Requested) -> float:
    return (await side.run(request, patience_s=600))[1]


def run(quick: bool) -> tuple[list[Row], list[str]]:
    return run_async(_measure(quick), limit_s=_LIMIT_S)


BENCH = Bench("speedup", "an ensemble on one worker and on two", run)

if __name__ == "__main__":
    alone(BENCH)
