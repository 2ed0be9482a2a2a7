"""The replicated store: same decisions, same state; a command that is decided twice is carried out once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from swarm_consensus.keyvalue import Answer, Command, KeyValue, encode
from swarm_consensus.protocols.core import Decision


def command(number: int, f: Any, key: Any = "k", value: Any = None, *, client: str = "c", **more: Any) -> str:
    return encode(Command(client=client, number=number, f=f, key=key, value=value, **more))


def played(*values: str, store: KeyValue | None = None) -> tuple[KeyValue, list[Answer]]:
    store = store or KeyValue()
    begin = store.slot + 1
    done = [one for at, value in enumerate(values) for one in store.apply(Decision(begin + at, value))]
    return store, [one.answer for one in done]


def test_each_operation_does_what_it_says() -> None:
    _, answers = played(
        command(1, "get"),
        command(2, "put", value={"a": [1]}),
        command(3, "get"),
        command(4, "cas", value=[{"a": [1]}, "x"]),
        command(5, "cas", value=["other", "y"]),
        command(6, "append", value="yz"),
        command(7, "get"),
        command(8, "cas", key="new", value=[None, 1]),
        command(9, "cas", key="new", value=[None, 1], create=True),
        command(10, "append", key="new", value="text"),
        command(11, "append", key="fresh", value="text"),
        command(12, "get", key="fresh"),
    )
    refusals = [answer.refused for answer in answers]
    assert refusals == [
        "absent",
        None,
        None,
        None,
        "differs",
        None,
        None,
        "absent",
        None,
        "not text",
        None,
        None,
    ]
    assert [answers[at].value for at in (2, 6, 11)] == [{"a": [1]}, "xyz", "text"]


def test_keys_are_told_apart_by_their_json() -> None:
    store, _ = played(command(1, "put", 1, "number"), command(2, "put", "1", "text"))
    assert dict(store.values) == {"1": "number", '"1"': "text"}


def test_a_command_decided_twice_is_carried_out_once_and_answered_twice() -> None:
    append, first, second = command(1, "append", value="a"), command(2, "get"), command(3, "get")
    _, answers = played(append, append, first, append, second, first)
    assert [answer.value for answer in answers] == [None, None, "a", None, "a", None]
    assert [answer.refused for answer in answers] == [None, None, None, "overtaken", None, "overtaken"]


def test_a_second_client_has_a_session_of_its_own() -> None:
    store, _ = played(command(1, "append", value="a"), command(1, "append", value="b", client="d"))
    assert store.values['"k"'] == "ab"


def test_decisions_wait_for_their_turn_and_come_once() -> None:
    store = KeyValue()
    assert store.apply(Decision(1, command(2, "append", value="b"))) == []
    done = store.apply(Decision(0, command(1, "append", value="a")))
    assert [(one.slot, one.command.number) for one in done] == [(0, 1), (1, 2)]
    assert store.apply(Decision(0, command(9, "append", value="again"))) == []
    assert store.values['"k"'] == "ab"


@pytest.mark.parametrize("value", ["", "no json", "{}", '{"client":"c","number":1,"f":"drop","key":1}'])
def test_a_value_that_is_no_command_takes_its_slot_and_does_nothing(value: str) -> None:
    store, answers = played(value, command(1, "put", value=1))
    assert (store.slot, len(answers), store.values['"k"']) == (1, 1, 1)


def test_a_snapshot_holds_values_and_sessions() -> None:
    append = command(1, "append", value="a")
    store, _ = played(append, command(1, "put", "other", 2, client="d"))
    other = KeyValue()
    other.apply(Decision(2, append))  # came early; and again, after what the snapshot has
    other.restore(store.slot, store.state())
    assert (other.slot, dict(other.values)) == (1, dict(store.values))
    assert json.loads(other.state()) == json.loads(store.state())
    _, answers = played(append, command(2, "get"), store=other)
    assert [answer.value for answer in answers] == [None, "a"]


def test_an_older_snapshot_changes_nothing() -> None:
    old, _ = played(command(1, "put", value=1))
    store, _ = played(command(1, "put", value=1), command(2, "put", value=2))
    store.restore(old.slot, old.state())
    assert (store.slot, store.values['"k"']) == (1, 2)
