"""The command `swarm` as users meet it: a stack of its own in a temporary home, every command, good and bad input."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import nats
import psutil
import pytest

from support.waiting import until_sync

SWARM = str(Path(sys.executable).parent / "swarm")
SERVICES = {"coordinator", "model_agent", "consensus", "memory_sync", "metrics", "optimizer"}
LONG = ("run", "noop", "-p", "tasks=30000")


class Done(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Shell:
    """Runs `swarm` in a directory and a home of its own."""

    def __init__(self, home: Path, **environ: str) -> None:
        self.home = home
        self.cwd = home.parent / f"{home.name}-cwd"
        self.cwd.mkdir(exist_ok=True)
        outer = {
            name: value for name, value in os.environ.items() if not name.startswith(("SWARM_", "OTEL_"))
        }
        self.environ: Mapping[str, str] = {
            **outer,
            "SWARM_HOME": str(home),
            "SWARM_NATS_PORT": "0",
            **environ,
        }

    def __call__(self, *arguments: str, timeout_s: float = 90.0) -> Done:
        done = subprocess.run(
            [SWARM, *arguments],
            cwd=self.cwd,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def good(self, *arguments: str) -> Done:
        done = self(*arguments)
        assert done.code == 0, done
        return done

    @contextlib.contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        process = subprocess.Popen(
            [SWARM, *arguments],
            cwd=self.cwd,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture(scope="session")
def swarm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    shell = Shell(tmp_path_factory.mktemp("stack") / "home")
    shell.good("up")
    yield shell
    assert shell("down").code == 0


@pytest.fixture(scope="session")
def noop(swarm: Shell) -> str:
    """The id of a small run that completed."""
    return str(swarm.good("run", "noop", "-p", "tasks=20", "--session", "small", "--json").json["run"])


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Shell]:
    """A home without a stack; one that a test starts is stopped."""
    shell = Shell(tmp_path / "home")
    yield shell
    shell("down")


# -- the stack ----------------------------------------------------------------------------------------------


def test_up_says_that_the_stack_runs_already(swarm: Shell) -> None:
    assert "runs already" in swarm.good("up").out
    assert swarm.good("up", "--json").json["already_running"] is True


def test_status_has_services_lag_and_dead_letters(swarm: Shell) -> None:
    found = swarm.good("status", "--json").json
    assert {"nats_url", "services", "dead_letters"} <= found.keys()
    assert {service["name"] for service in found["services"]} == SERVICES
    for service in found["services"]:
        assert isinstance(service["lag"], int)
        assert all(one["ready"] and psutil.pid_exists(one["pid"]) for one in service["instances"])
    assert "dead letters: " in swarm.good("status").out


def test_everything_listens_to_this_machine_only(swarm: Shell) -> None:
    supervisor = psutil.Process(json.loads((swarm.home / "stack.json").read_text())["pid"])
    listening = [
        connection.laddr.ip
        for process in (supervisor, *supervisor.children(recursive=True))
        for connection in process.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert set(listening) == {"127.0.0.1"}


def test_a_service_that_is_killed_comes_back(swarm: Shell) -> None:
    before = stack_of(swarm)["services"][5]
    os.kill(before["pid"], signal.SIGKILL)
    until_sync(lambda: stack_of(swarm)["services"][5]["pid"] not in {None, before["pid"]}, timeout_s=20)
    assert stack_of(swarm)["services"][5]["restarts"] == before["restarts"] + 1
    swarm.good("up")  # waits until it is ready
    assert swarm.good("status", "--json").json["embedded"]["restarts"] >= 1


def stack_of(shell: Shell) -> Any:
    return json.loads((shell.home / "stack.json").read_text())


def alive(pid: int) -> bool:
    """Say whether a process runs; one whose parent has not taken note of its end yet does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_replicas_come_and_go(swarm: Shell) -> None:
    assert len(swarm.good("up", "--replicas", "memory_sync=2", "--json").json["services"]) == 7
    assert len(swarm.good("up", "--replicas", "memory_sync=1", "--json").json["services"]) == 6


