"""`swarm watch`: a board on a terminal, lines elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import msgspec
from nats.aio.msg import Msg

from swarm_cli import output, render
from swarm_cli.boards import Events, Progress, Services, Use, event_line, live_line, printable
from swarm_common import live
from swarm_common.client import Client
from swarm_common.events.envelope import plain
from swarm_common.live import LiveMetrics
from swarm_common.runs import RunView

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

_DRAW_S = 0.25
#: How often a board takes a new value into its sparklines.
_TICK_S = 1.0
_LEAST_EVENTS = 5
#: From how many columns on a board has all four sparklines, and what names and figures take beside four and two.
_WIDE, _BESIDE_FOUR, _BESIDE_TWO = 102, 80, 72
#: Sparklines that a narrow board goes without: memory's, and that of what is in flight.
_ONLY_WIDE = (4, 8)


async def lines(swarm: Client, run: str, *, after: int, json: bool, with_live: bool) -> RunView:
    """Print events, each as one line, to the end of a run, or of all runs for ever; return the run's view."""
    progress = Progress(run)

    def heard(sample: LiveMetrics) -> None:
        output.line(msgspec.json.encode(sample).decode() if json else live_line(sample))
        sys.stdout.flush()

    async with contextlib.AsyncExitStack() as stack:
        if with_live:
            await stack.enter_async_context(_listening(swarm, heard))
        events = await stack.enter_async_context(contextlib.aclosing(swarm.follow(run, after=after)))
        async for event in events:
            output.line(
                msgspec.json.encode(plain(event)).decode() if json else event_line(event, with_run=not run)
            )
            sys.stdout.flush()
            if run:
                progress.view.apply(event)
                if progress.view.over:
                    break
    return progress.view


async def board(swarm: Client, run: str, *, after: int) -> RunView:
    """Draw what happens on the terminal: all services and events, or one run to its end; return the run's view."""
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.live import Live  # noqa: PLC0415

    services, events, progress = Services(), Events(), Progress(run)
    console = Console()

    def draw() -> RenderableType:
        width, height = console.size
        return run_board(progress, events, height) if run else swarm_board(services, events, height, width)

    async def redraw(screen: Live) -> None:
        ticked = time.monotonic()
        while True:
            if time.monotonic() - ticked >= _TICK_S:
                ticked = time.monotonic()
                services.tick(ticked)
            screen.update(draw(), refresh=True)
            await asyncio.sleep(_DRAW_S)

    async with contextlib.AsyncExitStack() as stack:
        screen = stack.enter_context(Live(console=console, auto_refresh=False, vertical_overflow="crop"))
        if not run:
            await stack.enter_async_context(
                _listening(swarm, lambda sample: services.hear(sample, time.monotonic()))
            )
        drawing = asyncio.create_task(redraw(screen), name="watch")
        stack.push_async_callback(_ended, drawing)
        found = await stack.enter_async_context(contextlib.aclosing(swarm.follow(run, after=after)))
        async for event in found:
            events.add(event, with_run=not run)
            if run:
                progress.apply(event)
                if progress.view.over:
                    break
        screen.update(draw(), refresh=True)
    return progress.view


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@contextlib.asynccontextmanager
async def _listening(swarm: Client, hear: Callable[[LiveMetrics], None]) -> AsyncIterator[None]:
    """Hand on what every instance tells of itself, in a ``with`` block."""

    async def take(message: Msg) -> None:
        if (sample := live.decode(message.data)) is not None:
            hear(sample)

    subscription = await swarm.broker.nc.subscribe(live.EVERYBODY, cb=take)
    try:
        yield
    finally:
        with contextlib.suppress(Exception):  # the connection may be gone: then so is the subscription
            await subscription.unsubscribe()


