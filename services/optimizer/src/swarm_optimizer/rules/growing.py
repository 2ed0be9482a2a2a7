"""Memory that grows with the work."""

from __future__ import annotations

from swarm_common.events.metrics import MemoryProfiled
from swarm_common.events.optimizer import Suggestion
from swarm_optimizer.rules.run import Run

_MIB = 2.0**20


def memory_growth(run: Run) -> list[Suggestion]:
    """Suggest to look for a leak that doubled work confirmed; one that is only suspected is no fact yet."""
    found = []
    for event in run.events:
        if not isinstance(event.data, MemoryProfiled) or event.data.grown.verdict != "leak":
            continue
        grown = event.data.grown
        single, where = grown.single, [grew.where for grew in event.data.grew[:3]]
        named = (
            f" It was taken at {', '.join(where)}." if where else " docs/leaks.md says how to ask what grew."
        )
        found.append(
            Suggestion(
                kind="memory_growth",
                subject=event.data.task,
                text=(
                    f"Look for what is kept: memory grew by {(single.growth or 0.0) / _MIB:.2f} MiB over "
                    f"{single.samples - single.warm_up} equal portions of work, and doubled work gave "
                    f"{grown.ratio or 0.0:.2f} times as much.{named}"
                ),
                metric="growth",
                unit="bytes",
                expected=single.growth,
                expected_low=single.low,
                expected_high=single.high,
                estimator="Theil-Sen slope of block minima over the samples that count; Sen's 95 % interval",
                evidence=(event.id,),
            )
        )
    return found
