"""Empty tasks end to end, beside Celery on Redis: two worker processes each, late acknowledgement, results kept.

Ours goes through a log on disk: request, plan, each task scheduled, done and recorded, the result; two model_agents.
Celery's Redis keeps everything in memory only. Both are timed from before the request until the result is at hand.
"""

from __future__ import annotations

import asyncio

from kit.cli import alone, run_async
from kit.measure import Bench, Row, pair, turns
from kit.peers import celery
from kit.servers import Runs, scratch, stack

from swarm_common import Client
from swarm_common.events.benchmark import Requested

WORKERS = 2
#: What Celery may take ahead for each process; its own default is 4. How much either matters is not measured here.
PREFETCH = 64


async def _measure(quick: bool) -> tuple[list[Row], list[str]]:
    tasks, repeats = (500, 2) if quick else (2000, 5)
    request = Requested(suite="noop", scenario="throughput", params={"tasks": tasks})
    with (
        scratch() as home,
        celery(home, WORKERS, PREFETCH) as peer,
        stack({"model_agent": WORKERS}) as (settings, _),
    ):
        async with Client(settings=settings) as client, Runs(client) as runs:

            async def ours(_: int) -> float:
                return tasks / (await runs.run(request))[1]

            async def theirs(turn: int) -> float:
                count = tasks if turn >= 0 else 200  # the first turn only warms up
                return count / await asyncio.to_thread(peer.run, count)

            rates = await turns(repeats, ours, theirs)
    names = (f"noop -p tasks={tasks}, {WORKERS} model_agents", f"Celery on Redis, {WORKERS} worker processes")
    return pair(*rates, names=names, unit="tasks/s", target=">= 6", peer="celery"), []


def run(quick: bool) -> tuple[list[Row], list[str]]:
    return run_async(_measure(quick))


BENCH = Bench("noop", "empty tasks end to end, request to result", run)

if __name__ == "__main__":
    alone(BENCH)
