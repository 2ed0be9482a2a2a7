"""What a report shows, gathered from a run's events. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from swarm_common.events import Event, Metric
from swarm_common.events.agent import DataPrepared, ModelTrained
from swarm_common.events.consensus import Reached
from swarm_common.events.metrics import Scored


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One voice of an ensemble, or the ensemble itself."""

    name: str
    together: bool = False
    """Whether this is the combination of all the others."""
    score: Metric | None = None
    weight: float | None = None
    gain: float | None = None
    fit_s: float | None = None
    cpu_s: float | None = None
    max_rss_bytes: int | None = None
    event: str = ""


class Confusion(msgspec.Struct, frozen=True):
    """Truth by row, prediction by column."""

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    @property
    def largest(self) -> int:
        """The largest count of a cell."""
        return max((count for row in self.counts for count in row), default=0)


class Ensemble(msgspec.Struct, frozen=True, kw_only=True):
    """What one scoring said: members, best first, and where the combination erred."""

    task: str
    score_name: str
    strategy: str
    members: tuple[Member, ...]
    confusion: Confusion | None


def ensembles(events: Sequence[Event]) -> list[Ensemble]:
    """Return the ensembles of a run, one a scoring."""
    trained = {
        event.data.model: (event, event.data) for event in events if isinstance(event.data, ModelTrained)
    }
    reached = [event.data for event in events if isinstance(event.data, Reached)]
    prepared = [event.data for event in events if isinstance(event.data, DataPrepared)]
    found = []
    for event in events:
        if isinstance(event.data, Scored) and event.data.members:
            names = set(event.data.members)
            combined = next((one for one in reached if set(one.members) == names), None)
            classes = prepared[-1].classes if prepared else ()
            found.append(_ensemble(event, event.data, combined, trained, classes))
    return found


def _ensemble(
    event: Event,
    scored: Scored,
    combined: Reached | None,
    trained: dict[str, tuple[Event, ModelTrained]],
    classes: tuple[str, ...],
) -> Ensemble:
    main = scored.metrics[0].name if scored.metrics else ""
    members = [
        _member(name, _named(metrics, main), combined, trained.get(name))
        for name, metrics in scored.members.items()
    ]
    together = Member(name="all together", together=True, score=_named(scored.metrics, main), event=event.id)
    better = -1.0 if together.score is not None and together.score.better == "lower" else 1.0
    ranked = sorted([together, *members], key=lambda member: _rank(member, better))
    return Ensemble(
        task=scored.task,
        score_name=main,
        strategy=combined.strategy if combined else "",
        members=tuple(ranked),
        confusion=_confusion(scored, classes),
    )


def _member(
    name: str, score: Metric | None, combined: Reached | None, trained: tuple[Event, ModelTrained] | None
) -> Member:
    cost = trained[1] if trained else None
    return Member(
        name=name,
        score=score,
        weight=combined.weights.get(name) if combined else None,
        gain=combined.gain.get(name) if combined else None,
        fit_s=cost.fit_s if cost else None,
        cpu_s=cost.cpu_s if cost else None,
        max_rss_bytes=cost.max_rss_bytes if cost else None,
        event=trained[0].id if trained else "",
    )


def _rank(member: Member, better: float) -> tuple[bool, float, str]:
    value = None if member.score is None else member.score.value
    return value is None, 0.0 if value is None else -better * value, member.name


def _named(metrics: Sequence[Metric], name: str) -> Metric | None:
    return next((metric for metric in metrics if metric.name == name), None)


def _confusion(scored: Scored, classes: tuple[str, ...]) -> Confusion | None:
    if not scored.confusion:
        return None
    size = len(scored.confusion)
    return Confusion(
        classes if len(classes) == size else tuple(str(at) for at in range(size)), scored.confusion
    )
