"""The events as documents for other programs: JSON Schema (2020-12) and AsyncAPI 3.0, from the registry alone.

What a field means stands in the docstring below it; it is read from the source, as a compiled class does not keep it.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from swarm_common.events.envelope import CONTENT_TYPE, SPEC_VERSION
from swarm_common.events.registry import EventType, registered
from swarm_common.events.subjects import CONTEXTS, REQUESTS, subject_of

_URN = "urn:swarm:"
_PLACE = "x"


class Query(msgspec.Struct, frozen=True):
    """A question that a service answers: request and reply on ``query.<service>.<name>``, JSON both ways."""

    service: str
    name: str
    takes: dict[str, str]
    """Fields of the request, with what they mean; all optional unless they say otherwise."""
    returns: str

    @property
    def subject(self) -> str:
        return f"query.{self.service}.{self.name}"


#: What can be asked besides ``query.<service>.health``. A test holds the services to it.
QUERIES = (
    Query("coordinator", "suites", {}, "The suites with their scenarios, parameters and targets."),
    Query(
        "metrics",
        "runs",
        {"session": "runs of this session", "status": "runs in this state", "limit": "at most so many, 100"},
        "Runs, the latest first.",
    ),
    Query("metrics", "run", {"run": "the run's id; needed"}, "The run, its tasks (`work`) and its metrics."),
    Query(
        "metrics",
        "metrics",
        {
            "run": "of this run",
            "session": "of this session",
            "name": "of this name",
            "limit": "at most so many, 100",
        },
        "Metrics over runs, each with suite, scenario and session.",
    ),
    Query(
        "metrics",
        "samples",
        {
            "run": "the run's id; needed",
            "name": "measurements of this name",
            "limit": "at most so many, 100",
        },
        "Single measurements of a run.",
    ),
)


def address(entry: EventType) -> str:
    """Return the subject of a type with its variable tokens in braces: ``swarm.agent.{run}.predicted.{task}``."""
    if entry.name == REQUESTS:
        return REQUESTS
    names = entry.cls.__struct_fields__
    # A struct does not check what it is made with, so its fields can stand for themselves.
    subject = subject_of(_PLACE, entry.cls(**{name: name for name in names}))
    head, tail = subject.split(".")[:4], subject.split(".")[4:]
    return ".".join([*head[:2], "{run}", head[3], *(f"{{{token}}}" for token in tail)])


def field_docs(cls: type[Any]) -> dict[str, str]:
    """Return what the docstrings under a class's fields say, by field, those of its bases included."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        found |= _docs_in(base.__module__).get(base.__qualname__, {})
    return found


@cache
def _docs_in(module: str) -> dict[str, dict[str, str]]:
    """Return the field docstrings of every class of a module."""
    path = getattr(sys.modules[module], "__file__", None)
    if not module.startswith("swarm_") or path is None:
        return {}
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    return {node.name: dict(_described(node)) for node in tree.body if isinstance(node, ast.ClassDef)}


def _described(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, below in zip(node.body, node.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            yield field.target.id, inspect.cleandoc(below.value.value)


def jsonschema() -> dict[str, Any]:
    """Return a JSON Schema that every event of the log satisfies: the envelope, and the data of its type."""
    entries = list(registered())
    schemas = _components("#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:swarmbench:events",
        "title": "Swarmbench events",
        "description": "One line of an exported log, the lines `swarm.blob` and `swarm.manifest` apart.",
        "allOf": [{"$ref": "#/$defs/Envelope"}, {"oneOf": [_typed(entry, "#/$defs/") for entry in entries]}],
        "$defs": {"Envelope": _envelope(), **schemas},
    }


def asyncapi() -> dict[str, Any]:
    """Return an AsyncAPI 3.0 document: a channel a subject, a message a type, and the queries."""
    from swarm_common import __version__  # noqa: PLC0415 - the package imports us

    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for entry in registered():
        key = _key(entry)
        messages[key] = _message(entry)
        channels[key] = {
            "address": address(entry),
            "messages": {key: {"$ref": f"#/components/messages/{key}"}},
            "parameters": _parameters(address(entry)),
        }
        operations[f"{'receive' if entry.name == REQUESTS else 'send'}-{key}"] = {
            "action": "receive" if entry.name == REQUESTS else "send",
            "channel": {"$ref": f"#/channels/{key}"},
            "summary": _summary(entry.cls),
        }
    for query in QUERIES:
        _add_query(query, channels, operations)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Swarmbench",
            "version": __version__,
            "description": "Events of the log (stream SWARM) and queries, over NATS; `send` is what Swarmbench says.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": CONTENT_TYPE,
        "servers": {"default": {"host": "127.0.0.1:4222", "protocol": "nats"}},
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": {"Envelope": _envelope(), **_components("#/components/schemas/{name}")},
        },
    }


def _key(entry: EventType) -> str:
    return entry.name.replace(".", "-")


def _summary(cls: type[Any]) -> str:
    return inspect.cleandoc(cls.__doc__ or "").partition("\n")[0]


