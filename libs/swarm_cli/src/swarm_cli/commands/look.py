"""`swarm runs`, `swarm show`, `swarm watch`, `swarm cancel`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from swarm_cli import output, render, watching
from swarm_cli.commands import single
from swarm_cli.connect import client, run_async
from swarm_cli.listing import list_runs
from swarm_cli.lookup import find_run
from swarm_cli.options import Json, RunName, Session
from swarm_cli.result import show_result
from swarm_common.errors import NotFound, UsageError
from swarm_common.events import Event
from swarm_common.runs import RunView, fold


def runs(
    session: Session = None,
    limit: Annotated[int, typer.Option(help="Show at most so many, the newest first.", min=1)] = 20,
    json: Json = False,
) -> int:
    """List runs, the newest first."""
    found = run_async(_runs(session, limit))
    if json:
        output.emit(found)
        return 0
    rows: list[list[render.Cell]] = [
        [
            one["run"],
            f"{one['suite']}/{one['scenario']}" if one["scenario"] else one["suite"],
            one["session"],
            render.status_cell(one["status"]),
            render.day_time(one["started"] or ""),
            "" if one["duration_s"] is None else render.seconds(one["duration_s"]),
        ]
        for one in found
    ]
    if rows:
        render.table(["run", "what", "session", "status", "started (UTC)", "took"], rows, right=(5,))
    else:
        output.line("no runs" + (f" in session {session}" if session else "; `swarm run quick` makes one"))
    return 0


async def _runs(session: str | None, limit: int) -> list[dict[str, Any]]:
    async with client() as swarm:
        return await list_runs(swarm, session, limit)


def show(
    run: RunName,
    at: Annotated[
        int | None, typer.Option(help="As it was after this sequence of the log.", metavar="SEQ", min=0)
    ] = None,
    json: Json = False,
) -> int:
    """Show a run as the log tells it, now or at any moment of its past."""
    view = run_async(_show(run, at))
    if json:
        output.emit(view.summary())
    else:
        show_result(view)
        output.line(
            f"last event of the log that is counted: {view.last_seq}"
            if at is not None
            else f"next: swarm trace {view.run}"
        )
    return 0


async def _show(name: str, at: int | None) -> RunView:
    async with client() as swarm:
        run = await find_run(swarm, name)
        events = await swarm.events(run)
    return view_at(run, events, at)


def view_at(run: str, events: list[Event], at: int | None) -> RunView:
    """Return the view of a run after sequence ``at`` of the log; raises :class:`NotFound` before it began."""
    if at is None:
        return fold(run, events)
    upto = [event for event in events if event.seq <= at]
    if not upto:
        raise NotFound(f"run {run} began at sequence {events[0].seq}; at {at} there was nothing of it yet")
    return fold(run, upto)


def watch(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="A run; without one, everything that happens.")
    ] = None,
    live: Annotated[
        bool,
        typer.Option(
            "--live", help="Without a terminal: print what each instance uses, too, as it tells it."
        ),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print each event as one line of JSON.")] = False,
) -> int:
    """Show what happens as it happens: one run to its end, or services and all runs until interrupted.

    On a terminal it draws what each service uses, or how far the run is, and the latest events; elsewhere it prints a
    line an event.
    """
    return run_async(_watch(run, live=live, json=json))


async def _watch(name: str | None, *, live: bool, json: bool) -> int:
    async with client() as swarm:
        run = "" if name is None else await find_run(swarm, name)
        after = 0 if run else await swarm.log.last_seq()
        if watching.is_board(json=json):
            view = await watching.board(swarm, run, after=after)
        else:
            if not run:
                output.note(f"watching every run from sequence {after + 1} on; Ctrl-C ends it")
            view = await watching.lines(swarm, run, after=after, json=json, with_live=live)
    return 0 if view.status in {"completed", "unknown"} else 1


def cancel(
    run: RunName,
    reason: Annotated[str, typer.Option(help="Why; it stands in the log.")] = "cancelled by the user",
    json: Json = False,
) -> int:
    """Stop a run, and wait until the log says that it is stopped."""
    view = run_async(_cancel(run, reason))
    if json:
        output.emit(view.summary())
    else:
        show_result(view)
    return 0 if view.status == "cancelled" else 1


async def _cancel(name: str, reason: str) -> RunView:
    async with client() as swarm:
        run = await find_run(swarm, name)
        view = fold(run, await swarm.events(run))
        if view.over:
            raise UsageError(f"run {run} is over already: {view.status}", field="run", given=run)
        await swarm.cancel(run, reason)
        return await swarm.wait(run)


APPS = {"runs": single(runs), "show": single(show), "watch": single(watch), "cancel": single(cancel)}
