"""How many runs would decide, from the spread that was seen."""

from __future__ import annotations

import math

from scipy import special

from swarm_statistics.comparing import ALPHA, Finding

#: Chance that as many runs do decide.
POWER = 0.9
#: What ranks cost against the t test where values are normal: 3/pi (Hodges and Lehmann 1956).
_EFFICIENCY = 3 / math.pi
#: Nobody makes so many runs: the shift lies too close to the threshold.
MOST = 10_000


def needed(found: Finding, *, alpha: float = ALPHA, tests: float = 1.0) -> int | None:
    """Return how many values a side (or pairs) would probably decide; ``None`` where no such number is in sight.

    If the shift stays as it looks now: enough to show it where it reaches the threshold, enough to refute the threshold
    where it does not (Noether 1987 for the ranks; ``tests`` is what adjusting for other metrics multiplies p by).
    With one value there is no spread to go by: then it is the fewest with which the test can show anything.
    """
    least = fewest(alpha / max(1.0, tests), paired=found.paired)
    if found.spread is None:
        return least
    sides = 1 if found.paired else 2
    shift = abs(found.shift.estimate)
    if shift >= found.margin:
        room, level = shift, alpha / max(1.0, tests) / 2
    else:
        room, level = found.margin - shift, alpha
    if room <= 0:
        return None
    z = -float(special.ndtri(level) + special.ndtri(1 - POWER))
    count = math.ceil(sides * (z * found.spread / room) ** 2 / _EFFICIENCY)
    return None if count > MOST else max(least, count)


def fewest(alpha: float = ALPHA, *, paired: bool = False) -> int:
    """Return how many values a side (or pairs) a rank test needs before any outcome has a p below ``alpha``."""
    n = 2
    while (2 / 2**n if paired else 2 / math.comb(2 * n, n)) >= alpha:
        n += 1
    return n
