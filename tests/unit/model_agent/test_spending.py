"""Endpoints that cost money are asked by consent or within a budget, and a budget is kept by what the log says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from support.endpoints import Endpoint, completion, serving
from support.making import event
from swarm_common.errors import UsageError
from swarm_common.events import Data, Event
from swarm_common.events.agent import Acted, Called
from swarm_common.events.benchmark import TaskScheduled
from swarm_common.llm import Message, Request, Response, Sampling, Usage
from swarm_common.runtime.history import RecordedHistory
from swarm_common.runtime.service import Work
from swarm_common.settings import Settings
from swarm_common.tracing import LogTracer
from swarm_model_agent.acting.acting import act
from swarm_model_agent.acting.spending import Budget, BudgetSpent, Price, Purse
from swarm_model_agent.acting.turn import called
from swarm_model_agent.executors.choosing import Executors, is_here
from swarm_model_agent.families.posing import PoseParams, pose

#: 100 tokens read at 1,000 USD and 20 written at 5,000 USD a million: each answer of the endpoint costs 0.2 USD.
PRICE, COST = "1000,5000", 0.2


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    async with serving(lambda *_: completion('{"choice": "positive"}')) as server:
        yield server


class Run:
    """A run's log, with turns at an endpoint that is said to be elsewhere."""

    def __init__(self, endpoint: Endpoint, tmp_path: Path, price: str = PRICE, *, here: bool = False) -> None:
        self.log: list[Event] = [event(pose("pose", PoseParams(family="sentiment", count=3)), "run-1")]
        settings = Settings(llm_url=f"{endpoint.url}/v1", llm_price=price)
        self.executors = Executors(settings, here=lambda _: here)
        self.marks: list[int] = []
        self.tmp_path = tmp_path

    async def act(self, task: str, **params: Any) -> Acted:
        scheduled = TaskScheduled(
            task=task, kind="act", service="model_agent", needs=("pose",),
            params={"agent": "anna", "item": 0, "tries": 1, "max_tokens": 1, **params},
        )  # fmt: skip

        async def append(data: Data) -> None:
            self.log.append(event(data, "run-1", index=f"{task}/{len(self.log)}"))

        history = RecordedHistory(list(self.log))
        since = history.since

        async def looked(run: str, kind: type[Data], mark: int) -> tuple[Sequence[Event], int]:
            self.marks.append(mark)
            return await since(run, kind, mark)

        history.since = looked  # type: ignore[method-assign]  # to see how much is read
        work = Work(event(scheduled, "run-1", index=task), history, append=append)
        return await act(work, self.executors, LogTracer(), self.tmp_path, "w-1")

    @property
    def calls(self) -> list[Called]:
        return [one.data for one in self.log if isinstance(one.data, Called)]


async def test_nobody_is_asked_for_money_without_a_word(endpoint: Endpoint, tmp_path: Path) -> None:
    run = Run(endpoint, tmp_path)
    with pytest.raises(
        UsageError, match=r"the endpoint at 127\.0\.0\.1 may cost money; say with -p budget_usd"
    ):
        await run.act("a")
    assert endpoint.asked == []
    assert (await run.act("a", consent=True)).text == "positive"
    await run.executors.close()


async def test_a_budget_needs_to_know_what_calls_cost(endpoint: Endpoint, tmp_path: Path) -> None:
    run = Run(endpoint, tmp_path, price="")
    with pytest.raises(UsageError, match=r"does not say what a call costs.*set SWARM_LLM_PRICE"):
        await run.act("a", budget_usd=1.0)
    assert endpoint.asked == []
    said = await run.act("a", budget_usd=1.0, consent=True)
    assert (said.text, said.cost_usd) == ("positive", None)
    await run.executors.close()


async def test_a_spent_budget_ends_turns_and_keeps_what_was_done(endpoint: Endpoint, tmp_path: Path) -> None:
    run = Run(endpoint, tmp_path)
    said = [await run.act(f"a{n}", budget_usd=1.05) for n in range(2)]
    assert [one.cost_usd for one in said] == pytest.approx([COST, COST])
    late = await run.act("b", budget_usd=0.3)
    assert (late.text, late.trouble, late.calls) == ("", "budget_spent", 0)
    assert "budget of 0.3 USD is spent: 0.400000 went; what was done is in the log" in late.why
    assert len(endpoint.asked) == len(run.calls) == 2
    await run.executors.close()


async def test_a_budget_of_tokens_is_kept_at_any_endpoint(endpoint: Endpoint, tmp_path: Path) -> None:
    run = Run(endpoint, tmp_path, price="", here=True)
    first = await run.act("a", budget_tokens=2000)
    late = await run.act("b", budget_tokens=300)
    assert (first.usage.total, first.trouble, late.trouble) == (120, None, "budget_spent")
    assert "budget of 300 tokens is spent: 120 went, and the next call may take " in late.why
    assert len(endpoint.asked) == 1
    paid = Run(endpoint, tmp_path, price="")  # it may cost money, and tokens are a bound, too
    assert (await paid.act("a", budget_tokens=2000)).text == "positive"
    for one in (run, paid):
        await one.executors.close()


