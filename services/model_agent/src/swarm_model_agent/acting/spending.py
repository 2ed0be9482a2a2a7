"""What a run may spend on endpoints that cost money, and what it has spent: by its log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec

from swarm_common.errors import TaskFailed, UsageError
from swarm_common.llm import Request, Response, Trouble
from swarm_model_agent.acting.params import ActParams

#: Failures after which an endpoint may have counted what it read and wrote.
_MAY_COUNT: frozenset[Trouble] = frozenset({"timeout", "interrupted", "invalid_answer"})
_MILLION = 1e6


class Price(msgspec.Struct, frozen=True):
    """US dollars for a million tokens."""

    read: float
    written: float

    def of(self, request: Request, found: Response) -> float:
        """Return what a call cost: cached tokens at the full price; where nobody counted, the most that it can be."""
        usage = found.usage
        if usage.source == "none":
            return self.most(request) if found.trouble is None or found.trouble in _MAY_COUNT else 0.0
        return (usage.read * self.read + usage.written * self.written) / _MILLION

    def most(self, request: Request) -> float:
        """Return what a call can cost at most: a token is a byte or more, in the encodings that are in use."""
        asked = len(msgspec.json.encode(msgspec.structs.replace(request, constraint=None)))
        return (asked * self.read + request.sampling.max_tokens * self.written) / _MILLION


class Purse:
    """What one run spends through this process. Calls under way count as what they can cost at most."""

    def __init__(self) -> None:
        self._held = 0.0
        self._door = asyncio.Condition()

    @asynccontextmanager
    async def paying(
        self, most: float | None, budget: float, spent: Callable[[], Awaitable[float]]
    ) -> AsyncIterator[None]:
        """Let a call be made and recorded, when those under way leave room for it.

        Args:
            most: What it can cost at most, in US dollars; ``None``: nobody knows, so it is made alone.
            budget: Of the run.
            spent: Reads from the log what the run's calls have cost.

        Raises:
            TaskFailed: The budget is spent, or what is left of it may not be enough for this call.
        """
        async with self._door:
            while True:
                so_far = await spent()
                if so_far >= budget or so_far + (most or 0.0) > budget:
                    raise TaskFailed(_spent(so_far, most, budget), retryable=False)
                if most is None:
                    yield
                    return
                if so_far + self._held + most <= budget:
                    break
                await self._door.wait()
            self._held += most
        try:
            yield
        finally:
            async with self._door:
                self._held -= most
                self._door.notify_all()


def check(params: ActParams, endpoint: str, *, counted: bool) -> None:
    """Raise :class:`UsageError` where a turn would ask an endpoint that costs money, and nobody has agreed to that.

    Args:
        params: The turn.
        endpoint: The endpoint, in words.
        counted: Whether it is known what a call costs.
    """
    if params.consent:
        return
    if params.budget_usd is None:
        raise UsageError(
            f"{endpoint} may cost money; say with -p budget_usd=1.50 what the run may spend at most, or with "
            "-p consent=true that it may be asked whatever it costs",
            field="params.budget_usd",
            allowed="a number of US dollars",
        )
    if not counted:
        raise UsageError(
            f"{endpoint} does not say what a call costs, so a budget cannot be kept: set SWARM_LLM_PRICE to US dollars "
            "for a million tokens read and a million written, such as 3,15, before the stack starts; or say with "
            "-p consent=true that it may be asked whatever it costs",
            field="params.budget_usd",
        )


def _spent(so_far: float, most: float | None, budget: float) -> str:
    this = f", and the next call may cost {most:.6f}" if most and so_far < budget else ""
    return (
        f"the run's budget of {budget:g} USD is spent: {so_far:.6f} went{this}; what was done is in the log. "
        "For more, start a run with a larger -p budget_usd"
    )
