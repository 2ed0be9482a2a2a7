"""`swarm export`, `swarm import`, `swarm archive`."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from swarm_cli import output
from swarm_cli.archiving import archive_runs, parse_moment, runs_before
from swarm_cli.commands import single
from swarm_cli.connect import client, run_async
from swarm_cli.exporting import Exported, export_runs, writing
from swarm_cli.importing import import_file, problem_text, verify
from swarm_cli.lookup import find_run, session_runs
from swarm_cli.options import Json, OutFile, Session
from swarm_common.client import Client
from swarm_common.errors import NotFound, SwarmError, UsageError

_RunOrNone = Annotated[
    str | None, typer.Argument(metavar="[RUN]", help="A run's id, the beginning of one, or `last`.")
]


def export(run: _RunOrNone = None, session: Session = None, out: OutFile = None, json: Json = False) -> int:
    """Write a run, or all runs of a session, to a file: the very bytes of the log as JSON Lines, with checksums.

    A CSV or Parquet file that a run works on is in it, too.

    The file is named after the run or the session unless -o says otherwise; `-o -` writes to standard output.
    """
    _one_of(run=run, session=session)
    path, exported = run_async(_export(run, session, out))
    for name in exported.open:
        output.note(f"run {name} is not over: this is its beginning")
    for name in exported.absent:
        output.note(f"{name} is not in the object store: the export is without it")
    if str(path) == "-":
        return 0
    if json:
        output.emit({"file": str(path), **msgspec.to_builtins(exported)})
    else:
        output.line(f"{path}: {exported.events} events of {len(exported.runs)} runs")
    return 0


async def _export(run: str | None, session: str | None, out: Path | None) -> tuple[Path, Exported]:
    async with client() as swarm:
        runs = await _chosen(swarm, run, session)
        path = out or Path(f"{session or runs[0]}.jsonl")
        if str(path) == "-":
            whole = io.BytesIO()  # nothing is printed of an export that fails half way
            exported = await export_runs(swarm, runs, whole)
            sys.stdout.buffer.write(whole.getvalue())
            sys.stdout.flush()
            return path, exported
        with writing(path) as stream:
            return path, await export_runs(swarm, runs, stream)


async def _chosen(swarm: Client, run: str | None, session: str | None) -> list[str]:
    if session is not None:
        return await session_runs(swarm, session)
    return [await find_run(swarm, run or "")]


def _one_of(**given: str | None) -> None:
    named = [name for name, value in given.items() if value is not None]
    if len(named) != 1:
        options = " or ".join("RUN" if name == "run" else f"--{name}" for name in given)
        raise UsageError(
            f"give one of {options}, not {' and '.join(named) or 'none'}", field="run", allowed=options
        )


def import_(
    file: Annotated[Path, typer.Argument(help="A file that `swarm export` wrote.")],
    force: Annotated[
        bool, typer.Option("--force", help="Import it although lines were altered since its export.")
    ] = False,
    json: Json = False,
) -> int:
    """Put an exported file back into the log: same bytes, same order; nobody works on it again.

    A file that was altered is refused, naming the lines. What is there already, identical, is left as it is.
    """
    if not file.is_file():
        raise NotFound(f"{file}: no such file")
    problems = verify(file, force=force)
    imported = run_async(_import(file))
    if json:
        output.emit(
            {"file": str(file), "altered": msgspec.to_builtins(problems), **msgspec.to_builtins(imported)}
        )
        return 0
    for problem in problems:
        output.note(f"imported all the same: {problem_text(problem)}")
    for run, state in imported.runs.items():
        words = {
            "new": "imported",
            "resumed": "completed: its beginning was there",
            "there": "is there already, identical",
        }
        output.line(f"run {run} {words[state]}")
    output.line(f"{imported.events} events appended")
    return 0


async def _import(file: Path) -> Any:
    async with client() as swarm:
        return await import_file(swarm, file)


def archive(
    run: _RunOrNone = None,
    session: Session = None,
    before: Annotated[
        str | None, typer.Option(help="Runs that ended before this date or time (UTC).", metavar="DATE")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--output", help="Directory for the files, one a run.", metavar="DIR")
    ] = None,
    json: Json = False,
) -> int:
    """Export runs, verify each file by replay, then remove the run from the broker.

    A file that does not verify removes nothing; runs that are not over stay, and are named. Exit code 1 where anything
    that was asked for stayed.
    """
    _one_of(run=run, session=session, before=before)
    if out is None:
        raise UsageError("archive needs a directory for its files: -o DIR", field="output")
    if out.exists() and not out.is_dir():
        raise SwarmError(f"{out} is no directory")
    archived, kept = run_async(_archive(run, session, before, out))
    if json:
        output.emit({"archived": msgspec.to_builtins(archived), "kept": kept})
    else:
        for one in archived:
            output.line(f"run {one.run}: {one.events} events are in {one.file}, and no longer in the broker")
        for name, reason in kept.items():
            output.line(f"run {name} stays: {reason}")
        if not archived and not kept:
            output.line("there is nothing to archive")
    return 1 if kept else 0


async def _archive(run: str | None, session: str | None, before: str | None, out: Path) -> Any:
    moment = None if before is None else parse_moment(before)
    async with client() as swarm:
        runs = await _chosen(swarm, run, session) if moment is None else await runs_before(swarm, moment)
        return await archive_runs(swarm, runs, out)


APPS = {"export": single(export), "import": single(import_), "archive": single(archive)}
