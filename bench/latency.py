"""One task, request to ``benchmark.completed``, again and again, each on a stack that is idle again.

The floor beside it is one acknowledged nats-py publish to the same broker, so the ratio says how many round trips to
the log a whole run costs: it makes at least five in a row (request, start, schedule, result, completion).
"""

from __future__ import annotations

import time

from kit.cli import alone, run_async
from kit.measure import Bench, Row, quantile
from kit.servers import Runs, plain, stack

from swarm_common import Client
from swarm_common.events.benchmark import Requested

_WARM = 20
#: Runs, and floor publishes, in one turn.
_BLOCK = 20


async def _measure(quick: bool) -> tuple[list[Row], list[str]]:
    blocks = 3 if quick else 15
    request = Requested(suite="noop", scenario="throughput", params={"tasks": 1})
    runs_ms: list[float] = []
    publishes_ms: list[float] = []
    block_ratios: list[float] = []
    with stack() as (settings, state):
        async with Client(settings=settings) as client, Runs(client) as runs, plain(state.nats_url) as nc:
            js = nc.jetstream()
            for _ in range(_WARM):
                await runs.run(request, settle=True)
            for _ in range(blocks):
                ours = [1e3 * (await runs.run(request, settle=True))[1] for _ in range(_BLOCK)]
                floor = []
                for _ in range(_BLOCK):
                    began = time.perf_counter()
                    await js.publish("dead.bench", b"x" * 500)
                    floor.append(1e3 * (time.perf_counter() - began))
                runs_ms += ours
                publishes_ms += floor
                block_ratios.append(quantile(ours, 0.5) / quantile(floor, 0.5))
    tail = f"p90 {quantile(runs_ms, 0.9):.2f}, p99 {quantile(runs_ms, 0.99):.2f} ms"
    rows = [
        Row(name="ours", what=f"noop -p tasks=1, {tail}", unit="ms", samples=tuple(runs_ms), target="< 8"),
        Row(name="floor", what="one acknowledged js.publish", unit="ms", samples=tuple(publishes_ms)),
        Row(
            name="ratio",
            what="p50 of ours / p50 of the floor, by turn",
            unit="x",
            samples=tuple(block_ratios),
        ),
    ]
    return rows, []


def run(quick: bool) -> tuple[list[Row], list[str]]:
    return run_async(_measure(quick))


BENCH = Bench("latency", "one empty task, request to benchmark.completed", run)

if __name__ == "__main__":
    alone(BENCH)
