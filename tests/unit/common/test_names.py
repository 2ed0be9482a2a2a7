"""Ids, subjects, times and keys: derived the same by everybody, for good."""

from __future__ import annotations

import threading
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.events import data_of, texts, tokens
from swarm_common import clock, ids
from swarm_common.errors import InvalidEvent
from swarm_common.events import EventType, registered
from swarm_common.events.agent import Called, Predicted, TaskDone
from swarm_common.events.benchmark import CancelRequested, Started, TaskScheduled
from swarm_common.events.consensus import Decided
from swarm_common.events.subjects import (
    CONTEXTS,
    decisions_filter,
    result_subject,
    results_filter,
    run_filter,
    scheduled_filter,
    subject_of,
)
from swarm_common.log.timers import Timer, fired, is_fired
from swarm_common.memory_key import memory_key

TYPES = list(registered())
every_type = pytest.mark.parametrize("one", TYPES, ids=lambda one: one.name)


def matches(pattern: str, subject: str) -> bool:
    """Say whether NATS would match: ``*`` is one token, ``>`` one or more at the end."""
    wanted, have = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        return len(have) >= len(wanted) and matches(".".join(wanted[:-1]), ".".join(have[: len(wanted) - 1]))
    return len(wanted) == len(have) and all(w in ("*", h) for w, h in zip(wanted, have, strict=True))


# -- ids ---------------------------------------------------------------------------------------------------


@given(cause=texts, handler=texts, index=st.integers() | texts)
def test_derived_ids_are_uuid_5_of_the_standard_library(cause: str, handler: str, index: int | str) -> None:
    assert ids.derive(cause, handler, index) == str(
        uuid.uuid5(ids.NAMESPACE, f"{cause}\x00{handler}\x00{index}")
    )


def test_derived_ids_stay_what_they_were() -> None:
    # Recorded logs hold ids of this form: whoever changes it makes every replay differ.
    assert ids.derive("cause", "handler", 0) == "cb156003-b0f4-5ca5-8b22-8d87ed6bcec5"
    assert ids.run_id("request-1") == "8f0aa8e875165935"


@given(request=texts)
def test_a_request_is_one_run_and_one_trace(request: str) -> None:
    run, trace = ids.run_id(request), ids.trace_id(request)
    assert ids.is_token(run)
    assert (len(run), len(trace)) == (16, 32)
    assert int(trace, 16) >= 0
    assert (run, trace) == (ids.run_id(request), ids.trace_id(request))


def test_random_ids_are_uuids_and_spans_of_eight_bytes() -> None:
    assert uuid.UUID(ids.new_id()).version == 4
    assert len(bytes.fromhex(ids.new_span_id())) == 8
    assert ids.new_id() != ids.new_id()


@pytest.mark.parametrize("text", ["", "a.b", "a b", "*", ">", "ä", "a\n", "x" * 129, "a/b", "$", "\u0661"])
def test_what_is_no_token(text: str) -> None:
    assert not ids.is_token(text)


@given(tokens)
def test_what_is_a_token(text: str) -> None:
    assert ids.is_token(text)
    assert ids.is_token("x" * 128)


# -- subjects ----------------------------------------------------------------------------------------------


@every_type
@given(more=st.data(), run=tokens)
@settings(max_examples=10)
def test_every_event_lies_under_its_run_and_context(one: EventType, more: st.DataObject, run: str) -> None:
    subject = subject_of(run, more.draw(data_of(one)))
    context, name = one.name.split(".")
    assert matches(run_filter(run), subject)
    assert subject.split(".")[:4] == ["swarm", context, run, name]
    assert matches(decisions_filter(run), subject) == (context == "benchmark")


@every_type
@given(more=st.data())
@settings(max_examples=10)
def test_what_a_worker_says_of_a_task_has_a_subject_of_its_own(one: EventType, more: st.DataObject) -> None:
    data = more.draw(data_of(one))
    subject = subject_of("r", data)
    context = one.name.split(".")[0]
    of_a_task = context != "benchmark" and "task" in one.cls.__struct_fields__
    if isinstance(
        data, Called | Decided
    ):  # of which a task has many; the coordinator waits for what concludes it
        assert subject == f"{result_subject(one.name, 'r', data.task)}.{data.number}"
        of_a_task = False
    assert of_a_task == any(
        matches(results_filter(name), subject) for name in CONTEXTS if name != "benchmark"
    )
    if of_a_task:
        assert subject == result_subject(one.name, "r", data.task)  # type: ignore[attr-defined]


