"""Spans of agents: OpenTelemetry's semantic conventions for generative AI (status Development), as of one version.

Three operations: ``invoke_agent`` is a turn, ``chat`` a call of its model, ``execute_tool`` a tool that was run for it;
the latter two lie within the first. Of what is said nothing is in them: it is in the log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from swarm_common.events.agent import Acted, ToolUse
from swarm_common.llm import Request, Response, ToolCall, Usage
from swarm_common.tracing import Attribute, Attributes

#: The version of the conventions that the names below are of; a test holds them against it.
CONVENTIONS = "1.44.0"

#: By executor, what ``gen_ai.provider.name`` says. The conventions let one's own names stand beside theirs.
PROVIDERS: Mapping[str, str] = {
    "openai": "openai",
    "anthropic": "anthropic",
    "claude-code": "anthropic",
    "embedded": "llama.cpp",
    "recorded": "swarm.recording",
}

Value = Attribute | None

#: The one table. Input tokens include cached ones there, output tokens those of reasoning: ours are disjoint.
USAGE: Mapping[str, Callable[[Usage], Value]] = {
    "gen_ai.usage.input_tokens": lambda usage: usage.read,
    "gen_ai.usage.cache_read.input_tokens": lambda usage: usage.cache_read,
    "gen_ai.usage.cache_creation.input_tokens": lambda usage: usage.cache_write,
    "gen_ai.usage.output_tokens": lambda usage: usage.written,
    "gen_ai.usage.reasoning.output_tokens": lambda usage: usage.reasoning,
}
REQUEST: Mapping[str, Callable[[Request], Value]] = {
    "gen_ai.request.max_tokens": lambda asked: asked.sampling.max_tokens,
    "gen_ai.request.temperature": lambda asked: asked.sampling.temperature,
    "gen_ai.request.top_p": lambda asked: asked.sampling.top_p,
    "gen_ai.request.seed": lambda asked: asked.sampling.seed,
    "gen_ai.request.stop_sequences": lambda asked: asked.sampling.stop or None,
}
RESPONSE: Mapping[str, Callable[[Response], Value]] = {
    "gen_ai.response.model": lambda found: found.model or None,
    "gen_ai.response.finish_reasons": lambda found: None if found.trouble else (found.finish,),
    "error.type": lambda found: found.trouble,
}
TURN: Mapping[str, Callable[[Acted], Value]] = {
    "gen_ai.agent.name": lambda said: said.agent,
    "gen_ai.agent.description": lambda said: said.role,
    "error.type": lambda said: said.trouble,
}


def chat(asked: Request, found: Response, model: str, provider: str) -> Attributes:
    """Return the attributes of a call of a model."""
    named: dict[str, Value] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": provider,
        "gen_ai.request.model": model,
    }
    return _said(named | _read(REQUEST, asked) | _read(RESPONSE, found) | _counted(found.usage))


def invoke_agent(said: Acted, run: str, provider: str) -> Attributes:
    """Return the attributes of a turn; its usage is that of all its calls."""
    named: dict[str, Value] = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": provider,
        "gen_ai.conversation.id": run,
    }
    return _said(named | _read(TURN, said) | _counted(said.usage))


def execute_tool(call: ToolCall, use: ToolUse) -> Attributes:
    """Return the attributes of a tool that was run."""
    return _said(
        {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": call.name,
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.id": call.id or None,
            "error.type": "tool_failed" if use.failed else None,
        }
    )


def _counted(usage: Usage) -> dict[str, Value]:
    """Return counts of tokens, where anybody counted them."""
    return _read(USAGE, usage) if usage.source == "provider" else {}


def _read(table: Mapping[str, Callable[..., Value]], of: object) -> dict[str, Value]:
    return {name: value(of) for name, value in table.items()}


def _said(values: Mapping[str, Value]) -> Attributes:
    return {name: value for name, value in values.items() if value is not None}
