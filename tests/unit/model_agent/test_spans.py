"""Spans of a turn as a collector sees them, by OpenTelemetry's conventions for generative AI."""

from __future__ import annotations

from pathlib import Path

import pytest
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv.attributes import error_attributes
from opentelemetry.semconv.schemas import Schemas

from support.endpoints import Endpoint, completion, serving, wants
from support.making import event
from support.otlp import Span, receiver
from swarm_common.events import Event
from swarm_common.events.agent import Acted
from swarm_common.events.benchmark import TaskScheduled
from swarm_common.runtime.history import RecordedHistory
from swarm_common.runtime.service import Work
from swarm_common.settings import Settings
from swarm_common.tracing import OtelTracer
from swarm_model_agent.acting import spans
from swarm_model_agent.acting.acting import act
from swarm_model_agent.executors.choosing import Executors
from swarm_model_agent.families.posing import PoseParams, pose

CACHED = {
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "prompt_tokens_details": {"cached_tokens": 90},
    "completion_tokens_details": {"reasoning_tokens": 5},
}
#: Every name that the conventions have for generative AI, as the installed package lists them.
KNOWN = {value for name, value in vars(gen_ai_attributes).items() if name.startswith("GEN_AI_")}
KNOWN |= {error_attributes.ERROR_TYPE}


async def turn(tracer: OtelTracer, endpoint: Endpoint, tmp_path: Path) -> Acted:
    log: list[Event] = [event(pose("pose", PoseParams(family="sentiment", count=3)), "run-1")]
    params = {"agent": "anna", "role": "critic", "item": 0, "tries": 1, "seed": 7, "tools": ["calculator"]}
    task = TaskScheduled(task="a", kind="act", service="model_agent", needs=("pose",), params=params)

    async def append(_: object) -> None:
        """Keep nothing: a turn that is not taken up again reads none of it."""

    work = Work(event(task, "run-1", index="a"), RecordedHistory(log), append=append)
    executors = Executors(Settings(llm_url=f"{endpoint.url}/v1", llm_model="m-1"))
    with tracer.span("process", "00-" + "a" * 32 + "-" + "b" * 16 + "-01"):
        said = await act(work, executors, tracer, tmp_path, "w")
    await executors.close()
    return said


async def collected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *replies: object) -> list[Span]:
    with receiver() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        tracer = OtelTracer("model_agent", "1", "0.1.0")
        async with serving(lambda number, _: replies[number]) as endpoint:  # type: ignore[return-value]
            await turn(tracer, endpoint, tmp_path)
        tracer.close()
        return collector.spans


async def test_a_turn_its_calls_and_its_tools_are_spans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replies = [wants("calculator", expression="6 * 7"), completion("It is 42", usage=CACHED)]
    found = await collected(tmp_path, monkeypatch, *replies)
    names = {span.name: span for span in found}
    assert {name for span in found for name in span.attributes} <= KNOWN
    assert sorted(span.name for span in found) == [
        "chat m-1", "chat m-1", "execute_tool calculator", "invoke_agent anna", "process",
    ]  # fmt: skip
    invoked, tool, process = (
        names[name] for name in ("invoke_agent anna", "execute_tool calculator", "process")
    )
    assert invoked.parent == process.id
    assert {span.parent for span in found if span.name.startswith(("chat", "execute"))} == {invoked.id}
    first, last = sorted((span for span in found if span.name == "chat m-1"), key=lambda span: span.start_ns)
    assert first.end_ns <= tool.start_ns <= tool.end_ns <= last.start_ns
    assert (first.kind, tool.kind, invoked.kind) == ("CLIENT", "INTERNAL", "INTERNAL")
    usage = {
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.cache_read.input_tokens": 90,
        "gen_ai.usage.cache_creation.input_tokens": 0,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.reasoning.output_tokens": 5,
    }
    assert last.attributes == usage | {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "m-1",
        "gen_ai.request.max_tokens": 64,
        "gen_ai.request.temperature": 0.0,
        "gen_ai.request.seed": 7,
        "gen_ai.response.model": "m-1-dated",
        "gen_ai.response.finish_reasons": ["stop"],
    }
    assert invoked.attributes == {
        **usage,
        "gen_ai.usage.input_tokens": 200,
        "gen_ai.usage.output_tokens": 40,
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": "openai",
        "gen_ai.conversation.id": "run-1",
        "gen_ai.agent.name": "anna",
        "gen_ai.agent.description": "critic",
    }
    assert tool.attributes == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "calculator",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": "c",
    }


async def test_what_failed_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = await collected(tmp_path, monkeypatch, completion(None)._replace(status=500))
    wrong = {span.name: span.attributes.get("error.type") for span in found}
    assert wrong == {"chat m-1": "overloaded", "invoke_agent anna": "overloaded", "process": None}
    (chat,) = [span for span in found if span.name == "chat m-1"]
    assert not any("usage" in name for name in chat.attributes)  # nobody counted


def test_the_conventions_are_those_that_are_installed() -> None:
    assert [*Schemas][-1].value.rpartition("/")[2] == spans.CONVENTIONS
    assert {
        name for table in (spans.USAGE, spans.REQUEST, spans.RESPONSE, spans.TURN) for name in table
    } <= KNOWN
