"""How values spread: counts of them in buckets, so that quantiles of millions need not read each value.

Each doubling is cut into 64 buckets of equal width. A value's bucket comes from its mantissa and exponent, by steps
that no processor rounds (a logarithm's last bits differ between them): so the same log gives the same view everywhere.
Values may be negative, which :mod:`swarm_common.histograms` does not take.
"""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PER_DOUBLING = 64
#: Makes the buckets of all positive numbers positive: the least of them is 2 ** -1074.
_SHIFT = 1075
_widest = 1 + 1 / _PER_DOUBLING
#: Most by which a quantile differs from the value that it stands for, as a share of that value.
RELATIVE_ERROR = (_widest - 1) / (_widest + 1)


def bucket(value: float) -> int:
    """Return the bucket of a finite value: 0 for 0, rising with it; a bucket holds its end that is farther from 0."""
    if value == 0:
        return 0
    mantissa, exponent = math.frexp(abs(value))
    index = (exponent + _SHIFT) * _PER_DOUBLING + math.ceil((mantissa - 0.5) * 2 * _PER_DOUBLING)
    return index if value > 0 else -index


def bound(index: int) -> float:
    """Return the end of a bucket that is farther from 0."""
    if index < 0:
        return -bound(-index)
    if index == 0:
        return 0.0
    exponent, part = divmod(index, _PER_DOUBLING)
    try:
        return math.ldexp(0.5 + part / (2 * _PER_DOUBLING), exponent - _SHIFT)
    except OverflowError:  # of the last bucket, whose end would be the first number that is none any more
        return sys.float_info.max


def pack(counts: Mapping[int, int]) -> bytes:
    """Return counts by bucket as bytes: pairs of 32-bit integers, little-endian, by rising bucket."""
    return b"".join(struct.pack("<iI", index, counts[index]) for index in sorted(counts))


def unpack(packed: bytes) -> dict[int, int]:
    """Return what :func:`pack` took."""
    return dict(struct.iter_unpack("<iI", packed))


class Spread:
    """The counts of several packed spreads together."""

    def __init__(self, packed: Sequence[bytes]) -> None:
        import numpy as np  # noqa: PLC0415 - slow import

        pairs = np.frombuffer(b"".join(packed), dtype=[("at", "<i4"), ("n", "<u4")])
        least = int(pairs["at"].min())
        # All doubles have 268,000 buckets between them: counting into an array of those in between needs no sorting.
        counts = np.bincount(pairs["at"] - least, weights=pairs["n"]).astype(np.int64)
        self.buckets: NDArray[np.int64] = np.flatnonzero(counts)
        self.upto: NDArray[np.int64] = np.cumsum(counts[self.buckets])
        self.buckets += least
        """How many values lie in a bucket or below it; counts are exact up to 2 ** 53."""

    def quantile(self, share: float) -> float:
        """Return about the value of rank ``ceil(share * n)``: off by at most :data:`RELATIVE_ERROR` of it."""
        import numpy as np  # noqa: PLC0415

        rank = max(1, math.ceil(share * int(self.upto[-1])))
        index = int(self.buckets[int(np.searchsorted(self.upto, rank))])
        far, near = bound(index), bound(index - (1 if index > 0 else -1))
        # The harmonic middle is as far, relatively, from the one end as from the other.
        return far * (2 / (1 + far / near)) if near else far

    def within(self, limit: float) -> int:
        """Return how many values are at most ``limit``; exact where ``limit`` is the bound of a positive bucket."""
        import numpy as np  # noqa: PLC0415

        place = int(np.searchsorted(self.buckets, bucket(limit), side="right"))
        return int(self.upto[place - 1]) if place else 0
