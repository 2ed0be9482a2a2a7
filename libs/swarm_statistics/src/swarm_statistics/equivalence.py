"""Equality as a claim: two one-sided tests (Schuirmann 1987), read off an interval."""

from __future__ import annotations

from swarm_statistics.ranks import Interval


def level_for(alpha: float) -> float:
    """Return the level of the interval to look at: both one-sided tests at ``alpha`` are its two ends."""
    return 1 - 2 * alpha


def equivalent(interval: Interval, margin: float) -> bool:
    """Say whether the whole interval lies within ``margin`` of zero: any larger shift is then refuted.

    ``interval`` has the level that :func:`level_for` gives; a true shift of ``margin`` is called equal in at most
    ``alpha`` of cases.
    """
    return -margin < interval.low and interval.high < margin
