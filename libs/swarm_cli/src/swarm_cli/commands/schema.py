"""`swarm schema`: the events, from the code."""

from __future__ import annotations

import importlib
from typing import Annotated, Any

import msgspec
import typer

from swarm_cli import output, render
from swarm_cli.commands import single
from swarm_cli.options import Json
from swarm_common.errors import SwarmError, UsageError
from swarm_common.events import registered


def schema(
    asyncapi: Annotated[
        bool, typer.Option("--asyncapi", help="Channels, messages and queries as AsyncAPI.")
    ] = False,
    jsonschema: Annotated[
        bool, typer.Option("--jsonschema", help="Every event's data as JSON Schema.")
    ] = False,
    json: Json = False,
) -> int:
    """List the types of events; or print their whole schema, generated from the code."""
    if asyncapi and jsonschema:
        raise UsageError("give --asyncapi or --jsonschema, not both", field="schema")
    if asyncapi or jsonschema:
        output.emit(_generated("asyncapi" if asyncapi else "jsonschema"))
        return 0
    types = _types()
    if json:
        output.emit(types)
        return 0
    rows: list[list[render.Cell]] = [
        [one["type"], str(one["version"]), "yes" if one["concludes"] else "", ", ".join(one["fields"])]
        for one in types
    ]
    render.table(["event", "version", "ends a task", "data"], rows)
    return 0


def _types() -> list[dict[str, Any]]:
    return [
        {
            "type": entry.name,
            "version": entry.version,
            "concludes": entry.cls.concludes,
            "description": (entry.cls.__doc__ or "").strip().partition("\n")[0],
            "fields": [field.encode_name for field in msgspec.structs.fields(entry.cls)],
            "volatile": sorted(entry.cls.volatile),
        }
        for entry in registered()
    ]


def _generated(name: str) -> dict[str, Any]:
    try:
        module = importlib.import_module("swarm_common.events.schema")
    except ModuleNotFoundError as error:
        raise SwarmError("this version of swarm_common has no generator of schemas") from error
    found: dict[str, Any] = getattr(module, name)()
    return found


APPS = {"schema": single(schema)}
