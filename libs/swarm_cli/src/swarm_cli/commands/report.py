"""`swarm report`: a run as a page or as data."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from swarm_cli import context, output
from swarm_cli.commands import single
from swarm_cli.connect import client, run_async
from swarm_cli.lookup import find_run
from swarm_cli.options import Json, OutFile, RunName
from swarm_cli.report.data import as_csv, as_json, write_sqlite
from swarm_cli.report.page import page
from swarm_common.errors import SwarmError, UsageError
from swarm_common.events import Event
from swarm_common.runs import RunView, fold

FORMATS = ("html", "json", "csv", "sqlite")


def report(
    run: RunName,
    formats: Annotated[
        str,
        typer.Option(
            "--format", help="html, json, csv, sqlite; several with commas between.", metavar="FORMATS"
        ),
    ] = "html",
    out: OutFile = None,
    json: Json = False,
) -> int:
    """Write the report of a run: one self-contained HTML page with charts, or data.

    With several formats, the name given by -o gets each format's ending. Without -o, files go to the reports directory
    under the stack's home.
    """
    wanted = parse_formats(formats)
    if str(out) == "-" and (len(wanted) > 1 or wanted == ["sqlite"]):
        raise UsageError(
            "standard output takes one format, and that not sqlite; give a file with -o", field="output"
        )
    view, events = run_async(_read(run))
    written = [_write(name, _target(name, wanted, out, view), view, events) for name in wanted]
    files = [path for path in written if path is not None]
    if json and str(out) != "-":
        output.emit({"run": view.run, "files": dict(zip(wanted, map(str, files), strict=True))})
    else:
        for path in files:
            output.line(str(path))
    return 0


def parse_formats(text: str) -> list[str]:
    """Read ``html,csv``; raises :class:`UsageError` naming what is not a format."""
    found = [part.strip().lower() for part in text.split(",") if part.strip()]
    for one in found:
        if one not in FORMATS:
            allowed = ", ".join(FORMATS)
            raise UsageError(
                f"--format {one!r}; there are {allowed}", field="format", given=one, allowed=allowed
            )
    if not found:
        raise UsageError(
            f"--format names no format; there are {', '.join(FORMATS)}", field="format", given=text
        )
    return list(dict.fromkeys(found))


async def _read(name: str) -> tuple[RunView, list[Event]]:
    async with client() as swarm:
        run = await find_run(swarm, name)
        events = await swarm.events(run)
    return fold(run, events), events


def _target(name: str, wanted: Sequence[str], out: Path | None, view: RunView) -> Path:
    if out is None:
        return context.settings().home_path / "reports" / f"{view.run}.{name}"
    if str(out) == "-" or len(wanted) == 1:
        return out
    return (
        out.with_suffix(f".{name}")
        if out.suffix.lstrip(".") in FORMATS
        else out.with_name(f"{out.name}.{name}")
    )


def _write(name: str, path: Path, view: RunView, events: list[Event]) -> Path | None:
    """Write one format and return the file, or ``None`` for standard output."""
    if name == "sqlite":
        path.parent.mkdir(parents=True, exist_ok=True)
        write_sqlite(path, view, events)
        return path
    makers: dict[str, Callable[[RunView, Sequence[Event]], bytes]] = {
        "html": lambda view, events: page(view, events).encode(),
        "json": as_json,
        "csv": as_csv,
    }
    content = makers[name](view, events)
    if str(path) == "-":
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
        return None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise SwarmError(f"{path}: {error.strerror}") from error
    return path


APPS = {"report": single(report)}
