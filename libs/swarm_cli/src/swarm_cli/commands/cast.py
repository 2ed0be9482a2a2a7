"""`swarm roles` and `swarm strategies`: what agents can speak with, and how questions are worked on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from swarm_cli import context, output, render
from swarm_cli.commands import single
from swarm_cli.commands.run import text_of
from swarm_cli.connect import client, run_async
from swarm_cli.options import Json
from swarm_cli.stack.control import ensure
from swarm_common.errors import UsageError

Own = Annotated[
    Path | None,
    typer.Option("--own", help="Your own roles and strategies, as TOML, beside the others.", metavar="FILE"),
]


def roles(
    role: Annotated[str | None, typer.Argument(help="Show this role only.")] = None,
    own: Own = None,
    json: Json = False,
) -> int:
    """Show the roles of agents: instructions, seat, tools; starts the embedded stack where no broker is named."""
    return _show("role", "roles", role, own, json, _role)


def strategies(
    strategy: Annotated[str | None, typer.Argument(help="Show this strategy only.")] = None,
    own: Own = None,
    json: Json = False,
) -> int:
    """Show the strategies: phases, what is accepted, what `auto` takes them for; starts the stack as `swarm roles`."""
    return _show("strategy", "strategies", strategy, own, json, _strategy)


def _show(
    what: str,
    query: str,
    name: str | None,
    own: Path | None,
    json: bool,
    show: Callable[[dict[str, Any]], None],
) -> int:
    ensure(context.settings())
    found = run_async(_ask(query, text_of(str(own)) if own else ""))
    if name is not None:
        names = ", ".join(one["name"] for one in found)
        found = [one for one in found if one["name"] == name]
        if not found:
            raise UsageError(
                f"there is no {what} {name!r}; there are {names}", field=what, given=name, allowed=names
            )
    if json:
        output.emit(found)
    else:
        for one in found:
            output.line(f"{render.styled(one['name'], 'bold')}: {one['description']}")
            show(one)
    return 0


async def _ask(query: str, own: str) -> list[dict[str, Any]]:
    async with client() as swarm:
        answer: dict[str, Any] = await swarm.query("coordinator", query, {"own": own})
    if "error" in answer:
        raise UsageError(answer["error"], field="own")
    found: list[dict[str, Any]] = answer[query]
    return found


def _role(one: dict[str, Any]) -> None:
    output.line(f"  seat {one['seat']}; says: {one['instructions'] or 'nothing'}")
    for name in ("tools", "families"):
        if one[name]:
            output.line(f"  {name}: {', '.join(one[name])}")


def _strategy(one: dict[str, Any]) -> None:
    if one["instructions"]:
        output.line(f"  says: {one['instructions']}")
    for number, phase in enumerate(one["phases"], start=1):
        heard = {"nothing": "", "last": ", hears the last", "all": ", hears all before"}[phase["hears"]]
        asked = f": {phase['ask']}" if phase["ask"] else ""
        output.line(f"  {number}. {phase['purpose']} by {phase['by']}{heard}{asked}")
    if one["phases"]:
        suits = f"; auto takes it for {', '.join(one['suits'])}" if one["suits"] else ""
        output.line(f"  of {one['split']}; accepted: {one['accept']}{suits}")


APPS = {"roles": single(roles), "strategies": single(strategies)}
