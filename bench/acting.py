"""What a turn costs beside its model: many calls at once, turns at an instant endpoint, the prompt cache.

The endpoint is a server on loopback in a process of its own that answers at once. *Lag* is how late a timer of ten
milliseconds comes on the event loop that makes the calls. A *turn* is the task `act` as its handler does it, recorded
into a list: what is left of it when the model takes no time.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from kit.cli import alone, run_async
from kit.measure import Bench, Row, quantile
from kit.servers import stack

from swarm_common import Client
from swarm_common.events import Data, Event
from swarm_common.events.benchmark import TaskScheduled
from swarm_common.events.envelope import new_event
from swarm_common.llm import Message, Request, Response, Sampling
from swarm_common.runtime.history import RecordedHistory
from swarm_common.runtime.service import Work
from swarm_common.settings import Settings
from swarm_common.tracing import LogTracer
from swarm_model_agent.acting.acting import act
from swarm_model_agent.executors.apart import Apart, Loop
from swarm_model_agent.executors.choosing import Embedded, Executors
from swarm_model_agent.executors.core import Patient
from swarm_model_agent.executors.openai import OpenAI
from swarm_model_agent.families.posing import PoseParams, pose

AT_ONCE, TURNS, TICK_S = 1000, 200, 0.01
_LIMIT_S = 900.0
_BODY = json.dumps(
    {
        "model": "instant",
        "choices": [{"message": {"content": '{"choice": "positive"}'}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 2},
    }
).encode()


def _serve(told: Connection) -> None:
    """Answer every request at once."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(_BODY)
        while True:
            try:
                asked = await reader.readuntil(b"\r\n\r\n")
                length = asked.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]
                await reader.readexactly(int(length))
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()
                return
            writer.write(head + _BODY)

    async def serve() -> None:
        server = await asyncio.start_server(talk, "127.0.0.1", 0, backlog=2 * AT_ONCE)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


@asynccontextmanager
async def _instant() -> AsyncIterator[str]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{await asyncio.to_thread(ours.recv)}/v1"
    finally:
        process.kill()
        process.join()


def _ask(number: int, instructions: str = "") -> Request:
    words = Message(role="user", content=f"Name a colour, please. This is question {number}.")
    return Request(
        instructions=instructions, messages=(words,), sampling=Sampling(temperature=0.0, max_tokens=8)
    )


async def _late(into: list[float]) -> None:
    while True:
        began = time.perf_counter()
        await asyncio.sleep(TICK_S)
        into.append(1e3 * (time.perf_counter() - began - TICK_S))


async def _at_once(url: str, repeats: int, slots: int, how: str) -> list[Row]:
    loop = Loop()
    asked = Patient(Apart(OpenAI(url, "instant", api_key=""), loop), slots=slots)
    await asked.run(_ask(0))
    lags: list[float] = []
    lost: list[float] = []
    rates: list[float] = []
    for _ in range(repeats):
        late: list[float] = []
        watch = asyncio.ensure_future(_late(late))
        began = time.perf_counter()
        found = await asyncio.gather(*(asked.run(_ask(number)) for number in range(AT_ONCE)))
        rates.append(AT_ONCE / (time.perf_counter() - began))
        watch.cancel()
        lags.append(quantile(late, 0.99))
        lost.append(sum(one.trouble is not None for one in found))
    await asked.close()
    await loop.close()
    what = f"{AT_ONCE:,} calls at once, {how}"
    late = "p99 of the event loop meanwhile"
    return [
        Row(name=f"lost.{slots}", what=what, unit="calls", samples=tuple(lost), target="<= 0"),
        Row(name=f"lag.{slots}", what=late, unit="ms", samples=tuple(lags), target="< 50"),
        Row(name=f"rate.{slots}", what="of those calls", unit="calls/s", samples=tuple(rates)),
    ]


