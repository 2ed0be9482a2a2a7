"""`swarm check-history` as users meet it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from swarm_cli import main

GOOD = """\
{"process": 0, "type": "invoke", "f": "write", "key": "x", "value": 1}
{"process": 1, "type": "invoke", "f": "read", "key": "x"}
{"process": 0, "type": "ok", "f": "write", "key": "x"}
{"process": 1, "type": "ok", "f": "read", "key": "x", "value": null}
"""
STALE = (
    GOOD
    + """\
{"process": 0, "type": "invoke", "f": "write", "key": "y", "value": 5}
{"process": 0, "type": "ok", "f": "write", "key": "y"}
{"process": 1, "type": "invoke", "f": "read", "key": "x"}
{"process": 1, "type": "ok", "f": "read", "key": "x", "value": null}
"""
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "history.jsonl"


def test_a_linearizable_history_is_0(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(GOOD)
    assert main.run(["check-history", str(file), "--model", "register"]) == 0
    assert capsys.readouterr().out.startswith("linearizable: 2 operations on 1 key")


def test_a_refuted_one_is_1_and_shows_what_refutes_it(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(STALE)
    assert main.run(["check-history", str(file), "--model", "cas-register"]) == 1
    out = capsys.readouterr().out
    assert "no order explains these 2 operations on key x" in out
    assert [row.split()[:2] for row in out.splitlines()[2:4]] == [["1-3", "0"], ["7-8", "1"]]
    assert out.splitlines()[3].endswith("← impossible")
    assert "the read of line 7 could have returned 1" in out
    assert out.splitlines()[-1] == "not linearizable: 4 operations on 2 keys"


def test_json_has_the_refuting_part(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(STALE)
    assert main.run(["check-history", str(file), "--model", "register", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["model"], found["outcome"], found["operations"], found["keys"]) == (
        "register",
        "refuted",
        4,
        2,
    )
    assert found["refutation"]["possible"] == [1]
    assert [one["called"] for one in found["refutation"]["operations"]] == [1, 7]


def test_the_command_itself_reads_a_pipe_and_needs_no_broker(tmp_path: Path) -> None:
    swarm = Path(sys.executable).parent / "swarm"
    environ = {"SWARM_HOME": str(tmp_path / "home"), "SWARM_NATS_URL": "nats://127.0.0.1:1"}
    done = subprocess.run(
        [swarm, "check-history", "-", "--model", "register"],
        input=STALE,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.endswith("not linearizable: 4 operations on 2 keys\n")
    assert not (tmp_path / "home").exists()


def test_standard_input_is_a_dash(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(GOOD.encode())))
    assert main.run(["check-history", "-", "--model", "register"]) == 0
    assert "linearizable" in capsys.readouterr().out


def test_steps_that_are_spent_are_3_and_no_pass(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(GOOD.replace("null", "1"))
    assert main.run(["check-history", str(file), "--model", "register", "--steps", "1"]) == 3
    assert capsys.readouterr().out.startswith(
        "undecided: 2 operations on 1 key; nothing is known of 1 after 1"
    )


@pytest.mark.parametrize(
    ("text", "model", "said"),
    [
        (GOOD + "{}\n", "register", "line 5: "),
        (
            STALE.replace("read", "get"),
            "register",
            "line 2: register has no operation 'get'; allowed: read, write",
        ),
        (GOOD, "queue", "there is no model 'queue'; there are register, cas-register, kv"),
    ],
)
def test_a_wrong_line_or_model_is_2_and_says_what_is_allowed(
    file: Path, text: str, model: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(text)
    assert main.run(["check-history", str(file), "--model", model]) == 2
    assert said in capsys.readouterr().err


def test_no_such_file_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["check-history", "nowhere.jsonl", "--model", "register"]) == 1
    assert "nowhere.jsonl: no such file" in capsys.readouterr().err
