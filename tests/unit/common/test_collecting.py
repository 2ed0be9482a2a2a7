"""What a service collects of itself: it tells what happened, and only that."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from support.waiting import until, until_sync
from swarm_common import live
from swarm_common.errors import SettingsError
from swarm_common.live import LiveMetrics
from swarm_common.runtime.collecting import Collector, GcPauses, Stamps
from swarm_common.runtime.processes import Descendants, OwnProcess
from swarm_common.settings import load_settings

MIB = 2**20
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what /proc tells")


@pytest.fixture
def process() -> Iterator[OwnProcess]:
    found = OwnProcess()
    yield found
    found.close()


# -- the process -------------------------------------------------------------------------------------------


@linux
def test_memory_that_is_taken_is_seen_and_that_it_went_too(process: OwnProcess) -> None:
    before = (process.rss_bytes() or 0, process.uss_bytes() or 0)
    taken = bytearray(os.urandom(64 * MIB))
    during = (process.rss_bytes() or 0, process.uss_bytes() or 0)
    peak = process.status().peak_bytes or 0
    del taken
    after = (process.rss_bytes() or 0, process.uss_bytes() or 0)
    assert all(high - low > 60 * MIB for low, high in zip(before, during, strict=True))
    assert all(high - low > 60 * MIB for low, high in zip(after, during, strict=True))
    assert peak >= during[0] - MIB
    assert (process.status().peak_bytes or 0) >= peak


@linux
def test_processes_below_are_found_with_theirs_and_missed_when_they_end() -> None:
    below = Descendants()
    below.look()
    there = below.read()
    assert there is not None
    with subprocess.Popen(["sh", "-c", "cat; true"], stdin=subprocess.PIPE) as shell:

        def two_more() -> bool:
            below.look()
            found = below.read()
            return found is not None and found.processes == there.processes + 2

        until_sync(two_more, what="the shell and its cat")
        found = below.read()
        assert found is not None
        assert found.rss_bytes > there.rss_bytes
        shell.communicate(b"")
    ended = below.read()
    assert ended is not None
    assert ended.processes == there.processes


@linux
def test_processor_time_of_a_child_counts_after_its_end_too() -> None:
    below = Descendants()
    assert below.read() is None
    below.look()
    before = below.read()
    work = "import time\nwhile time.process_time() < .15: pass"
    subprocess.run([sys.executable, "-I", "-S", "-c", work], check=True)
    after = below.read()
    assert before is not None
    assert after is not None
    assert after.cpu_s - before.cpu_s > 0.1


# -- what happens often ------------------------------------------------------------------------------------


def test_durations_are_counted_each_once_and_told_in_microseconds() -> None:
    stamps = Stamps()
    for duration in range(1, 20_001):  # more than wait at once
        stamps.add(5_000, 5_000 + duration * 1000)
    found = stamps.take()
    assert (found.count, found.low, found.high) == (20_000, 1.0, 20_000.0)
    assert stamps.take().count == 0


def test_pauses_of_the_collector_of_garbage_are_seen_while_asked_for() -> None:
    pauses = GcPauses()
    pauses.begin()
    try:
        gc.collect()
        gc.collect()
    finally:
        pauses.end()
    seen = pauses.collections
    gc.collect()
    assert pauses.collections == seen >= 2
    assert pauses.stamps.take().total == pytest.approx(pauses.total_us)
    assert pauses.total_us > 0


# -- samples -----------------------------------------------------------------------------------------------


class Listener:
    """Hears what a collector publishes."""

    def __init__(self, *, fails: bool = False) -> None:
        self.heard: list[tuple[str, LiveMetrics]] = []
        self.asked = 0
        self._fails = fails

    async def publish(self, subject: str, body: bytes) -> None:
        self.asked += 1
        if self._fails:
            raise OSError("no way")
        found = live.decode(body)
        assert found is not None
        self.heard.append((subject, found))


def counts() -> tuple[int, int, int]:
    return 7, 2, 1


async def test_samples_follow_one_another_and_tell_of_their_interval() -> None:
    collector, listener = Collector("noop", "host.example-1", 0.1), Listener()
    running = asyncio.create_task(collector.run(listener.publish, counts))
    await until(lambda: len(listener.heard) >= 2)
    collector.task_ended(time.perf_counter_ns() - 2_000_000)
    used = time.process_time()
    while time.process_time() - used < 0.3:  # holds the loop, and a core
        pass
    before = len(listener.heard)
    await until(lambda: len(listener.heard) > before)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert {subject for subject, _ in listener.heard} == {"live.metrics.noop.host_example-1"}
    samples = [sample for _, sample in listener.heard]
    assert [sample.number for sample in samples] == list(range(1, len(samples) + 1))
    busy = samples[before]
    assert (busy.instance, busy.pid, busy.handled, busy.failures, busy.in_flight) == (
        "host.example-1",
        os.getpid(),
        7,
        2,
        1,
    )
    assert busy.cpu_s - samples[before - 1].cpu_s > 0.25
    assert busy.cpu_share * busy.interval_s == pytest.approx(busy.cpu_s - samples[before - 1].cpu_s, rel=1e-3)
    assert busy.loop_lag_us.high > 150_000
    assert (busy.task_us.count, busy.task_us.low >= 2000) == (1, True)
    assert samples[before - 1].task_us.count == 0
    assert busy.sampling_us > 0


async def test_who_cannot_publish_goes_on_sampling() -> None:
    collector, listener = Collector("noop", "host-1", 0.1), Listener(fails=True)
    running = asyncio.create_task(collector.run(listener.publish, counts))
    await until(lambda: listener.asked >= 2)
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_switched_off_nothing_is_noted_and_nothing_published() -> None:
    collector, listener = Collector("noop", "host-1", 0.0), Listener()
    callbacks = list(gc.callbacks)
    collector.task_ended(0)
    await collector.run(listener.publish, counts)
    assert collector.tasks.take().count == 0
    assert listener.asked == 0
    assert gc.callbacks == callbacks


@pytest.mark.parametrize("given", ["0.05", "-1", "61", "often"])
def test_an_interval_out_of_range_is_refused_by_name(given: str) -> None:
    with pytest.raises(SettingsError, match="SWARM_SAMPLE_S"):
        load_settings(environ={"SWARM_SAMPLE_S": given})


def test_no_interval_switches_it_off_and_a_second_is_the_default() -> None:
    assert load_settings(environ={"SWARM_SAMPLE_S": "0"}).sample_s == 0
    assert load_settings(environ={}).sample_s == 1.0


@pytest.mark.parametrize("body", [b"", b"[]", b'{"service": 1}', b"\xff", b"[" * 5000])
def test_what_is_no_sample_is_none(body: bytes) -> None:
    assert live.decode(body) is None
