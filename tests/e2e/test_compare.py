"""`swarm compare` and `swarm history` as users meet them: recorded files, programs, commits; no broker."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from support.stacks import stack
from support.waiting import until_sync
from swarm_cli.main import run
from swarm_common import clock
from swarm_common.events import Data, Event, Host, Metric, decode, encode
from swarm_common.events.benchmark import Completed, Started
from swarm_common.events.envelope import new_event
from swarm_common.log.files import write_events

SWARM = str(Path(sys.executable).parent / "swarm")
HOST = Host(cpu="a processor", cores=2, system="Linux", python="CPython 3.11", load=0.1)
BEGAN_NS = clock.parse_ns("2026-11-21T10:00:00Z")
WORK = "print(sum(i * i % 7 for i in range({})))\n"
LOOPS = 1_500_000


def swarm(*arguments: str, cwd: Path, code: int = 0, **environ: str) -> subprocess.CompletedProcess[str]:
    outer = {name: value for name, value in os.environ.items() if not name.startswith("SWARM_")}
    done = subprocess.run(
        [SWARM, *arguments],
        cwd=cwd,
        env={**outer, "SWARM_HOME": str(cwd / "home"), **environ},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == code, done
    return done


def recorded(side: str, mean: float, count: int, *, later_s: int = 0, session: str = "") -> list[Event]:
    """Return runs as the coordinator records them, each of a start of its own."""
    draw = random.Random(side)  # noqa: S311 - seeded, nothing secret
    events: list[Event] = []

    def add(data: Data, name: str, at_ns: int, cause: str) -> Event:
        new = new_event(
            data,
            run=name,
            source=f"/swarm/coordinator/{name}",
            cause=cause,
            handler="t",
            index=len(events),
            time_ns=at_ns,
        )
        events.append(decode(encode(new), len(events) + 1))
        return events[-1]

    for at in range(count):
        name, now = f"{side}{at:04d}", BEGAN_NS + (later_s + at) * 10**9
        started = add(
            Started(
                request_id=name,
                suite="noop",
                scenario="throughput",
                params={"tasks": 3},
                session=session or side,
                seed=42,
                timeout_s=60.0,
                deadline="2026-11-21T11:00:00Z",
                tasks=(),
                host=HOST,
            ),
            name,
            now,
            "request",
        )
        seconds = draw.lognormvariate(mean, 0.05)
        add(
            Completed(
                result={},
                metrics=(
                    Metric(name="tasks", value=3, unit="count"),
                    Metric(name="seconds", value=seconds, unit="s", better="lower", timing=True),
                ),
                targets=(),
                digest="sha256:1",
                duration_s=seconds,
                clock="perf_counter",
                tasks=3,
                attempts=3,
                events=1,
                log_sha256="",
            ),
            name,
            now + 10**8,
            started.id,
        )
    return events


def verdicts(document: dict[str, Any]) -> dict[str, str]:
    return {row["metric"]: row["verdict"] for row in document["rows"]}


def git(repository: Path, *arguments: str) -> str:
    words = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", "-C", str(repository), *arguments]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def committed(repository: Path, loops: int) -> None:
    (repository / "work.py").write_text(WORK.format(loops))
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", str(loops))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a repository of two commits, the second of which does 30 % more work."""
    path = tmp_path / "repository"
    path.mkdir()
    git(path, "init", "-q")
    for loops in (LOOPS, int(1.3 * LOOPS)):
        committed(path, loops)
    return path


def worktrees(repository: Path) -> Sequence[str]:
    return [
        line
        for line in git(repository, "worktree", "list", "--porcelain").splitlines()
        if line.startswith("wor")
    ]


def endless(pid: int) -> Sequence[psutil.Process]:
    """Return the child of a process that runs for ever, where it does by now; others, as git, come and go.

    Until a child has become another program, it shows the command of its parent.
    """
    found = []
    for child in psutil.Process(pid).children():
        with contextlib.suppress(psutil.Error):
            if child.cmdline() == [sys.executable, "-c", "while True: pass"]:
                found.append(child)
    return found


