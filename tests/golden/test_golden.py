"""The code as it is now reads every log that a released version wrote, and decides what was decided then.

``python tests/golden/record.py`` records the logs of a version that is not released yet.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import platform
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from swarm_common.events import Event, encode, lookup
from swarm_common.events.benchmark import Completed
from swarm_common.log.files import chain, check, read_events, write_events
from swarm_common.runs import fold
from swarm_common.runtime import Service
from swarm_common.runtime.offline import Outcome, decide_again

sys.path.insert(0, str(Path(__file__).parent))
from record import RUNS

LOGS = sorted(Path(__file__).parent.glob("*.jsonl"))
DECIDERS = ("coordinator", "consensus", "metrics", "optimizer")

each_log = pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
each_decider = pytest.mark.parametrize("name", DECIDERS)


def ended(path: Path) -> tuple[list[Event], Event, Completed]:
    """Return the events of a log, the one that completed its run, and what that says."""
    events = list(read_events(path))
    ((end, data),) = [(one, one.data) for one in events if isinstance(one.data, Completed)]
    return events, end, data


def test_there_are_logs_of_every_kind() -> None:
    assert {path.stem.rpartition("-")[0] for path in LOGS} == set(RUNS)


@each_log
def test_a_log_is_whole_and_small(path: Path) -> None:
    assert check(path) == []
    assert path.stat().st_size < 300_000


@each_log
def test_every_event_is_of_a_type_and_version_that_is_known(path: Path) -> None:
    for event in read_events(path):
        assert event.data is not None
        assert event.version <= lookup(event.type).version


@each_log
def test_a_log_goes_round_byte_for_byte(path: Path, tmp_path: Path) -> None:
    again = tmp_path / path.name
    write_events(again, read_events(path))
    assert again.read_bytes().splitlines()[:-1] == path.read_bytes().splitlines()[:-1]


@each_log
def test_the_view_has_what_was_recorded(path: Path) -> None:
    events, end, data = ended(path)
    view = fold(end.run, events)
    assert (view.status, view.good, view.settled) == ("completed", True, True)
    assert (view.digest, view.result, view.metrics) == (data.digest, data.result, data.metrics)
    assert view.count("done") == len(view.tasks) == data.tasks
    assert sum(task.attempts for task in view.tasks.values()) == data.attempts


@each_log
def test_the_events_before_the_end_are_those_that_it_sums_up(path: Path) -> None:
    events, end, data = ended(path)
    before = events[: events.index(end)]
    assert len(before) == data.events
    link = ""
    for event in before:
        link = chain(link, encode(event))
    assert data.log_sha256.removeprefix("sha256:") == link


@each_log
def test_a_run_is_one_trace(path: Path) -> None:
    assert len({event.trace_id for event in read_events(path)}) == 1


@each_log
@each_decider
def test_what_was_decided_is_decided_again(path: Path, name: str) -> None:
    service: Service = importlib.import_module(f"swarm_{name}.service").service
    outcome = asyncio.run(decide_again(service, list(read_events(path))))
    assert outcome.differences == ()
    assert outcome.decisions > 0 or not path.stem.startswith("ensemble")


@each_decider
@pytest.mark.parametrize("processor", ["this", "any"])
def test_a_service_replays_a_file_by_itself(name: str, processor: str) -> None:
    """Also with nothing that a newer processor than the oldest supported one has: its last bits may differ."""
    (path,) = [path for path in LOGS if path.stem.startswith("ensemble")]
    environ = dict(os.environ)
    if processor == "any":
        features = np._core._multiarray_umath.__cpu_dispatch__  # type: ignore[attr-defined]
        environ["NPY_DISABLE_CPU_FEATURES"] = " ".join(features)
        if platform.machine() in {"x86_64", "AMD64"}:
            environ["OPENBLAS_CORETYPE"] = "Prescott"
    command = [sys.executable, "-W", "ignore", "-m", f"swarm_{name}", "replay", str(path)]
    done = subprocess.run(command, env=environ, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    outcome = msgspec.json.decode(done.stdout, type=Outcome)
    assert outcome.service == name
    assert outcome.decisions > 0
    assert outcome.differences == ()


@each_log
def test_a_log_that_was_altered_is_decided_otherwise(path: Path, tmp_path: Path) -> None:
    events, end, data = ended(path)
    altered = msgspec.structs.replace(end, data=msgspec.structs.replace(data, digest="sha256:0"), raw=b"")
    write_events(tmp_path / path.name, [altered if event is end else event for event in events])
    service: Service = importlib.import_module("swarm_coordinator.service").service
    outcome = asyncio.run(decide_again(service, list(read_events(tmp_path / path.name))))
    assert [
        difference.recorded for difference in outcome.differences if "digest" in difference.recorded
    ] != []
