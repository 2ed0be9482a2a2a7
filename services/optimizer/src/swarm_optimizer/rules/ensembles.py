"""Ensembles that are larger than they need be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from swarm_common.events import Event
from swarm_common.events.agent import ModelTrained, Predicted
from swarm_common.events.benchmark import Started
from swarm_common.events.consensus import Reached
from swarm_common.events.optimizer import Suggestion


class Cost(msgspec.Struct, frozen=True):
    """What a model took, over all its fits in the run."""

    model: str
    cpu_s: float
    evidence: tuple[str, ...]


def drop_model(events: Sequence[Event]) -> list[Suggestion]:
    """Suggest to drop the dearest model that adds nothing to the ensemble beyond noise.

    Such a model took at least a mean share of the CPU time, and the 95 % interval of its gain (out of fold, all members
    against all others) reaches down to 0 or below. One at most is named: gains are measured one at a time, and of two
    models that can each be spared because of the other, one must stay.
    """
    reached = next((event for event in reversed(events) if isinstance(event.data, Reached)), None)
    if reached is None or not isinstance(reached.data, Reached):
        return []
    consensus = reached.data
    costs = [cost for cost in costs_of(events) if cost.model in consensus.members]
    total = sum(cost.cpu_s for cost in costs)
    if len(costs) < 2 or total <= 0:
        return []
    spare = [
        cost
        for cost in costs
        if cost.cpu_s >= total / len(costs) and consensus.gain_low.get(cost.model, 1.0) <= 0
    ]
    if not spare:
        return []
    dearest = max(spare, key=lambda cost: (cost.cpu_s, cost.model))
    predicted = [
        event.id
        for event in events
        if isinstance(event.data, Predicted) and event.data.model == dearest.model
    ]
    evidence = (*dearest.evidence, *predicted, reached.id)
    return [
        msgspec.structs.replace(
            _spare(dearest, dearest.cpu_s / total, consensus, evidence),
            change=_without(dearest.model, events),
        )
    ]


def costs_of(events: Sequence[Event]) -> list[Cost]:
    """Return what each model of the run took, in the order of their first fits."""
    found: dict[str, Cost] = {}
    for event in events:
        if isinstance(event.data, ModelTrained):
            name = event.data.model
            before = found.get(name, Cost(name, 0.0, ()))
            found[name] = Cost(name, before.cpu_s + event.data.cpu_s, (*before.evidence, event.id))
    return list(found.values())


def _without(model: str, events: Sequence[Event]) -> dict[str, Any]:
    """Return what the same request without the model would have: empty where the model is no member by that name."""
    started = next((event.data for event in events if isinstance(event.data, Started)), None)
    members = [] if started is None else list(started.params.get("models", []))
    if model not in members or len(members) < 3:
        return {}
    return {"params": {"models": [name for name in members if name != model]}}


def _spare(cost: Cost, share: float, reached: Reached, evidence: tuple[str, ...]) -> Suggestion:
    gain, low = reached.gain[cost.model], reached.gain_low[cost.model]
    high = reached.gain_high.get(cost.model)
    upper = "?" if high is None else f"{high:+.4f}"
    verdict = "makes the answer worse" if high is not None and high < 0 else "adds nothing beyond noise"
    return Suggestion(
        kind="drop_model",
        subject=cost.model,
        text=(
            f"Drop {cost.model}: it took {share:.0%} of the models' CPU time ({cost.cpu_s:.2f} s) and {verdict}; "
            f"its gain out of fold is {gain:+.4f} (95 % interval {low:+.4f} to {upper})."
        ),
        metric="cpu_time",
        unit="s",
        expected=cost.cpu_s,
        estimator="CPU time of its fits in this run; gain: all members less all others, out of fold, 95 %",
        saves_cpu_s=cost.cpu_s,
        gain=gain,
        gain_low=low,
        gain_high=high,
        evidence=evidence,
    )
