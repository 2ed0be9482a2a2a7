"""Archiving: export, verify the file by replay, and only then remove the run from the broker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from swarm_cli.exporting import export_runs, writing
from swarm_cli.importing import problem_text
from swarm_cli.lookup import subjects
from swarm_cli.replaying import Verdict, replay_file
from swarm_common import clock
from swarm_common.client import Client
from swarm_common.errors import UsageError
from swarm_common.events.benchmark import TERMINAL
from swarm_common.events.subjects import run_filter
from swarm_common.log.streams import STREAM, TIMER_STREAM
from swarm_common.runs import RunView, fold

#: A run that completed less than this ago may still be remembered or suggested upon.
_AFTERMATH_NS = 30_000_000_000


class Archived(msgspec.Struct, frozen=True):
    """A run that now lies in a file only."""

    run: str
    file: str
    events: int


async def archive_runs(
    swarm: Client, runs: Sequence[str], directory: Path
) -> tuple[list[Archived], dict[str, str]]:
    """Archive runs one after another; return those archived, and why the others stay."""
    archived: list[Archived] = []
    kept: dict[str, str] = {}
    for run in runs:
        view = fold(run, await swarm.events(run))
        path = directory / f"{run}.jsonl"
        if reason := not_yet(view, clock.now_ns()):
            kept[run] = reason
            continue
        with writing(path) as stream:
            exported = await export_runs(swarm, [run], stream)
        verdict = await replay_file(path, verify=True, decide=False)
        if verdict.exit_code:
            kept[run] = f"{path} does not verify: {_first(verdict)}"
        elif sum((await subjects(swarm, run_filter(run))).values()) != exported.events:
            kept[run] = "it got more events meanwhile; archive it again"
        else:
            await _purge(swarm, run)
            archived.append(Archived(run, str(path), exported.events))
    return archived, kept


def not_yet(view: RunView, now_ns: int) -> str:
    """Return why a run cannot be archived now, or an empty string."""
    if not view.over:
        return f"it is not over ({view.status})"
    if not view.settled and now_ns - clock.parse_ns(view.ended) < _AFTERMATH_NS:
        return "it has just completed, and what follows it is not in the log yet"
    return ""


def _first(verdict: Verdict) -> str:
    if verdict.problems:
        return problem_text(verdict.problems[0])
    if verdict.differences:
        return f"line {verdict.differences[0].position}: {verdict.differences[0].what}"
    return verdict.unreadable[0] if verdict.unreadable else "no coordinator is installed that could verify it"


async def _purge(swarm: Client, run: str) -> None:
    """Remove a run's events and its timers from the log."""
    await swarm.broker.js.purge_stream(STREAM, subject=run_filter(run))
    await swarm.broker.js.purge_stream(TIMER_STREAM, subject=f"timer.*.{run}.>")


def parse_moment(text: str) -> int:
    """Return nanoseconds since 1970 of a date or time; raises :class:`UsageError`."""
    try:
        return clock.parse_ns(text)
    except ValueError:
        raise UsageError(
            f"--before {text!r} is no date; it reads 2026-11-21 or 2026-11-21T10:00:00Z",
            field="before",
            given=text,
        ) from None


async def runs_before(swarm: Client, moment_ns: int) -> list[str]:
    """Return the runs that ended before a moment, oldest first."""
    found = []
    for name in sorted(TERMINAL):
        async for event in swarm.log.read(f"swarm.benchmark.*.{name.partition('.')[2]}"):
            if clock.parse_ns(event.time) < moment_ns:
                found.append((event.seq, event.run))  # noqa: PERF401 - an async comprehension in extend is no clearer
    return [run for _, run in sorted(found)]
