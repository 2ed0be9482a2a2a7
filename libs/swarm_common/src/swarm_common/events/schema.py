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

from swarm_common.events.arrays import Array
from swarm_common.events.envelope import CONTENT_TYPE, SCHEMA, SPEC_VERSION, encode_wire, new_event
from swarm_common.events.registry import EventType, decode_data, registered
from swarm_common.events.subjects import CONTEXTS, REQUESTS, results_filter, scheduled_filter, subject_of
from swarm_common.events.values import Lane

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


_TIMES = {
    "since": "runs that began then or later, RFC 3339",
    "until": "runs that began before, RFC 3339",
}
_OF_RUNS = {
    "run": "this run",
    "session": "runs of this session",
    "suite": "runs of this suite",
    "scenario": "runs of this scenario",
    "status": "runs in this state",
    **_TIMES,
}
_QUANTITY = {"name": "samples of this name", "of": "of this kind of task, model, size..."}
_PAGE = {"limit": "at most so many, 100; up to 1,000", "cursor": "the `next` of the page before"}
#: What can be asked besides ``query.<service>.health``. A test holds the services to it.
QUERIES = (
    Query("coordinator", "suites", {}, "The suites with their scenarios, parameters and targets."),
    Query(
        "coordinator",
        "roles",
        {"own": "a TOML text with more of them"},
        "`roles`: what agents can speak with; or `error`, where the text is wrong.",
    ),
    Query(
        "coordinator",
        "strategies",
        {"own": "a TOML text with more of them"},
        "`strategies`: how agents work on a question; or `error`, where the text is wrong.",
    ),
    Query(
        "coordinator",
        "estimate",
        {
            "scenario": "of the suite `coordination`",
            "params": "its parameters",
            "seed": "the run's",
            "items": "the questions, as `query.model_agent.outline` gives them; needed",
            "guide": "characters that stand before each question",
        },
        "`calls`, and tokens `read` and `written`, that such a run comes to at most, and what was `assumed`.",
    ),
    Query(
        "model_agent",
        "outline",
        {
            "executor": "as in a request",
            "model": "as in a request",
            "pose": "the parameters of the task `pose` or `pose_file`",
        },
        "`paid`: the endpoint in words where it may cost money, else empty; `counted`: whether it is known what a call "
        "costs; `price`: US dollars for a million tokens read and written, where it is set; where it may cost, `guide` "
        "and `items`: the questions' lengths in characters.",
    ),
    Query("metrics", "runs", {**_OF_RUNS, **_PAGE}, "`runs`, the latest first."),
    Query("metrics", "run", {"run": "the run's id; needed"}, "The run, its tasks (`work`) and its metrics."),
    Query(
        "metrics",
        "sessions",
        {"session": _OF_RUNS["session"], **_TIMES, **_PAGE},
        "`sessions`: how many runs of which status each has, of which suites, the first and the last.",
    ),
    Query(
        "metrics",
        "metrics",
        {**_OF_RUNS, "name": "of this name", **_PAGE},
        "`metrics` over runs, the latest run first, each with suite, scenario and session.",
    ),
    Query(
        "metrics",
        "history",
        {
            "metric": "the metric's name; needed",
            **_OF_RUNS,
            **_PAGE,
            "limit": "at most so many, 1,000; up to that",
        },
        "`history`: the metric's values over runs, the oldest first.",
    ),
    Query(
        "metrics",
        "samples",
        {
            **_OF_RUNS,
            **_QUANTITY,
            "event": "told by the event with this id",
            "task": "of this task",
            **_PAGE,
            "limit": "at most so many values, 100; up to 10,000",
        },
        "`samples`: single measurements, in the order of runs, names and the log; a row an event and quantity.",
    ),
    Query(
        "metrics",
        "summary",
        {**_OF_RUNS, **_QUANTITY, "quantiles": "which, as numbers from 0 to 1; 0.5, 0.9 and 0.99"},
        "`summary`: n, mean, low, high and quantiles of each quantity's samples.",
    ),
    Query(
        "metrics",
        "view",
        {},
        "How far the view is, how many rows it has, and how far one is that is being made in its place.",
    ),
    Query("metrics", "rebuild", {}, "Begins to make the view anew, beside the one that answers."),
)