def test_recorded_files_are_compared_and_the_exit_code_says_how(tmp_path: Path) -> None:
    write_events(tmp_path / "base.jsonl", recorded("base", 0.0, 20))
    write_events(tmp_path / "slow.jsonl", recorded("slow", 0.1, 20, later_s=30))
    found = swarm("compare", "base.jsonl", "slow.jsonl", cwd=tmp_path, code=1).stdout
    assert "regression: 1 regression, 1 equal" in found
    assert "every shift" not in found
    back = swarm("compare", "slow.jsonl", "base.jsonl", "--json", cwd=tmp_path).stdout
    assert verdicts(json.loads(back)) == {"tasks": "equal", "seconds": "improvement"}
    few = [event for event in recorded("slow", 0.1, 20, later_s=30) if event.run < "slow0002"]
    write_events(tmp_path / "few.jsonl", few)
    left = swarm("compare", "base.jsonl", "few.jsonl", "--json", "--metric", "seconds", cwd=tmp_path, code=3)
    document = json.loads(left.stdout)
    assert (document["exit_code"], verdicts(document)) == (3, {"seconds": "inconclusive"})
    assert document["rows"][0]["needs"] > 2
    both = swarm("compare", "base.jsonl,few.jsonl", "slow.jsonl", cwd=tmp_path, code=2).stderr
    assert "stands on both sides" in both


