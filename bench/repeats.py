"""Does the embedded model say the same each time? Whole runs by their digests, requests by their log-probabilities.

Runs of one seed in fresh stacks, two at once that race for the slot, one beside a run of another seed, and one whose
model server is killed three times: how many digests they have, and in how many calls the cache held something else.
Then requests of such a run, and two long ones, are asked of the server itself: without the cache, and with it in drawn
orders, one by one and all at once. No figure here is a time.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Sequence
from typing import Any

import httpx
import msgspec
import psutil
from kit.cli import alone, run_async
from kit.measure import Bench, Row
from kit.servers import Runs, stack

from swarm_common import Client
from swarm_common.events.agent import Called
from swarm_common.events.benchmark import Completed, Requested
from swarm_common.llm import Choices, Grammar, Request
from swarm_model_agent.executors.embedded import Server
from swarm_model_agent.executors.openai import grammar_of

_LIMIT_S = 3600.0
_KILLS, _PAUSE_S = 3, 6.0
_TOKENS = 24


def _requested(items: int, seed: int = 42) -> Requested:
    return Requested(suite="coordination", scenario="modes", params={"items": items}, seed=seed)


async def _one(client: Client, runs: Runs, request: Requested) -> tuple[str, dict[str, Called]]:
    """Return a run's digest and its calls by task."""
    run, _ = await runs.run(request, patience_s=1800)
    log = [event.data for event in await client.events(run)]
    (digest,) = [data.digest for data in log if isinstance(data, Completed)]
    return digest, {data.task: data for data in log if isinstance(data, Called)}


async def _kill(home: str) -> None:
    """Kill the model server of a stack, as often as it takes; raises where there was none to kill."""
    for number in range(_KILLS):
        await asyncio.sleep(_PAUSE_S if number else 1.0)
        killed = 0
        for process in psutil.process_iter(["cmdline"]):
            mine = "swarm_model_agent.executors.embedded" in (process.info["cmdline"] or ())
            if mine and process.environ().get("SWARM_HOME") == home:
                os.kill(process.pid, signal.SIGKILL)
                killed += 1
        if not killed and not number:
            raise RuntimeError(f"no model server of {home} was found to be killed")


async def _runs(items: int, fresh: int) -> list[tuple[str, dict[str, Called]]]:
    found = []
    for number in range(fresh):
        with stack() as (settings, _):
            async with Client(settings=settings) as client, Runs(client) as runs:
                found.append(await _one(client, runs, _requested(items)))
                if number < fresh - 1:
                    continue
                pair = (_one(client, runs, _requested(items)) for _ in range(2))
                found += await asyncio.gather(*pair)
                beside = _one(client, runs, _requested(items, seed=7))
                found.append((await asyncio.gather(_one(client, runs, _requested(items)), beside))[0])
                hurt = asyncio.gather(_one(client, runs, _requested(items)), _kill(settings.home))
                found.append((await hurt)[0])
    return found


def _body(request: Request) -> dict[str, Any]:
    system = [{"role": "system", "content": request.instructions}] if request.instructions else []
    said = [{"role": one.role, "content": one.content} for one in request.messages]
    body: dict[str, Any] = {"messages": [*system, *said], "max_tokens": _TOKENS, "top_logprobs": 10}
    body |= {"temperature": request.sampling.temperature, "seed": request.sampling.seed, "logprobs": True}
    if isinstance(request.constraint, Choices):
        body["grammar"] = grammar_of(request.constraint)
    if isinstance(request.constraint, Grammar):
        body["grammar"] = request.constraint.gbnf
    return body


def _long(repeats: int) -> dict[str, Any]:
    """Return a question behind some 700 tokens, or twice that, drawn with chance."""
    rules = " ".join(f"Rule {number}: be exact in all that you say." for number in range(60 * repeats))
    said = [{"role": "system", "content": rules}, {"role": "user", "content": "Tell of a dog."}]
    return {
        "messages": said,
        "max_tokens": _TOKENS,
        "temperature": 0.7,
        "seed": 1,
        "logprobs": True,
        "top_logprobs": 10,
    }


async def _probe(bodies: Sequence[dict[str, Any]], orders: int) -> tuple[int, list[float]]:
    """Return how many requests had other log-probabilities in some order than alone, and the shares cached."""
    alone_: list[Any] = []
    differ: set[int] = set()
    shares = []
    for order in range(orders + 1):
        server = await Server.start()
        places = list(range(len(bodies)))
        if order:
            random.Random(order).shuffle(places)  # noqa: S311 - a drawn order
        async with httpx.AsyncClient(base_url=server.url, timeout=1800) as client:

            async def ask(place: int, cached: bool, client: httpx.AsyncClient = client) -> dict[str, Any]:
                answer = await client.post("/chat/completions", json=bodies[place] | {"cache_prompt": cached})
                found: dict[str, Any] = answer.raise_for_status().json()
                return found

            if order % 2:
                answers = [await ask(place, cached=True) for place in places]
            elif order:
                answers = await asyncio.gather(*(ask(place, cached=True) for place in places))
            else:
                answers = [await ask(place, cached=False) for place in places]
        await server.stop()
        said = [answer["choices"][0] for answer in answers]
        if not order:
            alone_ = said
            continue
        differ |= {
            place for place, one in zip(places, said, strict=True)
            if (one["message"], one["logprobs"]) != (alone_[place]["message"], alone_[place]["logprobs"])
        }  # fmt: skip
        usages = [answer["usage"] for answer in answers]
        read = sum(usage["prompt_tokens"] for usage in usages)
        shares.append(sum(usage["prompt_tokens_details"]["cached_tokens"] for usage in usages) / read)
    return len(differ), shares


async def _measure(quick: bool) -> tuple[list[Row], list[str]]:
    items, fresh, orders = (1, 2, 2) if quick else (4, 5, 4)
    found = await _runs(items, fresh)
    (_, calls), others = found[0], found[1:]
    texts = sum(one[task].text != call.text for _, one in others for task, call in calls.items())
    cached = [
        float(sum(one[task].usage.cache_read != call.usage.cache_read for task, call in calls.items()))
        for _, one in others
    ]
    distinct = {
        msgspec.json.encode(body): body for body in map(_body, (one.request for one in calls.values()))
    }
    bodies = [*distinct.values(), _long(1), _long(2)]
    differ, shares = await _probe(bodies, orders)
    what = f"of {len(found)} runs of one seed: {fresh} fresh stacks, 2 racing, 1 beside another, 1 with {_KILLS} kills"
    return [
        Row(name="digests", what=what, unit="", samples=(float(len({digest for digest, _ in found})),), target="<= 1"),
        Row(name="answers", what=f"other than in the first run, of {len(calls)} a run", unit="calls",
            samples=(float(texts),), target="<= 0"),
        Row(name="caches", what="calls whose cache held something else than in the first run", unit="calls",
            samples=tuple(cached)),
        Row(name="log-probabilities", what=f"of {len(bodies)} requests that moved in {orders} orders", unit="requests",
            samples=(float(differ),), target="<= 0"),
        Row(name="cached", what="share of the tokens read in each order", unit="", samples=tuple(shares)),
    ], []  # fmt: skip


def run(quick: bool) -> tuple[list[Row], list[str]]:
    return run_async(_measure(quick), limit_s=_LIMIT_S)


BENCH = Bench("repeats", "does the embedded model say the same each time", run)

if __name__ == "__main__":
    alone(BENCH)
