"""`swarm trace`: where a run's time went."""

from __future__ import annotations

import os
import shutil
from typing import Annotated, Any

import msgspec
import typer

from swarm_cli import clocks, output, render
from swarm_cli.clocks import Hop
from swarm_cli.commands import single
from swarm_cli.connect import client, run_async
from swarm_cli.lookup import find_run
from swarm_cli.options import Json, RunName
from swarm_common.timeline import Step, Timeline, Work, timeline
from swarm_statistics.clocks import Offset

JAEGER = "http://127.0.0.1:16686"


def trace(
    run: RunName,
    most: Annotated[
        int, typer.Option("--rows", help="Show at most so many rows of the timeline.", min=1)
    ] = 40,
    jaeger: Annotated[bool, typer.Option("--jaeger", help="Print the link to the trace in Jaeger.")] = False,
    ask_clocks: Annotated[
        bool,
        typer.Option(
            "--clocks", help="Ask how far the services' clocks are apart, also where all run on one host."
        ),
    ] = False,
    json: Json = False,
) -> int:
    """Show a run's timeline and critical path, in microseconds, from the log alone.

    Where services run on several hosts, their clocks are asked how far they are apart.
    """
    found, known = run_async(_timeline(run, ask_clocks and not jaeger))
    link = jaeger_link(found.trace_id)
    if json:
        output.emit(document(found, known) | ({"jaeger": link} if jaeger else {}))
    elif jaeger:
        output.line(link)
    else:
        _show(found, known, most)
    return 0


class Clocks(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the clocks that a run's times are from."""

    writers: dict[str, str] = {}
    """The service of each instance that was asked; empty where nobody was."""
    offsets: dict[str, Offset] = {}
    """How much each is ahead of this machine's clock; those that did not answer are not there."""
    hops: dict[str, Hop] = {}
    """By event: waits between hosts."""


async def _timeline(name: str, ask_clocks: bool) -> tuple[Timeline, Clocks]:
    async with client() as swarm:
        events = await swarm.events(await find_run(swarm, name))
        writers = clocks.writers(events)
        if not (ask_clocks or clocks.several_hosts(writers)):
            return timeline(events), Clocks()
        offsets = await clocks.offsets(swarm, writers)
        return timeline(events), Clocks(writers=writers, offsets=offsets, hops=clocks.hops(events, offsets))


def jaeger_link(trace_id: str) -> str:
    """Return where Jaeger shows a trace: ``SWARM_JAEGER_URL``, or the one of docker-compose.yml."""
    return f"{os.environ.get('SWARM_JAEGER_URL') or JAEGER}/trace/{trace_id}"


def document(found: Timeline, known: Clocks | None = None) -> dict[str, Any]:
    """Return the timeline as plain JSON, with shares of the total, and with clocks where they were asked."""
    plain: dict[str, Any] = msgspec.to_builtins(found)
    for work, row in zip(found.works, plain["works"], strict=True):
        row["work_us"] = work.work_us
    for step in plain["path"]:
        step["share"] = _share(step["wait_us"] + step["work_us"], found.total_us)
        if known is not None and (hop := known.hops.get(step["event"])):
            step["clock_offset_us"], step["clock_bound_us"] = hop.offset_us, hop.bound_us
    if known is not None and known.writers:
        plain["clocks"] = [_clock(name, service, known) for name, service in known.writers.items()]
    return plain | {"path_wait_us": found.path_wait_us, "path_work_us": found.path_work_us}


def _clock(instance: str, service: str, known: Clocks) -> dict[str, Any]:
    offset = known.offsets.get(instance)
    return {
        "instance": instance,
        "service": service,
        "offset_us": None if offset is None else offset.offset_ns / 1000,
        "bound_us": None if offset is None else offset.bound_ns / 1000,
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole > 0 else None


def _show(found: Timeline, known: Clocks, most: int) -> None:
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
    rows: list[list[render.Cell]] = [
        _path_row(step, found.total_us, known.hops.get(step.event)) for step in found.path
    ]
    render.table(
        ["critical path", "task", "who", "waited µs", "worked µs", "share", "at µs"], rows, right=(3, 4, 5, 6)
    )
    output.line(
        f"on the path: {found.path_work_us:,} µs work, {found.path_wait_us:,} µs waits "
        f"({_percent(_share(found.path_wait_us, found.total_us))} of {found.total_us:,} µs)"
    )
    _show_clocks(known)


def _show_clocks(known: Clocks) -> None:
    if not known.writers:
        return
    output.line()
    rows: list[list[render.Cell]] = []
    for instance, service in known.writers.items():
        offset = known.offsets.get(instance)
        ahead = "does not answer: it no longer runs" if offset is None else f"{offset.offset_ns / 1000:+,.0f}"
        rows.append([service, instance, ahead, "" if offset is None else f"{offset.bound_ns / 1000:,.0f}"])
    render.table(["clock of", "instance", "ahead of this machine's, µs", "± µs"], rows, right=(2, 3))
    if known.hops:
        output.line(
            "a wait between hosts is marked with what of it only their clocks make, and how sure that is"
        )


def _path_row(step: Step, total_us: int, hop: Hop | None = None) -> list[render.Cell]:
    clock = "" if hop is None else f" (clocks {hop.offset_us:+,.0f} ± {hop.bound_us:,.0f})"
    share = _share(step.wait_us + step.work_us, total_us)
    return [
        step.type,
        step.task,
        f"{step.service} {step.worker}",
        f"{step.wait_us:,}{clock}",
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
