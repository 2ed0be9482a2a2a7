"""`swarm suites`: what can be run."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from swarm_cli import context, output, render
from swarm_cli.commands import single
from swarm_cli.connect import client, run_async
from swarm_cli.options import Json
from swarm_cli.stack.control import ensure
from swarm_common.errors import UsageError


def suites(
    suite: Annotated[
        str | None, typer.Argument(help="Show this suite only, with the parameters of its scenarios.")
    ] = None,
    json: Json = False,
) -> int:
    """Show suites and scenarios with parameters and targets; starts the embedded stack where no broker is named."""
    ensure(context.settings())
    found = run_async(_suites())
    if suite is not None:
        names = ", ".join(one["name"] for one in found)
        found = [one for one in found if one["name"] == suite]
        if not found:
            raise UsageError(
                f"there is no suite {suite!r}; there are {names}", field="suite", given=suite, allowed=names
            )
    if json:
        output.emit(found)
    else:
        for one in found:
            _show(one, details=suite is not None)
    return 0


async def _suites() -> list[dict[str, Any]]:
    async with client() as swarm:
        found: list[dict[str, Any]] = await swarm.query("coordinator", "suites")
        return found


def _show(suite: dict[str, Any], *, details: bool) -> None:
    output.line(f"{render.styled(suite['name'], 'bold')}: {suite['description']}")
    for scenario in suite["scenarios"]:
        output.line(f"  {render.styled(scenario['name'], 'cyan')}  {scenario['description']}")
        targets = ", ".join(target_text(target) for target in scenario.get("targets", ()))
        if targets:
            output.line(f"    targets: {targets}")
        params = scenario.get("params", ())
        if details:
            for param in params:
                output.line(f"    -p {param_text(param)}")
        elif params:
            output.line(f"    parameters: {', '.join(param['name'] for param in params)}")
    if not details:
        output.line()


def target_text(target: dict[str, Any]) -> str:
    """Return ``accuracy >= 0.85``."""
    return f"{target['metric']} {target['op']} {target['target']:g}"


def param_text(param: dict[str, Any]) -> str:
    """Return a parameter with its default, what is allowed, and what it is."""
    allowed = ""
    if param.get("choices"):
        allowed = f"; one of {', '.join(param['choices'])}"
    elif param.get("low") is not None or param.get("high") is not None:
        low, high = (("…" if param.get(end) is None else f"{param[end]:g}") for end in ("low", "high"))
        allowed = f"; {low} to {high}"
    default = (
        "…" if param.get("required") or param["default"] is None else render.value_text(param["default"])
    )
    needed = "; required" if param.get("required") else ""
    return f"{param['name']}={default}  ({param['type']}{allowed}{needed})  {param['description']}"


APPS = {"suites": single(suites)}
