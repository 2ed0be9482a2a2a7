"""Many metrics at once: with thirty tests at 5 %, four comparisons of five have a false alarm."""

from __future__ import annotations

from collections.abc import Sequence

from scipy import stats


def adjusted(p_values: Sequence[float]) -> list[float]:
    """Return each p adjusted for all of them (Benjamini and Hochberg 1995), in the same order.

    Those below q are expected to be false in at most the share q of them: exactly so for independent metrics and for
    metrics that move together (Benjamini and Yekutieli 2001).
    """
    if not p_values:
        return []
    return [float(p) for p in stats.false_discovery_control(list(p_values), method="bh")]
