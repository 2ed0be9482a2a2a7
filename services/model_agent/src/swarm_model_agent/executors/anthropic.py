"""Anthropic's messages, by Anthropic's own library (https://platform.claude.com/docs/en/api/messages).

The protocol has neither seed nor temperature. A choice is asked for as JSON of one field (``output_config.format``) and
unwrapped. Its ``input_tokens`` leave out what was cached, and are taken as they are.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import msgspec

from swarm_common.errors import UsageError
from swarm_common.llm import Choices, Finish, Message, Request, Response, Schema, ToolCall, Usage
from swarm_model_agent.executors.core import Ability, Failed
from swarm_model_agent.executors.http import body_of
from swarm_model_agent.executors.openai import schema_of, unwrapped

KEY = "ANTHROPIC_API_KEY"
_FINISH: Mapping[str, Finish] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "refusal",
}


class _Text(msgspec.Struct, tag="text"):
    text: str


class _ToolUse(msgspec.Struct, tag="tool_use"):
    id: str
    name: str
    input: msgspec.Raw


class _Thinking(msgspec.Struct, tag="thinking"):
    """Not shown."""


class _Redacted(msgspec.Struct, tag="redacted_thinking"):
    """Not shown."""


class _OutputDetails(msgspec.Struct):
    thinking_tokens: int = 0


class _Usage(msgspec.Struct):
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    output_tokens_details: _OutputDetails | None = None


class _Answer(msgspec.Struct):
    content: list[_Text | _ToolUse | _Thinking | _Redacted]
    model: str = ""
    stop_reason: str | None = None
    usage: _Usage | None = None


class Anthropic:
    """One of Anthropic's models."""

    abilities: frozenset[Ability] = frozenset({"stop", "tools", "choices", "schema"})

    def __init__(self, model: str, *, url: str | None = None, api_key: str | None = None) -> None:
        self.model = model
        self._key = os.environ.get(KEY, "").strip() if api_key is None else api_key
        if not (self._key.isascii() and self._key.isprintable()):
            raise UsageError(f"{KEY} holds characters that no key has; set it anew", field=KEY)
        self._library = _library()
        self._client = self._library.AsyncAnthropic(
            base_url=url, api_key=self._key or "none", max_retries=0, timeout=None
        )

    async def answer(self, request: Request) -> Response:
        """Ask once."""
        asking = self._client.messages.with_streaming_response.create(**self._body(request))
        return self._read(request, await body_of(asking, self._library, KEY, self._key))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _body(self, request: Request) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "max_tokens": request.sampling.max_tokens,
            "messages": [_message(message) for message in request.messages],
        }
        if request.instructions:
            body["system"] = request.instructions
        if request.sampling.stop:
            body["stop_sequences"] = list(request.sampling.stop)
        if request.tools:
            body["tools"] = [
                {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
                for tool in request.tools
            ]
        schema = None
        if isinstance(request.constraint, Schema):
            schema = request.constraint.schema
        elif isinstance(request.constraint, Choices):
            schema = schema_of(request.constraint)
        if schema is not None:
            body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
        return body

    def _read(self, request: Request, raw: bytes) -> Response:
        try:
            found = msgspec.json.decode(raw, type=_Answer)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise Failed(
                "invalid_answer", f"what came is no message of Anthropic's protocol ({error})", raw=raw
            ) from None
        text = "".join(part.text for part in found.content if isinstance(part, _Text))
        finish = _FINISH.get(found.stop_reason or "end_turn", "other")
        if isinstance(request.constraint, Choices) and finish == "stop":
            text = unwrapped(text, request.constraint, raw)
        return Response(
            text=text,
            tool_calls=tuple(
                ToolCall(id=part.id, name=part.name, arguments=bytes(part.input).decode())
                for part in found.content
                if isinstance(part, _ToolUse)
            ),
            finish=finish,
            model=found.model or self.model,
            usage=_usage(found.usage),
            raw=raw,
        )


def _message(message: Message) -> dict[str, Any]:
    if message.role == "tool":
        result = {"type": "tool_result", "tool_use_id": message.tool_call_id, "content": message.content}
        return {"role": "user", "content": [result]}
    if not message.tool_calls:
        return {"role": message.role, "content": message.content}
    said = [{"type": "text", "text": message.content}] if message.content else []
    called = [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": _arguments(call)}
        for call in message.tool_calls
    ]
    return {"role": "assistant", "content": [*said, *called]}


def _arguments(call: ToolCall) -> Any:
    try:
        return msgspec.json.decode(call.arguments or "{}")
    except msgspec.DecodeError:
        return {"arguments": call.arguments}  # what another model wrote, as it wrote it


def _usage(found: _Usage | None) -> Usage:
    if found is None:
        return Usage(source="none")
    reasoning = (found.output_tokens_details or _OutputDetails()).thinking_tokens
    return Usage(
        input=found.input_tokens,
        cache_read=found.cache_read_input_tokens or 0,
        cache_write=found.cache_creation_input_tokens or 0,
        output=max(0, found.output_tokens - reasoning),
        reasoning=reasoning,
    )


def _library() -> ModuleType:
    try:
        import anthropic  # noqa: PLC0415 - an extra, and slow
    except ImportError:
        raise UsageError(
            "Anthropic's endpoint needs the library anthropic, which is not installed here: "
            "pip install 'swarm-model-agent[llm]'",
            field="llm_url",
        ) from None
    module: ModuleType = anthropic
    return module
