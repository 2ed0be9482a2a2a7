"""Model-agent is killed in the middle of agents' turns: none is lost, no recorded call is made again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from support.endpoints import Reply, completion, serving
from support.stacks import Follower, Stack, completed, results, stack
from support.waiting import until, until_sync
from swarm_common.events import Event, digest_view
from swarm_common.events.agent import Acted, Called
from swarm_common.events.benchmark import Requested

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]

SMALL = Requested(
    suite="coordination",
    scenario="modes",
    params={"modes": ["distributed"], "agents": 4, "items": 3, "family": "split_evidence"},
)
#: Answers that are given before the endpoint keeps silent.
GIVEN = 7


def servers(home: Stack) -> list[int]:
    """Return the servers of the embedded model that belong to a stack."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            server = "swarm_model_agent.executors.embedded" in process.cmdline()
            if server and process.environ().get("SWARM_HOME") == str(home.home):
                found.append(process.pid)
    return found


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Stack]:
    with stack(tmp_path / "home") as found:
        yield found
    until_sync(lambda: not servers(found), what="the embedded model to end with the stack")


def body(asked: dict[str, Any]) -> str:
    return json.dumps([asked["messages"], asked.get("seed"), asked.get("temperature")], sort_keys=True)


def said(events: Sequence[Event]) -> dict[str, Any]:
    """Return what was asked and said, by task and number, without time and place."""
    return {
        f"{one.data.task} {getattr(one.data, 'number', 'said')}": digest_view(one.data)
        for one in events
        if isinstance(one.data, Called | Acted)
    }


async def test_no_turn_is_lost_and_no_recorded_call_made_again(tmp_path: Path) -> None:
    silent = True

    def script(number: int, asked: Any) -> Reply:
        choices = asked.body["response_format"]["json_schema"]["schema"]["properties"]["choice"]["enum"]
        return completion(json.dumps({"choice": choices[0]}))._replace(never=silent and number >= GIVEN)

    async with serving(script) as endpoint:
        with stack(tmp_path / "home", SWARM_LLM_URL=f"{endpoint.url}/v1") as home:
            async with home.client() as client:
                follower = Follower(client, await client.request(SMALL))

                async def all_recorded() -> bool:
                    await follower.more()
                    recorded = sum(isinstance(event.data, Called) for event in follower.events)
                    return recorded == GIVEN and len(endpoint.asked) > GIVEN

                await until(all_recorded, 60, "the endpoint's silence")
                home.kill("model_agent")
                silent = False
                lost = [body(one.body) for one in endpoint.asked[GIVEN:]]
                events = await follower.settle()
    assert completed(events)
    assert set(results(events).values()) == {1}
    calls = [event.data for event in events if isinstance(event.data, Called)]
    assert {call.trouble for call in calls} == {None}
    assert len({(call.task, call.number) for call in calls}) == len(calls)
    # What was asked is what is recorded, each once, and what the death left without an answer.
    asked = Counter(body(one.body) for one in endpoint.asked)
    assert asked.total() == len(calls) + len(lost)
    assert lost
    assert asked - Counter(lost) <= asked
    assert (asked - Counter(lost)).total() == len(calls)


async def test_the_model_or_its_service_is_killed_and_the_result_is_the_same(home: Stack) -> None:
    async with home.client() as client:

        async def disturbed(kill: Callable[[], int]) -> Sequence[Event]:
            """Return a run's events in the middle of which something is killed; returns when the model has ended."""
            follower = Follower(client, await client.request(SMALL))

            async def asking() -> bool:
                await follower.more()
                return sum(isinstance(event.data, Called) for event in follower.events) >= 2

            await until(asking, 60, "two calls")
            (model,) = servers(home)
            os.kill(kill(), signal.SIGKILL)
            await until(lambda: model not in servers(home), 30, "the model to end")
            return await follower.settle()

        def service() -> int:
            pid = home.process("model_agent").pid
            assert pid is not None
            return pid

        calm = await Follower(client, await client.request(SMALL)).settle()
        for kill in (service, lambda: servers(home)[0]):
            events = await disturbed(kill)
            assert said(events) == said(calm)
            assert set(results(events).values()) == {1}
            calls = [event.data for event in events if isinstance(event.data, Called)]
            assert len({(call.task, call.number) for call in calls}) == len(calls)
            assert {call.trouble for call in calls} == {None}
