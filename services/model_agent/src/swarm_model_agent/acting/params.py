"""What a task of kind `act` can ask for."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Kind = Literal["default", "embedded", "openai", "anthropic", "claude-code", "recorded"]


class ActParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One turn of one agent."""

    agent: str
    role: str = "agent"
    instructions: str = ""
    """Its system prompt, complete but for the family's guide."""
    item: Annotated[int, Meta(ge=0)]
    """The question, among those posed."""
    purpose: str = "answer"
    parts: tuple[int, ...] = ()
    """Pieces of the question that it is given."""
    stage: Annotated[int, Meta(ge=0)] | None = None
    """The stage that it does."""
    hears: tuple[str, ...] = ()
    """Tasks whose agents it hears, in that order."""
    guide: bool = True
    """Whether it is told how the family's questions are answered, with examples."""
    tools: tuple[str, ...] = ()
    rounds: Annotated[int, Meta(ge=1, le=32)] = 8
    """Calls at most: each after the first answers the tools of the one before."""
    executor: Kind = "default"
    model: str = ""
    """Of that executor; empty: its own, or the setting's."""
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = 0.0
    seed: int | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=100_000)] = 64
    time_s: Annotated[float, Meta(gt=0, le=3600)] = 120.0
    tries: Annotated[int, Meta(ge=1, le=20)] = 3
    repeat: Annotated[int, Meta(ge=0)] = 0
    """Which of several answers to the same question this is."""
    recording: str = ""
    """The run whose answers are repeated, for executor `recorded`."""
    honour_latency: bool = False
    """Whether a recorded answer takes as long as it took then."""
    budget_usd: Annotated[float, Meta(ge=0)] | None = None
    """What the calls of the run may cost at most, by its log; endpoints that may cost money are asked with it only."""
    budget_tokens: Annotated[int, Meta(ge=0)] | None = None
    """How many tokens the calls of the run may read and write at most, whatever endpoint they go to."""
    consent: bool = False
    """Whether they are asked without it, or though nobody knows what they cost."""