def test_two_ups_at_once_lead_to_one_stack_and_down_leaves_nothing(elsewhere: Shell) -> None:
    with elsewhere.started("up", "--json") as one, elsewhere.started("up", "--json") as other:
        found = [json.loads(process.communicate(timeout=90)[0]) for process in (one, other)]
    assert {one["pid"] for one in found} == {found[0]["pid"]}
    assert sorted(one["already_running"] for one in found) == [False, True]
    pids = [found[0]["pid"], *(service["pid"] for service in found[0]["services"])]
    elsewhere.good("down")
    until_sync(lambda: not any(alive(pid) for pid in pids), what="the end of every process")
    assert not (elsewhere.home / "stack.json").exists()
    assert "does not run" in elsewhere.good("down").out


def test_children_end_with_a_supervisor_that_is_killed_and_up_starts_afresh(elsewhere: Shell) -> None:
    first = elsewhere.good("up", "--json").json
    os.kill(first["pid"], signal.SIGKILL)
    second = elsewhere.good("up", "--json").json
    assert second["already_running"] is False
    assert [one["pid"] for one in first["services"] if alive(one["pid"])] == []


def test_in_the_foreground_an_interrupt_stops_the_stack(elsewhere: Shell) -> None:
    with elsewhere.started("up", "--foreground") as process:
        assert process.stdout is not None
        assert "ready" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert not (elsewhere.home / "stack.json").exists()


@pytest.mark.parametrize(
    "arguments",
    [("--profile", "cluster"), ("--profile", "nonsense"), ("--replicas", "nobody=1"), ("--port", "70000")],
)
def test_up_refuses_what_makes_no_sense(elsewhere: Shell, arguments: tuple[str, ...]) -> None:
    assert elsewhere("up", *arguments).code == 2
    assert not (elsewhere.home / "stack.json").exists()


def test_up_has_nothing_to_start_where_a_broker_is_named(tmp_path: Path) -> None:
    done = Shell(tmp_path / "home", SWARM_NATS_URL="nats://127.0.0.1:1")("up")
    assert done.code == 2
    assert "nothing embedded to start" in done.err


@pytest.mark.parametrize("command", [("status",), ("runs",), ("show", "last"), ("watch",), ("dead-letters",)])
def test_without_a_broker_commands_say_how_to_start_one(elsewhere: Shell, command: tuple[str, ...]) -> None:
    done = elsewhere(*command, timeout_s=5.0)
    assert done.code == 1
    assert "swarm up" in done.err


def test_a_broker_that_does_not_answer_is_named_without_its_password(tmp_path: Path) -> None:
    with socket.socket() as silent:  # takes connections and says nothing
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"nats://user:secret@127.0.0.1:{silent.getsockname()[1]}"
        done = Shell(tmp_path / "home", SWARM_NATS_URL=url)("runs", timeout_s=8.0)
    assert done.code == 1
    assert "no broker answers" in done.err
    assert "secret" not in done.out + done.err


# -- suites and runs ----------------------------------------------------------------------------------------


def test_suites_have_scenarios_with_parameters(swarm: Shell) -> None:
    found = {suite["name"]: suite for suite in swarm.good("suites", "--json").json}
    assert {"quick", "noop", "ensemble"} <= found.keys()
    assert found["noop"]["scenarios"][0]["params"][0]["name"] == "tasks"
    assert "-p tasks=" in swarm.good("suites", "noop").out
    assert swarm("suites", "nonsense").code == 2


def test_run_prints_metrics_and_writes_the_report(swarm: Shell) -> None:
    done = swarm.good("run", "noop", "-p", "tasks=10")
    assert "throughput" in done.out
    assert "swarm trace" in done.out
    assert "10/10 tasks" in done.err
    report = re.search(r"report: (\S+)", done.out)
    assert report
    assert Path(report[1]).read_text().startswith("<!doctype html>")


