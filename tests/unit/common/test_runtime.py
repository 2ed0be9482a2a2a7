"""Small parts of the runtime: health, logs, dead letters' text, answers of the broker, errors, the entry point."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

import swarm_common
from swarm_common import errors
from swarm_common.errors import (
    AppendTimeout,
    Conflict,
    InvalidEvent,
    StreamFull,
    SwarmError,
    TaskFailed,
    UsageError,
)
from swarm_common.events.values import Target
from swarm_common.log.broker import redact
from swarm_common.log.publisher import error_of
from swarm_common.runtime import Service, health, host, logs, worker
from swarm_common.runtime.deadletters import ascii_line
from swarm_common.settings import Settings

# -- health ------------------------------------------------------------------------------------------------


def test_health_is_a_file_that_is_young(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "health"
    assert health.check(path) == 1
    assert "has not become healthy yet" in capsys.readouterr().err
    health.beat(path)
    assert health.check(path) == 0
    assert health.problem(path, now=path.stat().st_mtime + health.STALE_AFTER_S) == ""
    assert "16 s old" in health.problem(path, now=path.stat().st_mtime + 16)
    os.utime(path, (0, 0))
    assert health.check(path) == 1


def test_a_container_asks_for_its_health(tmp_path: Path) -> None:
    path = tmp_path / "health"
    command = [sys.executable, "-m", "swarm_common.health"]
    environ = os.environ | {"SWARM_HEALTH_FILE": str(path)}
    assert (
        subprocess.run(command, env=environ, capture_output=True, check=False, cwd=tmp_path).returncode == 1
    )
    health.beat(path)
    assert (
        subprocess.run(command, env=environ, capture_output=True, check=False, cwd=tmp_path).returncode == 0
    )


# -- logs --------------------------------------------------------------------------------------------------


@pytest.fixture
def fresh_logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give the root logger no handlers, as in a fresh process, and take back what the test sets."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    before = structlog.get_config()
    yield
    structlog.configure(**before)
    structlog.contextvars.clear_contextvars()


@pytest.mark.usefixtures("fresh_logs")
def test_a_log_line_is_json_with_what_is_fixed(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings(log_level="warning"), service="metrics")
    log = structlog.get_logger("a test of JSON")
    log.info("not shown")
    log.warning("shown", run="r")
    (line,) = capsys.readouterr().err.splitlines()
    found = json.loads(line)
    assert (found["event"], found["level"], found["service"], found["run"]) == (
        "shown",
        "warning",
        "metrics",
        "r",
    )
    assert found["timestamp"].endswith("Z")


@pytest.mark.usefixtures("fresh_logs")
def test_a_log_line_may_be_text(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings(log_format="text", log_level="debug"))
    structlog.get_logger("a test of text").debug("said", run="r")
    assert "said" in capsys.readouterr().err


# -- headers and answers -----------------------------------------------------------------------------------


@given(st.text(max_size=2000))
def test_a_header_line_is_ascii_and_one_line(text: str) -> None:
    line = ascii_line(text)
    assert line.isascii()
    assert "\n" not in line
    assert "\r" not in line
    assert len(line) <= 1000


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        ({"err_code": 10071, "description": "wrong last sequence: 7"}, Conflict, "wrong last sequence"),
        ({"err_code": 10164, "description": "wrong last sequence"}, Conflict, "wrong last sequence"),
        (
            {"err_code": 10077, "description": "maximum bytes exceeded"},
            StreamFull,
            "nothing acknowledged is lost",
        ),
        (
            {"err_code": 10047, "description": "insufficient storage resources available"},
            StreamFull,
            "archive",
        ),
        ({"err_code": 1, "description": "no space left on device"}, StreamFull, "no space"),
        ({"err_code": 10176, "description": "batch publish is incomplete"}, AppendTimeout, "(10176)"),
        ({}, AppendTimeout, "(0)"),
    ],
)
def test_answers_of_the_broker_become_errors_of_the_tree(
    answer: dict[str, object], kind: type[SwarmError], words: str
) -> None:
    found = error_of(answer, "swarm.x")
    assert type(found) is kind
    assert "swarm.x" in str(found)
    assert words in str(found)


def test_a_conflict_says_the_sequence() -> None:
    found = error_of({"err_code": 10071, "description": "wrong last sequence: 7"}, "s")
    assert isinstance(found, Conflict)
    assert found.last_sequence == 7
    unsaid = error_of({"err_code": 10164, "description": "wrong last sequence"}, "s")
    assert isinstance(unsaid, Conflict)
    assert unsaid.last_sequence is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nats://user:secret@host:4222", "nats://host:4222"),
        ("user:p@ss@host", "nats://host"),
        ("tls://host", "tls://host"),
    ],
)
def test_passwords_do_not_stand_in_logs(url: str, shown: str) -> None:
    assert redact(url) == shown


# -- errors ------------------------------------------------------------------------------------------------


def test_the_drawn_tree_is_the_tree() -> None:
    drawn = {
        line.strip("│├└─ ").split()[0] for line in (errors.__doc__ or "").splitlines() if "  " in line.strip()
    }
    classes = {
        name for name, one in vars(errors).items() if isinstance(one, type) and issubclass(one, SwarmError)
    }
    assert drawn == classes


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        (TaskFailed("no", retryable=True), True),
        (TaskFailed("no"), False),
        (UsageError("no"), False),
        (InvalidEvent("no"), False),
        (KeyError("a bug"), True),
        (MemoryError(), True),
    ],
)
def test_another_attempt_helps_unless_the_request_is_wrong(error: Exception, retryable: bool) -> None:
    assert worker.is_retryable(error) == retryable


@pytest.mark.parametrize(
    ("op", "below", "equal", "above"),
    [
        (">=", False, True, True),
        ("<=", True, True, False),
        (">", False, False, True),
        ("<", True, False, False),
        ("==", False, True, False),
    ],
)
def test_targets(op: str, below: bool, equal: bool, above: bool) -> None:
    target = Target(metric="m", op=op, target=1.0)  # type: ignore[arg-type]
    assert [target.met_by(value) for value in (0.5, 1.0, 1.5)] == [below, equal, above]
    assert not target.met_by(None)


def test_the_package_offers_the_client() -> None:
    assert swarm_common.Client.__name__ == "Client"
    assert swarm_common.Run.__name__ == "Run"
    with pytest.raises(AttributeError, match="Nothing"):
        _ = swarm_common.Nothing


# -- the entry point ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["replay"], ["serve"], ["replay", "a", "b"]])
def test_a_service_says_how_it_is_called(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        host.main(Service("metrics", "metrics"), arguments)
    assert ended.value.code == 2
    assert "use none to serve, or `replay FILE`" in capsys.readouterr().err


def test_a_service_replays_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "log.jsonl"
    path.touch()
    with pytest.raises(SystemExit) as ended:
        host.main(Service("metrics", "metrics"), ["replay", str(path)])
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out)["decisions"] == 0


def test_a_service_with_bad_settings_says_which(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWARM_IO_SLOTS", "0")
    with pytest.raises(SystemExit) as ended:
        host.main(Service("metrics", "metrics"), [])
    assert ended.value.code == 2
    assert "SWARM_IO_SLOTS" in capsys.readouterr().err


def test_cores() -> None:
    assert host.usable_cores() >= 1
