"""Claude Code without a terminal: ``claude -p --output-format stream-json --verbose``, a process a request.

Each runs in an empty directory with a home of its own, so that no memory file, setting, plug-in or server of the user's
takes part, and without tools: it answers. Lines of its output are JSON objects; those of types that are not known here
are kept in ``raw`` like all others.

Usage: the last line's is the sum over all steps. Where it is missing, that of the steps is summed, once a message id:
lines of one step repeat it. ``total_cost_usd`` is that program's own estimate.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from swarm_common.errors import UsageError
from swarm_common.llm import Choices, Finish, Request, Response, Schema, Trouble, Usage
from swarm_model_agent.executors.core import MOST_BYTES, Ability, Failed
from swarm_model_agent.executors.http import redacted, without
from swarm_model_agent.executors.openai import schema_of, unwrapped

KEY = "ANTHROPIC_API_KEY"
_PASSED = ("PATH", "ANTHROPIC_BASE_URL", "LANG", "TMPDIR")
_FINISH: Mapping[str, Finish] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "refusal": "refusal",
}
_BY_STATUS: Mapping[int, Trouble] = {401: "unauthorized", 403: "unauthorized", 429: "rate_limited"}
_LONGEST = 300
_END_S = 5.0


class _Usage(msgspec.Struct):
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None


class _Message(msgspec.Struct):
    id: str = ""
    model: str = ""
    content: list[dict[str, Any]] = []
    usage: _Usage | None = None
    stop_reason: str | None = None


class _Line(msgspec.Struct):
    """Of a line what is read here."""

    type: str = ""
    subtype: str = ""
    message: _Message | None = None
    is_error: bool = False
    result: str | None = None
    structured_output: Any = None
    usage: _Usage | None = None
    total_cost_usd: float | None = None
    stop_reason: str | None = None
    api_error_status: int | None = None
    errors: list[Any] = []


class ClaudeCode:
    """The command ``claude``, asked for answers alone."""

    abilities: frozenset[Ability] = frozenset({"choices", "schema"})

    def __init__(
        self,
        model: str = "",
        *,
        command: Sequence[str] = ("claude",),
        stall_s: float = 60.0,
        api_key: str | None = None,
    ) -> None:
        if shutil.which(command[0]) is None:
            raise UsageError(
                f"executor claude-code runs the command {command[0]}, which is not installed here; install it, or use "
                "executor anthropic",
                field="params.executor",
                given="claude-code",
            )
        self.model = model or "claude-code"
        self._named = ["--model", model] if model else []
        self._command = list(command)
        self._stall_s = stall_s
        self._key = os.environ.get(KEY, "").strip() if api_key is None else api_key

    async def answer(self, request: Request) -> Response:
        """Run it once."""
        with tempfile.TemporaryDirectory(prefix="swarm-claude-") as folder:
            home, work = _rooms(folder)
            process = await asyncio.create_subprocess_exec(
                *self._command,
                *self._arguments(request),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=work,
                env=self._environment(home),
                limit=MOST_BYTES,
            )
            try:
                return await self._converse(process, request)
            finally:
                await _end(process)

    async def close(self) -> None:
        """Nothing is held between requests."""

    def _arguments(self, request: Request) -> list[str]:
        arguments = [
            "-p", "--output-format", "stream-json", "--verbose", "--tools", "", "--setting-sources", "",
            "--strict-mcp-config", "--no-session-persistence", "--max-turns", "1", *self._named,
        ]  # fmt: skip
        if request.instructions:
            arguments += ["--system-prompt", request.instructions]
        schema = None
        if isinstance(request.constraint, Schema):
            schema = request.constraint.schema
        elif isinstance(request.constraint, Choices):
            schema = schema_of(request.constraint)
        return arguments + (["--json-schema", msgspec.json.encode(schema).decode()] if schema else [])

    def _environment(self, home: Path) -> dict[str, str]:
        passed = {name: os.environ[name] for name in _PASSED if name in os.environ}
        return {**passed, "HOME": str(home), "CLAUDE_CONFIG_DIR": str(home / ".claude"), KEY: self._key}

    async def _converse(self, process: asyncio.subprocess.Process, request: Request) -> Response:
        assert process.stdin is not None  # noqa: S101 - asked for
        assert process.stdout is not None  # noqa: S101
        with contextlib.suppress(ConnectionError):
            process.stdin.write(prompt(request).encode())
            process.stdin.close()
        raw, lines = bytearray(), list[_Line]()
        while True:
            try:
                async with asyncio.timeout(self._stall_s):
                    line = await process.stdout.readline()
            except TimeoutError:
                raise Failed("timeout", f"no line in {self._stall_s:g} s", raw=bytes(raw)) from None
            except ValueError:
                raise Failed("invalid_answer", f"a line is longer than {MOST_BYTES} bytes") from None
            if not line:
                break
            raw += line
            if len(raw) > MOST_BYTES:
                raise Failed("invalid_answer", f"the answer is longer than {MOST_BYTES} bytes")
            with contextlib.suppress(msgspec.DecodeError, UnicodeError):  # kept in raw, whatever it is
                lines.append(msgspec.json.decode(line, type=_Line))
        kept = redacted(bytes(raw), self._key)
        if not lines or lines[-1].type != "result":
            words = await self._last_words(process)
            raise Failed("interrupted", f"it ended before its result: {words or 'it said nothing'}", raw=kept)
        return self._read(request, lines, kept)

    async def _last_words(self, process: asyncio.subprocess.Process) -> str:
        assert process.stderr is not None  # noqa: S101
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                return without((await process.stderr.read()).decode("utf-8", "replace"), self._key).strip()[
                    -_LONGEST:
                ]
        return ""

    def _read(self, request: Request, lines: Sequence[_Line], raw: bytes) -> Response:
        result = lines[-1]
        steps = {line.message.id: line.message for line in lines if line.type == "assistant" and line.message}
        if result.is_error or result.subtype not in {"success", "error_max_turns", ""}:
            status = result.api_error_status
            what = result.result or "; ".join(map(str, result.errors)) or result.subtype
            trouble: Trouble = (
                "refused_request" if status is None else _BY_STATUS.get(status, _by_class(status))
            )
            raise Failed(trouble, f"it ended with an error: {without(what, self._key)[:_LONGEST]}", raw=raw)
        text = result.result or _text(lines)
        if result.structured_output is not None:
            text = msgspec.json.encode(result.structured_output).decode()
        last = list(steps.values())[-1] if steps else _Message()
        finish = _FINISH.get(result.stop_reason or last.stop_reason or "end_turn", "other")
        if isinstance(request.constraint, Choices) and finish == "stop":
            text = unwrapped(text, request.constraint, raw)
        return Response(
            text=text,
            finish=finish,
            model=last.model or self.model,
            usage=_usage(result.usage, lines),
            raw=raw,
            cost_usd=result.total_cost_usd,
        )


def _rooms(folder: str) -> tuple[Path, Path]:
    home, work = Path(folder, "home"), Path(folder, "work")
    home.mkdir()
    work.mkdir()
    return home, work


def prompt(request: Request) -> str:
    """Return a conversation as one text: its last message alone where there is no other."""
    *before, last = request.messages
    told = [f"{message.role}: {message.content}" for message in before]
    return "\n\n".join([*told, f"{last.role}: {last.content}" if before else last.content])


def _text(lines: Sequence[_Line]) -> str:
    """Return the text of the last message that has one: the result's own may be empty."""
    for line in reversed(lines):
        if line.type == "assistant" and line.message:
            found = "".join(
                str(part.get("text", "")) for part in line.message.content if part.get("type") == "text"
            )
            if found:
                return found
    return ""


def _usage(result: _Usage | None, lines: Sequence[_Line]) -> Usage:
    usages = [result] if result is not None else list(_of_steps(lines).values())
    if not usages:
        return Usage(source="none")
    return Usage(
        input=sum(usage.input_tokens for usage in usages),
        cache_read=sum(usage.cache_read_input_tokens or 0 for usage in usages),
        cache_write=sum(usage.cache_creation_input_tokens or 0 for usage in usages),
        output=sum(usage.output_tokens for usage in usages),
    )


def _of_steps(lines: Sequence[_Line]) -> dict[str, _Usage]:
    """Return each step's usage, once: of lines that repeat it the one with the most output."""
    found: dict[str, _Usage] = {}
    for line in lines:
        if line.type == "assistant" and line.message and line.message.usage:
            one = line.message.usage
            before = found.get(line.message.id)
            if before is None or one.output_tokens > before.output_tokens:
                found[line.message.id] = one
    return found


def _by_class(status: int) -> Trouble:
    return "overloaded" if status >= 500 else "refused_request"


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    await process.wait()
    transport = getattr(process, "_transport", None)
    if transport is not None:
        transport.close()