_HEALTH = "How the service is: ready, healthy, what it holds and has handled."


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """What a service says and takes."""

    name: str
    context: str
    lanes: tuple[Lane, ...] = ()
    """Lanes of the tasks that it does."""
    reactions: tuple[str, ...] = ()
    """Types of events that it answers with its own."""


#: Who is who. This package imports no service, so it is said here again; a test holds the services to it.
SERVICES = (
    Role(name="coordinator", context="benchmark"),
    Role(name="model_agent", context="agent", lanes=("cpu", "io")),
    Role(name="consensus", context="consensus", lanes=("cpu", "io")),
    Role(name="memory_sync", context="memory", lanes=("io",), reactions=("benchmark.completed",)),
    Role(name="metrics", context="metrics", lanes=("cpu", "io")),
    Role(name="optimizer", context="optimizer", lanes=("io",), reactions=("benchmark.completed",)),
)
#: What comes from users, and from nobody else.
FROM_USERS = (REQUESTS, "benchmark.cancel_requested")


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
    """Return an AsyncAPI 3.0 document: a channel a subject, a message a type, what each service sends and takes."""
    from swarm_common import __version__  # noqa: PLC0415 - the package imports us

    entries = list(registered())
    channels: dict[str, Any] = {_key(entry): _channel(entry) for entry in entries}
    operations: dict[str, Any] = dict(_operations(entries))
    for query in (*QUERIES, *(Query(role.name, "health", {}, _HEALTH) for role in SERVICES)):
        _add_query(query, channels, operations)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Swarmbench",
            "version": __version__,
            "description": "Events of the log and queries, over NATS. Operations are named after their service.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": CONTENT_TYPE,
        "servers": {
            "default": {
                "host": "127.0.0.1:4222",
                "protocol": "nats",
                "description": "What `swarm up` and `docker compose up` start; `swarm status` names the port.",
            }
        },
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": {_key(entry): _message(entry) for entry in entries},
            "schemas": {"Envelope": _envelope(), **_components("#/components/schemas/{name}")},
        },
    }


def example(entry: EventType) -> dict[str, Any]:
    """Return an event of a type with a value in every field: valid, and about nothing."""
    data = msgspec.json.encode(_example_of(msgspec.inspect.type_info(entry.cls)))
    event = new_event(
        decode_data(entry.name, entry.version, data),
        run="0123456789abcdef",
        source=f"/swarm/{_sender(entry)}/host-1",
        cause="the id of its cause",
        handler="example",
        correlation="the id of the request",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        duration_us=1250,
        time_ns=1_795_255_200_000_123_000,
    )
    value: dict[str, Any] = msgspec.json.decode(encode_wire(event, data))
    return value


def _example_of(info: Any, name: str = "") -> Any:
    match info:
        case msgspec.inspect.StructType(cls=cls) if cls is Array:
            return {"dtype": "<f8", "shape": [2], "data": "AAAAAAAAAAAAAAAAAAAAAA=="}
        case msgspec.inspect.StructType(fields=fields, tag_field=tag_field, tag=tag):
            found = {field.encode_name: _example_of(field.type, field.name) for field in fields}
            return found if tag_field is None else {tag_field: tag, **found}
        case msgspec.inspect.UnionType(types=types):
            return _example_of(types[0], name)
        case msgspec.inspect.LiteralType(values=values):
            return values[0]
        case msgspec.inspect.VarTupleType(item_type=item):
            return [_example_of(item, name)]
        case msgspec.inspect.TupleType(item_types=items):
            return [_example_of(item, name) for item in items]
        case msgspec.inspect.DictType(value_type=value):
            return {"key": _example_of(value, name)}
        case _:
            return _PLAIN.get(type(info), name or "value")


