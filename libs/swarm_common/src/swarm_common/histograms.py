"""Histograms that merge: what came often and fast, kept in a few hundred bytes, with quantiles of known error.

The buckets are those of OpenTelemetry's exponential histogram (data model, section "ExponentialHistogram"): with
``base = 2 ** 2 ** -scale``, bucket ``i`` holds values in ``(base ** i, base ** (i + 1)]``. Two histograms of different
scale merge without loss beyond the coarser one's, for one scale less joins each two buckets into one. Merging is
therefore associative and commutative (the total up to the rounding of a sum), and processes, hosts and minutes can be
added up in any order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from swarm_common.errors import UsageError

#: The finest buckets: each 0.07 % wide. Fewer and wider ones are used as soon as values lie far apart.
FINEST = 10
#: Most buckets of a histogram; what does not fit is held at a coarser scale. From 1 us to 1 s that leaves 2.2 %.
BUCKETS = 320


class Histogram(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How many values fell into which bucket; values are not negative."""

    scale: int = FINEST
    """Buckets grow by the factor ``2 ** 2 ** -scale``."""
    offset: int = 0
    """Index of the first bucket in ``counts``."""
    counts: tuple[int, ...] = ()
    """By bucket, from ``offset`` on; empty buckets between others are 0."""
    zeros: int = 0
    """Values that are 0, which no bucket holds."""
    low: float = 0.0
    """The least value; 0 where there is none."""
    high: float = 0.0
    total: float = 0.0
    """Sum of the values."""

    @property
    def count(self) -> int:
        return self.zeros + sum(self.counts)

    @property
    def relative_error(self) -> float:
        """Most by which a quantile differs from the value that it stands for, as a share of that value."""
        # (base - 1) / (base + 1), for bases that no float holds, too
        return math.tanh(math.ldexp(math.log(2), -self.scale - 1))


EMPTY = Histogram()


def histogram(values: Iterable[float], *, buckets: int = BUCKETS) -> Histogram:
    """Return the histogram of some values, at the finest scale that ``buckets`` hold.

    Raises :class:`UsageError` for a value that is negative or no finite number.
    """
    per_doubling = 2**FINEST
    found: dict[int, int] = {}
    zeros, total, low, high = 0, 0.0, math.inf, 0.0
    for value in values:
        if not 0 <= value < math.inf:
            raise UsageError(
                f"a histogram holds numbers from 0 on, and was given {value}",
                field="values",
                given=str(value),
                allowed="0 and above",
            )
        total += value
        low, high = min(low, value), max(high, value)
        if value == 0:
            zeros += 1
        else:
            index = math.ceil(math.log2(value) * per_doubling) - 1
            found[index] = found.get(index, 0) + 1
    if not zeros and not found:
        return EMPTY
    return _fitted(FINEST, found, buckets, zeros, low, high, total)


def merge(first: Histogram, second: Histogram, *, buckets: int = BUCKETS) -> Histogram:
    """Return the histogram of the values of both, at the finest scale that both have and ``buckets`` hold."""
    if not first.count:
        return second
    if not second.count:
        return first
    scale = min(first.scale, second.scale)
    found: dict[int, int] = {}
    for one in (first, second):
        shift = one.scale - scale
        for index, count in enumerate(one.counts, one.offset):
            if count:
                found[index >> shift] = found.get(index >> shift, 0) + count
    return _fitted(
        scale,
        found,
        buckets,
        first.zeros + second.zeros,
        min(first.low, second.low),
        max(first.high, second.high),
        first.total + second.total,
    )


def _fitted(
    scale: int, found: dict[int, int], buckets: int, zeros: int, low: float, high: float, total: float
) -> Histogram:
    if not found:
        return Histogram(scale=scale, zeros=zeros, low=low, high=high, total=total)
    least, most = min(found), max(found)
    shift = 0
    while (most >> shift) - (least >> shift) >= buckets:
        shift += 1
    offset = least >> shift
    counts = [0] * ((most >> shift) - offset + 1)
    for index, count in found.items():
        counts[(index >> shift) - offset] += count
    return Histogram(
        scale=scale - shift,
        offset=offset,
        counts=tuple(counts),
        zeros=zeros,
        low=low,
        high=high,
        total=total,
    )


def quantile(found: Histogram, share: float) -> float | None:
    """Return the value below or at which a ``share`` (0 to 1) of the values lie; ``None`` where there are none.

    It is off by at most ``found.relative_error`` of the value of that rank: the harmonic middle of a bucket is as far,
    relatively, from its lower as from its upper end. Least and greatest value are exact.
    """
    if not 0 <= share <= 1:
        raise UsageError(f"a quantile of {share} is none", field="share", given=str(share), allowed="0 to 1")
    if not found.count:
        return None
    rank = max(1, math.ceil(share * found.count))
    if rank <= found.zeros:
        return 0.0
    if rank == found.count:
        return found.high
    passed = found.zeros
    index = found.offset
    for index, count in enumerate(found.counts, found.offset):  # noqa: B007 - the bucket it ends at is wanted
        passed += count
        if passed >= rank:
            break
    lower = math.exp2(math.ldexp(index, -found.scale))
    middle = lower * 2 / (1 + math.exp2(-math.ldexp(1, -found.scale)))
    return min(found.high, max(found.low, middle))