def test_a_scheduled_task_goes_to_one_lane_of_one_service() -> None:
    subject = subject_of("r", TaskScheduled(task="t", kind="train", service="model_agent", lane="cpu"))
    assert subject == "swarm.benchmark.r.task_scheduled.model_agent.cpu"
    assert matches(scheduled_filter("model_agent", "cpu"), subject)
    assert not matches(scheduled_filter("model_agent", "io"), subject)


@pytest.mark.parametrize("bad", ["", "a.b", "*", ">", "a b", "ü", "x" * 129])
def test_no_subject_holds_a_bad_token(bad: str) -> None:
    scheduled = {"task": "t", "kind": "k", "service": "s"}
    for run, data in (
        (bad, CancelRequested()),
        ("r", TaskDone(task=bad)),
        ("r", TaskScheduled(**(scheduled | {"task": bad}))),
        ("r", TaskScheduled(**(scheduled | {"service": bad}))),
    ):
        with pytest.raises(InvalidEvent, match="cannot stand in a subject") as refused:
            subject_of(run, data)
        assert refused.value.given == bad


def test_every_context_has_its_filter() -> None:
    assert {one.name.split(".")[0] for one in TYPES} == set(CONTEXTS)
    assert {Started.type, Predicted.type} == {"benchmark.started", "agent.predicted"}


# -- timers ------------------------------------------------------------------------------------------------


@given(run=tokens, name=tokens)
def test_a_fired_timer_says_run_and_name(run: str, name: str) -> None:
    subject = f"timer.fired.{run}.{name}"
    assert is_fired(subject)
    assert fired(subject) == (run, name)
    assert not is_fired(f"timer.set.{run}.{name}")
    assert not is_fired(f"swarm.agent.{run}.task_done.{name}")


def test_a_timer_is_due_at_a_moment() -> None:
    assert Timer("r", "deadline", 1_500_000_000).due == "1970-01-01T00:00:01.500000Z"


# -- times -------------------------------------------------------------------------------------------------

moments = st.integers(0, 7_258_118_400 * 10**9)  # to the year 2200


@given(moments)
def test_times_go_round_to_the_microsecond(ns: int) -> None:
    assert clock.parse_ns(clock.format_ns(ns)) == ns // 1000 * 1000


@given(moments)
def test_times_are_those_of_the_standard_library(ns: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ns // 1000)
    assert clock.format_ns(ns) == moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


@given(moments, moments)
def test_times_sort_as_text(first: int, second: int) -> None:
    texts_of = [clock.format_ns(first), clock.format_ns(second)]
    assert (texts_of[0] < texts_of[1]) == (first // 1000 < second // 1000)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:01Z", 10**9),
        ("1970-01-01T01:00:01+01:00", 10**9),
        ("1970-01-01T00:00:01", 10**9),
        ("1969-12-31T23:59:59Z", -(10**9)),
        ("1970-01-01T00:00:00.123456789Z", 123_456_000),
    ],
)
def test_times_of_others_are_read(text: str, ns: int) -> None:
    assert clock.parse_ns(text) == ns


@pytest.mark.parametrize("text", ["", "now", "12:00", "2026-13-01T00:00:00Z", "2026-11-21T25:00:00Z"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        clock.parse_ns(text)


def test_threads_format_their_own_second() -> None:
    seconds = (1_000_000_000, 1_500_000_000)
    wrong: list[str] = []

    def work(second: int) -> None:
        expected = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
        wrong.extend(text for _ in range(20_000) if (text := clock.format_ns(second * 10**9)) != expected)

    threads = [threading.Thread(target=work, args=(second,)) for second in seconds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_now_is_now() -> None:
    assert abs(clock.now_ns() / 1e9 - datetime.now(UTC).timestamp()) < 60


# -- memory keys -------------------------------------------------------------------------------------------


@given(st.dictionaries(texts, st.integers(-(2**53), 2**53) | texts | st.booleans(), max_size=5))
def test_a_memory_key_does_not_depend_on_the_order_of_parameters(params: dict[str, object]) -> None:
    turned = dict(reversed(params.items()))
    assert memory_key("s", "c", params) == memory_key("s", "c", turned)
    assert memory_key("s", "c", params) != memory_key("s", "c", params | {"one": "more than any"})
