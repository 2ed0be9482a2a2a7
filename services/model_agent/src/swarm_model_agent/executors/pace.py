"""How fast an endpoint may be asked: requests and tokens a minute, by token buckets.

A bucket holds what one second lets in, so that no minute sees much more than its limit. A request waits until both
hold what it needs, in the order in which requests came, and sleeps for exactly as long as that takes. Its tokens are
estimated before and corrected when they were counted; one that is larger than the bucket goes when the bucket is full
and leaves a debt. (Turner, *New directions in communications (or which way to the information age?)*, 1986.)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import msgspec

from swarm_common.llm import Request, Response

_MINUTE_S = 60.0
_CHARACTERS = 4
"""Of a token, in English: the estimate that is corrected afterwards."""


class Bucket(msgspec.Struct):
    """So much a second flows in, up to ``most``; taking out may leave a debt. ``rate`` 0: there is no limit."""

    rate: float
    most: float
    level: float
    at: float

    @classmethod
    def of(cls, per_minute: int, now: float) -> Bucket:
        """Return a full one."""
        rate = per_minute / _MINUTE_S
        most = max(1.0, rate)
        return cls(rate=rate, most=most, level=most, at=now)

    def wait_s(self, amount: float, now: float) -> float:
        """Return the seconds until so much can be taken; 0 where it can be now."""
        if not self.rate:
            return 0.0
        self.level = min(self.most, self.level + (now - self.at) * self.rate)
        self.at = now
        return max(0.0, (min(amount, self.most) - self.level) / self.rate)

    def take(self, amount: float) -> None:
        """Take so much, or give it back where it is negative."""
        self.level -= amount


class Pace:
    """The limits of one endpoint, for one process."""

    def __init__(
        self,
        requests_per_minute: int = 0,
        tokens_per_minute: int = 0,
        *,
        now: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Begin with full buckets; 0 sets no limit."""
        self._now = now
        self._pause = pause
        self._requests = Bucket.of(requests_per_minute, now())
        self._tokens = Bucket.of(tokens_per_minute, now())
        self._line = asyncio.Lock()

    async def enter(self, request: Request) -> int:
        """Wait until a request may be sent; return the tokens that it was reckoned to take."""
        if not (self._requests.rate or self._tokens.rate):
            return 0
        tokens = _reckoned(request)
        async with self._line:
            while wait := self._wait_s(tokens):
                await self._pause(wait)
            self._requests.take(1)
            self._tokens.take(tokens)
        return tokens

    def counted(self, reckoned: int, found: Response) -> None:
        """Correct what a request was reckoned to take by what was counted, where it was."""
        if reckoned and found.usage.source == "provider":
            self._tokens.take(found.usage.total - reckoned)

    def _wait_s(self, tokens: int) -> float:
        now = self._now()
        return max(self._requests.wait_s(1, now), self._tokens.wait_s(tokens, now))


def _reckoned(request: Request) -> int:
    asked = len(request.instructions) + sum(len(message.content) for message in request.messages)
    return asked // _CHARACTERS + request.sampling.max_tokens
