"""How far two clocks are apart, from requests and replies between them, and how sure that is.

A request leaves at ``asked`` and its reply is there at ``heard`` by our clock; the other took it up at ``received`` and
answered at ``replied`` by its own. Whatever the two ways took, the true offset lies within half the round trip of
``((received - asked) + (replied - heard)) / 2`` (RFC 5905, section 8). The exchange that took least says most, so of
several the one with the least round trip counts: the minimum filter of RFC 5905, section 10.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Exchange(msgspec.Struct, frozen=True):
    """One request and its reply: nanoseconds since 1970, by the clock of who took the time."""

    asked: int
    received: int
    replied: int
    heard: int

    @property
    def offset_ns(self) -> int:
        """How much the other clock is ahead of ours."""
        return ((self.received - self.asked) + (self.replied - self.heard)) // 2

    @property
    def delay_ns(self) -> int:
        """What both ways took; never negative but where a clock was set meanwhile."""
        return (self.heard - self.asked) - (self.replied - self.received)


class Offset(msgspec.Struct, frozen=True, kw_only=True):
    """How much another clock is ahead of ours."""

    offset_ns: int
    bound_ns: int
    """The true offset is no further than this from ``offset_ns``, as long as neither clock was set meanwhile."""
    exchanges: int

    def agrees_with(self, other_ns: int) -> bool:
        """Say whether the true offset may be ``other_ns``."""
        return abs(self.offset_ns - other_ns) <= self.bound_ns


def estimate(exchanges: Sequence[Exchange]) -> Offset:
    """Return the offset by the exchange that took least; raises ``ValueError`` where there is none to go by."""
    sound = [one for one in exchanges if one.delay_ns >= 0]
    if not sound:
        msg = f"none of {len(exchanges)} exchanges tells the offset: there was no reply, or a clock was set meanwhile"
        raise ValueError(msg)
    best = min(sound, key=lambda one: one.delay_ns)
    # Half a delay that is odd, and half a sum that is odd: one nanosecond more keeps the bound true.
    return Offset(offset_ns=best.offset_ns, bound_ns=best.delay_ns // 2 + 1, exchanges=len(sound))


def between(first: Offset, second: Offset) -> Offset:
    """Return how much the second clock is ahead of the first, both measured against the same third one."""
    return Offset(
        offset_ns=second.offset_ns - first.offset_ns,
        bound_ns=first.bound_ns + second.bound_ns,
        exchanges=min(first.exchanges, second.exchanges),
    )
