"""Tokens: prompts that were read again though they began alike, and topologies that cost more and bought nothing."""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from swarm_common.events import Event
from swarm_common.events.agent import Called
from swarm_common.events.benchmark import Completed
from swarm_common.events.optimizer import Suggestion
from swarm_optimizer.rules.run import Run

#: What could have come from the cache and did not must be at least this share of all tokens read, and so many.
_MISSED = 0.25
_FEWEST_TOKENS = 1000
#: A mode is dear where another asks for at most this share of its tokens.
_CHEAPER = 0.7
_RESAMPLES = 400
_FEWEST_QUESTIONS = 5


def cache_misses(run: Run) -> list[Suggestion]:
    """Suggest to keep prompts' common beginnings where an endpoint's cache finds them.

    What a call shares with the beginning of an earlier call to the same model could have come from the cache. Nothing
    is said of an endpoint that reports no usage.
    """
    by_model: dict[str, list[tuple[Event, Called]]] = {}
    for event in run.events:
        data = event.data
        if isinstance(data, Called) and not data.recorded and data.trouble is None and data.usage.read > 0:
            by_model.setdefault(data.answered_by or data.model, []).append((event, data))
    found = []
    for model, calls in sorted(by_model.items()):
        missed = _missed([call for _, call in calls])
        read, lost = sum(call.usage.read for _, call in calls), sum(missed)
        if lost < max(_FEWEST_TOKENS, _MISSED * read):
            continue
        low, high = _interval(missed, f"cache/{model}", sum)
        cached = sum(call.usage.cache_read for _, call in calls)
        found.append(
            Suggestion(
                kind="cache_misses",
                subject=model,
                text=(
                    f"Let {model} keep what its prompts share: of {read:,} tokens read {cached:,} came from its cache, "
                    f"and {round(lost):,} more stood at the beginning of an earlier prompt. Ask with the same "
                    "beginning one after another, or give the endpoint a larger cache."
                ),
                metric="tokens read anew",
                unit="tokens",
                expected=float(round(lost)),
                expected_low=float(round(low)),
                expected_high=float(round(high)),
                estimator=(
                    "common beginning with an earlier prompt, in characters, less what was cached; "
                    "95 % bootstrap over calls"
                ),
                evidence=tuple(event.id for event, _ in calls),
            )
        )
    return found


def dear_mode(run: Run) -> list[Suggestion]:
    """Suggest a cheaper mode of coordination where a dearer one, on the same questions, is not shown to be better."""
    completed = next((event for event in run.events if isinstance(event.data, Completed)), None)
    if completed is None or not isinstance(completed.data, Completed):
        return []
    told = completed.data.result.get("coordination")
    arms = [arm for arm in told["arms"] if arm["scores"]] if isinstance(told, Mapping) else []
    arms = [arm for arm in arms if arm["name"] != "budget" and len(arm["scores"]) >= _FEWEST_QUESTIONS]
    pairs = [
        (dear, cheap)
        for dear in arms
        for cheap in arms
        if dear["questions"] == cheap["questions"] and 0 < cheap["tokens"] <= _CHEAPER * dear["tokens"]
    ]
    worse = [(dear, cheap, _gain(dear, cheap)) for dear, cheap in pairs]
    spared = [one for one in worse if one[2][1] <= 0]
    if not spared:
        return []
    dear, cheap, (gain, low, high) = max(
        spared, key=lambda one: (one[0]["tokens"] - one[1]["tokens"], one[0]["name"])
    )
    n = len(dear["scores"])
    saved = [float(dear["tokens"] - cheap["tokens"])]
    return [
        Suggestion(
            kind="dear_mode",
            subject=dear["name"],
            text=(
                f"Take {cheap['name']} in place of {dear['name']}: on the same {n} questions it took "
                f"{cheap['tokens']:,} tokens instead of {dear['tokens']:,}, and {dear['name']} was not shown to be "
                f"better ({gain:+.2f}, 95 % interval {low:+.2f} to {high:+.2f})."
            ),
            metric=f"tokens.{dear['name']}",
            unit="tokens",
            expected=saved[0],
            expected_low=saved[0],
            expected_high=saved[0],
            estimator="counted in this run, on the same questions; gain: paired bootstrap over questions, 95 %",
            metric_after=f"tokens.{cheap['name']}",
            change=_mode(run, cheap["name"]),
            gain=gain,
            gain_low=low,
            gain_high=high,
            evidence=tuple(arm["source"] for arm in (dear, cheap)),
        )
    ]


def _missed(calls: Sequence[Called]) -> list[float]:
    """Return, for each call, the tokens it read anew that stood at the beginning of an earlier one."""
    seen: list[str] = []
    missed = []
    for call in calls:
        asked = call.request
        text = msgspec.json.encode((asked.instructions, asked.tools, asked.messages)).decode()
        # In the order of the alphabet, who shares most with a text stands beside it.
        place = bisect(seen, text)
        shared = max((_common(text, other) for other in seen[max(0, place - 1) : place + 1]), default=0)
        missed.append(max(0.0, call.usage.read * shared / len(text) - call.usage.cache_read))
        seen.insert(place, text)
    return missed


def _common(one: str, other: str) -> int:
    """Return how many characters two texts have in common at their beginnings."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle - 1)
    return low


def _gain(dear: Mapping[str, Any], cheap: Mapping[str, Any]) -> tuple[float, float, float]:
    """Return the mean difference of two arms' scores by question, with its interval."""
    pairs = [one - other for one, other in zip(dear["scores"], cheap["scores"], strict=True)]
    low, high = _interval(pairs, f"{dear['name']}/{cheap['name']}", lambda values: sum(values) / len(values))
    return sum(pairs) / len(pairs), low, high


def _interval(values: Sequence[float], name: str, estimate: Any) -> tuple[float, float]:
    """Return the ends of a 95 % percentile bootstrap interval (Efron & Tibshirani 1993, chapter 13)."""
    draw = random.Random(name)  # noqa: S311 - seeded by what it is of, nothing secret
    found = sorted(estimate(draw.choices(values, k=len(values))) for _ in range(_RESAMPLES))
    return found[round(0.025 * _RESAMPLES)], found[round(0.975 * _RESAMPLES) - 1]


def _mode(run: Run, name: str) -> dict[str, Any]:
    """Return what a request for that mode alone has otherwise: nothing for one agent, which always stands beside."""
    params = {} if run.started is None else run.started.params
    return {"params": {"modes": [name]}} if name in params.get("modes", []) else {}
