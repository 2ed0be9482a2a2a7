"""`swarm check-history`: is a recorded history of clients' operations linearizable?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from swarm_cli import output, render
from swarm_cli.commands import single
from swarm_cli.options import Json
from swarm_common.errors import NotFound, UsageError
from swarm_histories import MODELS, Model, Operation, Refutation, Verdict, check, read

STEPS = 2_000_000
_EXIT_CODES = {"linearizable": 0, "refuted": 1, "undecided": 3}
_BARS = 60
_POSSIBLE = 8


def check_history(
    file: Annotated[str, typer.Argument(metavar="FILE", help="JSON Lines; - is standard input.")],
    model: Annotated[
        str,
        typer.Option(help="What a correct store would do: register, cas-register or kv.", metavar="MODEL"),
    ],
    steps: Annotated[
        int, typer.Option(help="How many configurations to look at before giving up.", metavar="N", min=1)
    ] = STEPS,
    json: Json = False,
) -> int:
    """Say whether a history of clients' operations is linearizable, or show the smallest part that refutes it.

    docs/histories.md has the format. Exit codes: 0 linearizable; 1 not; 2 a line or an option is wrong; 3 undecided.
    """
    chosen = MODELS.get(model)
    if chosen is None:
        raise UsageError(
            f"there is no model {model!r}; there are {', '.join(MODELS)}",
            field="model",
            given=model,
            allowed=", ".join(MODELS),
        )
    verdict = check(_history(file, chosen), chosen, steps=steps)
    if json:
        output.emit(document(verdict, chosen))
    else:
        _show(verdict, chosen)
    return _EXIT_CODES[verdict.outcome]


def _history(file: str, model: Model) -> list[Operation]:
    if file == "-":
        return read(sys.stdin.buffer, model)
    if not Path(file).is_file():
        raise NotFound(f"{file}: no such file")
    with Path(file).open("rb") as stream:
        return read(stream, model)


def document(verdict: Verdict, model: Model) -> dict[str, Any]:
    """Return what `--json` prints."""
    return {"model": model.name, **msgspec.to_builtins(verdict)}


def _show(verdict: Verdict, model: Model) -> None:
    what = f"{verdict.operations} operations on {verdict.keys} {'key' if verdict.keys == 1 else 'keys'}"
    if verdict.refutation is not None:
        _show_refutation(verdict.refutation, model)
        output.line(render.styled(f"not linearizable: {what}", "red"))
    elif verdict.outcome == "undecided":
        output.line(
            render.styled(
                f"undecided: {what}; nothing is known of {verdict.undecided} after {verdict.steps} configurations; "
                f"--steps {verdict.steps * 10} looks further",
                "yellow",
            )
        )
    else:
        output.line(render.styled(f"linearizable: {what}, {verdict.steps} configurations", "green"))


def _show_refutation(found: Refutation, model: Model) -> None:
    count = len(found.operations)
    key = "" if found.key is None else f" on key {render.value_text(found.key)}"
    whatever = "" if found.since is None else f", whatever the value was at line {found.since}"
    output.line(
        f"no order explains {'this operation' if count == 1 else f'these {count} operations'}{key}{whatever}; "
        f"{'what is left out does not matter' if found.minimal else 'fewer may do, but that was too hard to find out'}"
    )
    bars = timeline(found.operations)
    rows = [
        (
            f"{one.called}-{one.returned or '?'}",
            str(one.process),
            described(one, model),
            bar + (" ← impossible" if one.called == found.impossible.called else ""),
        )
        for one, bar in zip(found.operations, bars, strict=True)
    ]
    render.table(["lines", "process", "operation", "time"], rows)
    output.line(possible_text(found, model))


def described(one: Operation, model: Model) -> str:
    """Return an operation in words: ``write 1``, ``read 2``, ``cas 1 to 2``."""
    value = one.value
    match model.operations[one.f]:
        case "read":
            return f"{one.f} → {render.value_text(value)}" if one.returned is not None else one.f
        case "cas":
            return f"{one.f} {render.value_text(value[0], 40)} to {render.value_text(value[1], 40)}"
        case _:
            return f"{one.f} {render.value_text(value)}"


def possible_text(found: Refutation, model: Model) -> str:
    """Return what the impossible operation could have found instead."""
    one = found.impossible
    could = [render.value_text(msgspec.json.encode(value).decode(), 60) for value in found.possible]
    shown = " or ".join(could[:_POSSIBLE]) + (
        f" or {len(could) - _POSSIBLE} more" if len(could) > _POSSIBLE else ""
    )
    if not could:
        return f"no value would do for the {one.f} of line {one.called}"
    if model.operations[one.f] == "read":
        return f"the {one.f} of line {one.called} could have returned {shown}"
    return f"where the {one.f} of line {one.called} took effect there could have been {shown}"


def timeline(operations: tuple[Operation, ...]) -> list[str]:
    """Return a bar an operation, from its call to its return; times are ranks, so that only their order is seen."""
    moments = sorted({one.called for one in operations} | {one.returned or 0 for one in operations} - {0})
    place = {moment: at for at, moment in enumerate(moments)}
    step = max(1, min(4, _BARS // max(1, len(moments))))
    end = len(moments) * step
    bars = []
    for one in operations:
        start = place[one.called] * step
        if one.returned is None:
            bars.append(f"{' ' * start}├{'┄' * (end - start - 1)}")
        else:
            bars.append(f"{' ' * start}├{'─' * (place[one.returned] * step - start - 1)}┤")
    return bars


APPS = {"check-history": single(check_history)}