def test_run_prints_one_json_document(swarm: Shell) -> None:
    found = swarm.good("run", "noop", "-p", "tasks=5", "--session", "json", "--seed", "7", "--json").json
    assert (found["suite"], found["session"], found["seed"], found["params"]["tasks"]) == (
        "noop",
        "json",
        7,
        5,
    )
    assert found["status"] == "completed"
    assert re.fullmatch(r"[0-9a-f]{32}", found["trace_id"])
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", found["digest"])


def test_the_same_request_has_the_same_digest(swarm: Shell) -> None:
    found = [swarm.good("run", "noop", "-p", "tasks=7", "--json").json["digest"] for _ in range(2)]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("nonsense",), "suite"),
        (("noop", "nonsense"), "scenario"),
        (("noop", "-p", "tasks=-1"), "params.tasks"),
        (("noop", "-p", "tasks=many"), "params.tasks"),
        (("noop", "-p", "nonsense=1"), "params.nonsense"),
        (("noop", "--timeout", "-5"), "timeout_s"),
        (("noop", "--session", "a b"), "session"),
    ],
)
def test_a_request_that_makes_no_sense_is_rejected(
    swarm: Shell, arguments: tuple[str, ...], field: str
) -> None:
    done = swarm("run", *arguments, "--json")
    assert done.code == 2
    assert (done.json["status"], done.json["field"]) == ("rejected", field)
    assert done.json["reason"]


def test_a_parameter_without_a_value_never_becomes_a_request(swarm: Shell) -> None:
    done = swarm("run", "noop", "-p", "tasks")
    assert done.code == 2
    assert "KEY=VALUE" in done.err


def test_a_run_that_takes_too_long_fails(swarm: Shell) -> None:
    done = swarm(*LONG, "--timeout", "0.3", "--json")
    assert done.code == 1
    assert done.json["status"] == "failed"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_cancelled(swarm: Shell, number: signal.Signals) -> None:
    with swarm.started(*LONG) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "benchmark.started" in line
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    found = re.search(r"cancelling run ([0-9a-f]{16})", err)
    assert found
    assert swarm.good("show", found[1], "--json").json["status"] == "cancelled"


# -- looking ------------------------------------------------------------------------------------------------


def test_runs_lists_the_newest_first_and_by_session(swarm: Shell, noop: str) -> None:
    found = swarm.good("runs", "--session", "small", "--json").json
    assert [(one["run"], one["suite"], one["status"]) for one in found] == [(noop, "noop", "completed")]
    every = swarm.good("runs", "--json").json
    assert [one["started"] for one in every] == sorted((one["started"] for one in every), reverse=True)
    assert len(swarm.good("runs", "--limit", "1", "--json").json) == 1
    assert "no runs" in swarm.good("runs", "--session", "nonsense").out
    assert noop in swarm.good("runs", "--session", "small").out


def test_show_tells_the_present_and_any_past(swarm: Shell, noop: str) -> None:
    now = swarm.good("show", noop, "--json").json
    assert now["status"] == "completed"
    first = run_events(swarm, noop)[0]["data"]
    assert first["suite"] == "noop"
    done = swarm("show", noop, "--at", "0")
    assert done.code == 1
    seq = int(re.search(r"began at sequence (\d+)", done.err)[1])  # type: ignore[index]
    past = swarm.good("show", noop, "--at", str(seq), "--json").json
    assert (past["status"], past["events"], past["digest"]) == ("running", 1, None)
    assert f"run {noop}" in swarm.good("show", noop).out


def run_events(shell: Shell, run: str) -> list[Any]:
    done = shell.good("export", run, "-o", "-")
    return [json.loads(line) for line in done.out.splitlines()]


def test_the_beginning_of_an_id_and_last_name_a_run(swarm: Shell, noop: str) -> None:
    assert swarm.good("show", noop[:12], "--json").json["run"] == noop
    assert swarm.good("show", "last", "--json").json["run"] == swarm.good("runs", "--json").json[0]["run"]


@pytest.mark.parametrize("command", ["show", "watch", "cancel", "export", "trace", "report", "replay"])
def test_an_unknown_run_is_named(swarm: Shell, command: str) -> None:
    done = swarm(command, "ffffffffffffffff")
    assert done.code == 1
    assert "no run 'ffffffffffffffff'" in done.err


