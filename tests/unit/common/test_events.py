"""Events: what is written is what is read, and what is no event is refused with a reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.events import data_of, plain_of, texts, tokens
from swarm_common.errors import InvalidEvent
from swarm_common.events import (
    Data,
    Event,
    decode,
    decode_data,
    digest_view,
    encode,
    event,
    lookup,
    registered,
)
from swarm_common.events import registry as registry_module
from swarm_common.events.agent import TaskDone
from swarm_common.events.benchmark import Requested, Started
from swarm_common.events.envelope import new_event, plain, with_data
from swarm_common.events.registry import is_registered

TYPES = list(registered())
every_type = pytest.mark.parametrize("one", TYPES, ids=lambda one: one.name)


def write(data: Data, **more: Any) -> Event:
    given: dict[str, Any] = {"run": "r", "source": "/swarm/test/1", "cause": "c", "handler": "h"} | more
    return new_event(data, **given)


def body(**changes: Any) -> bytes:
    """Return an event's bytes with attributes changed, or left out where they are ``None``."""
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": "1",
        "source": "/swarm/test/1",
        "type": "agent.task_done",
        "subject": "r",
        "dataschema": "urn:swarm:agent.task_done:1",
        "data": {"task": "t"},
    } | changes
    return json.dumps({key: value for key, value in attributes.items() if value is not None}).encode()


# -- what is written is what is read -----------------------------------------------------------------------


@every_type
@given(more=st.data())
@settings(max_examples=20)
def test_every_type_goes_round(one: registry_module.EventType, more: st.DataObject) -> None:
    data = more.draw(data_of(one))
    written = write(
        data, correlation=more.draw(texts), duration_us=more.draw(st.none() | st.integers(0, 10**9))
    )
    read = decode(encode(written), seq=7)
    assert read.data == data
    assert read.seq == 7
    unread = {"raw": b"", "seq": 0}
    assert msgspec.structs.replace(read, **unread) == msgspec.structs.replace(written, **unread)
    assert encode(read) == encode(written)


@every_type
@given(more=st.data())
@settings(max_examples=10)
def test_fields_of_a_later_version_are_kept_byte_for_byte(
    one: registry_module.EventType, more: st.DataObject
) -> None:
    data = more.draw(plain_of(one)) | {"added later": more.draw(texts)}
    raw = body(type=one.name, dataschema=f"urn:swarm:{one.name}:{one.version}", data=data, extension="kept")
    read = decode(raw)
    assert encode(read) == raw
    assert plain(read)["data"]["added later"] == data["added later"]
    assert plain(read)["extension"] == "kept"


@every_type
def test_a_digest_leaves_out_what_tells_of_time_and_place(one: registry_module.EventType) -> None:
    assert one.cls.volatile <= set(one.cls.__struct_fields__)
    done = digest_view(TaskDone(task="t", index=3, elapsed_us=1.5))
    assert done == {"task": "t", "index": 3}


def test_the_id_of_an_event_is_that_of_its_cause_handler_and_index() -> None:
    first, again, other = (
        write(TaskDone(task="t")),
        write(TaskDone(task="t")),
        write(TaskDone(task="t"), index=1),
    )
    assert first.id == again.id != other.id


def test_a_duration_beyond_cloudevents_integers_is_cut() -> None:
    assert decode(encode(write(TaskDone(task="t"), duration_us=2**40))).duration_us == 2**31 - 1


def test_an_event_names_its_trace_and_span() -> None:
    read = decode(body(traceparent=f"00-{'a' * 32}-{'b' * 16}-01"))
    assert (read.trace_id, read.span_id) == ("a" * 32, "b" * 16)
    assert (decode(body()).trace_id, decode(body()).span_id) == ("", "")


