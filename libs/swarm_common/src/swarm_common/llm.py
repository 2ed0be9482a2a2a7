"""What is asked of a language model and what it answers, as events hold it: the same for every kind of endpoint.

A :class:`Request` is all that an answer depends on, so its :func:`key` says whether an answer of an earlier run is the
answer to it. A :class:`Response` says what came, what it cost by the endpoint's own count, and how long it took.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import msgspec

from swarm_common.errors import UsageError

Finish = Literal["stop", "length", "tool_calls", "refusal", "content_filter", "other"]
"""Why a model stopped: done, out of tokens, wants tools run, declined, was cut off by a filter, or something else."""
Trouble = Literal[
    "rate_limited", "overloaded", "unreachable", "timeout", "interrupted", "invalid_answer", "refused_request",
    "unauthorized", "not_recorded", "budget_spent",
]  # fmt: skip
"""Classes of failure: see :class:`Response`."""


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A model wants a tool run."""

    id: str
    name: str
    arguments: str
    """JSON as the model wrote it, which may not be valid."""


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A turn of a conversation."""

    role: Literal["user", "assistant", "tool"]
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    """Of an assistant."""
    tool_call_id: str = ""
    """Of a tool: the call that this answers."""


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """What a model may have run."""

    name: str
    description: str
    parameters: dict[str, Any]
    """JSON Schema of its arguments."""


class Choices(msgspec.Struct, frozen=True, tag="choices", tag_field="kind"):
    """The answer is one of these texts."""

    options: tuple[str, ...]


class Grammar(msgspec.Struct, frozen=True, tag="grammar", tag_field="kind"):
    """The answer is a sentence of this grammar (GBNF, as llama.cpp reads it)."""

    gbnf: str


class Schema(msgspec.Struct, frozen=True, tag="schema", tag_field="kind"):
    """The answer is JSON of this schema."""

    schema: dict[str, Any]


Constraint = Choices | Grammar | Schema


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """How tokens are drawn."""

    temperature: float | None = None
    """0 takes the likeliest token each time; ``None`` leaves it to the endpoint, and some have no such setting."""
    top_p: float | None = None
    seed: int | None = None
    """Most paid endpoints have none, or promise nothing by it."""
    max_tokens: int = 256
    """Of the answer."""
    stop: tuple[str, ...] = ()


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a single request may take, all tries together. No part of its key: they do not change an answer."""

    time_s: float = 60.0
    tries: int = 3
    """How often a request is sent at most, where another try may help."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """All that an answer depends on."""

    messages: tuple[Message, ...]
    instructions: str = ""
    """The system prompt."""
    tools: tuple[Tool, ...] = ()
    constraint: Constraint | None = None
    sampling: Sampling = Sampling()
    limits: Limits = Limits()
    repeat: int = 0
    """Which of several answers to the same question this is to be: they are recorded apart."""


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens, each counted once: whatever an endpoint's own convention, the five never overlap."""

    input: int = 0
    """Read anew."""
    cache_read: int = 0
    """Read from the endpoint's cache."""
    cache_write: int = 0
    """Read anew and written to its cache."""
    output: int = 0
    """Written, apart from reasoning."""
    reasoning: int = 0
    """Written, and not shown."""
    source: Literal["provider", "none"] = "provider"
    """Who counted: ``none`` where the endpoint reported nothing, and all are 0."""

    @property
    def read(self) -> int:
        """All tokens read, cached ones among them."""
        return self.input + self.cache_read + self.cache_write

    @property
    def written(self) -> int:
        """All tokens written, reasoning among them."""
        return self.output + self.reasoning

    @property
    def total(self) -> int:
        """All tokens, read and written."""
        return self.read + self.written


class Timings(msgspec.Struct, frozen=True, kw_only=True):
    """How long an answer took, on this process's clock."""

    queue_s: float = 0.0
    """Until it was sent: waiting for a slot, and between tries."""
    first_token_s: float | None = None
    """From sending to the first part of the answer; ``None`` where it came whole."""
    total_s: float = 0.0
    """From being asked for to its end."""
    tries: int = 1


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a request. One that failed is a response, too, for it is recorded: then ``trouble`` says how.

    ``rate_limited``, ``overloaded``, ``unreachable``, ``timeout``, ``interrupted`` (the connection broke in the middle)
    and ``invalid_answer`` (no JSON, or not of the protocol) may go away; ``refused_request``, ``unauthorized``
    and ``not_recorded`` do not. ``budget_spent`` is said of a turn: no call was made.
    """

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish: Finish = "stop"
    model: str = ""
    """As the endpoint names it."""
    usage: Usage = Usage(source="none")
    timings: Timings = Timings()
    raw: bytes = b""
    """The endpoint's answer as it came."""
    cost_usd: float | None = None
    """As the endpoint itself says or estimates; ``None``: it does not."""
    trouble: Trouble | None = None
    why: str = ""
    """Of a failure: in one sentence."""


TRANSIENT: frozenset[Trouble] = frozenset(
    {"rate_limited", "overloaded", "unreachable", "timeout", "interrupted", "invalid_answer"}
)
"""Failures that another try may mend."""


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    model: str
    messages: tuple[Message, ...]
    instructions: str
    tools: tuple[Tool, ...]
    constraint: Constraint | None
    sampling: Sampling
    repeat: int


def key(request: Request, model: str) -> str:
    """Return the SHA-256, in hex, of a request to a model in canonical form: sorted keys, limits left out."""
    asked = _Asked(
        model=model,
        messages=request.messages,
        instructions=request.instructions,
        tools=request.tools,
        constraint=request.constraint,
        sampling=request.sampling,
        repeat=request.repeat,
    )
    return hashlib.sha256(msgspec.json.encode(asked, order="sorted")).hexdigest()


def check(request: Request) -> None:
    """Raise :class:`UsageError` for a request that no endpoint can answer."""
    if not request.messages:
        raise UsageError("a request needs a message; it has none", field="messages")
    sampling = request.sampling
    for name, value, low, high in (
        ("sampling.temperature", sampling.temperature or 0.0, 0.0, 2.0),
        ("sampling.top_p", 1.0 if sampling.top_p is None else sampling.top_p, 0.0, 1.0),
        ("sampling.max_tokens", sampling.max_tokens, 1, 1_000_000),
        ("limits.time_s", request.limits.time_s, 0.001, 86_400.0),
        ("limits.tries", request.limits.tries, 1, 100),
        ("repeat", request.repeat, 0, 1_000_000),
    ):
        if not low <= value <= high:
            raise UsageError(
                f"{name} is {value:g}; allowed is {low:g} to {high:g}",
                field=name,
                given=f"{value:g}",
                allowed=f"{low:g} to {high:g}",
            )
    if isinstance(request.constraint, Choices) and (
        not request.constraint.options or "" in request.constraint.options
    ):
        raise UsageError(
            "constraint.options needs at least one text, and none empty", field="constraint.options"
        )
