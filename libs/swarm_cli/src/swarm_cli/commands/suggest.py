"""`swarm suggest`: what a run could do better, and what came of it."""

from __future__ import annotations

import math
from typing import Annotated, Any

import msgspec
import typer

from swarm_cli import context, output, render
from swarm_cli.applying import Pair, followed, pairs_of, sessions
from swarm_cli.commands import single
from swarm_cli.connect import client, run_async
from swarm_cli.lookup import find_run
from swarm_cli.options import Json, RunName
from swarm_common.errors import UsageError
from swarm_common.events.optimizer import Suggestion
from swarm_common.runs import RunView, fold

#: Fewer pairs give no 95 % interval (the signed ranks of five are all on one side in one of sixteen cases).
_PAIRS = 6


def suggest(
    run: RunName,
    apply: Annotated[
        str, typer.Option(help="Follow this suggestion, by its kind or number, and measure.", metavar="KIND")
    ] = "",
    pairs: Annotated[
        int, typer.Option(help="So many runs without and with it, in turn.", min=1, max=1000)
    ] = _PAIRS,
    json: Json = False,
) -> int:
    """Print what a run's events suggest, with the expected gain, its interval and its evidence.

    With --apply a suggestion is followed: runs without and with it in turn, each pair from one seed, and the measured
    gain beside the expected one. Exit codes: 0 done, and with --apply the gain is there; 1 it made things worse;
    3 neither can be said.
    """
    settings = context.settings()
    view = run_async(_view(run))
    if not apply:
        if json:
            output.emit([msgspec.to_builtins(one) for one in view.suggestions])
        else:
            _show(view)
        return 0
    chosen = choose(view, apply)
    followed(view, chosen)  # says at once where it cannot be followed from here
    found = run_async(pairs_of(settings, view, chosen, pairs, told=(lambda _: None) if json else output.note))
    gain = measured(found)
    if json:
        output.emit(
            {
                "run": view.run,
                "suggestion": msgspec.to_builtins(chosen),
                "pairs": msgspec.to_builtins(found),
                "gain": gain,
            }
        )
    else:
        _show_gain(view, chosen, found, gain)
    return verdict(gain)


def choose(view: RunView, given: str) -> Suggestion:
    """Return the suggestion of that kind, kind and subject (``drop_model:svm``) or number.

    Raises :class:`UsageError` naming those there are.
    """
    for number, one in enumerate(view.suggestions, 1):
        if given in {str(number), one.kind, f"{one.kind}:{one.subject}"}:
            return one
    allowed = ", ".join(f"{number} ({one.kind})" for number, one in enumerate(view.suggestions, 1))
    raise UsageError(
        f"run {view.run} has no suggestion {given!r}; it has {allowed or 'none'}",
        field="apply",
        given=given,
        allowed=allowed,
    )


def measured(pairs: list[Pair]) -> dict[str, Any]:
    """Return the median gain of the pairs, with its 95 % interval where there are pairs enough for one.

    Median of the Walsh averages of the differences, less is better: Hollander, Wolfe and Chicken, section 3.2.
    """
    from swarm_statistics.ranks import pseudomedian  # noqa: PLC0415 - slow import

    gains = [
        one.before_value - one.after_value
        for one in pairs
        if one.before_value is not None and one.after_value is not None
    ]
    if not gains:
        return {"value": None, "n": 0, "reason": "no pair of runs measured the metric on both sides"}
    found = pseudomedian(gains)
    whole = math.isfinite(found.low) and math.isfinite(found.high)
    return {
        "value": found.estimate,
        "low": found.low if whole else None,
        "high": found.high if whole else None,
        "n": len(gains),
        "reason": "" if whole else f"{len(gains)} pairs give no 95 % interval; {_PAIRS} do",
    }


def verdict(gain: dict[str, Any]) -> int:
    """Return the exit code: 0 where the whole interval is a gain, 1 where it is a loss, 3 otherwise."""
    low, high = gain.get("low"), gain.get("high")
    if low is None or high is None:
        return 3
    if low > 0:
        return 0
    return 1 if high < 0 else 3


async def _view(name: str) -> RunView:
    async with client() as swarm:
        run = await find_run(swarm, name)
        return fold(run, await swarm.events(run))


def _show(view: RunView) -> None:
    if not view.suggestions:
        why = "its figures suggest nothing" if view.over else "it is not over"
        output.line(f"run {view.run}: {why}")
        return
    for number, one in enumerate(view.suggestions, 1):
        output.line(f"{number}. {render.styled(one.kind, 'bold')}  {one.text}")
        if one.expected is not None:
            output.line(f"   expected: {_gain(one.expected, one.expected_low, one.expected_high, one.unit)}")
        if one.estimator:
            output.line(render.styled(f"   {one.estimator}", "dim"))
        output.line(
            render.styled(f"   evidence: {len(one.evidence)} events, {', '.join(one.evidence[:2])}...", "dim")
        )
        if one.change:
            output.line(f"   try it: swarm suggest {view.run} --apply {number}")


def _show_gain(view: RunView, one: Suggestion, pairs: list[Pair], gain: dict[str, Any]) -> None:
    output.line(one.text)
    render.table(
        ["seed", "before", "", "after", ""],
        [
            [
                str(pair.seed),
                pair.before,
                render.number(pair.before_value, one.unit),
                pair.after,
                render.number(pair.after_value, one.unit),
            ]
            for pair in pairs
        ],
        right=(0, 2, 4),
    )
    output.line(f"expected: {_gain(one.expected, one.expected_low, one.expected_high, one.unit)}")
    output.line(
        f"measured: {_gain(gain['value'], gain.get('low'), gain.get('high'), one.unit)}, n = {gain['n']}"
    )
    if gain.get("reason"):
        output.line(gain["reason"])
    texts = {0: "it is a gain", 1: "it made things worse", 3: "whether it is a gain cannot be said"}
    output.line(texts[verdict(gain)])
    output.line(f"all metrics: swarm compare {' '.join(sessions(view))}")


def _gain(value: float | None, low: float | None, high: float | None, unit: str) -> str:
    """Return a gain as people read it: how much less of ``unit``."""
    if value is None:
        return "not known"
    text = f"{render.number(value, unit)} less"
    if low is None or high is None:
        return text
    return f"{text} ({render.number(low, unit)} to {render.number(high, unit)})"


APPS = {"suggest": single(suggest)}