def test_claim_checked_data_wait_until_they_are_fetched() -> None:
    waiting = decode(body(data=None, dataref="sha256:" + "0" * 64))
    assert waiting.data is None
    assert with_data(waiting, b'{"task": "t"}').data == TaskDone(task="t")
    with pytest.raises(InvalidEvent, match=r"agent\.task_done"):
        with_data(waiting, b"[]")


# -- what is no event --------------------------------------------------------------------------------------

DEEP = b'{"a":' * 10_000 + b"1" + b"}" * 10_000


@pytest.mark.parametrize(
    ("raw", "field", "words"),
    [
        (b"", "event", "truncated"),
        (b"{", "event", "truncated"),
        (b"[]", "event", "Expected `object`"),
        (b"\xff\xfe", "event", ""),
        (body().replace(b'"r"', b'"\xff"'), "event", ""),
        (body(specversion="0.3"), "specversion", "0.3"),
        (body(id=None), "event", "id"),
        (body(id=""), "id", "empty"),
        (body(source=""), "source", "empty"),
        (body(type=""), "type", "empty"),
        (body(id=5), "event", "$.id"),
        (body(type="agent.unheard_of"), "dataschema", "agent.unheard_of"),
        (body(type="agent.unheard_of", dataschema=None), "type", "agent.task_done"),
        (body(dataschema="urn:else:1"), "dataschema", "urn:swarm:agent.task_done:"),
        (body(dataschema="urn:swarm:agent.task_done:"), "dataschema", "agent.task_done"),
        (body(dataschema="urn:swarm:agent.task_done:0"), "dataschema", "agent.task_done"),
        (body(dataschema="urn:swarm:agent.task_done:-1"), "dataschema", "agent.task_done"),
        (body(dataschema="urn:swarm:agent.task_done:١"), "dataschema", "agent.task_done"),
        (body(dataschema="urn:swarm:agent.task_done:" + "9" * 5000), "dataschema", "agent.task_done"),
        (body(dataschema="urn:swarm:agent.task_done:2"), "dataschema", "version 2"),
        (body(data=None), "data", "agent.task_done"),
        (body(data=5), "data", "agent.task_done"),
        (body(data={}), "data", "task"),
        (body(data={"task": 5}), "data", "$.task"),
        (body(data={"task": "t", "elapsed_us": "soon"}), "data", "$.elapsed_us"),
        (body(data={"task": "t", "elapsed_us": None}), "data", "$.elapsed_us"),
        (
            b'{"specversion":"1.0","id":"1","source":"s","type":"agent.task_done","data":{"task":NaN}}',
            "event",
            "",
        ),
        (DEEP, "event", ""),
        (body(data="DEEP").replace(b'"DEEP"', DEEP), "event", ""),
    ],
)
def test_what_is_no_event_is_refused_and_the_field_named(raw: bytes, field: str, words: str) -> None:
    with pytest.raises(InvalidEvent) as refused:
        decode(raw)
    assert refused.value.field == field
    assert words in str(refused.value)


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_bytes_never_raise_anything_else(raw: bytes) -> None:
    with pytest.raises(InvalidEvent):
        decode(raw)


@given(st.integers(0, len(body()) - 1), st.integers(0, 255))
def test_a_flipped_byte_gives_an_event_or_is_refused(place: int, byte: int) -> None:
    raw = bytearray(body())
    raw[place] = byte
    try:
        read = decode(bytes(raw))
    except InvalidEvent:
        return
    assert encode(read) == raw


def test_a_message_shows_a_long_body_only_in_part() -> None:
    with pytest.raises(InvalidEvent) as refused:
        decode(b"x" * 1000)
    assert refused.value.given == "x" * 80 + "..."


# -- versions ----------------------------------------------------------------------------------------------


