"""A request's bytes, and what the coordinator makes of them."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_common.errors import InvalidEvent
from swarm_common.events.benchmark import Rejected, Started
from swarm_common.events.envelope import decode, encode, new_event
from swarm_common.ids import derive
from swarm_coordinator.moment import Moment
from swarm_coordinator.requests import DEEPEST, Request, begin, read_request
from swarm_coordinator.suites import SUITES

NOW = Moment(1_800_000_000_000_000_000)
TRACE = f"00-{'a' * 32}-{'b' * 16}-01"


def read(raw: bytes, message_id: str = "", **headers: str) -> Request:
    return read_request(raw, message_id=message_id, position="SWARM:7:1", headers=headers)


def ask(**body: Any) -> Started | Rejected:
    return begin(Request(id="r", body=body), SUITES, NOW, "engine 1")


def enveloped(**more: Any) -> bytes:
    whole = {"specversion": "1.0", "id": "event-1", "source": "/s", "type": "benchmark.requested"}
    return msgspec.json.encode(whole | more)


def test_bare_data_are_a_request_and_the_header_names_it() -> None:
    assert read(b'{"suite":"noop"}', "id-1") == Request(id="id-1", body={"suite": "noop"})


def test_without_an_id_the_position_in_the_log_names_it() -> None:
    assert read(b"{}").id == derive("SWARM:7:1", "request", 0)
    assert read(b"{}").id == read(b'{"suite": "noop"}').id


def test_an_envelope_names_its_request_before_any_header() -> None:
    found = read(enveloped(data={"suite": "noop"}, traceparent=TRACE), "id-1")
    assert found == Request(id="event-1", body={"suite": "noop"}, traceparent=TRACE)


def test_an_envelope_without_an_id_is_named_by_the_header() -> None:
    assert read(enveloped(id=""), "id-1").id == "id-1"
    assert read(enveloped(id=5), "id-1").id == "id-1"


def test_a_very_long_id_is_replaced_since_every_event_carries_it() -> None:
    found = read(b"{}", "x" * 1000).id
    assert len(found) < 50
    assert found == read(b"{}", "x" * 1000).id != read(b"{}", "x" * 999).id


@pytest.mark.parametrize(
    ("name", "value"), [("type", "agent.predicted"), ("type", "nope"), ("type", 5), ("specversion", "0.3")]
)
def test_an_envelope_of_another_kind_is_rejected_with_that_named(name: str, value: object) -> None:
    found = read(enveloped(data={"suite": "noop"}) if name == "x" else enveloped(**{name: value}))
    rejected = begin(found, SUITES, NOW, "")
    assert isinstance(rejected, Rejected)
    assert rejected.field == name


def test_a_trace_comes_from_header_or_envelope_and_only_a_valid_one() -> None:
    assert read(b"{}", traceparent=TRACE, tracestate="a=1").tracestate == "a=1"
    assert read(b"{}", traceparent=TRACE).traceparent == TRACE
    for bad in ("", "00-0-0-0", f"00-{'0' * 32}-{'b' * 16}-01", "x" * 55):
        assert not read(b"{}", traceparent=bad).traceparent
    assert not read(b"{}", tracestate="a=" + "x" * 600).tracestate


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"no",
        b"[1]",
        b'"noop"',
        b"1",
        b"null",
        b"true",
        b'{"suite":"noop"',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1e999}',
        b'{"suite": "\xff"}',
        b'{"suite": "\\ud800"}',
        b"\xef\xbb\xbf{}",
        b"[" * 10_000 + b"]" * 10_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b'{"a":' * (DEEPEST + 1) + b"1" + b"}" * (DEEPEST + 1),
        b"[" * 100_000,
    ],
    ids=lambda raw: raw[:20].decode("latin-1"),
)
def test_bytes_that_are_no_request(raw: bytes) -> None:
    with pytest.raises(InvalidEvent) as raised:
        read(raw)
    assert raised.value.field == "body"


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_an_error_of_ours(raw: bytes) -> None:
    with contextlib.suppress(InvalidEvent):
        read(raw)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
FIELDS = st.sampled_from(
    ["suite", "scenario", "params", "session", "seed", "timeout_s", "specversion", "data"]
)
BODIES = st.dictionaries(FIELDS | st.text(max_size=5), JSON | st.sampled_from(["noop", "1.0"]), max_size=6)


@given(BODIES)
def test_any_object_starts_or_is_rejected_and_both_can_be_stored(body: dict[str, Any]) -> None:
    try:
        raw = msgspec.json.encode(body)
        request = read(raw, "id-1")
    except (InvalidEvent, OverflowError, UnicodeEncodeError):
        return  # what cannot be written cannot arrive
    found = begin(request, SUITES, NOW, "")
    event = new_event(found, run="r", source="/s", cause=request.id, handler="h", correlation=request.id)
    assert decode(encode(event)).data == found


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "suite"),
        ({"suite": 5}, "suite"),
        ({"suite": "nope"}, "suite"),
        ({"suite": "noop", "scenario": "nope"}, "scenario"),
        ({"suite": "noop", "scenario": None}, "scenario"),
        ({"suite": "noop", "nope": 1}, "nope"),
        ({"suite": "noop", "params": []}, "params"),
        ({"suite": "noop", "params": {"nope": 1}}, "params.nope"),
        ({"suite": "noop", "params": {"tasks": 0}}, "params.tasks"),
        ({"suite": "noop", "params": {"tasks": True}}, "params.tasks"),
        ({"suite": "noop", "params": {"tasks": 1.0}}, "params.tasks"),
        ({"suite": "noop", "params": {"tasks": float("nan")}}, "params.tasks"),
        ({"suite": "noop", "params": {"tasks": None}}, "params.tasks"),
        ({"suite": "ensemble", "params": {"test_share": float("nan")}}, "params.test_share"),
        ({"suite": "ensemble", "params": {"combination": "loudest"}}, "params.combination"),
        ({"suite": "ensemble", "params": {"folds": 0}}, "params.folds"),
        ({"suite": "ensemble", "params": {"models": ["svm", 5]}}, "params.models"),
        ({"suite": "ensemble", "params": {"models": []}}, "params.models"),
        ({"suite": "noop", "session": ""}, "session"),
        ({"suite": "noop", "session": "a.b"}, "session"),
        ({"suite": "noop", "session": "x" * 129}, "session"),
        ({"suite": "noop", "seed": -1}, "seed"),
        ({"suite": "noop", "seed": 2**32}, "seed"),
        ({"suite": "noop", "seed": 10**4000}, "seed"),
        ({"suite": "noop", "seed": 1.5}, "seed"),
        ({"suite": "noop", "timeout_s": 0}, "timeout_s"),
        ({"suite": "noop", "timeout_s": -0.0}, "timeout_s"),
        ({"suite": "noop", "timeout_s": 86_401}, "timeout_s"),
        ({"suite": "noop", "timeout_s": float("nan")}, "timeout_s"),
        ({"suite": "noop", "timeout_s": True}, "timeout_s"),
        ({"suite": "noop", "timeout_s": 10**400}, "timeout_s"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_rejected_with_the_field_named(body: dict[str, Any], field: str) -> None:
    found = ask(**body)
    assert isinstance(found, Rejected)
    assert found.field == field
    assert found.reason
    if found.allowed and "params." not in field and field != "nope":
        assert found.allowed


def test_a_rejection_stays_readable_however_large_the_request() -> None:
    long = "x" * 100_000
    for body in (
        {"suite": long},
        {long: 1},
        {"suite": "noop", "params": {long: 1}},
        {"suite": "noop", "session": long},
        {"suite": "noop", "params": {"tasks": long}},
    ):
        found = ask(**body)
        assert isinstance(found, Rejected)
        assert len(msgspec.json.encode(found)) < 16_000


def test_a_request_starts_with_every_default_filled_in() -> None:
    found = ask(suite="noop")
    assert isinstance(found, Started)
    assert (found.scenario, found.params, found.session, found.seed) == (
        "throughput",
        {"tasks": 100, "fail_attempts": 0},
        "default",
        42,
    )
    assert found.timeout_s == 600.0
    assert found.deadline == "2027-01-15T08:10:00.000000Z"
    assert len(found.tasks) == 100


def test_a_run_may_be_as_short_as_a_millisecond_and_as_long_as_a_day() -> None:
    for timeout_s in (0.001, 86_400):
        found = ask(suite="noop", timeout_s=timeout_s)
        assert isinstance(found, Started)
        assert found.timeout_s == timeout_s


def test_an_unexpected_error_of_a_planner_is_not_taken_for_a_bad_request() -> None:
    class Broken:
        name, description, scenarios = "noop", "", SUITES["noop"].scenarios

        def plan(self, _: object) -> Any:
            raise KeyError("x")

    with pytest.raises(KeyError):
        begin(Request(id="r", body={"suite": "noop"}), {"noop": Broken()}, NOW, "")


@pytest.mark.parametrize(
    ("params", "recorded"),
    [({}, "openai"), ({"executor": "embedded"}, "embedded"), ({"executor": "openai"}, "openai")],
)
def test_where_there_is_an_endpoint_a_run_records_that_it_was_asked(
    params: dict[str, str], recorded: str
) -> None:
    """Else two runs of other models would be held against each other as alike, and their answers as computed."""
    request = Request(id="r", body={"suite": "coordination", "params": params})
    found = begin(request, SUITES, NOW, "engine 1", endpoint=True)
    assert isinstance(found, Started)
    assert found.params["executor"] == recorded
    assert found.deterministic == (recorded == "embedded")
    again = begin(
        Request(id="r", body={"suite": "coordination", "params": found.params}), SUITES, NOW, "engine 1"
    )
    assert again == found


def test_without_an_endpoint_the_default_stays_what_it_is() -> None:
    found = ask(suite="coordination")
    assert isinstance(found, Started)
    assert (found.params["executor"], found.deterministic) == ("default", True)
