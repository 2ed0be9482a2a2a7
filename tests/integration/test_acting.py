"""Agents' turns through the service and the log: what is recorded, and what a death in the middle takes away."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from support.brokers import BrokerProcess
from support.endpoints import Endpoint, Reply, completion, serving, wants
from support.making import event
from support.waiting import until
from swarm_common.events import Data
from swarm_common.events.agent import Acted, AgentTaskFailed, Called, Graded, TasksPosed
from swarm_common.events.benchmark import TaskScheduled
from swarm_common.events.subjects import numbered_filter
from swarm_common.log.eventlog import EventLog
from swarm_common.log.reader import read_stored
from swarm_model_agent.executors.embedded import MODEL

pytestmark = pytest.mark.timeout(120)
D = TypeVar("D", bound=Data)
Serve = Callable[..., Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
async def serve(broker_server: BrokerProcess, tmp_path: Path) -> AsyncIterator[Serve]:
    """Start model-agent as a process of its own; whatever is left of them ends with the test."""
    running: list[asyncio.subprocess.Process] = []

    async def start(**settings: str) -> asyncio.subprocess.Process:
        outer = {k: v for k, v in os.environ.items() if not k.startswith(("SWARM_", "OTEL_"))}
        health = tmp_path / f"health-{len(running)}"
        own = {
            "SWARM_NATS_URL": broker_server.url,
            "SWARM_HEALTH_FILE": str(health),
            "SWARM_DATA_DIR": str(tmp_path / "data"),
            "SWARM_CPU_WORKERS": "1",
        }
        with (tmp_path / f"log-{len(running)}").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "swarm_model_agent", env=outer | own | settings, cwd=tmp_path,
                stdout=log, stderr=log,
            )  # fmt: skip
        running.append(process)
        await until(health.exists, 30, "model-agent to be ready")
        return process

    yield start
    for process in running:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), 30)


@asynccontextmanager
async def answering(text: str) -> AsyncIterator[Endpoint]:
    """Serve an endpoint that wants the calculator first, and says a text when it has its result."""

    def script(_number: int, asked: Any) -> Reply:
        told = [message["role"] for message in asked.body["messages"]]
        return completion(text) if "tool" in told else wants("calculator", expression="6 * 7")

    async with serving(script) as endpoint:
        yield endpoint


class Run:
    """A run whose tasks a test schedules itself, as the coordinator would."""

    def __init__(self, log: EventLog, run: str) -> None:
        self.log, self.run = log, run

    async def schedule(
        self,
        task: str,
        kind: str,
        *needs: str,
        attempt: int = 1,
        timeout_s: float | None = None,
        **params: Any,
    ) -> None:
        data = TaskScheduled(
            task=task, kind=kind, service="model_agent", needs=needs, params=params, attempt=attempt,
            timeout_s=timeout_s,
        )  # fmt: skip
        await self.log.append([event(data, self.run, index=f"schedule {task} {attempt}")])

    async def pose(self, count: int = 4) -> TasksPosed:
        await self.schedule("pose", "pose", family="sentiment", split="validation", count=count, seed=7)
        return await self.ended("pose", TasksPosed)

    async def act(self, task: str, item: int = 0, **params: Any) -> None:
        await self.schedule(task, "act", "pose", **({"agent": "anna", "item": item} | params))

    async def ended(self, task: str, kind: type[D], timeout_s: float = 60.0) -> D:
        """Wait for an event of a type that a task ends with."""

        async def found() -> D | None:
            data = (one.data for one in await self.log.read_run(self.run))
            return next((one for one in data if isinstance(one, kind) and one.task == task), None)  # type: ignore[attr-defined]

        end = await until(found, timeout_s, f"{kind.type} of {task}")
        assert end is not None
        return end

    async def calls(self, task: str) -> list[tuple[str, Called]]:
        """Return the calls of a task, with the subjects on which they lie."""
        events = [one for one in await self.log.read_run(self.run) if isinstance(one.data, Called)]
        mine = [one.data for one in events if isinstance(one.data, Called) and one.data.task == task]
        pattern = numbered_filter("agent.called", self.run, task)
        subjects = [stored.subject async for stored in read_stored(self.log.broker, pattern)]
        return list(zip(subjects, mine, strict=True))


@pytest.fixture
def mine(event_log: EventLog, run: str) -> Run:
    return Run(event_log, run)


def servers(of: asyncio.subprocess.Process) -> list[psutil.Process]:
    """Return the embedded model's servers that a process has started."""
    found = []
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(of.pid).children():
            with contextlib.suppress(psutil.Error):
                if "swarm_model_agent.executors.embedded" in child.cmdline():
                    found.append(child)
    return found