@pytest.fixture
def third_version() -> Iterator[type[Data]]:
    """A type that has come to its third version: seconds became microseconds, then a name was added."""

    def to_microseconds(data: dict[str, Any]) -> dict[str, Any]:
        return {"took_us": data["took_s"] * 1e6}

    def to_named(data: dict[str, Any]) -> dict[str, Any]:
        return data | {"name": "unnamed"}

    @event("agent.measured_in_a_test", version=3, upcasters={1: to_microseconds, 2: to_named})
    class Measured(Data, frozen=True, kw_only=True):
        took_us: float
        name: str

    yield Measured
    del registry_module._types["agent.measured_in_a_test"]


@pytest.mark.parametrize(
    ("version", "data", "took_us", "name"),
    [
        (1, {"took_s": 0.5}, 500_000.0, "unnamed"),
        (2, {"took_us": 7.0}, 7.0, "unnamed"),
        (3, {"took_us": 7.0, "name": "n"}, 7.0, "n"),
    ],
)
def test_old_versions_are_read_as_the_current_one(
    third_version: type[Data], version: int, data: dict[str, Any], took_us: float, name: str
) -> None:
    raw = body(type=third_version.type, dataschema=f"urn:swarm:{third_version.type}:{version}", data=data)
    read = decode(raw)
    assert read.data == third_version(took_us=took_us, name=name)
    assert (read.version, encode(read)) == (version, raw)


def test_an_event_without_a_schema_is_of_the_first_version(third_version: type[Data]) -> None:
    read = decode(body(type=third_version.type, dataschema=None, data={"took_s": 1}))
    assert read.data == third_version(took_us=1e6, name="unnamed")


@pytest.mark.parametrize("data", [{}, {"took_s": "soon"}, {"took_s": {}}, [], 5, "x"])
def test_an_old_event_that_is_not_what_its_version_said_is_refused(
    third_version: type[Data], data: Any
) -> None:
    with pytest.raises(InvalidEvent, match=third_version.type):
        decode(body(type=third_version.type, dataschema=None, data=data))


def test_a_version_needs_the_way_from_all_before() -> None:
    with pytest.raises(ValueError, match="needs upcasters for versions 1 to 2"):
        event("agent.never", version=3, upcasters={1: dict})(TaskDone)
    assert not is_registered("agent.never")


def test_a_name_belongs_to_one_class() -> None:
    with pytest.raises(ValueError, match="registered already, as TaskDone"):

        @event("agent.task_done")
        class Impostor(Data, frozen=True, kw_only=True):
            pass


def test_volatile_fields_exist() -> None:
    with pytest.raises(ValueError, match=r"volatile names no field: \['elapsed'\]"):

        @event("agent.never", volatile=("elapsed",))
        class Never(Data, frozen=True, kw_only=True):
            elapsed_s: float


# -- the registry ------------------------------------------------------------------------------------------


def test_an_unknown_type_is_answered_with_those_that_are_known() -> None:
    with pytest.raises(InvalidEvent, match=r"agent\.predicted") as refused:
        lookup("agent.preditced")
    assert (refused.value.field, refused.value.given) == ("type", "agent.preditced")


def test_names_say_context_and_participle() -> None:
    assert [one.name for one in TYPES] == sorted(one.name for one in TYPES)
    assert {one.name.split(".")[0] for one in TYPES} == {
        "agent",
        "benchmark",
        "consensus",
        "memory",
        "metrics",
        "optimizer",
    }


def test_what_concludes_a_task_names_it() -> None:
    assert [one.name for one in TYPES if one.cls.concludes and "task" not in one.cls.__struct_fields__] == []


@given(suite=texts, seed=st.integers(0, 2**62))
def test_a_bare_request_is_complete(suite: str, seed: int) -> None:
    raw = msgspec.json.encode({"suite": suite, "seed": seed})
    assert decode_data("benchmark.requested", 1, raw) == Requested(suite=suite, seed=seed)


@given(name=tokens)
def test_defaults_are_not_written(name: str) -> None:
    assert msgspec.json.decode(encode(write(Requested(suite=name))))["data"] == {"suite": name}
    assert set(Started.__struct_fields__) >= {"params", "tasks", "targets", "seed"}