def test_watch_shows_a_run_to_its_end(swarm: Shell, noop: str) -> None:
    lines = swarm.good("watch", noop).out.splitlines()
    assert "benchmark.started" in lines[0]
    assert "benchmark.completed" in lines[-1]
    events = [json.loads(line) for line in swarm.good("watch", noop, "--json").out.splitlines()]
    assert {event["subject"] for event in events} == {noop}


def test_watch_follows_everything_until_interrupted(swarm: Shell) -> None:
    with swarm.started("watch") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "watching" in process.stderr.readline()
        swarm.good("run", "noop", "-p", "tasks=3")
        assert "benchmark.started" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130


def test_watch_tells_what_each_service_uses(swarm: Shell) -> None:
    with swarm.started("watch", "--live", "--json") as process:
        assert process.stdout is not None
        heard = json.loads(process.stdout.readline())
        assert heard["service"] in SERVICES
        assert heard["cpu_s"] > 0
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130


def test_watch_draws_on_a_terminal(swarm: Shell, noop: str) -> None:
    """Of a run what there is to say, and its end; of the swarm every service with a sparkline."""
    with on_terminal(swarm, "watch", noop) as (process, seen):
        until_sync(lambda: seen() and process.poll() is not None, what="its end")
        assert process.returncode == 0
        assert all(part in seen() for part in ("completed", "20/20 tasks", "throughput"))
    with on_terminal(swarm, "watch") as (process, seen):
        until_sync(lambda: all(service in seen() for service in SERVICES), what="every service")
        swarm.good("run", "noop", "-p", "tasks=3")
        until_sync(lambda: "benchmark.completed" in seen() and "█" in seen(), what="the end of another run")
        process.send_signal(signal.SIGINT)
        until_sync(lambda: seen() and process.poll() is not None, what="its end")
        assert process.returncode == 130


