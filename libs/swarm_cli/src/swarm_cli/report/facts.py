"""What a report shows, gathered from a run's events. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from swarm_cli.report.diagnosis import Confusion, combination_of, confusion
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
    reached = {event.id: event.data for event in events if isinstance(event.data, Reached)}
    prepared = [event.data for event in events if isinstance(event.data, DataPrepared)]
    found = []
    for event in events:
        if isinstance(event.data, Scored) and event.data.members:
            combined = combination_of(event.data, reached)
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
    names = [metric.name for metric in scored.metrics]
    main = next((name for name in ("accuracy", "r2", *names) if name in names), "")
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
        confusion=confusion([scored], classes),
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


__all__ = ["Confusion", "Ensemble", "Member", "ensembles"]
