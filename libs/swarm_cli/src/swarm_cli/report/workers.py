"""Who trained what, when: pieces of work in worker processes, from the events of model-agent. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from swarm_common import clock
from swarm_common.events import Event

#: A worker's events say when it ``started`` by the worker's clock, how long it took, and on which ``worker``.
_WORK = frozenset({"agent.model_trained", "agent.part_trained", "agent.candidate_evaluated"})


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """One task in one worker process. Times are seconds; ``start_s`` counts from the run's beginning."""

    worker: str
    model: str
    what: str
    """Which part of the model's training, where it was not all of it."""
    start_s: float
    wall_s: float
    cpu_s: float | None = None

    @property
    def end_s(self) -> float:
        """When it was done, since the run's beginning."""
        return self.start_s + self.wall_s


def pieces(events: Sequence[Event]) -> list[Piece]:
    """Return the work of a run's workers, by the time it began; events are in the order of the log."""
    began_ns = next(
        (clock.parse_ns(event.time) for event in events if event.type == "benchmark.started"), None
    )
    if began_ns is None:
        return []
    found = [
        _piece(event.data, began_ns) for event in events if event.type in _WORK and event.data is not None
    ]
    return sorted((one for one in found if one is not None), key=lambda one: (one.start_s, one.worker))


def _piece(data: Any, began_ns: int) -> Piece | None:
    """Return what an event tells; ``None`` where it sums up parts that have events of their own, or says no time."""
    started, wall_s = getattr(data, "started", ""), _wall_s(data)
    if not started or wall_s is None or getattr(data, "parts", 1) > 1:
        return None
    return Piece(
        worker=getattr(data, "worker", ""),
        model=str(getattr(data, "model", "") or getattr(data, "candidate", "") or data.task),
        what=_what(data),
        # Two hosts' clocks may differ; nothing began before the run.
        start_s=max(0.0, (clock.parse_ns(started) - began_ns) / 1e9),
        wall_s=wall_s,
        cpu_s=getattr(data, "cpu_s", None),
    )


def _wall_s(data: Any) -> float | None:
    elapsed: float | None = getattr(data, "elapsed_s", None)
    if elapsed is not None:
        return elapsed
    fit: float | None = getattr(data, "fit_s", None)
    return None if fit is None else fit + sum(getattr(data, "fold_s", ())) + getattr(data, "score_s", 0.0)


def _what(data: Any) -> str:
    fold, trees = getattr(data, "fold", None), getattr(data, "trees", None)
    parts = [] if fold is None else [f"fold {fold + 1}"]
    if trees is not None:
        parts.append(f"trees {trees[0] + 1} to {trees[1]}")
    if not parts and data.type == "agent.part_trained":
        parts.append("all training rows")
    return ", ".join(parts)


def busy(found: Sequence[Piece]) -> dict[str, float]:
    """Return each worker's share of the time from the first piece's start to the last one's end that it was at work."""
    if not found:
        return {}
    first, last = min(one.start_s for one in found), max(one.end_s for one in found)
    span = last - first
    worked: dict[str, float] = {}
    for one in found:
        worked[one.worker] = worked.get(one.worker, 0.0) + one.wall_s
    return {worker: min(1.0, worked[worker] / span) if span > 0 else 1.0 for worker in sorted(worked)}
