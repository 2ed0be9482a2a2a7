"""The documents for others, held against the code: nothing missing, nothing made up, every example valid."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from typing import Any

import jsonschema
import msgspec
import pytest

from swarm_common.events import EventType, decode, registered, schema
from swarm_common.events.subjects import subject_of
from swarm_common.runtime import Service

TYPES = list(registered())
every_type = pytest.mark.parametrize("one", TYPES, ids=lambda one: one.name)
every_role = pytest.mark.parametrize("role", schema.SERVICES, ids=lambda role: role.name)
EVENTS = schema.jsonschema()
API = schema.asyncapi()
DIALECT = EVENTS["$schema"]
validator = jsonschema.Draft202012Validator(EVENTS)


def key(one: EventType) -> str:
    return one.name.replace(".", "-")


def service_of(role: schema.Role) -> Service:
    service: Service = importlib.import_module(f"swarm_{role.name}.service").service
    return service


def target(reference: str) -> Any:
    """Return what a reference inside the AsyncAPI document points to."""
    found: Any = API
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def references(value: Any) -> list[str]:
    match value:
        case {"$ref": str(reference)}:
            return [reference]
        case dict():
            return [reference for one in value.values() for reference in references(one)]
        case list():
            return [reference for one in value for reference in references(one)]
        case _:
            return []


# -- JSON Schema -------------------------------------------------------------------------------------------


def test_it_is_a_json_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(EVENTS)
    jsonschema.Draft202012Validator.check_schema(json.loads(json.dumps(EVENTS)))


@every_type
def test_every_type_stands_in_it_and_its_example_is_valid(one: EventType) -> None:
    example = schema.example(one)
    validator.validate(example)
    assert API["components"]["messages"][key(one)]["x-swarm"] == {
        "version": one.version,
        "concludes": one.cls.concludes,
        "digested": one.cls.digested,
        "volatile": sorted(one.cls.volatile),
    }
    read = decode(json.dumps(example).encode())
    assert read.type == one.name
    assert set(example["data"]) == {field.encode_name for field in msgspec.structs.fields(one.cls)}


@every_type
def test_data_that_break_the_schema_are_invalid(one: EventType) -> None:
    example = schema.example(one)
    wrong = {name: {"no": "field", "is": "this"} for name in example["data"]}
    for data in (5, [], wrong):
        with pytest.raises(jsonschema.ValidationError):
            validator.validate(example | {"data": data})
    validator.validate(example | {"data": example["data"] | {"of a later version": 1}})


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type"])
def test_an_envelope_without_an_attribute_is_invalid(name: str) -> None:
    example = schema.example(TYPES[0])
    del example[name]
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(example)


def test_a_claim_checked_event_needs_no_data() -> None:
    example = schema.example(TYPES[0])
    del example["data"]
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(example)
    validator.validate(example | {"dataref": "sha256:" + "0" * 64})


def test_fields_have_the_words_that_stand_under_them() -> None:
    trained = EVENTS["$defs"]["ModelTrained"]["properties"]
    assert trained["fit_s"]["description"] == "Wall time of the final fit on all training rows."
    failed = EVENTS["$defs"]["AgentTaskFailed"]["properties"]
    assert failed["error"]["description"] == "Class of the error."


# -- AsyncAPI ----------------------------------------------------------------------------------------------


def test_every_reference_leads_somewhere() -> None:
    assert [reference for reference in references(API) if target(reference) is None] == []
    assert json.dumps(API)


def test_required_parts_and_versions() -> None:
    assert API["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= set(API["info"])
    assert all({"host", "protocol"} <= set(server) for server in API["servers"].values())
    assert all({"action", "channel"} <= set(operation) for operation in API["operations"].values())
    names = re.compile(r"[\w.-]+\Z")
    assert all(names.match(name) for kind in API["components"].values() for name in kind)


def test_every_type_is_a_channel_and_a_message() -> None:
    names = {key(one) for one in TYPES}
    assert {name for name in API["channels"] if not name.startswith("query-")} == names
    assert set(API["components"]["messages"]) == names


def test_a_request_may_be_bare() -> None:
    bare = API["channels"]["benchmark-requested"]["messages"]["bare"]
    document = {"$schema": DIALECT, "components": API["components"], **bare["payload"]}
    jsonschema.Draft202012Validator(document).validate(bare["examples"][0]["payload"])


@every_type
def test_addresses_are_where_events_lie(one: EventType) -> None:
    channel = API["channels"][key(one)]
    read = decode(json.dumps(schema.example(one)).encode())
    assert read.data is not None
    if one.name == "benchmark.requested":
        assert channel["address"] == "benchmark.requested"
        return
    pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^.]+)", re.escape(channel["address"]))
    found = re.fullmatch(pattern, subject_of(read.run, read.data))
    assert found
    assert set(found.groupdict()) == set(channel["parameters"])
    for name, value in found.groupdict().items():
        assert value == (read.run if name == "run" else str(getattr(read.data, name)))


@every_type
def test_examples_fit_the_payload_of_their_message(one: EventType) -> None:
    message = API["components"]["messages"][key(one)]
    document = {"$schema": DIALECT, "components": API["components"], **message["payload"]}
    jsonschema.Draft202012Validator(document).validate(message["examples"][0]["payload"])


@every_type
def test_somebody_sends_every_type(one: EventType) -> None:
    senders = [name for name in API["operations"] if name.endswith(f"-send-{key(one)}")]
    assert len(senders) == 1


@every_role
def test_roles_are_what_the_services_say(role: schema.Role) -> None:
    service = service_of(role)
    assert (service.name, service.context) == (role.name, role.context)
    assert set(service.lanes()) == set(role.lanes)
    assert set(service.reactions) == set(role.reactions)
    assert set(service.queries) == {query.name for query in schema.QUERIES if query.service == role.name}


@every_role
def test_every_query_has_a_channel_and_an_operation(role: schema.Role) -> None:
    for query in ("health", *service_of(role).queries):
        operation = API["operations"][f"{role.name}-receive-query-{role.name}-{query}"]
        assert target(operation["channel"]["$ref"])["address"] == f"query.{role.name}.{query}"
        assert target(operation["reply"]["channel"]["$ref"])["address"] is None
        assert operation["bindings"] == {"nats": {"queue": "q", "bindingVersion": "0.1.0"}}


def test_consumers_are_those_of_the_coordinator() -> None:
    service = importlib.import_module("swarm_coordinator.service")
    source = inspect.getsource(service)
    assert "swarm.benchmark.*.cancel_requested" in source
    assert "results_filter(name)" in source
    taken = API["operations"]["coordinator-receive-agent-predicted"]["x-jetstream"]["durable"]
    assert taken == [{"consumer": "coordinator", "filter": "swarm.agent.*.*.*"}]


def test_only_roles_that_exist() -> None:
    assert {role.context for role in schema.SERVICES} == {one.name.split(".")[0] for one in TYPES}