def test_sessions_and_runs_of_the_log_are_compared(tmp_path: Path) -> None:
    with stack(tmp_path / "home") as found:
        for session in ("first", "first", "second"):
            found.swarm("run", "noop", "-p", "tasks=3", "--session", session, "--no-report", "--json")
        sides = ("first", "second"), ("first", "last")
        documents = [json.loads(found.swarm("compare", *side, "--json", check=False)) for side in sides]
        history = json.loads(found.swarm("history", "seconds", "--session", "f*", "--json"))
        missing = found.swarm("compare", "first", "third", "--json", check=False)
    assert documents[0] == documents[1]
    assert [len(documents[0][side]) for side in ("base", "head")] == [2, 1]
    assert verdicts(documents[0]) == {
        "tasks": "equal",
        "throughput": "inconclusive",
        "seconds": "inconclusive",
    }
    assert {row["per"] for row in documents[0]["rows"] if row["timing"]} == {"run"}  # one start served both
    assert "fewer than 4 runs" in documents[0]["rows"][1]["reason"]
    assert [point["run"] for point in history["series"][0]["points"]] == documents[0]["base"]
    assert "no run, no session and no file" in json.loads(missing)["error"]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_two_checkouts_of_ourselves_run_their_own_code_in_stacks_of_their_own(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        pytest.skip("not a git checkout")
    before = worktrees(root)
    out = tmp_path / "pairs.json"
    words = (
        "compare",
        "--interleave",
        "HEAD",
        "HEAD",
        "noop",
        "-p",
        "tasks=5",
        "--pairs",
        "1",
        "-o",
        str(out),
    )
    done = subprocess.run(
        [SWARM, *words, "--json"], cwd=root, capture_output=True, text=True, timeout=390, check=False
    )
    assert done.returncode == 3, done  # one pair shows nothing of times
    document = json.loads(done.stdout)
    assert verdicts(document)["tasks"] == "equal"
    (pair,) = json.loads(out.read_text())["pairs"]
    assert pair["base"]["run"] != pair["head"]["run"]
    assert pair["base"]["digest"] == pair["head"]["digest"]
    assert worktrees(root) == before


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("compare", "base.jsonl"), "two sides"),
        (("compare", "base.jsonl", "nowhere.jsonl"), "nowhere.jsonl: No such file"),
        (("compare", "base.jsonl", "text.json"), "no file of `swarm export`"),
        (("compare", "base.jsonl", "other.jsonl", "--metric", "second"), "there are seconds, tasks"),
        (("compare", "base.jsonl", "other.jsonl", "--threshold", "five"), "reads like 5%"),
        (("compare", "base.jsonl", "other.jsonl", "-o", "x"), "goes with --interleave"),
        (("compare", "--interleave", "HEAD", "HEAD", "noop"), "in no git repository"),
        (("compare", "--interleave", "HEAD", "HEAD", "noop", "-o", "none/x"), "no file can be written"),
        (("compare", "base.jsonl", "other.jsonl", "--up-to", "60"), "--up-to goes with --interleave"),
        (("compare", "--interleave", "--up-to", "20"), "--up-to 20 is less than --pairs 30"),
        (("compare", "--interleave", "HEAD"), "takes BASE_REF HEAD_REF"),
        (("compare", "--interleave", "--base-command", "true"), "go together"),
        (("history", "second", "base.jsonl"), "they have seconds, tasks"),
    ],
)
def test_what_is_asked_wrongly_is_said_with_what_is_right(
    tmp_path: Path,
    arguments: tuple[str, ...],
    word: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_events(tmp_path / "base.jsonl", recorded("base", 0.0, 2))
    write_events(tmp_path / "other.jsonl", recorded("other", 0.0, 2))
    (tmp_path / "text.json").write_text("no log\n")
    code = 1 if word.startswith(("nowhere", "they have")) else 2
    assert run([*arguments]) == code
    assert word in capsys.readouterr().err


def test_a_history_names_the_run_since_which_it_is_slower(tmp_path: Path) -> None:
    write_events(tmp_path / "old.jsonl", recorded("old", 0.0, 15))
    write_events(tmp_path / "new.jsonl", recorded("new", 0.3, 15, later_s=100))
    out = swarm("history", "seconds", "old.jsonl", "new.jsonl", cwd=tmp_path).stdout
    assert "seconds of noop/throughput (tasks=3): 30 values" in out
    assert "new0000" in out
    assert "regression" in out
    document = json.loads(
        swarm(
            "history", "seconds", "old.jsonl", "new.jsonl", "--session", "old", "--json", cwd=tmp_path
        ).stdout
    )
    (series,) = document["series"]
    assert (len(series["points"]), series["changes"]) == (15, [])


def test_thirty_per_cent_more_work_in_a_commit_are_found_and_the_pairs_are_kept(
    repository: Path, tmp_path: Path
) -> None:
    command = f"{shlex.quote(sys.executable)} work.py"
    out = tmp_path / "pairs.json"
    arguments = ("--metric", "cpu_s", "--alpha", "0.01")
    found = swarm(
        "compare",
        "--interleave",
        "HEAD~1",
        "HEAD",
        "--command",
        command,
        "--pairs",
        "12",
        "-o",
        str(out),
        "--json",
        *arguments,
        cwd=repository,
        code=1,
    )
    document = json.loads(found.stdout)
    (row,) = document["rows"]
    assert (row["verdict"], row["per"], row["n_base"]) == ("regression", "pair", 12)
    assert 0.05 < row["shift"] < 0.6
    again = json.loads(swarm("compare", str(out), "--json", *arguments, cwd=repository, code=1).stdout)
    assert again == document
    assert len(worktrees(repository)) == 1
    assert git(repository, "status", "--porcelain") == ""


def test_two_checkouts_of_one_commit_are_no_regression(repository: Path) -> None:
    """Where other work disturbs both, it may stay open after any number of pairs: that is no fault of the command."""
    command = f"{shlex.quote(sys.executable)} work.py"
    arguments = (
        "compare",
        "--interleave",
        "HEAD",
        "HEAD",
        "--command",
        command,
        "--json",
        "--threshold",
        "10%",
    )
    words = [SWARM, *arguments, "--pairs", "8", "--up-to", "32", "--metric", "cpu_s", "--alpha", "0.001"]
    done = subprocess.run(words, cwd=repository, capture_output=True, text=True, timeout=110, check=False)
    document = json.loads(done.stdout)
    assert done.returncode == {"equal": 0, "inconclusive": 3}[verdicts(document)["cpu_s"]], done
    assert (document["looks"], document["pairs"] in {8, 16, 32}) == (3, True)
    assert document["pairs"] == 32 or document["verdict"] == "equal"


def test_a_metric_that_is_not_measured_is_said_before_the_first_pair(repository: Path) -> None:
    command = f"{shlex.quote(sys.executable)} work.py"
    words = ("compare", "--interleave", "HEAD", "HEAD", "--command", command, "--metric", "second")
    told = swarm(*words, cwd=repository, code=2).stderr
    assert "there are cpu_s, wall_s" in told
    assert "pair 1" not in told


def test_an_interrupted_comparison_leaves_nothing_behind(repository: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = f"{shlex.quote(sys.executable)} -c 'while True: pass'"
    with subprocess.Popen(
        [SWARM, "compare", "--interleave", "HEAD~1", "HEAD", "--command", command],
        cwd=repository,
        env={**os.environ, "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            (child,) = until_sync(lambda: endless(process.pid), what="the command to run")
            assert len(worktrees(repository)) == 3
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130, err
    assert len(worktrees(repository)) == 1
    assert list(scratch.iterdir()) == []
    assert not child.is_running()
