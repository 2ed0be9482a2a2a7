"""The model that comes with the product: a real one, small, on this machine."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator

import httpx
import msgspec
import psutil
import pytest
import pytest_asyncio
from msgspec.structs import replace

from support.waiting import until
from swarm_common.errors import UsageError
from swarm_common.events.agent import Called
from swarm_common.llm import Choices, Limits, Message, Request, Response, Sampling, Schema
from swarm_common.settings import Settings
from swarm_model_agent.acting.params import ActParams
from swarm_model_agent.executors import embedded
from swarm_model_agent.executors.choosing import Executors
from swarm_model_agent.executors.core import Patient
from swarm_model_agent.executors.embedded import MODEL, Options, Server
from swarm_model_agent.executors.openai import OpenAI

pytestmark = pytest.mark.asyncio(loop_scope="module")

ASK = Request(
    messages=(
        Message(role="user", content="Is this review good or bad? Review: I loved every minute of it."),
    ),
    sampling=Sampling(temperature=0.0, seed=1, max_tokens=24),
    limits=Limits(time_s=60.0),
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Server]:
    server = await Server.start(Options(context_tokens=1024))
    yield server
    await server.stop()
    assert not server.alive


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def model(server: Server) -> AsyncIterator[Patient]:
    patient = Patient(OpenAI(server.url, MODEL, dialect="llama.cpp", api_key=""), slots=4)
    yield patient
    await patient.close()


def answers(responses: list[Response]) -> list[str]:
    assert [response.trouble for response in responses] == [None] * len(responses)
    return [response.text for response in responses]


async def test_it_answers_and_counts(model: Patient) -> None:
    found = await model.run(ASK)
    assert found.text.strip()
    assert (found.model, found.finish in {"stop", "length"}) == (MODEL, True)
    assert 0 < found.usage.output <= 24
    assert found.usage.total > found.usage.output


async def test_at_temperature_0_it_says_the_same_alone_and_in_company(model: Patient) -> None:
    others = [replace(ASK, messages=(Message(role="user", content=f"Count to {n}."),)) for n in range(3)]
    alone = answers([await model.run(one) for one in (ASK, *others)])
    together = answers(list(await asyncio.gather(*(model.run(one) for one in (ASK, *others)))))
    assert together == alone
    assert len(set(alone)) > 1


async def test_not_even_close_answers_depend_on_the_cache_or_on_who_is_asked_beside(server: Server) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=100) as client:

        async def sure(number: int, cached: bool) -> list[float]:
            """Return the log-probabilities of the first token: what a choice hangs on where it is close."""
            system = {"role": "system", "content": "Say of each review whether it is positive or negative."}
            asked = {
                "role": "user",
                "content": f"Review {number}: I {'loved' if number % 2 else 'hated'} it.",
            }
            body = {"messages": [system, asked], "temperature": 0, "max_tokens": 1, "cache_prompt": cached}
            answer = await client.post(
                "/chat/completions", json=body | {"logprobs": True, "top_logprobs": 20}
            )
            (first,) = answer.json()["choices"][0]["logprobs"]["content"]
            return [one["logprob"] for one in first["top_logprobs"]]

        alone = [await sure(number, cached=False) for number in range(6)]
        assert await asyncio.gather(*(sure(number, cached=True) for number in range(6))) == alone
        assert await asyncio.gather(*(sure(number, cached=False) for number in range(6))) == alone


async def test_another_seed_at_a_higher_temperature_says_something_else(model: Patient) -> None:
    def drawn(seed: int) -> Request:
        return replace(ASK, sampling=Sampling(temperature=1.0, seed=seed, max_tokens=24))

    first, again, other = answers([await model.run(drawn(seed)) for seed in (1, 1, 2)])
    assert first == again
    assert first != other


async def test_it_chooses_from_what_it_is_offered(model: Patient) -> None:
    found = await model.run(replace(ASK, constraint=Choices(("good", "bad"))))
    assert found.text in {"good", "bad"}


async def test_it_keeps_to_a_schema(model: Patient) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    found = await model.run(replace(ASK, constraint=Schema(schema)))
    assert found.text.lstrip().startswith("{")


async def test_a_long_prefix_is_read_once(model: Patient) -> None:
    rules = " ".join(f"Rule {number}: be exact in all you say." for number in range(50))
    first, second = [
        await model.run(replace(ASK, instructions=rules, messages=(Message(role="user", content=words),)))
        for words in ("Name a colour.", "Name a town.")
    ]
    assert first.usage.cache_read < second.usage.cache_read
    assert second.usage.cache_read > 0.85 * (second.usage.input + second.usage.cache_read)


async def test_a_server_that_somebody_else_runs_is_asked_in_place_of_a_child(
    server: Server, model: Patient
) -> None:
    """As in compose: the same answers, no price, and no process of our own."""
    before = {child.pid for child in psutil.Process().children()}
    assert server.pid in before
    executors = Executors(Settings(embedded_url=server.url))
    params = ActParams(agent="anna", item=0, executor="embedded")

    async def calls(_: str) -> list[Called]:
        return []

    beside = await executors.of(params, calls)
    asked = replace(ASK, constraint=Choices(("good", "bad")))
    assert (await beside.run(asked)).text == (await model.run(asked)).text
    assert (executors.costs(params), beside.model) == ("", MODEL)
    await executors.close()
    assert server.alive
    assert {child.pid for child in psutil.Process().children()} == before


async def test_a_server_that_lasts_needs_no_standard_input_and_ends_when_told_to() -> None:
    options = msgspec.json.encode(Options(lasting=True, context_tokens=512)).decode()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "swarm_model_agent.executors.embedded", options,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    url = (await asyncio.wait_for(process.stdout.readline(), 60)).decode().strip()
    async with httpx.AsyncClient(base_url=url) as client:
        assert (await client.get("/health")).status_code == 200
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_it_listens_on_this_machine_alone(server: Server) -> None:
    listening = [c.laddr.ip for c in psutil.Process(server.pid).net_connections() if c.status == "LISTEN"]
    assert listening == ["127.0.0.1"]


async def test_it_ends_with_whoever_started_it_however_that_ends() -> None:
    code = (
        "import asyncio\n"
        "from swarm_model_agent.executors.embedded import Server\n"
        "async def main():\n"
        "    server = await Server.start()\n"
        "    print(server.pid, flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    child = int(await asyncio.wait_for(parent.stdout.readline(), 60))
    assert psutil.pid_exists(child)
    os.kill(parent.pid, signal.SIGKILL)
    await parent.wait()
    await until(
        lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE
    )


async def test_without_its_wheels_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"pip install xllamacpp .* or set SWARM_LLM_URL"):
        await Server.start()
