"""Claude Code's documented output, spoken by a program of ours in its place: what it is asked, and how it is read."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from swarm_common.errors import UsageError
from swarm_common.llm import Choices, Limits, Message, Request, Response, Sampling, Schema, Usage
from swarm_model_agent.executors.claude_code import ClaudeCode
from swarm_model_agent.executors.core import Patient

SECRET = "key-that-nobody-may-see"  # noqa: S105
ASK = Request(
    messages=(Message(role="user", content="Which?"),), instructions="Be brief.", limits=Limits(tries=1)
)

#: Says what it was given in a file beside it, then the lines it was told to say.
PROGRAM = """
import json, os, pathlib, sys, time
here = pathlib.Path(sys.argv[1])
seen = {"argv": sys.argv[2:], "stdin": sys.stdin.read(), "env": dict(os.environ), "cwd": os.getcwd(),
        "files": os.listdir("."), "home": os.listdir(os.environ["HOME"])}
(here / "seen.json").write_text(json.dumps(seen))
for line in json.loads((here / "say.json").read_text()):
    if line == "HANG":
        time.sleep(60)
    if line == "DIE":
        sys.stderr.write("out of memory, " + os.environ["ANTHROPIC_API_KEY"])
        sys.exit(1)
    print(line if isinstance(line, str) else json.dumps(line), flush=True)
"""


def assistant(text: str, *, message: str = "m1", output: int = 20, **usage: int) -> dict[str, Any]:
    return {
        "type": "assistant",
        "message": {
            "id": message,
            "model": "claude-x",
            "content": [{"type": "text", "text": text}],
            "usage": {"input_tokens": 100, "output_tokens": output, **usage},
            "stop_reason": "end_turn",
        },
        "session_id": "s",
    }


def result(text: str = "Green.", **more: Any) -> dict[str, Any]:
    return {
        "type": "result", "subtype": "success", "is_error": False, "duration_ms": 5, "duration_api_ms": 4,
        "num_turns": 1, "session_id": "s", "result": text, "total_cost_usd": 0.01, **more,
    }  # fmt: skip


class Asking:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def run(self, *lines: Any, request: Request = ASK, **options: Any) -> Response:
        (self.folder / "claude.py").write_text(PROGRAM)
        (self.folder / "say.json").write_text(json.dumps(lines))
        command = (sys.executable, str(self.folder / "claude.py"), str(self.folder))
        return await Patient(ClaudeCode("claude-x", command=command, api_key=SECRET, **options)).run(request)

    @property
    def seen(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "seen.json").read_text())
        return found


@pytest.fixture
def claude(tmp_path: Path) -> Asking:
    return Asking(tmp_path)


async def test_an_answer(claude: Asking) -> None:
    usage = {
        "input_tokens": 5,
        "cache_read_input_tokens": 90,
        "cache_creation_input_tokens": 7,
        "output_tokens": 3,
    }
    found = await claude.run({"type": "system", "subtype": "init"}, assistant("Green."), result(usage=usage))
    assert (found.text, found.finish, found.model, found.trouble) == ("Green.", "stop", "claude-x", None)
    assert found.usage == Usage(input=5, cache_read=90, cache_write=7, output=3)
    assert found.cost_usd == 0.01


async def test_it_runs_alone_in_an_empty_room(claude: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_OWN_SECRET", "x")
    await claude.run(assistant("Green."), result())
    seen = claude.seen
    assert (seen["stdin"], seen["files"], seen["home"]) == ("Which?", [], [])
    assert "MY_OWN_SECRET" not in seen["env"]
    assert seen["env"]["CLAUDE_CONFIG_DIR"].startswith(seen["env"]["HOME"])
    arguments = seen["argv"]
    assert arguments[:4] == ["-p", "--output-format", "stream-json", "--verbose"]
    assert arguments[arguments.index("--setting-sources") + 1] == ""
    assert arguments[arguments.index("--tools") + 1] == ""
    assert arguments[arguments.index("--system-prompt") + 1] == "Be brief."
    assert arguments[arguments.index("--model") + 1] == "claude-x"
    assert not os.path.exists(seen["cwd"])  # noqa: ASYNC240, PTH110 - nobody waits for this test
    assert SECRET not in json.dumps(arguments)


async def test_a_conversation_is_told_as_one_text(claude: Asking) -> None:
    messages = (*ASK.messages, Message(role="assistant", content="Red?"), Message(role="user", content="No."))
    await claude.run(result(), request=replace(ASK, messages=messages))
    assert claude.seen["stdin"] == "user: Which?\n\nassistant: Red?\n\nuser: No."


async def test_a_step_is_counted_once_however_many_lines_repeat_it(claude: Asking) -> None:
    steps = [assistant("", output=2), assistant("So", output=9), assistant("Green.", message="m2", output=4)]
    found = await claude.run(*steps, result())
    assert found.usage == Usage(input=200, output=13)


async def test_the_steps_are_not_added_to_the_sum(claude: Asking) -> None:
    found = await claude.run(assistant("Green."), result(usage={"input_tokens": 1, "output_tokens": 2}))
    assert found.usage == Usage(input=1, output=2)


async def test_an_empty_result_leaves_the_last_text(claude: Asking) -> None:
    assert (await claude.run(assistant("Green."), assistant("", message="m2"), result(""))).text == "Green."


async def test_lines_that_nobody_knows_are_kept(claude: Asking) -> None:
    found = await claude.run({"type": "rate_limit_event", "x": 1}, "no JSON", assistant("Green."), result())
    assert found.text == "Green."
    assert b"rate_limit_event" in found.raw
    assert b"no JSON" in found.raw


async def test_a_choice_and_a_schema(claude: Asking) -> None:
    chosen = await claude.run(
        result("", structured_output={"choice": "red"}),
        request=replace(ASK, constraint=Choices(("red", "green"))),
    )
    assert chosen.text == "red"
    schema = {"type": "object"}
    found = await claude.run(
        result("", structured_output={"n": 1}), request=replace(ASK, constraint=Schema(schema))
    )
    assert json.loads(found.text) == {"n": 1}
    arguments = claude.seen["argv"]
    assert json.loads(arguments[arguments.index("--json-schema") + 1]) == schema


async def test_it_has_no_temperature(claude: Asking) -> None:
    found = await claude.run(result(), request=replace(ASK, sampling=Sampling(temperature=0.0)))
    assert found.trouble == "refused_request"


@pytest.mark.parametrize(
    ("status", "trouble"),
    [
        (429, "rate_limited"),
        (529, "overloaded"),
        (401, "unauthorized"),
        (400, "refused_request"),
        (None, "refused_request"),
    ],
)
async def test_an_error_of_the_endpoint(claude: Asking, status: int | None, trouble: str) -> None:
    found = await claude.run(result(f"no: {SECRET}", is_error=True, api_error_status=status))
    assert found.trouble == trouble
    assert SECRET not in repr(found)


async def test_a_stream_that_stalls_is_ended(claude: Asking) -> None:
    found = await claude.run(assistant("Gre"), "HANG", stall_s=1.0)
    assert (found.trouble, found.why) == ("timeout", "no line in 1 s")


async def test_a_process_that_dies_says_its_last_words(claude: Asking) -> None:
    found = await claude.run(assistant("Gre"), "DIE")
    assert found.trouble == "interrupted"
    assert "out of memory, ***" in found.why
    assert SECRET not in repr(found)


def test_without_the_command_it_says_so() -> None:
    with pytest.raises(UsageError, match="the command no-such-claude, which is not installed here"):
        ClaudeCode(command=("no-such-claude",))
