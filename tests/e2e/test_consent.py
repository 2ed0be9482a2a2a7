"""An endpoint that costs money: what a run comes to is said before it, and a budget stops it with what was done."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator

import pytest

from support.chat import Chat, completion, serve
from support.stacks import SWARM, Follower, Stack, stack
from swarm_common.events.benchmark import Failed, Requested

pytestmark = pytest.mark.timeout(120)
SMALL = ("family=sentiment", "items=3", "agents=2", "modes=distributed", "max_tokens=8")
RUN = ("run", "coordination", *(word for pair in SMALL for word in ("-p", pair)))


@pytest.fixture(scope="module")
def chat() -> Iterator[Chat]:
    with serve() as found:
        found.answer = lambda _: completion(json.dumps({"choice": "positive"}))
        yield found


@pytest.fixture(scope="module")
def swarm(chat: Chat, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A price makes an endpoint one that costs money, wherever it is: 97 tokens an answer, 0.125 USD."""
    home = tmp_path_factory.mktemp("consent") / "home"
    with stack(home, SWARM_LLM_URL=chat.url, SWARM_LLM_PRICE="1000,5000") as found:
        yield found


@pytest.fixture(autouse=True)
def _asked(chat: Chat) -> None:
    chat.asked.clear()


def ask(swarm: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SWARM, *RUN, *arguments],
        cwd=swarm.home.parent,
        env=swarm.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_a_word_nobody_is_asked_and_the_estimate_is_printed(swarm: Stack, chat: Chat) -> None:
    done = ask(swarm)
    assert done.returncode == 2
    told = " ".join(done.stderr.split())
    # One turn to warm up, 3 of one agent alone, 3 times 3 of the two, and 3 times 3 with the same tokens.
    assert "the endpoint at 127.0.0.1 may cost money: at most 22 calls, about " in told
    assert "176 written" in told
    assert "USD at 1000 USD a million read and 5000 a million written. Assumed: the most turns" in told
    assert "say --yes" in told
    assert "-p budget_usd=1.50" in told
    assert chat.asked == []


def test_with_yes_it_runs_to_its_end_within_the_calls_that_were_told(swarm: Stack, chat: Chat) -> None:
    done = ask(swarm, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert "may cost money" in done.stderr
    assert len(chat.asked) == 22
    metrics = {metric["name"] for metric in json.loads(done.stdout)["metrics"]}
    assert "stopped" not in metrics


@pytest.mark.parametrize("budget", ["budget_usd=0.9", "budget_tokens=1400"])
def test_a_budget_that_is_spent_stops_the_run_and_keeps_what_was_done(
    swarm: Stack, chat: Chat, budget: str
) -> None:
    done = ask(swarm, "-p", budget, "--json")
    assert done.returncode == 3, done.stderr
    found = json.loads(done.stdout)
    assert found["status"] == "completed"
    assert "budget of " in found["reason"]
    assert " is spent: " in found["reason"]
    metrics = {metric["name"]: metric["value"] for metric in found["metrics"]}
    assert metrics["stopped"] == 1
    arms = found["result"]["coordination"]["arms"]
    assert arms[0]["name"] == "alone"
    assert 0 < len(chat.asked) < 22
    shown = swarm.swarm("show", found["run"])
    assert "only a part was done: the run's budget" in " ".join(shown.split())


def test_a_request_from_elsewhere_without_a_word_asks_nobody(swarm: Stack, chat: Chat) -> None:
    params = {"family": "sentiment", "items": 3, "agents": 2, "modes": ["distributed"]}

    async def request() -> str:
        async with swarm.client() as client:
            run = await client.request(Requested(suite="coordination", params=params))
            events = await Follower(client, run).settle()
        return next(one.data.error for one in events if isinstance(one.data, Failed))

    why = asyncio.run(request())
    assert "the endpoint at 127.0.0.1 may cost money" in why
    assert chat.asked == []


def test_a_budget_for_nothing_at_all_ends_in_order_too(swarm: Stack, chat: Chat) -> None:
    done = ask(swarm, "-p", "budget_tokens=10")
    assert done.returncode == 3, done.stderr
    told = " ".join(done.stdout.split())
    assert "coordination/modes stopped in" in told
    assert (
        "only a part was done: the run's budget of 10 tokens is spent: 0 went, and the next call may" in told
    )
    assert chat.asked == []
    run = told.split()[1]
    assert "equal" in swarm.swarm("replay", "--decide", run)
