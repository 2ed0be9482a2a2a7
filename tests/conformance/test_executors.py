"""Every adapter gives the same answers for the same events, whatever protocol brought them."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from support.endpoints import Endpoint, Reply, as_json, completion, message, serving
from swarm_common.events.agent import Called
from swarm_common.llm import (
    Choices,
    Grammar,
    Limits,
    Message,
    Request,
    Response,
    Sampling,
    Schema,
    Tool,
    ToolCall,
    Usage,
    key,
)
from swarm_model_agent.acting.turn import called
from swarm_model_agent.executors.anthropic import Anthropic
from swarm_model_agent.executors.apart import Apart, Loop
from swarm_model_agent.executors.choosing import Beside
from swarm_model_agent.executors.core import Patient
from swarm_model_agent.executors.openai import OpenAI
from swarm_model_agent.executors.pace import Pace
from swarm_model_agent.executors.recorded import Recorded, Recording

SECRET = "key-that-nobody-may-see"  # noqa: S105 - for the loopback
ASK = Request(messages=(Message(role="user", content="Which?"),))
COLOURS = Choices(("red", "green"))
SEARCH = Tool(name="search", description="Looks it up", parameters={"type": "object", "properties": {}})


class Protocol(NamedTuple):
    """One adapter, and how a server of its protocol says things."""

    adapter: Callable[[str], Any]
    says: Callable[[str], Reply]
    refuses: Reply
    cut_short: Reply
    calls: Reply
    chooses: Callable[[str], Reply]
    cached: Reply
    broken: Reply
    status: Callable[[int], dict[str, Any]]


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


OPENAI = Protocol(
    adapter=lambda url: OpenAI(f"{url}/v1", "m-1", api_key=SECRET),
    says=completion,
    refuses=completion(None, refusal="I will not"),
    cut_short=completion("and so", finish="length"),
    calls=completion(
        None,
        finish="tool_calls",
        tool_calls=[
            {"id": "c-1", "type": "function", "function": {"name": "search", "arguments": '{"q":"x"}'}}
        ],
    ),
    chooses=lambda word: completion(json.dumps({"choice": word})),
    cached=completion(
        "so",
        usage={
            "prompt_tokens": 1000,
            "completion_tokens": 50,
            "total_tokens": 1050,
            "prompt_tokens_details": {"cached_tokens": 900},
            "completion_tokens_details": {"reasoning_tokens": 30},
        },
    ),
    broken=as_json({"object": "list", "data": []}),
    status=lambda code: {"error": {"message": f"said {code}, {SECRET}", "type": "x", "code": None}},
)
ANTHROPIC = Protocol(
    adapter=lambda url: Anthropic("m-1", url=url, api_key=SECRET),
    says=lambda words: message(text(words)),
    refuses=message(text("I will not"), stop="refusal"),
    cut_short=message(text("and so"), stop="max_tokens"),
    calls=message({"type": "tool_use", "id": "c-1", "name": "search", "input": {"q": "x"}}, stop="tool_use"),
    chooses=lambda word: message(text(json.dumps({"choice": word}))),
    cached=message(
        text("so"),
        usage={
            "input_tokens": 100,
            "cache_read_input_tokens": 900,
            "cache_creation_input_tokens": 0,
            "output_tokens": 50,
            "output_tokens_details": {"thinking_tokens": 30},
        },
    ),
    broken=as_json({"type": "completion", "completion": "so"}),
    status=lambda code: {"type": "error", "error": {"type": "x", "message": f"said {code}, {SECRET}"}},
)
PROTOCOLS = {"openai": OPENAI, "anthropic": ANTHROPIC}


@pytest.fixture(params=sorted(PROTOCOLS))
def protocol(request: pytest.FixtureRequest) -> Protocol:
    return PROTOCOLS[request.param]


class Asking:
    """An executor beside its server."""

    def __init__(self, executor: Patient, endpoint: Endpoint, pauses: list[float]) -> None:
        self.run = executor.run
        self.endpoint = endpoint
        self.pauses = pauses


@asynccontextmanager
async def asking(protocol: Protocol, *replies: Reply, slots: int = 8) -> AsyncIterator[Asking]:
    """Serve these replies in turn, the last one for good, and ask without really pausing."""
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    def script(number: int, _: Any) -> Reply:
        return replies[min(number, len(replies) - 1)]

    async with serving(script) as endpoint:
        executor = Patient(protocol.adapter(endpoint.url), slots=slots, pause=pause)
        try:
            yield Asking(executor, endpoint, pauses)
        finally:
            await executor.close()


async def test_an_answer(protocol: Protocol) -> None:
    async with asking(protocol, protocol.says("Green.")) as model:
        found = await model.run(replace(ASK, instructions="Be brief."))
    assert (found.text, found.finish, found.trouble, found.model) == ("Green.", "stop", None, "m-1-dated")
    assert found.usage == Usage(input=100, output=20)
    assert found.timings.tries == 1
    assert found.timings.total_s >= found.timings.queue_s > 0
    assert b"Green." in found.raw
    (asked,) = model.endpoint.asked
    assert "Be brief." in json.dumps(asked.body)
    assert "Which?" in json.dumps(asked.body)


async def test_tokens_are_counted_once_whatever_the_convention(protocol: Protocol) -> None:
    async with asking(protocol, protocol.cached) as model:
        usage = (await model.run(ASK)).usage
    assert usage == Usage(input=100, cache_read=900, output=20, reasoning=30)
    assert usage.total == 1050


async def test_a_tool_call_and_its_result_go_both_ways(protocol: Protocol) -> None:
    async with asking(protocol, protocol.calls, protocol.says("It is x.")) as model:
        wants = await model.run(replace(ASK, tools=(SEARCH,)))
        assert wants.finish == "tool_calls"
        (call,) = wants.tool_calls
        assert (call.id, call.name, json.loads(call.arguments)) == ("c-1", "search", {"q": "x"})
        told = (
            *ASK.messages,
            Message(role="assistant", tool_calls=wants.tool_calls),
            Message(role="tool", tool_call_id="c-1", content="found: x"),
        )
        assert (await model.run(replace(ASK, messages=told, tools=(SEARCH,)))).text == "It is x."
    second = json.dumps(model.endpoint.asked[1].body)
    assert "found: x" in second
    assert second.count("c-1") == 2


async def test_a_refusal_is_an_answer(protocol: Protocol) -> None:
    async with asking(protocol, protocol.refuses) as model:
        found = await model.run(ASK)
    assert (found.finish, found.text, found.trouble) == ("refusal", "I will not", None)


async def test_an_answer_that_ran_out_of_tokens_says_so(protocol: Protocol) -> None:
    async with asking(protocol, protocol.cut_short) as model:
        assert (await model.run(ASK)).finish == "length"


async def test_a_choice_comes_back_as_the_text_chosen(protocol: Protocol) -> None:
    async with asking(protocol, protocol.chooses("green")) as model:
        assert (await model.run(replace(ASK, constraint=COLOURS))).text == "green"


async def test_a_choice_that_was_not_offered_is_no_answer(protocol: Protocol) -> None:
    async with asking(protocol, protocol.chooses("blue"), protocol.chooses("red")) as model:
        found = await model.run(replace(ASK, constraint=COLOURS))
    assert (found.text, found.timings.tries) == ("red", 2)


async def test_a_schema_is_passed_on(protocol: Protocol) -> None:
    schema = {"type": "object", "properties": {"marked-field": {"type": "string"}}}
    async with asking(protocol, protocol.says("{}")) as model:
        await model.run(replace(ASK, constraint=Schema(schema)))
    assert "marked-field" in json.dumps(model.endpoint.asked[0].body)


async def test_what_an_endpoint_cannot_be_told_is_refused_and_not_dropped(protocol: Protocol) -> None:
    async with asking(protocol, protocol.says("so")) as model:
        found = await model.run(replace(ASK, constraint=Grammar('root ::= "a"')))
    assert (found.trouble, model.endpoint.asked) == ("refused_request", [])
    assert "grammar" in found.why


async def test_anthropic_has_no_seed_and_no_temperature() -> None:
    async with asking(ANTHROPIC, ANTHROPIC.says("so")) as model:
        found = await model.run(replace(ASK, sampling=Sampling(temperature=0.0, seed=1)))
    assert (found.trouble, model.endpoint.asked) == ("refused_request", [])
    assert "temperature, seed" in found.why


@pytest.mark.parametrize(
    ("status", "trouble"),
    [(429, "rate_limited"), (500, "overloaded"), (503, "overloaded"), (529, "overloaded"), (408, "timeout")],
)
async def test_what_may_pass_is_tried_again(protocol: Protocol, status: int, trouble: str) -> None:
    busy = as_json(protocol.status(status), status=status)
    async with asking(protocol, busy, protocol.says("at last")) as model:
        found = await model.run(ASK)
        assert (found.text, found.timings.tries, len(model.pauses)) == ("at last", 2, 1)
        model.endpoint.script = lambda *_: busy
        gone = await model.run(ASK)
    assert (gone.trouble, gone.timings.tries) == (trouble, ASK.limits.tries)
    assert str(status) in gone.why


async def test_retry_after_is_kept_to(protocol: Protocol) -> None:
    busy = as_json(protocol.status(429), status=429, headers={"retry-after": "7"})
    async with asking(protocol, busy, protocol.says("at last")) as model:
        assert (await model.run(ASK)).text == "at last"
    assert model.pauses == [7.0]


async def test_pauses_grow_where_the_endpoint_says_nothing(protocol: Protocol) -> None:
    async with asking(protocol, as_json(protocol.status(500), status=500)) as model:
        await model.run(replace(ASK, limits=Limits(tries=4)))
    assert model.pauses == [0.5, 1.0, 2.0]


@pytest.mark.parametrize(("status", "trouble"), [(400, "refused_request"), (404, "refused_request")])
async def test_what_will_not_pass_is_not_tried_again(protocol: Protocol, status: int, trouble: str) -> None:
    async with asking(protocol, as_json(protocol.status(status), status=status)) as model:
        found = await model.run(ASK)
    assert (found.trouble, found.timings.tries) == (trouble, 1)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_is_named_and_not_shown(protocol: Protocol, status: int) -> None:
    async with asking(protocol, as_json(protocol.status(status), status=status)) as model:
        found = await model.run(ASK)
    assert found.trouble == "unauthorized"
    assert "API_KEY" in found.why


async def test_the_key_is_in_nothing_that_is_recorded(protocol: Protocol) -> None:
    replies = (protocol.says(f"your key is {SECRET}"), as_json(protocol.status(400), status=400))
    async with asking(protocol, *replies) as model:
        found = [await model.run(ASK) for _ in replies]
        assert SECRET in json.dumps(model.endpoint.asked[0].headers)
    assert SECRET not in repr(found)


async def test_half_an_answer_is_tried_again(protocol: Protocol) -> None:
    half = protocol.says("never whole")._replace(cut=40)
    async with asking(protocol, half, protocol.says("whole")) as model:
        found = await model.run(ASK)
        assert (found.text, found.timings.tries) == ("whole", 2)
        model.endpoint.script = lambda *_: half
        assert (await model.run(ASK)).trouble == "interrupted"


async def test_a_connection_that_is_cut_before_the_answer_is_tried_again(protocol: Protocol) -> None:
    cut = Reply(b"{}", cut=0)
    async with asking(protocol, cut, protocol.says("whole")) as model:
        assert (await model.run(ASK)).text == "whole"


@pytest.mark.parametrize("what", [b"{", b"", b"\xff\xfe", b"[]"])
async def test_what_is_no_json_is_no_answer(protocol: Protocol, what: bytes) -> None:
    async with asking(protocol, Reply(what), protocol.says("so")) as model:
        assert (await model.run(ASK)).text == "so"
        model.endpoint.script = lambda *_: Reply(what)
        found = await model.run(ASK)
    assert (found.trouble, found.raw) == ("invalid_answer", what)


async def test_json_of_another_protocol_is_no_answer(protocol: Protocol) -> None:
    async with asking(protocol, protocol.broken) as model:
        assert (await model.run(ASK)).trouble == "invalid_answer"


async def test_a_server_that_is_not_there_is_unreachable(protocol: Protocol) -> None:
    async with asking(protocol, protocol.says("so")) as model:
        pass
    executor = Patient(protocol.adapter(model.endpoint.url), pause=lambda _: asyncio.sleep(0))
    found = await executor.run(ASK)
    await executor.close()
    assert found.trouble == "unreachable"


async def test_an_answer_that_never_comes_ends_with_the_limit(protocol: Protocol) -> None:
    async with asking(protocol, Reply(b"", never=True)) as model:
        found = await model.run(replace(ASK, limits=Limits(time_s=0.2)))
    assert (found.trouble, found.why) == ("timeout", "no answer in 0.2 s")


async def test_no_more_at_once_than_there_are_slots(protocol: Protocol) -> None:
    """Three requests, one slot: the second is sent when the first has its answer."""
    order: list[str] = []

    def script(number: int, _: Any) -> Reply:
        order.append(f"asked {number}")
        return protocol.says("so")

    async with asking(protocol, protocol.says("so"), slots=1) as model:
        model.endpoint.script = script

        async def one(number: int) -> None:
            await model.run(ASK)
            order.append(f"had {number}")

        await asyncio.gather(*(one(number) for number in range(3)))
    assert order == ["asked 0", "had 0", "asked 1", "had 1", "asked 2", "had 2"]


async def test_llama_cpp_gets_its_grammars() -> None:
    async with serving(lambda *_: completion("green")) as endpoint:
        model = Patient(OpenAI(f"{endpoint.url}/v1", "m-1", dialect="llama.cpp", api_key=""))
        assert (await model.run(replace(ASK, constraint=Choices(("green", 'a "b"\\'))))).text == "green"
        await model.run(replace(ASK, constraint=Grammar('root ::= "a"')))
        await model.close()
    assert endpoint.asked[0].body["grammar"] == 'root ::= "green" | "a \\"b\\"\\\\"'
    assert endpoint.asked[1].body["grammar"] == 'root ::= "a"'


class Clock:
    """A clock that moves when somebody pauses."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pauses: list[float] = []

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.mark.parametrize(
    ("limits", "pauses"),
    [
        ((60, 0), [1.0, 1.0, 1.0]),
        ((240, 0), []),  # four a second
        (
            (0, 7200),
            [1.0, 1.0, 1.0],
        ),  # each takes the 120 tokens that a second lets in, by the server's count
        ((30, 7200), [2.0, 2.0, 2.0]),
    ],
)
async def test_an_endpoint_is_asked_as_fast_as_it_may_be_and_no_faster(
    protocol: Protocol, limits: tuple[int, int], pauses: list[float]
) -> None:
    clock = Clock()
    async with serving(lambda *_: protocol.says("Green.")) as endpoint:
        pace = Pace(*limits, now=lambda: clock.now, pause=clock.pause)
        model = Patient(protocol.adapter(endpoint.url), pace=pace)
        for _ in range(4):  # reckoned are a token asked and 119 to be written; read are 100 and written 20
            await model.run(replace(ASK, sampling=Sampling(max_tokens=119)))
        await model.close()
    assert len(endpoint.asked) == 4
    assert clock.pauses == pytest.approx(pauses)