async def test_what_others_spend_counts_and_is_read_once(endpoint: Endpoint, tmp_path: Path) -> None:
    """Another replica's calls are in the log; of what was read before, nothing is read again."""
    run = Run(endpoint, tmp_path)
    await run.act("a", budget_usd=5.0)
    other = Run(endpoint, tmp_path)
    other.log = run.log
    for n in range(3):
        await other.act(f"b{n}", budget_usd=5.0)
    assert (await run.act("c", budget_usd=0.9)).trouble == "budget_spent"
    assert run.marks == [0, 1]
    for one in (run, other):
        await one.executors.close()


@pytest.mark.parametrize(
    ("price", "here", "costs"), [("0,0", False, False), ("1,2", True, True), ("", True, False)]
)
async def test_a_price_says_whether_an_endpoint_costs(
    endpoint: Endpoint, tmp_path: Path, price: str, *, here: bool, costs: bool
) -> None:
    run = Run(endpoint, tmp_path, price, here=here)
    if costs:
        with pytest.raises(UsageError, match="may cost money"):
            await run.act("a")
    else:
        assert (await run.act("a")).text == "positive"
    await run.executors.close()


async def test_answers_of_an_earlier_run_cost_nothing(endpoint: Endpoint, tmp_path: Path) -> None:
    run = Run(endpoint, tmp_path)
    await run.act("a", budget_usd=5.0)
    for n in range(3):
        again = await run.act(f"r{n}", executor="recorded", recording="run-1")
        assert again.text == "positive"
    assert [call.recorded for call in run.calls] == [False, True, True, True]
    await run.act("b", budget_usd=1.1, repeat=1)  # of which 0.2 is spent, not 0.8
    await run.executors.close()


class Spending:
    """A log in which each call has cost so much."""

    def __init__(self, each: float) -> None:
        self.each = each
        self.log: list[Event] = []
        self.purse = Purse()

    @property
    def spent(self) -> float:
        return self.each * len(self.log)

    async def call(self, most: float | None) -> None:
        history = RecordedHistory(list(self.log))
        live = history._runs
        live["run-1"] = self.log
        async with self.purse.paying("run-1", history, most, 100, Budget(usd=1.0)):
            await asyncio.sleep(0)
            asked = Request(messages=(Message(role="user", content="x"),))
            one = called(f"t{len(self.log)}", "anna", 0, "m", asked, Response(cost_usd=self.each))
            self.log.append(event(one, "run-1", index=len(self.log)))


async def test_calls_at_once_never_spend_more_than_the_budget_between_them() -> None:
    run = Spending(0.2)
    results = await asyncio.gather(*(run.call(0.3) for _ in range(9)), return_exceptions=True)
    assert run.spent == pytest.approx(0.8)  # a fifth might have made it 1.1
    assert sum(isinstance(one, BudgetSpent) for one in results) == 5


async def test_calls_whose_cost_nobody_knows_before_are_made_one_at_a_time() -> None:
    run = Spending(0.6)
    results = await asyncio.gather(*(run.call(None) for _ in range(9)), return_exceptions=True)
    assert run.spent == pytest.approx(1.2)  # past the budget by one call at most
    assert sum(isinstance(one, BudgetSpent) for one in results) == 7


def test_a_call_costs_what_was_read_and_written_and_never_more_than_its_most() -> None:
    price = Price(3.0, 15.0)
    request = Request(messages=(Message(role="user", content="x" * 1000),), sampling=Sampling(max_tokens=50))
    usage = Usage(input=100, cache_read=20, cache_write=5, output=30, reasoning=10)
    cost = price.of(request, Response(usage=usage))
    assert cost == pytest.approx((125 * 3 + 40 * 15) / 1e6)
    assert (1000 * 3 + 50 * 15) / 1e6 < price.most(request) < (1400 * 3 + 50 * 15) / 1e6
    assert (
        price.of(request, Response()) == price.of(request, Response(trouble="timeout")) == price.most(request)
    )
    assert price.of(request, Response(trouble="rate_limited")) == 0


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:8080/v1", True),
        ("http://[::1]:8080/v1", True),
        ("http://localhost/v1", True),
        ("http://localhost.example.com/v1", False),
        ("http://127.0.0.1.example.com/v1", False),
        ("http://10.0.0.7/v1", False),
        ("https://api.example.com/v1", False),
    ],
)
def test_what_is_on_this_machine(url: str, here: bool) -> None:
    assert is_here(url) is here


@pytest.mark.parametrize("price", ["3", "3,x", "-1,2", "nan,1", "1,2,3", "inf,1"])
def test_a_price_that_is_none_is_named(price: str) -> None:
    with pytest.raises(ValueError, match=r"llm_price is .* such as 3,15"):
        Settings(llm_price=price)
    assert Settings(llm_price="3, 15").llm_prices == (3.0, 15.0)