def _components(ref: str) -> dict[str, Any]:
    """Return the schemas of all data and of what they hold, with the fields' docstrings as descriptions."""
    classes = [entry.cls for entry in registered()]
    schemas: dict[str, Any] = msgspec.json.schema_components(classes, ref_template=ref)[1]
    for cls in {name: cls for root in classes for name, cls in _structs(root)}.values():
        for name, text in field_docs(cls).items():
            properties = schemas[cls.__name__]["properties"]
            if name in properties:
                properties[name] = {**properties[name], "description": text}
    return schemas


def _structs(cls: type[Any]) -> Iterator[tuple[str, type[Any]]]:
    """Yield a struct and the structs that its fields hold, by name."""
    yield cls.__name__, cls
    for field in msgspec.structs.fields(cls):
        for inner in _named(msgspec.inspect.type_info(field.type)):
            yield from _structs(inner)


def _named(info: Any) -> Iterator[type[Any]]:
    if isinstance(info, msgspec.inspect.StructType):
        yield info.cls
        return
    for name in ("item_type", "key_type", "value_type"):
        if hasattr(info, name):
            yield from _named(getattr(info, name))
    for name in ("types", "item_types"):
        for inner in getattr(info, name, ()):
            yield from _named(inner)


def _typed(entry: EventType, ref: str) -> dict[str, Any]:
    """Return what holds for an event of this type beyond the envelope."""
    return {
        "title": entry.name,
        "properties": {
            "type": {"const": entry.name},
            "dataschema": {"const": f"{_URN}{entry.name}:{entry.version}"},
            "data": {"$ref": ref + entry.cls.__name__},
        },
    }


def _message(entry: EventType) -> dict[str, Any]:
    return {
        "name": entry.name,
        "title": entry.cls.__name__,
        "summary": _summary(entry.cls),
        "contentType": CONTENT_TYPE,
        "headers": {
            "type": "object",
            "properties": {
                "Nats-Msg-Id": {"type": "string", "description": "The event's id."},
                "traceparent": {"type": "string", "description": "W3C Trace Context."},
            },
        },
        "payload": {
            "allOf": [{"$ref": "#/components/schemas/Envelope"}, _typed(entry, "#/components/schemas/")]
        },
        "x-swarm": {
            "version": entry.version,
            "concludes": entry.cls.concludes,
            "volatile": sorted(entry.cls.volatile),
            "digested": entry.cls.digested,
        },
    }


def _parameters(subject: str) -> dict[str, Any]:
    tokens = [token.strip("{}") for token in subject.split(".") if token.startswith("{")]
    return {token: {"description": _TOKENS[token]} for token in tokens}


_TOKENS = {
    "run": "The run's id: 16 hexadecimal digits.",
    "task": "The task's id: letters, digits, '_' and '-'.",
    "service": "The service that is to do the task.",
    "lane": "`io` or `cpu`.",
}


def _add_query(query: Query, channels: dict[str, Any], operations: dict[str, Any]) -> None:
    key = query.subject.replace(".", "-")
    fields = {name: {"description": text} for name, text in query.takes.items()}
    channels[key] = {
        "address": query.subject,
        "messages": {
            "request": {
                "contentType": "application/json",
                "payload": {"type": "object", "properties": fields, "additionalProperties": False},
            }
        },
    }
    channels[f"{key}-reply"] = {
        "address": None,
        "messages": {"reply": {"contentType": "application/json", "payload": {"description": query.returns}}},
    }
    operations[key] = {
        "action": "receive",
        "channel": {"$ref": f"#/channels/{key}"},
        "summary": query.returns,
        "reply": {"channel": {"$ref": f"#/channels/{key}-reply"}},
    }


def _envelope() -> dict[str, Any]:
    """Return the schema of the CloudEvents attributes, as :mod:`swarm_common.events.envelope` writes them."""
    text = {"type": "string"}
    return {
        "title": "Envelope",
        "description": "CloudEvents 1.0, JSON format, structured mode.",
        "type": "object",
        "properties": {
            "specversion": {"const": SPEC_VERSION},
            "id": {
                **text,
                "description": "UUID 5 of cause, handler and index: written twice, it is stored once.",
            },
            "source": {**text, "description": "/swarm/<service>/<instance>"},
            "type": {**text, "pattern": rf"^({'|'.join(CONTEXTS)})\.[a-z_]+$"},
            "subject": {**text, "description": "The run."},
            "time": {**text, "format": "date-time", "description": "The writer's wall clock, microseconds."},
            "dataschema": {**text, "description": "Type and version of the data."},
            "correlationid": {**text, "description": "Id of the request that led to the run."},
            "causationid": {**text, "description": "Id of the event that this one answers."},
            "traceparent": {**text, "description": "W3C Trace Context."},
            "tracestate": text,
            "durationus": {
                "type": "integer",
                "minimum": 0,
                "description": "From taking up the cause to having the event ready, by a monotonic clock.",
            },
            "dataref": {**text, "pattern": "^sha256:[0-9a-f]{64}$", "description": "Where large data lie."},
            "data": {"type": "object"},
        },
        "required": ["specversion", "id", "source", "type"],
        "anyOf": [{"required": ["data"]}, {"required": ["dataref"]}],
    }
