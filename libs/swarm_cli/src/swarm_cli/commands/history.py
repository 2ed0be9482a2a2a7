"""`swarm history`: a metric over many sessions, and since when it is another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from swarm_cli import output
from swarm_cli.commands import single
from swarm_cli.commands.compare import Threshold, part, read_sides
from swarm_cli.connect import client, run_async
from swarm_cli.options import Json

if TYPE_CHECKING:
    from swarm_cli.comparing_runs import Facts


def history(
    metric: Annotated[str, typer.Argument(help="A metric, as `swarm show` names it.")],
    source: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN|SESSION|FILE]...", help="Where from; the whole log if none is named."),
    ] = None,
    suite: Annotated[str | None, typer.Option(help="Only runs of this suite.")] = None,
    scenario: Annotated[str | None, typer.Option(help="Only runs of this scenario.")] = None,
    session: Annotated[
        str | None, typer.Option(help="Only sessions that match, as nightly-*.", metavar="GLOB")
    ] = None,
    last: Annotated[
        int | None, typer.Option(help="Only so many runs, the newest.", min=2, metavar="N")
    ] = None,
    threshold: Threshold = "5%",
    json: Json = False,
) -> int:
    """Show a metric over the runs of many sessions, and where its level changed for good.

    Change points are found as Apache Otava does; a series wants ten values or more. Exit code 0, whatever changed.
    """
    from swarm_cli.history import document, series_of, show  # noqa: PLC0415 - brings numpy and scipy

    limit = part(threshold)
    runs = _all(source or [])
    found = series_of(
        runs, metric, suite=suite, scenario=scenario, session=session, last=last, threshold=limit
    )
    if json:
        output.emit(document(metric, found))
    else:
        show(metric, found)
    return 0


def _all(sources: list[str]) -> list[Facts]:
    from swarm_cli.comparing_runs import all_facts  # noqa: PLC0415

    if sources:
        return read_sides([",".join(sources), ",".join(sources)])[0]

    async def ask() -> list[Facts]:
        async with client() as swarm:
            return await all_facts(swarm)

    return run_async(ask())


APPS = {"history": single(history)}
