"""Progress of a run on standard error: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from swarm_cli import output, render
from swarm_common.events import Event
from swarm_common.runs import RunView

Show = Callable[[RunView, Event], None]
#: Plain lines come at most this often, in seconds, so that a log of thousands of tasks stays readable.
_EVERY_S = 1.0
_DRAW_EVERY_S = 0.1


@contextlib.contextmanager
def progress(*, quiet: bool = False) -> Iterator[Show]:
    """Return what shows each event of a run as it comes."""
    if quiet:
        yield lambda _view, _event: None
    elif sys.stderr.isatty():
        with _live() as show:
            yield show
    else:
        yield plain(output.note)


def plain(write: Callable[[str], None], now: Callable[[], float] = time.monotonic) -> Show:
    """Return what writes a line when something changed and the last line is a moment old."""
    began = now()
    last = -_EVERY_S

    def show(view: RunView, event: Event) -> None:
        nonlocal last
        at = now() - began
        if at - last < _EVERY_S and not view.over and event.type != "benchmark.started":
            return
        if view.over and not event.type.startswith("benchmark."):
            return  # the aftermath is part of the result
        last = at
        write(f"{at:6.2f} s  {view.status:<10} {counts(view)}  {describe(event)}")

    return show


@contextlib.contextmanager
def _live() -> Iterator[Show]:
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (
        TextColumn("[bold]{task.fields[run]}"),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[counts]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[now]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=10) as bar:
        task = bar.add_task("run", total=None, run="requested", counts="", now="")

        drawn = 0.0

        def show(view: RunView, event: Event) -> None:
            nonlocal drawn
            if time.monotonic() - drawn < _DRAW_EVERY_S and not view.over:
                return  # counting tasks for each of a hundred thousand events would take longer than they do
            drawn = time.monotonic()
            bar.update(
                task,
                total=len(view.tasks) or None,
                completed=view.count("done"),
                run=view.run,
                counts=counts(view),
                now=describe(event),
            )

        yield show


def counts(view: RunView) -> str:
    """Return ``3/14 tasks``, and what failed or waits for another attempt."""
    done, failed, retrying = view.count("done"), view.count("failed"), view.count("retrying")
    more = [f"{count} {what}" for count, what in ((failed, "failed"), (retrying, "to be retried")) if count]
    return ", ".join([f"{done}/{len(view.tasks)} tasks", *more])


def describe(event: Event) -> str:
    """Return an event in a few words."""
    data = event.data
    task = getattr(data, "task", "")
    detail = getattr(data, "reason", "") or getattr(data, "message", "")
    took = "" if event.duration_us is None else f" ({render.microseconds(event.duration_us)})"
    words = " ".join(part for part in (event.type, task) if part)
    return f"{words}{took}" + (f": {render.value_text(detail)}" if detail else "")