def swarm_board(services: Services, events: Events, height: int, width: int = 160) -> RenderableType:
    """Return the board of the whole swarm: a row a service, and the latest events below.

    Names and figures always fit into 80 columns; what is left is for the sparklines, and a narrow screen has only two.
    """
    from rich.console import Group  # noqa: PLC0415 - only a terminal needs it
    from rich.text import Text  # noqa: PLC0415

    past = services.past()
    wide = width >= _WIDE
    length = (width - _BESIDE_FOUR) // 4 if wide else max(3, (width - _BESIDE_TWO) // 2)
    columns = ("service", "cpu", "", "memory", "", "loop lag p99", "", "in flight", "", "handled")
    kept = [index for index in range(len(columns)) if wide or index not in _ONLY_WIDE]
    table = _table(*(columns[index] for index in kept))
    for name, uses in past.items():
        row = _service_row(name, uses, length)
        table.add_row(*(Text(row[index]) for index in kept))
    if not past:
        table.add_row("no service tells of itself yet", *[""] * (len(kept) - 1))
    room = max(_LEAST_EVENTS, height - max(1, len(past)) - 6)
    title = Text(f"{events.seen:,} events since you watch; Ctrl-C ends it", style="dim")
    return Group(table, title, Text("\n".join(events.last(room)), no_wrap=True, overflow="ellipsis"))


def _service_row(name: str, uses: list[Use | None], length: int) -> list[str]:
    """Return a service's cells: what it uses now, each with what it used before, in so many characters."""
    now = uses[-1]
    if now is None:
        return [f"{name} (silent)", *[""] * 9]

    def spark(read: Callable[[Use], float | None], top: float | None = None) -> str:
        return render.sparkline([None if use is None else read(use) for use in uses[-length:]], top)

    return [
        name if now.instances == 1 else f"{name} ×{now.instances}",
        f"{now.cpu:.0%}",
        spark(lambda use: use.cpu, max(1.0, *(use.cpu for use in uses if use))),
        "-" if now.rss_bytes is None else render.size(now.rss_bytes),
        spark(lambda use: use.rss_bytes),
        "-" if now.lag_us is None else render.microseconds(now.lag_us),
        spark(lambda use: use.lag_us),
        str(now.in_flight),
        spark(lambda use: float(use.in_flight)),
        f"{now.handled:,}" + (f", {now.failures:,} failed" if now.failures else ""),
    ]


def run_board(progress: Progress, events: Events, height: int) -> RenderableType:
    """Return the board of a run: how far it is, how fast tasks ended, its metrics so far, its latest events."""
    from rich.console import Group  # noqa: PLC0415 - only a terminal needs it
    from rich.text import Text  # noqa: PLC0415

    view = progress.view
    what = " ".join(part for part in (view.suite, view.scenario) if part)
    head = Text.assemble(
        (f"{what or 'run'} ", "bold"),
        f"{view.run}  ",
        (view.status, render.COLOURS.get(view.status, "")),
        f"  {progress.counts}",
    )
    rates, length_s = progress.throughput()
    speed = Text(
        f"tasks/s {render.sparkline(rates)} at most {max(rates):,.0f}, in stretches of {render.seconds(length_s)}"
        if rates
        else ""
    )
    table = _table("metric", "value", "interval", "n")
    shown = list(progress.metrics.values())[: max(_LEAST_EVENTS, height // 2)]
    for one in shown:
        value = render.number(one.value, one.unit) if one.value is not None else f"- ({one.reason})"
        cells = (one.name, value, render.interval(one.low, one.high, one.unit), str(one.n or ""))
        table.add_row(*(Text(printable(cell)) for cell in cells))
    room = max(_LEAST_EVENTS, height - len(shown) - 8)
    below: list[Any] = [table] if shown else []
    return Group(head, speed, *below, Text("\n".join(events.last(room)), no_wrap=True, overflow="ellipsis"))


def _table(*columns: str) -> Table:
    from rich import box  # noqa: PLC0415 - only a terminal needs it
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in columns:
        table.add_column(name, no_wrap=True)
    return table


def is_board(*, json: bool) -> bool:
    """Say whether there is a terminal to draw on."""
    return not json and sys.stdout.isatty()
