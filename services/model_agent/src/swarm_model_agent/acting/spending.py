"""What a run may spend on its models, and what it has spent: by its log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from swarm_common.errors import SwarmError, UsageError
from swarm_common.events.agent import Called
from swarm_common.llm import Request, Response, Trouble
from swarm_common.runtime.service import History
from swarm_model_agent.acting.params import ActParams

#: Failures after which an endpoint may have counted what it read and wrote.
_MAY_COUNT: frozenset[Trouble] = frozenset({"timeout", "interrupted", "invalid_answer"})
_MILLION = 1e6


class BudgetSpent(SwarmError):
    """A call is not made, for the run's budget is spent or may not be enough for it."""


class Amount(msgspec.Struct, frozen=True):
    """Money in US dollars, and tokens read and written."""

    usd: float = 0.0
    tokens: int = 0

    def plus(self, other: Amount) -> Amount:
        """Return the sum."""
        return Amount(self.usd + other.usd, self.tokens + other.tokens)

    def less(self, other: Amount) -> Amount:
        """Return the difference."""
        return Amount(self.usd - other.usd, self.tokens - other.tokens)


class Budget(msgspec.Struct, frozen=True):
    """What a run may spend at most; ``None`` sets no bound."""

    usd: float | None = None
    tokens: int | None = None

    def passed(self, spent: Amount) -> bool:
        """Say whether an amount is more than this."""
        money = self.usd is not None and spent.usd > self.usd
        return money or (self.tokens is not None and spent.tokens > self.tokens)

    def spent(self, spent: Amount) -> bool:
        """Say whether nothing is left."""
        money = self.usd is not None and spent.usd >= self.usd
        return money or (self.tokens is not None and spent.tokens >= self.tokens)


class Price(msgspec.Struct, frozen=True):
    """US dollars for a million tokens."""

    read: float
    written: float

    @property
    def free(self) -> bool:
        """Whether nothing costs anything."""
        return not (self.read or self.written)

    def of(self, request: Request, found: Response) -> float:
        """Return what a call cost: cached tokens at the full price; where nobody counted, the most that it can be."""
        usage = found.usage
        if usage.source == "none":
            return self.most(request) if found.trouble is None or found.trouble in _MAY_COUNT else 0.0
        return (usage.read * self.read + usage.written * self.written) / _MILLION

    def most(self, request: Request) -> float:
        """Return what a call can cost at most."""
        return (_asked(request) * self.read + request.sampling.max_tokens * self.written) / _MILLION


def most_tokens(request: Request) -> int:
    """Return how many tokens a call can take at most: a token is a byte or more, in the encodings that are in use."""
    return _asked(request) + request.sampling.max_tokens


def taken(call: Called) -> Amount:
    """Return what a recorded call took; where nobody counted its tokens, the most that it can have taken."""
    tokens = call.usage.total
    if call.usage.source == "none" and (call.trouble is None or call.trouble in _MAY_COUNT):
        tokens = most_tokens(call.request)
    return Amount(call.cost_usd or 0.0, tokens)


def _asked(request: Request) -> int:
    return len(msgspec.json.encode(msgspec.structs.replace(request, constraint=None)))


class Purse:
    """What one run spends through this process. Calls under way count as what they can take at most.

    What was spent is read from the log: all of it at first, then what was added, by this process or by another.
    """

    def __init__(self) -> None:
        self._held = Amount()
        self._spent = Amount()
        self._mark = 0
        self._door = asyncio.Condition()

    @asynccontextmanager
    async def paying(
        self, run: str, history: History, most_usd: float | None, most: int, budget: Budget
    ) -> AsyncIterator[None]:
        """Let a call be made and recorded, when those under way leave room for it.

        Args:
            run: Whose calls are counted.
            history: Where they are.
            most_usd: What the call can cost at most; ``None``: nobody knows, so it is made alone if money is bounded.
            most: The tokens that it can take at most.
            budget: Of the run.

        Raises:
            BudgetSpent: The budget is spent, or what is left of it may not be enough for this call.
        """
        asked = Amount(most_usd or 0.0, most)
        async with self._door:
            while True:
                await self._look(run, history)
                if budget.spent(self._spent) or budget.passed(self._spent.plus(asked)):
                    raise BudgetSpent(_told(self._spent, asked, budget))
                if most_usd is None and budget.usd is not None:
                    yield
                    return
                if not budget.passed(self._spent.plus(self._held).plus(asked)):
                    break
                await self._door.wait()
            self._held = self._held.plus(asked)
        try:
            yield
        finally:
            async with self._door:
                self._held = self._held.less(asked)
                self._door.notify_all()

    async def _look(self, run: str, history: History) -> None:
        events, self._mark = await history.since(run, Called, self._mark)
        for event in events:
            if isinstance(event.data, Called) and not event.data.recorded:
                self._spent = self._spent.plus(taken(event.data))


def check(params: ActParams, endpoint: str, *, counted: bool) -> None:
    """Raise :class:`UsageError` where a turn would ask an endpoint that costs money, and nobody has agreed to that.

    Args:
        params: The turn.
        endpoint: The endpoint, in words.
        counted: Whether it is known what a call costs.
    """
    if params.consent or params.budget_tokens is not None:
        return
    if params.budget_usd is None:
        raise UsageError(
            f"{endpoint} may cost money; say with -p budget_usd=1.50 or -p budget_tokens=100000 what the run may spend "
            "at most, or with --yes (-p consent=true) that it may be asked whatever it costs",
            field="params.budget_usd",
            allowed="a number of US dollars",
        )
    if not counted:
        raise UsageError(
            f"{endpoint} does not say what a call costs, so a budget in money cannot be kept: set SWARM_LLM_PRICE to "
            "US dollars for a million tokens read and a million written, such as 3,15, before the stack starts; or "
            "bound the tokens with -p budget_tokens=100000, or say with --yes (-p consent=true) that it may be asked "
            "whatever it costs",
            field="params.budget_usd",
        )


def _told(spent: Amount, asked: Amount, budget: Budget) -> str:
    if budget.tokens is not None and spent.tokens + asked.tokens > budget.tokens:
        bound, went = f"{budget.tokens:,} tokens", f"{spent.tokens:,} went"
        this = f", and the next call may take {asked.tokens:,}" if spent.tokens < budget.tokens else ""
        more = "budget_tokens"
    else:
        bound, went = f"{budget.usd or 0.0:g} USD", f"{spent.usd:.6f} went"
        short = asked.usd and spent.usd < (budget.usd or 0.0)
        this = f", and the next call may cost {asked.usd:.6f}" if short else ""
        more = "budget_usd"
    return (
        f"the run's budget of {bound} is spent: {went}{this}; what was done is in the log. "
        f"For more, start a run with a larger -p {more}"
    )
