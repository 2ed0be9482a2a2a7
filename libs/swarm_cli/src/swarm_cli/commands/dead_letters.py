"""`swarm dead-letters`: what could not be handled, and again."""

from __future__ import annotations

import base64
from typing import Annotated, Any

import msgspec
import typer

from swarm_cli import output, render
from swarm_cli.commands import single
from swarm_cli.connect import client, run_async
from swarm_cli.options import Json
from swarm_common.errors import UsageError
from swarm_common.runtime.deadletters import DeadLetter, letter, letters, redrive


def dead_letters(
    action: Annotated[
        str | None, typer.Argument(metavar="[show|redrive]", help="What to do with one letter.")
    ] = None,
    ident: Annotated[str | None, typer.Argument(metavar="[ID]", help="The letter's id.")] = None,
    json: Json = False,
) -> int:
    """List the dead letters; show one with its bytes; redrive one: send it to its subject again, and remove it."""
    if action is None:
        return _list(json=json)
    if action not in {"show", "redrive"} or ident is None:
        raise UsageError(
            "it reads `swarm dead-letters`, `swarm dead-letters show ID` or `swarm dead-letters redrive ID`",
            field="action",
            given=action,
            allowed="show, redrive",
        )
    found = run_async(_one(action, ident))
    if json:
        output.emit(_plain(found, body=True) | ({"redriven": True} if action == "redrive" else {}))
    elif action == "show":
        _show(found)
    else:
        output.line(f"letter {found.id} was sent to {found.subject} again, and removed")
    return 0


async def _one(action: str, ident: str) -> DeadLetter:
    async with client() as swarm:
        return await (redrive(swarm.log, ident) if action == "redrive" else letter(swarm.broker, ident))


def _list(*, json: bool) -> int:
    found = run_async(_all())
    if json:
        output.emit([_plain(one) for one in found])
        return 0
    if not found:
        output.line("no dead letters")
        return 0
    rows: list[list[render.Cell]] = [
        [
            one.id,
            render.day_time(one.time),
            one.consumer,
            one.subject,
            str(one.deliveries),
            render.value_text(one.error, 80),
        ]
        for one in found
    ]
    render.table(["id", "time (UTC)", "consumer", "subject", "deliveries", "error"], rows, right=(0, 4))
    return 0


async def _all() -> list[DeadLetter]:
    async with client() as swarm:
        return [one async for one in letters(swarm.broker)]


def _plain(one: DeadLetter, *, body: bool = False) -> dict[str, Any]:
    """Return a letter as JSON; its bytes as text where they are text."""
    found: dict[str, Any] = {name: getattr(one, name) for name in one.__struct_fields__ if name != "body"}
    if body:
        try:
            found["body"] = one.body.decode()
        except UnicodeDecodeError:
            found["body_base64"] = base64.b64encode(one.body).decode()
    return found


def _show(one: DeadLetter) -> None:
    for name, value in _plain(one).items():
        output.line(f"{name:<11} {value}")
    try:
        output.line(msgspec.json.format(one.body, indent=2).decode())
    except (msgspec.DecodeError, UnicodeDecodeError):
        output.line(repr(one.body))


APPS = {"dead-letters": single(dead_letters)}
