"""`swarm trace`: where a run's time went."""

from __future__ import annotations

import os
import shutil
from typing import Annotated, Any

import msgspec
import typer

from swarm_cli import output, render
from swarm_cli.commands import single
from swarm_cli.connect import client, run_async
from swarm_cli.lookup import find_run
from swarm_cli.options import Json, RunName
from swarm_common.timeline import Step, Timeline, Work, timeline

JAEGER = "http://127.0.0.1:16686"


def trace(
    run: RunName,
    most: Annotated[
        int, typer.Option("--rows", help="Show at most so many rows of the timeline.", min=1)
    ] = 40,
    jaeger: Annotated[bool, typer.Option("--jaeger", help="Print the link to the trace in Jaeger.")] = False,
    json: Json = False,
) -> int:
    """Show a run's timeline and critical path, in microseconds, from the log alone."""
    found = run_async(_timeline(run))
    link = jaeger_link(found.trace_id)
    if json:
        output.emit(document(found) | ({"jaeger": link} if jaeger else {}))
    elif jaeger:
        output.line(link)
    else:
        _show(found, most)
    return 0


async def _timeline(name: str) -> Timeline:
    async with client() as swarm:
        return timeline(await swarm.events(await find_run(swarm, name)))


def jaeger_link(trace_id: str) -> str:
    """Return where Jaeger shows a trace: ``SWARM_JAEGER_URL``, or the one of docker-compose.yml."""
    return f"{os.environ.get('SWARM_JAEGER_URL') or JAEGER}/trace/{trace_id}"


def document(found: Timeline) -> dict[str, Any]:
    """Return the timeline as plain JSON, with shares of the total."""
    plain: dict[str, Any] = msgspec.to_builtins(found)
    for work, row in zip(found.works, plain["works"], strict=True):
        row["work_us"] = work.work_us
    for step in plain["path"]:
        step["share"] = _share(step["wait_us"] + step["work_us"], found.total_us)
    return plain | {"path_wait_us": found.path_wait_us, "path_work_us": found.path_work_us}


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole > 0 else None


def _show(found: Timeline, most: int) -> None:
    output.line(f"run {found.run}  {found.total_us:,} µs  trace id {found.trace_id}")
    width = max(20, min(60, shutil.get_terminal_size((110, 24)).columns - 70))
    works = _most_telling(found.works, most)
    output.line(
        f"timeline (· waits, █ works, * critical path; {width} columns are {render.microseconds(found.total_us)})"
    )
    for work in works:
        mark = "*" if work.critical else " "
        label = f"{work.task or work.what} ({work.service})"
        figures = f"{work.wait_us:>10,} + {work.work_us:>11,} µs"
        output.line(
            f"{mark} {render.value_text(label, 38):<38} {figures}  {bar(work, found.total_us, width)}"
        )
    if len(found.works) > len(works):
        output.line(
            f"  and {len(found.works) - len(works)} shorter ones; --rows {len(found.works)} shows them all"
        )
    output.line()
    rows: list[list[render.Cell]] = [_path_row(step, found.total_us) for step in found.path]
    render.table(
        ["critical path", "task", "who", "waited µs", "worked µs", "share", "at µs"], rows, right=(3, 4, 5, 6)
    )
    output.line(
        f"on the path: {found.path_work_us:,} µs work, {found.path_wait_us:,} µs waits "
        f"({_percent(_share(found.path_wait_us, found.total_us))} of {found.total_us:,} µs)"
    )


def _path_row(step: Step, total_us: int) -> list[render.Cell]:
    share = _share(step.wait_us + step.work_us, total_us)
    return [
        step.type,
        step.task,
        f"{step.service} {step.worker}",
        f"{step.wait_us:,}",
        f"{step.work_us:,}",
        _percent(share),
        f"{step.end_us:,}",
    ]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _most_telling(works: tuple[Work, ...], most: int) -> list[Work]:
    """Return at most so many: those on the critical path and the longest, in the order of time."""
    chosen = sorted(works, key=lambda work: (not work.critical, -work.work_us, -work.wait_us))[:most]
    return sorted(chosen, key=lambda work: (work.start_us, work.end_us))


def bar(work: Work, total_us: int, width: int) -> str:
    """Return a bar: dots from the cause to the start, blocks from the start to the end (one at least)."""
    if total_us <= 0:
        return ""

    def column(at_us: int) -> int:
        return min(width, max(0, round(at_us * width / total_us)))

    begin, start, end = column(work.start_us - work.wait_us), column(work.start_us), column(work.end_us)
    start = min(start, width - 1)
    return " " * min(begin, start) + "·" * max(0, start - begin) + "█" * max(1, end - start)


APPS = {"trace": single(trace)}