async def test_a_request_larger_than_the_limit_goes_and_leaves_a_debt() -> None:
    clock = Clock()
    pace = Pace(0, 600, now=lambda: clock.now, pause=clock.pause)  # ten tokens a second
    for _ in range(2):
        reckoned = await pace.enter(replace(ASK, sampling=Sampling(max_tokens=99)))
        pace.counted(reckoned, Response(usage=Usage(input=30, output=20)))
    assert clock.pauses == pytest.approx([5.0])  # for 40 of debt and 10 to be full


async def test_each_try_counts_for_the_pace(protocol: Protocol) -> None:
    clock = Clock()
    failed = as_json(protocol.status(500), status=500)
    async with serving(lambda number, _: failed if number == 0 else protocol.says("Green.")) as endpoint:
        pace = Pace(60, now=lambda: clock.now, pause=clock.pause)
        model = Patient(protocol.adapter(endpoint.url), pause=clock.pause, pace=pace)
        found = await model.run(ASK)
        await model.close()
    assert (found.text, found.timings.tries) == ("Green.", 2)
    assert clock.pauses == pytest.approx([0.5, 0.5])  # after the failure, and what was left of a second


async def test_asked_apart_it_answers_alike_and_a_call_given_up_is_given_up_there(protocol: Protocol) -> None:
    threads = set()

    class Watched:
        """An adapter that notes in which thread it is asked."""

        def __init__(self, url: str) -> None:
            self.under = protocol.adapter(url)
            self.model, self.abilities = self.under.model, self.under.abilities

        async def answer(self, request: Request) -> Response:
            threads.add(threading.get_ident())
            found: Response = await self.under.answer(request)
            return found

        async def close(self) -> None:
            await self.under.close()

    never = Reply(b"", never=True)
    async with serving(lambda number, _: never if number == 1 else protocol.says("Green.")) as endpoint:
        loop = Loop()
        model = Patient(Apart(Watched(endpoint.url), loop))
        first = await model.run(ASK)
        late = await model.run(replace(ASK, limits=Limits(time_s=0.2, tries=1)))
        again = await model.run(ASK)
        await model.close()
        await loop.close()
    assert [first.text, late.trouble, again.text] == ["Green.", "timeout", "Green."]
    assert threading.get_ident() not in threads
    assert len(threads) == 1
    assert not any(thread.ident in threads for thread in threading.enumerate())


