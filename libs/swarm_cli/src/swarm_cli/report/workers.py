"""Who trained what, when: pieces of work in worker processes, from the events of model-agent. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from swarm_common import clock
from swarm_common.events import Event
from swarm_common.events.agent import CandidateEvaluated, ModelTrained, PartTrained

#: Each says when it ``started`` by the worker's clock, how long it took, and on which ``worker``.
_Trained = ModelTrained | PartTrained | CandidateEvaluated


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """One task in one worker process. Times are seconds; ``start_s`` counts from the run's beginning."""

    worker: str
    model: str
    """Or the search that asked for it."""
    what: str
    """Which part of the model's training, where it was not all of it; the candidate of a search."""
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
    found = [_piece(event.data, began_ns) for event in events if isinstance(event.data, _Trained)]
    return sorted((one for one in found if one is not None), key=lambda one: (one.start_s, one.worker))


def _piece(data: _Trained, began_ns: int) -> Piece | None:
    """Return what an event tells; ``None`` where it sums up parts, which have events of their own."""
    if isinstance(data, ModelTrained) and data.parts > 1:
        return None
    return Piece(
        worker=data.worker,
        model=data.arm or "candidates" if isinstance(data, CandidateEvaluated) else data.model,
        what=_what(data),
        # Two hosts' clocks may differ; nothing began before the run.
        start_s=max(0.0, (clock.parse_ns(data.started) - began_ns) / 1e9),
        wall_s=_wall_s(data),
        cpu_s=data.cpu_s,
    )


def _wall_s(data: _Trained) -> float:
    match data:
        case ModelTrained():
            return sum(data.fold_s) + data.fit_s + data.score_s
        case PartTrained():
            return data.elapsed_s
        case CandidateEvaluated():
            return data.fit_s  # of all its fits and predictions


def _what(data: _Trained) -> str:
    match data:
        case ModelTrained():
            return ""
        case CandidateEvaluated():
            return data.candidate
        case PartTrained(trees=(first, behind)):
            return f"trees {first + 1} to {behind}"
        case PartTrained(fold=None):
            return "all training rows"
        case PartTrained():
            return f"fold {(data.fold or 0) + 1}"


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
