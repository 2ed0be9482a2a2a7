"""What a cell of the fault matrix says in one word: the same rule for the suite, the command line and the report."""

from __future__ import annotations

from typing import Literal

from swarm_common.events.consensus import Simulated

Verdict = Literal["held", "slowed", "stopped", "unsafe"]

#: Of what is decided in the same time without a fault, the share below which a swarm counts as stopped, and as slowed.
STOPPED_BELOW, SLOWED_BELOW = 0.1, 0.9
#: How many times as long as without a fault the median decision may take.
SLOWED_ABOVE = 2.0


def verdict(cell: Simulated, base: Simulated) -> Verdict:
    """Return what a fault did to a mechanism; ``base`` is the cell of the same mechanism and size without a fault.

    ``unsafe``: in some world an invariant did not hold. ``stopped``: in some world something was never decided by all
    who were well in the end; or while the fault lasted, less than a tenth of what is decided in that time without it.
    ``slowed``: less than nine tenths of it, or the median decision took more than twice as long. ``held``: none of
    these.
    """
    if cell.unsafe:
        return "unsafe"
    if cell.stopped or cell.decision_ms is None:
        return "stopped"
    usual = base.during / base.seeds
    share = cell.during / cell.seeds / usual if usual else 1.0
    if share < STOPPED_BELOW:
        return "stopped"
    longer = base.decision_ms is not None and cell.decision_ms[0] > SLOWED_ABOVE * base.decision_ms[0]
    return "slowed" if share < SLOWED_BELOW or longer else "held"
