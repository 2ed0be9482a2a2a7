"""The history format: what a line may be, what it means, and what is said of one that cannot be."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from swarm_histories import CAS_REGISTER, KV, REGISTER, Event, InvalidHistory, Model, encode, read


def line(process: Any, kind: str, f: str, **more: Any) -> bytes:
    return msgspec.json.encode({"process": process, "type": kind, "f": f, **more})


def test_events_become_operations_with_the_numbers_of_their_lines() -> None:
    found = read(
        [
            line(0, "invoke", "write", key="x", value=1, time=123, index=0),
            b"",
            line("b", "invoke", "read", key="x"),
            line(0, "ok", "write"),
            line("b", "ok", "read", key="x", value=1),
            line(0, "invoke", "cas", value=[1, 2]),
            line(0, "fail", "cas", value=[1, 2], error="not 1"),
            line(0, "invoke", "write", value=3),
            line(0, "info", "write", value=3),
            line(0, "invoke", "read"),
        ],
        CAS_REGISTER,
    )
    assert [(one.process, one.f, one.key, one.value, one.called, one.returned) for one in found] == [
        (0, "write", "x", 1, 1, 4),
        ("b", "read", "x", 1, 3, 5),
        (0, "write", None, 3, 8, None),
        (0, "read", None, None, 10, None),
    ]


def test_a_line_that_is_written_is_read_again() -> None:
    events = [
        Event(process=1, type="invoke", f="put", key="k", value="v"),
        Event(process=1, type="ok", f="put"),
        Event(process=1, type="invoke", f="get", key="k"),
        Event(process=1, type="ok", f="get", key="k", value=None),
    ]
    lines = [encode(event) for event in events]
    assert [msgspec.json.decode(line, type=Event) for line in lines] == events
    assert [one.value for one in read(lines, KV)] == ["v", None]


@pytest.mark.parametrize(
    ("lines", "model", "number", "what"),
    [
        ([b"nonsense"], REGISTER, 1, "allowed: an object with"),
        ([b'{"process": 1, "type": "done", "f": "read"}'], REGISTER, 1, "invoke, ok, fail or info"),
        ([b'{"type": "invoke", "f": "read"}'], REGISTER, 1, "process"),
        ([line(1, "invoke", "cas", value=[1, 2])], REGISTER, 1, "no operation 'cas'; allowed: read, write"),
        ([line(1, "ok", "read", value=1)], REGISTER, 1, "has not begun; allowed: invoke"),
        ([line(1, "invoke", "read"), line(1, "invoke", "read")], REGISTER, 2, "before its read of line 1"),
        ([line(1, "invoke", "read"), line(1, "ok", "read")], REGISTER, 2, "says not what was read"),
        ([line(1, "invoke", "read"), line(1, "ok", "write", value=1)], REGISTER, 2, "line 1 began f 'read'"),
        (
            [line(1, "invoke", "read", key="x"), line(1, "ok", "read", key="y", value=1)],
            REGISTER,
            2,
            "line 1 began key 'x'",
        ),
        ([line(1, "invoke", "write")], REGISTER, 1, "has no value"),
        ([line(1, "invoke", "cas", value=1)], CAS_REGISTER, 1, "[expected, new]"),
        ([line(1, "invoke", "append", value=1)], KV, 1, "needs text"),
        ([line(1, "invoke", "get"), b"", line(1, "ok", "get", value=1)], KV, 3, "did not read text"),
    ],
)
def test_a_wrong_line_is_named_with_what_is_allowed(
    lines: list[bytes], model: Model, number: int, what: str
) -> None:
    with pytest.raises(InvalidHistory) as caught:
        read(lines, model)
    assert caught.value.line == number
    assert str(caught.value).startswith(f"line {number}: ")
    assert what in str(caught.value)
    assert caught.value.allowed or "allowed" not in what
