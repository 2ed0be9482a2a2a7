"""What measuring and a kept view cost, measured for real in fresh processes, without a broker."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from support.played import play
from swarm_common.errors import TaskFailed, UsageError
from swarm_common.events import Event, decode, encode
from swarm_common.events.benchmark import Completed
from swarm_common.events.metrics import MemoryProfiled, OverheadMeasured
from swarm_common.runs import fold
from swarm_metrics.costs import memory, overhead
from swarm_metrics.costs.apart import apart
from swarm_metrics.costs.measuring import OverheadParams, judged, measure_overhead
from swarm_metrics.costs.runs import TASKS, run_events
from swarm_metrics.costs.sink import sink

OVERHEAD = {"tasks": 60, "rounds": 6}
#: A service that keeps 64 KiB of each run for ever, and one that does not.
LEAKY = """
import os, sys
from pathlib import Path
import msgspec
from swarm_metrics.costs import memory, overhead
kept, real = [], memory.run_events
def leaky(number):
    kept.append(os.urandom(65536))
    return real(number)
if sys.argv[1] == "leaky":
    memory.run_events = leaky
memory.RUNS = 1
order = memory.Order(portions=144, work=int(sys.argv[2]), directory=sys.argv[3])
home = Path(order.directory)
sys.stdout.buffer.write(msgspec.msgpack.encode(memory._portions(order, home / "view", home / "log")))
"""


@pytest.fixture(scope="module")
def overheads() -> list[list[Event]]:
    """The same run twice."""
    return [asyncio.run(play("overhead", OVERHEAD, suite="noop")) for _ in range(2)]


def ended(events: list[Event]) -> Completed:
    assert isinstance(events[-1].data, Completed), events[-1]
    return events[-1].data


def measured(events: list[Event]) -> OverheadMeasured:
    (found,) = (event.data for event in events if isinstance(event.data, OverheadMeasured))
    return found


def test_spans_are_taken_by_a_collector_where_tracing_is_on_and_only_there(
    overheads: list[list[Event]],
) -> None:
    found = measured(overheads[0])
    everything = 2 * 60 * 6  # each task is processed, and its result sent
    assert (found.spans["off"], found.spans["collection"]) == (0, 0)
    assert found.spans["tracing"] == everything
    assert 0 < found.spans["tracing_sampled"] < everything / 4


def test_every_condition_has_one_value_a_round(overheads: list[list[Event]]) -> None:
    found = measured(overheads[0])
    rounds = {(one.name, one.of): len(one.values) for one in found.samples if one.of}
    assert rounds == {(name, of): 6 for name in ("task_cpu", "task_time") for of in found.conditions}
    assert all(value > 0 for one in found.samples for value in one.values)


def test_times_differ_and_the_digest_does_not(overheads: list[list[Event]]) -> None:
    first, second = map(measured, overheads)
    assert first.samples != second.samples
    assert ended(overheads[0]).digest == ended(overheads[1]).digest
    assert all(target.met for target in ended(overheads[0]).targets)


async def test_more_tasks_than_the_queue_of_spans_holds_are_refused() -> None:
    with pytest.raises(UsageError, match=r"params\.tasks is 5000"):
        await measure_overhead("t", OverheadParams(tasks=5000, rounds=6), 1)


async def test_where_spans_get_lost_their_cost_is_not_told() -> None:
    order = overhead.Order(tasks=5, rounds=1, seed=1)
    nobody = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_TIMEOUT": "0.1"}
    with pytest.raises(TaskFailed, match="took 0 of 10 spans"):
        await apart("overhead", order, overhead.Found, nobody)


async def test_the_collector_takes_what_is_sent_and_says_so() -> None:
    async with sink() as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        for _ in range(2):  # one connection, many requests
            writer.write(b"POST /v1/traces HTTP/1.1\r\nContent-Length: 5\r\n\r\nspans")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        writer.close()
        await writer.wait_closed()


# -- memory ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def memories() -> list[Event]:
    """A profile too short to tell of leaks, with what grew."""
    return asyncio.run(play("memory", {"portions": 16, "explain": True}, suite="noop"))


def profiled(events: list[Event]) -> MemoryProfiled:
    (found,) = (event.data for event in events if isinstance(event.data, MemoryProfiled))
    return found


def test_all_that_was_made_lies_in_the_view(memories: list[Event]) -> None:
    found = profiled(memories)
    assert found.rows == 16 * memory.RUNS
    assert found.events == found.rows * (2 * TASKS + 2)
    assert found.event_bytes == sum(
        len(encode(event)) for number in range(found.rows) for event in run_events(number)
    )
    assert found.view_bytes > found.rows * 100
    counts = {(one.name, one.of): len(one.values) for one in found.samples}
    assert counts["rss", "single"] == counts["rss", "double"] == counts["write", "event"] == 16
    assert (counts["rebuild", ""], counts["open", ""]) == (3, 20)


def test_what_grew_is_told_by_line_and_type_and_no_path_of_the_machine(memories: list[Event]) -> None:
    grew = profiled(memories).grew
    assert any(one.where.startswith("objects of type ") for one in grew)
    assert any(one.where.rpartition(":")[2].isdecimal() for one in grew)
    assert not any(one.where.startswith("/") or str(Path.home()) in one.where for one in grew)
    assert all(one.bytes > 0 for one in grew)


def test_the_result_has_what_is_the_same_each_time_and_nothing_that_was_timed(memories: list[Event]) -> None:
    found = profiled(memories)
    assert ended(memories).result == {
        "events": found.events,
        "event_bytes": found.event_bytes,
        "runs": found.rows,
    }
    assert {metric.name for metric in ended(memories).metrics if not metric.timing} == {
        "events",
        "event_bytes",
    }
    assert {"samples", "grown", "grew", "view_bytes", "elapsed_s"} == MemoryProfiled.volatile


def test_the_runs_that_fill_the_view_are_whole() -> None:
    events = [decode(encode(event), number) for number, event in enumerate(run_events(7), 1)]
    view = fold(events[0].run, events)
    assert (view.status, view.count("done"), view.suite) == ("completed", TASKS, "noop")
    assert {event.run for event in run_events(8)}.isdisjoint({view.run})


def in_a_process(kind: str, work: int, directory: Path) -> memory.Found:
    directory.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", LEAKY, kind, str(work), str(directory)], capture_output=True, check=True
    )
    return msgspec.msgpack.decode(done.stdout, type=memory.Found)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
@pytest.mark.parametrize("kind", ["leaky", "sound"])
def test_a_leak_that_is_planted_is_found_and_without_it_none(kind: str, tmp_path: Path) -> None:
    found = judged(*(in_a_process(kind, work, tmp_path / str(work)) for work in (1, 2)))
    # So short a profile may see SQLite's cache fill, and suspect it.
    assert (found.verdict == "leak") == (kind == "leaky"), found
    if kind == "leaky":
        assert found.single.per_sample == pytest.approx(65536, rel=0.2)


async def test_a_process_that_fails_says_why(tmp_path: Path) -> None:
    order = memory.Order(portions=16, work=1, directory=str(tmp_path / "gone"))
    with pytest.raises(TaskFailed, match="ended with status 1"):
        await apart("memory", order, memory.Found)