_PLAIN: dict[type[Any], Any] = {
    msgspec.inspect.BytesType: "AAAA",
    msgspec.inspect.BoolType: True,
    msgspec.inspect.IntType: 1,
    msgspec.inspect.FloatType: 0.5,
}


def _channel(entry: EventType) -> dict[str, Any]:
    key, subject = _key(entry), address(entry)
    messages: dict[str, Any] = {key: {"$ref": f"#/components/messages/{key}"}}
    if entry.name == REQUESTS:
        messages["bare"] = {
            "summary": "The data alone are a complete request.",
            "contentType": "application/json",
            "payload": {"$ref": f"#/components/schemas/{entry.cls.__name__}"},
            "examples": [{"payload": {"suite": "ensemble"}}],
        }
    return {
        "address": subject,
        "messages": messages,
        "parameters": _parameters(subject),
        "x-jetstream": {"stream": "SWARM"},
    }


def _operations(entries: list[EventType]) -> Iterator[tuple[str, dict[str, Any]]]:
    for entry in entries:
        yield _operation(_sender(entry), "send", entry)
    for role in SERVICES:
        for entry in entries:
            if taken := _taken(role, entry):
                yield _operation(role.name, "receive", entry, **{"x-jetstream": taken})


def _operation(service: str, action: str, entry: EventType, **more: Any) -> tuple[str, dict[str, Any]]:
    key = _key(entry)
    return f"{service}-{action}-{key}", {
        "action": action,
        "channel": {"$ref": f"#/channels/{key}"},
        "summary": _summary(entry.cls),
        "tags": [{"name": service}],
        "messages": [{"$ref": f"#/channels/{key}/messages/{key}"}],
        **more,
    }


def _sender(entry: EventType) -> str:
    if entry.name in FROM_USERS:
        return "client"
    return next(role.name for role in SERVICES if role.context == entry.name.split(".")[0])


def _taken(role: Role, entry: EventType) -> dict[str, Any]:
    """Return the consumers by which a service takes a type: durable ones to work on it, an ordered one to look on."""
    context, name = entry.name.split(".")
    durable = {}
    if entry.name == "benchmark.task_scheduled":
        durable = {f"{role.name}-{lane}": scheduled_filter(role.name, lane) for lane in role.lanes}
    if entry.name in role.reactions:
        durable = {f"{role.name}-reactions": f"swarm.{context}.*.{name}"}
    if role.name == "coordinator" and entry.name in FROM_USERS:
        durable = {role.name: address(entry).replace("{run}", "*")}
    if role.name == "coordinator" and address(entry).endswith(".{task}"):
        durable = {role.name: results_filter(context)}
    found: dict[str, Any] = {}
    if durable:
        found["durable"] = [{"consumer": one, "filter": subject} for one, subject in durable.items()]
    if role.name == "metrics" and entry.name != REQUESTS:
        found["ordered"] = {"filter": "swarm.>"}
    return found


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
            "dataschema": {"const": f"{SCHEMA}{entry.name}:{entry.version}"},
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
                "Content-Type": {"const": CONTENT_TYPE},
                "traceparent": {"type": "string", "description": "W3C Trace Context."},
                "tracestate": {"type": "string", "description": "W3C Trace Context."},
            },
        },
        "payload": {
            "allOf": [{"$ref": "#/components/schemas/Envelope"}, _typed(entry, "#/components/schemas/")]
        },
        "correlationId": {"location": "$message.payload#/correlationid"},
        "examples": [{"name": "example", "payload": example(entry)}],
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
    "number": "Which of several that the task led to, from 0.",
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
    operations[f"{query.service}-receive-{key}"] = {
        "action": "receive",
        "channel": {"$ref": f"#/channels/{key}"},
        "summary": query.returns,
        "tags": [{"name": query.service}],
        "bindings": {"nats": {"queue": "q", "bindingVersion": "0.1.0"}},  # NATS micro's queue group
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
                "minLength": 1,
                "description": "UUID 5 of cause, handler and index: written twice, it is stored once.",
            },
            "source": {**text, "minLength": 1, "description": "/swarm/<service>/<instance>"},
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
