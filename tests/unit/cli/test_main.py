"""The command line itself: light, and clear about what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from swarm_cli import main
from swarm_cli.commands.look import view_at
from swarm_common.errors import NotFound
from swarm_common.events import Event


def test_help_imports_no_client_and_no_command() -> None:
    script = (
        "import sys\nfrom swarm_cli import main\ncode = main.run(['--help'])\n"
        "heavy = {'nats', 'rich', 'msgspec', 'jinja2', 'asyncio', 'swarm_cli.commands'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy or code else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", list(main.COMMANDS))
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([name, "--help"]) == 0
    assert f"swarm {name}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["nonsense"], ["run"], ["run", "noop", "--seed", "x"], ["--nonsense"]])
def test_wrong_usage_is_2_and_says_where_to_read(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(arguments) == 2
    assert "--help" in capsys.readouterr().err


def test_an_error_is_a_json_document_where_one_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["up", "--replicas", "nobody=1", "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["field"], found["exit_code"]) == ("UsageError", "replicas", 2)


def test_a_run_can_be_seen_at_any_moment_of_its_past(recorded: list[Event]) -> None:
    assert view_at("r", recorded, None).status == "completed"
    halfway = view_at("r", recorded, 4)
    assert (halfway.status, halfway.count("done"), halfway.last_seq) == ("running", 1, 4)
    with pytest.raises(NotFound, match="began at sequence 1"):
        view_at("r", recorded, 0)