async def test_a_model_beside_that_is_started_anew_is_waited_for() -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    loading = as_json({"error": {"message": "Loading model"}}, status=503)
    async with serving(lambda number, _: loading if number < 4 else completion("Green.")) as endpoint:
        model = Beside(OpenAI(f"{endpoint.url}/v1", "m-1", dialect="llama.cpp", api_key=""), pause=pause)
        found = await model.run(ASK)
        await model.close()
    assert (found.text, found.trouble, len(endpoint.asked)) == ("Green.", None, 5)
    assert pauses == [0.5, 1.0, 1.0, 0.5]  # three tries, a moment, and two


async def test_a_recording_answers_as_the_model_did_and_asks_nobody(protocol: Protocol) -> None:
    async with asking(protocol, protocol.says("Green.")) as model:
        first = await model.run(ASK)
    recorded = Recorded(Recording([call(first)], "m-1"))
    assert await recorded.run(ASK) == first
    assert await recorded.run(replace(ASK, limits=Limits(time_s=1.0))) == first


@pytest.mark.parametrize(
    "other",
    [
        replace(ASK, repeat=1),
        replace(ASK, instructions="Be brief."),
        replace(ASK, sampling=Sampling(seed=2)),
        replace(ASK, constraint=COLOURS),
        replace(ASK, tools=(SEARCH,)),
        replace(ASK, messages=(Message(role="user", content="Which one?"),)),
        replace(
            ASK,
            messages=(
                Message(role="assistant", tool_calls=(ToolCall(id="1", name="search", arguments="{}"),)),
            ),
        ),
    ],
)
async def test_a_recording_has_no_answer_to_another_question(other: Request) -> None:
    recorded = Recorded(Recording([call(Response(text="Green."))], "m-1"), "a")
    found = await recorded.run(other)
    assert (found.trouble, found.text) == ("not_recorded", "")
    missed = other.messages[-1].content or "''"
    for word in (missed, f"repeat {other.repeat}", "model m-1", "task a", key(other, "m-1")[:12]):
        assert word in found.why


async def test_a_recording_of_another_model_has_no_answer() -> None:
    recording = Recording([call(Response(text="Green."))], "m-2")
    assert (await Recorded(recording).run(ASK)).trouble == "not_recorded"


async def test_the_same_question_in_two_tasks_is_answered_in_each_as_it_was() -> None:
    calls = [call(Response(text=words), task) for task, words in (("a", "Green."), ("b", "Red."))]
    failed = call(Response(finish="other", trouble="timeout", why="no answer in 1 s"), "c")
    recording = Recording([failed, *calls], "m-1")
    said = {task: await Recorded(recording, task).run(ASK) for task in "abcd"}
    assert [said[task].text for task in "abd"] == [
        "Green.",
        "Red.",
        "Green.",
    ]  # the first, where nobody knows d
    assert (said["c"].trouble, said["c"].why) == ("timeout", "no answer in 1 s")


def call(found: Response, task: str = "t", asked: Request = ASK) -> Called:
    return called(task, "anna", 0, "m-1", asked, found)