async def test_questions_are_posed_answered_by_the_embedded_model_and_graded(serve: Serve, mine: Run) -> None:
    agent = await serve()
    posed = await mine.pose(4)
    assert not servers(agent)  # nothing is spent where no agent asks
    for item in range(4):
        await mine.act(f"answer-{item}", item, max_tokens=8)
    said = [await mine.ended(f"answer-{item}", Acted) for item in range(4)]
    assert [one.trouble for one in said] == [None] * 4
    assert {one.text for one in said} == {"positive", "negative"}
    assert len(servers(agent)) == 1
    await mine.schedule(
        "grade",
        "grade",
        "pose",
        *(one.task for one in said),
        answers={str(n): f"answer-{n}" for n in range(4)},
    )
    graded = await mine.ended("grade", Graded)
    assert [grade.score for grade in graded.grades] == [
        float(one.text == item.answer) for one, item in zip(said, posed.items, strict=True)
    ]
    ((subject, call),) = await mine.calls("answer-2")
    assert subject == f"swarm.agent.{mine.run}.called.answer-2.0"
    assert (call.model, call.text, call.request.messages[-1].content) == (
        MODEL, said[2].text, posed.items[2].question,
    )  # fmt: skip
    assert call.usage == said[2].usage
    assert call.usage.output >= 1
    assert call.raw


async def test_a_turn_killed_in_the_middle_repeats_no_recorded_call(serve: Serve, mine: Run) -> None:
    async with answering("It is 42") as endpoint:
        script, endpoint.script = endpoint.script, lambda n, asked: script(n, asked)._replace(never=n == 1)
        first = await serve(SWARM_LLM_URL=f"{endpoint.url}/v1")
        await mine.pose()
        await mine.act("a", tools=["calculator"])
        await until(lambda: len(endpoint.asked) == 2, what="the second call")
        assert len(await mine.calls("a")) == 1
        first.kill()
        await first.wait()
        await serve(SWARM_LLM_URL=f"{endpoint.url}/v1")
        said = await mine.ended("a", Acted)
    assert (said.text, said.calls, [use.result for use in said.tools]) == ("It is 42", 2, ["42"])
    asked = [len(one.body["messages"]) for one in endpoint.asked]
    assert asked == [2, 4, 4]  # the first call once; the second again, for nobody recorded its answer
    assert [subject.rpartition(".")[2] for subject, _ in await mine.calls("a")] == ["0", "1"]


async def test_a_further_attempt_takes_up_the_calls_of_the_one_before(serve: Serve, mine: Run) -> None:
    async with answering("It is 42") as endpoint:
        script, endpoint.script = endpoint.script, lambda n, asked: script(n, asked)._replace(never=n == 3)
        await serve(SWARM_LLM_URL=f"{endpoint.url}/v1")
        await mine.pose()
        await mine.act("before", tools=["calculator"])
        await mine.ended("before", Acted)
        await mine.act("a", item=1, tools=["calculator"], timeout_s=1.0)
        failed = await mine.ended("a", AgentTaskFailed)
        assert failed.retryable
        await mine.act("a", item=1, tools=["calculator"], attempt=2)
        said = await mine.ended("a", Acted)
    assert (said.text, said.calls, len(endpoint.asked)) == ("It is 42", 2, 5)


async def test_the_model_killed_over_its_work_is_started_and_asked_again(serve: Serve, mine: Run) -> None:
    agent = await serve()
    await mine.pose(5)
    await mine.act("first")
    await mine.ended("first", Acted)
    (server,) = servers(agent)
    port = next(one.laddr.port for one in server.net_connections() if one.status == psutil.CONN_LISTEN)

    def asked() -> bool:
        """Say whether a request lies unread at its socket."""
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return any(int(one[1][-4:], 16) == port and int(one[4][-8:], 16) for one in lines if one[3] == "01")

    server.suspend()  # so that it is killed over its work, however fast it is
    for item in range(1, 5):
        await mine.act(f"a-{item}", item)
    await until(asked, what="a request")
    os.kill(server.pid, signal.SIGKILL)
    said = [await mine.ended(f"a-{item}", Acted) for item in range(1, 5)]
    assert [(one.trouble, one.text in {"positive", "negative"}) for one in said] == [(None, True)] * 4
    (other,) = servers(agent)
    assert other.pid != server.pid


async def test_an_endpoint_that_refuses_us_ends_the_task_and_is_in_the_log(serve: Serve, mine: Run) -> None:
    async with serving(lambda *_: completion(None)._replace(status=401)) as endpoint:
        await serve(SWARM_LLM_URL=f"{endpoint.url}/v1")
        await mine.pose()
        await mine.act("a")
        failed = await mine.ended("a", AgentTaskFailed)
    assert (failed.retryable, "SWARM_LLM_API_KEY is not set" in failed.message) == (False, True)
    assert [call.trouble for _, call in await mine.calls("a")] == ["unauthorized"]