@contextlib.contextmanager
def on_terminal(shell: Shell, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], str]]]:
    """Run a command on a terminal of 40 lines; what is returned beside it gives all that it has drawn so far."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
    os.set_blocking(ours, False)
    drawn = b""

    def seen() -> str:
        nonlocal drawn
        with contextlib.suppress(OSError):  # nothing new, or nobody there any more
            while more := os.read(ours, 65536):
                drawn += more
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn.decode(errors="replace"))

    process = subprocess.Popen(
        [SWARM, *arguments],
        cwd=shell.cwd,
        env={**shell.environ, "TERM": "xterm-256color"},
        stdin=its,
        stdout=its,
        stderr=its,
    )
    os.close(its)
    try:
        yield process, seen
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(ours)


def test_cancel_stops_a_run_and_then_refuses(swarm: Shell) -> None:
    with swarm.started(*LONG) as process:
        assert process.stderr is not None
        assert "benchmark.started" in process.stderr.readline()
        run = swarm.good("runs", "--limit", "1", "--json").json[0]["run"]
        done = swarm("cancel", run, "--reason", "enough", "--json")
        assert (done.code, done.json["status"], done.json["reason"]) == (0, "cancelled", "enough")
        assert process.wait(60) == 1
    again = swarm("cancel", run)
    assert again.code == 2
    assert "over already" in again.err


# -- files and replay ---------------------------------------------------------------------------------------


def test_a_run_survives_export_archive_and_import_byte_for_byte(swarm: Shell, tmp_path: Path) -> None:
    run = swarm.good("run", "noop", "-p", "tasks=10", "--session", "shelf", "--json").json["run"]
    before = tmp_path / "before.jsonl"
    assert swarm.good("export", run, "-o", str(before), "--json").json["runs"] == [run]
    until_sync(lambda: swarm("archive", run, "-o", str(tmp_path / "shelf")).code == 0, timeout_s=60)
    assert swarm("show", run).code == 1
    assert run not in swarm.good("runs", "--limit", "100").out
    assert "imported" in swarm.good("import", str(before)).out
    assert "there already, identical" in swarm.good("import", str(before)).out
    after = tmp_path / "after.jsonl"
    swarm.good("export", run, "-o", str(after))
    assert after.read_bytes().splitlines()[:-1] == before.read_bytes().splitlines()[:-1]
    assert swarm.good("replay", run, "--json").json["equal"] is True


def test_a_session_goes_into_one_file(swarm: Shell, tmp_path: Path) -> None:
    runs = [
        swarm.good("run", "noop", "-p", "tasks=3", "--session", "two", "--json").json["run"] for _ in range(2)
    ]
    path = tmp_path / "two.jsonl"
    assert swarm.good("export", "--session", "two", "-o", str(path), "--json").json["runs"] == runs
    assert swarm.good("replay", str(path), "--json").json["runs"] == runs
    assert swarm("export", "--session", "nonsense").code == 1


def test_export_names_its_file_after_the_run(swarm: Shell, noop: str) -> None:
    swarm.good("export", noop)
    assert (swarm.cwd / f"{noop}.jsonl").exists()


@pytest.mark.parametrize("arguments", [(), ("last", "--session", "small")])
def test_export_and_archive_need_one_thing_to_work_on(swarm: Shell, arguments: tuple[str, ...]) -> None:
    assert swarm("export", *arguments).code == 2
    assert swarm("archive", *arguments, "-o", "shelf").code == 2


def test_an_altered_file_is_refused_by_line_and_replay_says_so(
    swarm: Shell, noop: str, tmp_path: Path
) -> None:
    path = tmp_path / "run.jsonl"
    swarm.good("export", noop, "-o", str(path))
    lines = path.read_text().splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if '"index":' in line)
    lines[at] = re.sub(r'"index":\d+', '"index":99999', lines[at])
    path.write_text("".join(lines))
    done = swarm("import", str(path))
    assert done.code == 1
    assert f"line {at + 1}" in done.err
    replayed = swarm("replay", str(path), "--json")
    assert replayed.code == 1
    assert at + 1 in [problem["line"] for problem in replayed.json["problems"]]
    forced = swarm("import", str(path), "--force")  # the log holds the run as it was
    assert forced.code == 1
    assert "differs" in forced.err


def test_a_cut_file_and_no_file_are_told_apart(swarm: Shell, noop: str, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    swarm.good("export", noop, "-o", str(path))
    path.write_bytes(path.read_bytes()[:-200])
    assert "no manifest" in swarm("import", str(path)).err
    assert swarm("replay", str(path)).code == 1
    assert swarm("import", str(tmp_path / "none.jsonl")).code == 1
    assert swarm("replay", str(tmp_path / "none.jsonl")).code == 1


@pytest.mark.parametrize("how", [(), ("--verify",), ("--decide",)])
def test_replay_finds_a_whole_record_equal(swarm: Shell, noop: str, how: tuple[str, ...]) -> None:
    assert re.search(
        r"equal: \d+ decisions re-made, \d+ recorded effects not repeated",
        swarm.good("replay", noop, *how).out,
    )


def test_archive_keeps_what_is_not_over_and_needs_a_date(swarm: Shell, tmp_path: Path) -> None:
    with swarm.started(*LONG) as process:
        assert process.stderr is not None
        assert "benchmark.started" in process.stderr.readline()
        run = swarm.good("runs", "--limit", "1", "--json").json[0]["run"]
        done = swarm("archive", run, "-o", str(tmp_path), "--json")
        assert done.code == 1
        assert "not over" in done.json["kept"][run]
        swarm.good("cancel", run)
    assert swarm("archive", "--before", "yesterday", "-o", str(tmp_path)).code == 2
    assert "nothing to archive" in swarm.good("archive", "--before", "2001-01-01", "-o", str(tmp_path)).out
    assert swarm("archive", run).code == 2


# -- trace and report ---------------------------------------------------------------------------------------


def test_trace_adds_up_to_the_run(swarm: Shell, noop: str) -> None:
    found = swarm.good("trace", noop, "--json").json
    assert found["path"][0]["type"] == "benchmark.started"
    assert found["path"][-1]["type"] == "benchmark.completed"
    assert found["path_wait_us"] + found["path_work_us"] == found["total_us"]
    assert "critical path" in swarm.good("trace", noop).out
    assert swarm.good("trace", noop, "--jaeger").out == f"http://127.0.0.1:16686/trace/{found['trace_id']}\n"


def test_reports_come_in_every_format(swarm: Shell, noop: str, tmp_path: Path) -> None:
    base = tmp_path / "noop"
    swarm.good("report", noop, "--format", "html,json,csv,sqlite", "-o", str(base))
    assert "<svg" in (tmp_path / "noop.html").read_text()
    assert json.loads((tmp_path / "noop.json").read_text())["summary"]["run"] == noop
    assert (tmp_path / "noop.csv").read_text().startswith("run,suite")
    with contextlib.closing(sqlite3.connect(tmp_path / "noop.sqlite")) as base_file:
        assert base_file.execute("SELECT run FROM run").fetchone() == (noop,)
    assert swarm.good("report", noop, "-o", "-").out.startswith("<!doctype html>")
    assert swarm("report", noop, "--format", "pdf").code == 2
    assert swarm("report", noop, "--format", "html,csv", "-o", "-").code == 2


# -- dead letters, schema, doctor ---------------------------------------------------------------------------


async def test_a_dead_letter_is_listed_shown_and_redriven(swarm: Shell) -> None:
    connection = await nats.connect(stack_of(swarm)["nats_url"])
    await connection.jetstream().publish("swarm.benchmark.garbage.task_scheduled.model_agent.io", b"no event")
    await connection.close()
    until_sync(lambda: bool(swarm.good("dead-letters", "--json").json), timeout_s=30)
    (letter,) = swarm.good("dead-letters", "--json").json
    assert swarm.good("dead-letters", "show", letter["id"], "--json").json["body"] == "no event"
    assert letter["subject"] in swarm.good("dead-letters").out
    assert "was sent" in swarm.good("dead-letters", "redrive", letter["id"]).out
    until_sync(
        lambda: [one["id"] for one in swarm.good("dead-letters", "--json").json] not in ([], [letter["id"]]),
        timeout_s=30,
    )


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("show",), 2), (("burn", "1"), 2), (("show", "999999"), 1), (("redrive", "x"), 1)],
)
def test_other_words_about_dead_letters_are_refused(
    swarm: Shell, arguments: tuple[str, ...], code: int
) -> None:
    assert swarm("dead-letters", *arguments).code == code


def test_schema_lists_the_events(swarm: Shell) -> None:
    assert "benchmark.requested" in swarm.good("schema").out
    assert any(one["type"] == "agent.predicted" for one in swarm.good("schema", "--json").json)
    assert swarm("schema", "--asyncapi", "--jsonschema").code == 2


def test_doctor_finds_a_running_stack_well(swarm: Shell) -> None:
    found = swarm.good("doctor", "--json").json
    assert found["good"] is True
    names = {check["name"] for check in found["checks"]}
    assert {"python", "nats-server", "disk", "memory", "broker", "jetstream", "ready", "clock"} <= names


def test_doctor_fails_where_a_named_broker_is_away(tmp_path: Path) -> None:
    done = Shell(tmp_path / "home", SWARM_NATS_URL="nats://127.0.0.1:1")("doctor")
    assert done.code == 1
    assert "fail  broker" in done.out


def test_settings_that_do_not_fit_are_named(swarm: Shell) -> None:
    (swarm.cwd / "swarm.toml").write_text("nonsense = 1\n")
    try:
        done = swarm("status")
    finally:
        (swarm.cwd / "swarm.toml").unlink()
    assert done.code == 2
    assert "swarm.toml: nonsense" in done.err


def test_version_is_said(swarm: Shell) -> None:
    assert re.fullmatch(r"swarm \d+\.\d+\.\d+\n", swarm.good("--version").out)
