"""OpenAI's chat completions and whatever speaks them (llama.cpp, vLLM, Ollama), by OpenAI's own library.

Two dialects: ``openai`` has JSON schemas alone, so a choice is asked for as JSON of one field and unwrapped;
``llama.cpp`` also takes grammars (GBNF), and a choice is a grammar.

Protocol: https://platform.openai.com/docs/api-reference/chat, and the README of llama.cpp's server.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Literal

import msgspec

from swarm_common.errors import UsageError
from swarm_common.llm import Choices, Finish, Grammar, Message, Request, Response, Schema, ToolCall, Usage
from swarm_model_agent.executors.core import Ability, Failed
from swarm_model_agent.executors.http import body_of

Dialect = Literal["openai", "llama.cpp"]
KEY = "SWARM_LLM_API_KEY"

_COMMON: frozenset[Ability] = frozenset(
    {"temperature", "top_p", "seed", "stop", "tools", "choices", "schema"}
)
_FINISH: Mapping[str, Finish] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
}


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class _Function(msgspec.Struct):
    name: str
    arguments: str = ""


class _Call(msgspec.Struct):
    id: str
    function: _Function


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    model: str = ""
    usage: _Usage | None = None


class OpenAI:
    """One model behind an OpenAI-compatible address."""

    def __init__(
        self, url: str, model: str, *, dialect: Dialect = "openai", api_key: str | None = None
    ) -> None:
        self.model = model
        self.dialect = dialect
        self.abilities: frozenset[Ability] = _COMMON | {"grammar"} if dialect == "llama.cpp" else _COMMON
        self._key = os.environ.get(KEY, "").strip() if api_key is None else api_key
        if not (self._key.isascii() and self._key.isprintable()):
            raise UsageError(f"{KEY} holds characters that no key has; set it anew", field=KEY)
        self._library = _library()
        self._client = self._library.AsyncOpenAI(
            base_url=url, api_key=self._key or "none", max_retries=0, timeout=None
        )
        # What the library takes from variables of its own is meant for another server.
        self._client.organization = self._client.project = None
        self._client._custom_headers = {}  # noqa: SLF001 - OPENAI_CUSTOM_HEADERS, which no argument keeps out

    async def answer(self, request: Request) -> Response:
        """Ask once."""
        asking = self._client.chat.completions.with_streaming_response.create(**self._body(request))
        return self._read(request, await body_of(asking, self._library, KEY, self._key))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _body(self, request: Request) -> dict[str, Any]:
        sampling = request.sampling
        body: dict[str, Any] = {
            "model": self.model,
            "messages": _messages(request),
            "max_tokens": sampling.max_tokens,
        }
        for name in ("temperature", "top_p", "seed"):
            if (value := getattr(sampling, name)) is not None:
                body[name] = value
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if request.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "function": {
                        "name": tool.name,
                        "description": tool.description,
                        "parameters": tool.parameters,
                    },
                }
                for tool in request.tools
            ]
        return body | self._constraint(request)

    def _constraint(self, request: Request) -> dict[str, Any]:
        constraint = request.constraint
        if isinstance(constraint, Schema):
            return _form(constraint.schema)
        if isinstance(constraint, Grammar):
            return {"extra_body": {"grammar": constraint.gbnf}}
        if isinstance(constraint, Choices):
            if self.dialect == "llama.cpp":
                return {"extra_body": {"grammar": grammar_of(constraint)}}
            return _form(schema_of(constraint))
        return {}

    def _read(self, request: Request, raw: bytes) -> Response:
        try:
            found = msgspec.json.decode(raw, type=_Completion)
            choice = found.choices[0]
        except (msgspec.DecodeError, UnicodeError, IndexError) as error:
            raise Failed(
                "invalid_answer",
                f"what came is no chat completion ({error}); is this an OpenAI-compatible address, up to /v1?",
                raw=raw,
            ) from None
        said = choice.message
        text = said.content or said.refusal or ""
        finish: Finish = "refusal" if said.refusal else _FINISH.get(choice.finish_reason or "stop", "other")
        if isinstance(request.constraint, Choices) and self.dialect == "openai" and finish == "stop":
            text = unwrapped(text, request.constraint, raw)
        return Response(
            text=text,
            tool_calls=tuple(
                ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments)
                for call in said.tool_calls or ()
            ),
            finish=finish,
            model=found.model or self.model,
            usage=_usage(found.usage),
            raw=raw,
        )


def grammar_of(choices: Choices) -> str:
    """Return the GBNF grammar of one of several texts."""
    texts = (
        option.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for option in choices.options
    )
    return "root ::= " + " | ".join(f'"{text}"' for text in texts)


def schema_of(choices: Choices) -> dict[str, Any]:
    """Return the JSON Schema of an object that names one of several texts."""
    return {
        "type": "object",
        "properties": {"choice": {"type": "string", "enum": list(choices.options)}},
        "required": ["choice"],
        "additionalProperties": False,
    }


def unwrapped(text: str, choices: Choices, raw: bytes) -> str:
    """Return the text that such an object names.

    Raises:
        Failed: It is no such object, so the endpoint did not hold to the schema.
    """
    try:
        named = msgspec.json.decode(text, type=dict[str, str])["choice"]
    except (msgspec.DecodeError, KeyError):
        named = text.strip()  # some servers answer with the bare text
    if named not in choices.options:
        raise Failed("invalid_answer", f"the answer {named[:80]!r} is none of the choices", raw=raw)
    return named


def _form(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": dict(schema), "strict": True},
        }
    }


def _messages(request: Request) -> list[dict[str, Any]]:
    first = [{"role": "system", "content": request.instructions}] if request.instructions else []
    return [*first, *map(_message, request.messages)]


def _message(message: Message) -> dict[str, Any]:
    told: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        told["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.role == "tool":
        told["tool_call_id"] = message.tool_call_id
    return told


def _usage(found: _Usage | None) -> Usage:
    """Return disjoint counts: ``prompt_tokens`` includes cached ones here, ``completion_tokens`` reasoning."""
    if found is None:
        return Usage(source="none")
    prompt = found.prompt_tokens_details or _PromptDetails()
    cached, written = prompt.cached_tokens or 0, prompt.cache_write_tokens or 0
    details = found.completion_tokens_details or _CompletionDetails()
    reasoning = details.reasoning_tokens or 0
    return Usage(
        input=max(0, found.prompt_tokens - cached - written),
        cache_read=cached,
        cache_write=written,
        output=max(0, found.completion_tokens - reasoning),
        reasoning=reasoning,
    )


def _library() -> ModuleType:
    try:
        import openai  # noqa: PLC0415 - an extra, and slow
    except ImportError:
        raise UsageError(
            "an OpenAI-compatible endpoint needs the library openai, which is not installed here: "
            "pip install 'swarm-model-agent[llm]'",
            field="llm_url",
        ) from None
    module: ModuleType = openai
    return module
