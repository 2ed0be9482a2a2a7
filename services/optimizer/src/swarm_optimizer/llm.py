"""Asks a language model behind an OpenAI-compatible address. The library is an extra, loaded when it is needed.

The key comes from the environment variable ``SWARM_LLM_API_KEY`` and from nowhere else, and goes into the request's
header and nowhere else: it is no setting, for settings are handed on, and it is taken out of whatever text comes back.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from swarm_common.errors import TaskFailed, UsageError

if TYPE_CHECKING:
    from types import ModuleType

KEY = "SWARM_LLM_API_KEY"
TIMEOUT_S = 60.0
#: An answer of three variations takes some hundred tokens.
_MOST_TOKENS = 512
_MOST_BYTES = 1024 * 1024
#: The server's own words in an error of ours.
_LONGEST = 300


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where the model is."""

    url: str
    """Up to ``/v1``; empty where there is none."""
    model: str = "default"
    timeout_s: float = TIMEOUT_S


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """An answer."""

    text: str
    model: str
    """As the server names it."""
    tokens_in: int | None = None
    tokens_out: int | None = None
    seconds: float


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message


class _Completion(msgspec.Struct):
    """Of https://platform.openai.com/docs/api-reference/chat what is read here."""

    choices: list[_Choice]
    model: str | None = None
    usage: _Usage | None = None


def check(endpoint: Endpoint) -> None:
    """Raise :class:`UsageError` where there is no endpoint, or no library to ask it with."""
    if not endpoint.url:
        raise UsageError(
            "arm llm asks a language model, and none is set: give SWARM_LLM_URL (and SWARM_LLM_MODEL) to optimizer, "
            "that is, before the stack starts, or leave llm out of params.arms",
            field="llm_url",
            allowed="the address of an OpenAI-compatible server: http://127.0.0.1:8080/v1",
        )
    if importlib.util.find_spec("openai") is None:
        raise UsageError(
            "arm llm needs the library openai, which is not installed here: pip install 'swarm-optimizer[llm]', "
            "or leave llm out of params.arms",
            field="params.policy",
            given="llm",
        )


async def ask(
    endpoint: Endpoint, messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any], *, seed: int
) -> Said:
    """Ask a question and return the answer, which should be JSON of a schema: a server may not know how to see to it.

    Temperature 0 and a seed, which a server may ignore. Raises :class:`UsageError` where there is no endpoint, library
    or key that fits, and :class:`TaskFailed`, to be tried again, where the server fails or takes too long.
    """
    check(endpoint)
    key = _key()
    openai = await asyncio.to_thread(_openai)
    request = {
        "model": endpoint.model,
        "messages": list(messages),
        "temperature": 0.0,
        "seed": seed % 2**31,
        "max_tokens": _MOST_TOKENS,
    }
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": dict(schema)}}
    began = time.perf_counter()
    try:
        # Ours bounds all of it; the library's own bounds each step.
        async with asyncio.timeout(endpoint.timeout_s), _client(openai, endpoint, key) as client:
            try:
                body = await _body(client, {**request, "response_format": form})
            except (openai.BadRequestError, openai.UnprocessableEntityError):
                body = await _body(client, request)  # a server without such formats
    except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
        raise UsageError(  # in our words: servers repeat part of the key
            f"the language model's server refuses us ({error.status_code}): {KEY} is "
            f"{'not the key that it wants' if key else 'not set'}; set it before the stack starts",
            field=KEY,
        ) from None
    except (
        openai.NotFoundError,
        openai.BadRequestError,
        openai.UnprocessableEntityError,
    ) as error:
        raise UsageError(
            f"the language model's server does not do what was asked ({error.status_code}): "
            f"{_without(str(error), key)[:_LONGEST]}; look at SWARM_LLM_URL and SWARM_LLM_MODEL",
            field="llm_url",
        ) from None
    except TimeoutError:
        raise TaskFailed(
            f"the language model did not answer in {endpoint.timeout_s:g} s", retryable=True
        ) from None
    except openai.APIError as error:
        raise TaskFailed(
            f"the language model did not answer: {_without(str(error), key)[:_LONGEST]}", retryable=True
        ) from None
    seconds = time.perf_counter() - began
    return _said(body, endpoint, key, seconds)


def _said(body: bytes, endpoint: Endpoint, key: str, seconds: float) -> Said:
    try:
        found = msgspec.json.decode(body, type=_Completion)
        text = found.choices[0].message.content or ""
    except (msgspec.DecodeError, UnicodeError, IndexError):
        raise TaskFailed(
            "what the language model's server sent is no chat completion; is SWARM_LLM_URL an OpenAI-compatible "
            "address, up to /v1?",
            retryable=True,
        ) from None
    usage = found.usage or _Usage()
    return Said(
        text=_without(text, key),
        model=_without(found.model or endpoint.model, key)[:200],
        tokens_in=usage.prompt_tokens,
        tokens_out=usage.completion_tokens,
        seconds=seconds,
    )


async def _body(client: Any, request: Mapping[str, Any]) -> bytes:
    """Return the bytes of the answer; raises :class:`TaskFailed` for more than are read."""
    body = bytearray()
    async with client.chat.completions.with_streaming_response.create(**request) as response:
        async for chunk in response.iter_bytes():
            body += chunk
            if len(body) > _MOST_BYTES:
                raise TaskFailed(
                    f"the language model's server sent more than {_MOST_BYTES} bytes", retryable=True
                )
    return bytes(body)


def _client(openai: ModuleType, endpoint: Endpoint, key: str) -> Any:
    # The engine tries again. What the library takes from variables of its own is meant for another server.
    client = openai.AsyncOpenAI(
        base_url=endpoint.url, api_key=key or "none", timeout=endpoint.timeout_s, max_retries=0
    )
    client.organization = client.project = None
    client._custom_headers = {}  # noqa: SLF001 - OPENAI_CUSTOM_HEADERS, which no argument keeps out
    return client


def _key() -> str:
    key = os.environ.get(KEY, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UsageError(f"{KEY} holds characters that no key has; set it anew", field=KEY)
    return key


def redact(text: str) -> str:
    """Return a text that is to be recorded, without our key."""
    return _without(text, os.environ.get(KEY, "").strip())


def _without(text: str, key: str) -> str:
    return text.replace(key, "***") if key else text


def _openai() -> ModuleType:
    import openai  # noqa: PLC0415 - an extra, and slow

    module: ModuleType = openai
    return module