class _Log:
    """A run in a list, and turns that are taken in it."""

    def __init__(self, url: str, folder: Path) -> None:
        self.events = [self._event(pose("pose", PoseParams(family="sentiment", count=60)), "pose")]
        self.executors = Executors(Settings(llm_url=url))
        self._folder = folder

    async def turn(self, task: str, item: int, **params: str) -> None:
        data = TaskScheduled(
            task=task, kind="act", service="model_agent", needs=("pose",),
            params={"agent": "anna", "item": item % 60, "repeat": item // 60, **params},
        )  # fmt: skip

        async def append(one: Data) -> None:
            self.events.append(self._event(one, f"{task} called"))

        work = Work(self._event(data, task), RecordedHistory(self.events[:1]), append=append)
        if params:
            work = Work(work.event, RecordedHistory(self.events), append=append)
        said = await act(work, self.executors, LogTracer(), self._folder, "bench")
        if said.trouble is not None:
            raise RuntimeError(f"a turn failed: {said.why}")

    @staticmethod
    def _event(data: Data, cause: str) -> Event:
        return new_event(
            data, run="run-1", source="/swarm/bench/1", cause=cause, handler="bench", time_ns=time.time_ns()
        )


async def _turns(url: str, repeats: int) -> list[Row]:
    asked: list[float] = []
    again: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(repeats):
            log = _Log(url, Path(folder))
            await log.turn("first", 0)
            began = time.perf_counter()
            for number in range(TURNS):
                await log.turn(f"t{number}", number)
            asked.append(1e3 * (time.perf_counter() - began) / TURNS)
            began = time.perf_counter()
            for number in range(TURNS):
                await log.turn(f"r{number}", number, executor="recorded", recording="run-1")
            again.append(time.perf_counter() - began)
            await log.executors.close()
    return [
        Row(
            name="turn",
            what="one after another, instant endpoint",
            unit="ms",
            samples=tuple(asked),
            target="< 3",
        ),
        Row(name="replay", what=f"{TURNS} recorded turns", unit="s", samples=tuple(again), target="< 2"),
    ]


async def _cache() -> list[Row]:
    """A prefix of some 700 tokens that questions share, read for the first time and then found in the cache."""
    rules = " ".join(f"Rule {number}: be exact in all that you say." for number in range(60))
    model = Embedded()
    try:
        await model.run(_ask(0))
        first, *others = [await model.run(_ask(number, rules)) for number in range(4)]
    finally:
        await model.close()
    if any(one.trouble for one in (first, *others)):
        raise RuntimeError(f"the embedded model failed: {first.why or others[0].why}")

    def cached(one: Response) -> float:
        return one.usage.cache_read / (one.usage.input + one.usage.cache_read)

    prompt = first.usage.input + first.usage.cache_read
    faster = tuple(first.timings.total_s / one.timings.total_s for one in others)
    return [
        Row(
            name="cached", what=f"share of a prompt of {prompt} tokens", unit="", target=">= 0.85",
            samples=tuple(map(cached, others)),
        ),
        Row(name="faster", what="than read for the first time, answer and all", unit="x", samples=faster, target="> 1"),
    ]  # fmt: skip


async def _swarms(url: str, repeats: int) -> list[Row]:
    """Ten agents at one queue, through the whole stack: an instant endpoint, its recording, the embedded model."""
    params = {"modes": ["distributed"], "agents": 10, "family": "sentiment", "items": 29}
    each: list[float] = []
    again: list[float] = []
    share: list[float] = []
    calls, same = 0.0, True
    with stack(llm_url=url) as (settings, _):
        async with Client(settings=settings) as client:
            await client.run("coordination", params=params)
            for _ in range(repeats):
                live = await client.run("coordination", params=params)
                found = live.result["coordination"]["arms"][0]
                calls = live.metrics["calls"].value or 0.0
                each.append(1e3 * found["makespan_s"] / found["turns"])
                replayed = await client.run("coordination", params={**params, "recording": live.id})
                again.append(replayed.view.duration_s or 0.0)
                same = same and replayed.digest == live.digest
            for _ in range(max(1, repeats // 2)):
                asked = {"modes": ["distributed"], "agents": 10, "executor": "embedded"}
                run = await client.run("coordination", params=asked)
                share.append(run.metrics["overhead.distributed"].value or 0.0)
    if not same:
        raise RuntimeError("a run from its recording gave another digest")
    return [
        Row(
            name="task", what="10 agents at a queue: makespan over turns", unit="ms", samples=tuple(each),
            target="< 3",
        ),
        Row(
            name="again", what=f"a run of {calls:.0f} calls from its recording, same digest", unit="s",
            samples=tuple(again), target="< 2",
        ),
        Row(
            name="overhead", what="of the makespan, without a call; embedded model", unit="", samples=tuple(share),
            target="< 0.05",
        ),
    ]  # fmt: skip


async def _measure(quick: bool) -> tuple[list[Row], list[str]]:
    repeats = 2 if quick else 5
    slots = Settings().llm_slots
    async with _instant() as url:
        rows = [
            *await _at_once(url, repeats, slots, f"on {slots} connections, as is set"),
            *await _at_once(url, repeats, AT_ONCE, "each on a connection of its own"),
            *await _turns(url, repeats),
            *await _swarms(url, repeats),
        ]
    return [*rows, *await _cache()], []


def run(quick: bool) -> tuple[list[Row], list[str]]:
    return run_async(_measure(quick), limit_s=_LIMIT_S)


BENCH = Bench("acting", "agents' turns beside their model", run)

if __name__ == "__main__":
    alone(BENCH)
