"""`swarm run`: request a run, follow it, print its result."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from swarm_cli import context, output
from swarm_cli.commands import single
from swarm_cli.connect import client, run_async
from swarm_cli.consent import agreed
from swarm_cli.options import Json, Session
from swarm_cli.progress import Show, progress
from swarm_cli.result import show_result
from swarm_cli.stack.control import ensure
from swarm_common.client import Client
from swarm_common.datafiles import is_reference
from swarm_common.errors import BrokerUnavailable, SwarmError, UsageError
from swarm_common.events.benchmark import Requested
from swarm_common.runs import RunView
from swarm_common.settings import Settings

#: The scenario that ``--simulate`` stands for.
SIMULATION = "simulate"
#: After this long without a first event a word is said: nobody seems to take requests.
_SILENCE_S = 5.0
#: Characters of a parameter that is a file's text: it stands in the events.
_LONGEST_TEXT = 64 * 1024
#: How long an interrupted command waits for the log to say that the run is cancelled.
_CANCEL_S = 10.0


def run(
    suite: Annotated[str, typer.Argument(help="A suite: `swarm suites` lists them.")],
    scenario: Annotated[
        str, typer.Argument(help="One of its scenarios; the first one if none is named.")
    ] = "",
    param: Annotated[
        list[str] | None,
        typer.Option("-p", "--param", help="A parameter; may be repeated.", metavar="KEY=VALUE"),
    ] = None,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="The suite's simulation, in place of a scenario.")
    ] = False,
    session: Session = None,
    seed: Annotated[int, typer.Option(help="Where every random number of the run comes from.")] = 42,
    timeout: Annotated[
        float | None, typer.Option(help="Longest life of the run, in seconds.", metavar="S")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Ask an endpoint that may cost money without a budget.")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit 1 where a target is missed.")] = False,
    report: Annotated[bool, typer.Option(help="Write the HTML report.")] = True,
    json: Json = False,
) -> int:
    """Request a run, show its progress, print its result; starts the embedded stack where no broker is named.

    A parameter that is a file (`-p data=people.csv`) is uploaded, 256 MiB at most; `-p own=@roles.toml` gives a file's
    text.

    Where agents would ask an endpoint that may cost money, what that comes to is printed first, and the run needs --yes
    or a budget (`-p budget_usd=1.50`, `-p budget_tokens=100000`).

    Exit codes: 0 done; 1 failed, cancelled, or a target missed with --check; 2 rejected, or no word on what it may
    cost; 3 stopped with a part of its work, as by a budget; 130 interrupted, and the run is then cancelled.
    """
    request = Requested(
        suite=suite,
        scenario=scenario,
        params=parse_params(param or []),
        session=session or "",
        seed=seed,
        timeout_s=timeout,
    )
    settings = context.settings(session=session)
    request = msgspec.structs.replace(request, session=settings.session)
    started = ensure(settings)
    if started is not None and not json:
        output.note(f"The embedded stack is ready after {started.seconds:.2f} s at {started.state.nats_url}.")
    if simulate:
        request = msgspec.structs.replace(request, scenario=run_async(_simulation(settings, suite, scenario)))
    view, written = run_async(_run(settings, request, json=json, report=report and not json, yes=yes))
    if json:
        output.emit(view.summary())
    else:
        show_result(view)
        _show_next(view, written)
    return exit_code(view, check=check)


def parse_params(texts: list[str]) -> dict[str, Any]:
    """Read ``key=value``: a value that is JSON is what it says, any other one is a string; ``@FILE`` is a file's text.

    Raises :class:`UsageError` for what has no ``=`` or no key, and for a file that cannot be read.
    """
    found: dict[str, Any] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise UsageError(f"-p {text!r}: it reads KEY=VALUE, as in -p folds=5", field="params", given=text)
        if value.startswith("@") and len(value) > 1:
            found[key] = text_of(value[1:])
            continue
        try:
            found[key] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            found[key] = value
    return found


def text_of(path: str) -> str:
    """Return the text of a file; raises :class:`UsageError` where it cannot be read, is none, or is too long."""
    try:
        found = Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise UsageError(f"{path}: {why}", field="params", given=path) from None
    if len(found) > _LONGEST_TEXT:
        raise UsageError(
            f"{path} has {len(found)} characters; a parameter has at most {_LONGEST_TEXT}",
            field="params",
            given=path,
        )
    return found


def exit_code(view: RunView, *, check: bool) -> int:
    """Return what the command exits with for a run that is over."""
    if view.status == "rejected":
        return 2
    if view.stopped:
        return 3
    if view.status != "completed" or (check and not view.good):
        return 1
    return 0


async def _run(
    settings: Settings, request: Requested, *, json: bool, report: bool, yes: bool = False
) -> tuple[RunView, Path | None]:
    async with client(settings) as swarm:
        request = await prepared(swarm, request, yes=yes)
        with progress(quiet=json) as show:
            view = await _follow(swarm, request, show)
        written = None
        if report and view.status == "completed":
            written = await _write_report(swarm, view, settings)
        return view, written


async def prepared(swarm: Client, request: Requested, *, yes: bool) -> Requested:
    """Return the request with its files as paths, and with the user's word on what it may cost.

    Raises:
        UsageError: It would ask an endpoint that may cost money, and nobody has agreed to that.
    """
    try:
        suites: list[dict[str, Any]] = await swarm.query("coordinator", "suites")
    except BrokerUnavailable:
        return request  # nobody says what is a file, and what may cost
    params = with_paths(suites, request)
    request = msgspec.structs.replace(request, params=params)
    if isinstance(params.get("tasks"), Path):  # its questions are looked at before the run
        file = await swarm.upload(params["tasks"], "params.tasks")
        request = msgspec.structs.replace(request, params={**params, "tasks": str(file)})
    return await agreed(swarm, request, suites, yes=yes)


async def _simulation(settings: Settings, suite: str, scenario: str) -> str:
    async with client(settings) as swarm:
        return simulation(await swarm.query("coordinator", "suites"), suite, scenario)


def simulation(suites: Sequence[Mapping[str, Any]], suite: str, scenario: str = "") -> str:
    """Return the scenario that ``--simulate`` means.

    Raises:
        UsageError: The suite has no simulation, or another scenario is named beside it.
    """
    having = [one["name"] for one in suites if any(case["name"] == SIMULATION for case in one["scenarios"])]
    if suite not in having and any(one["name"] == suite for one in suites):
        allowed = ", ".join(having) or "no suite"
        raise UsageError(
            f"--simulate: suite {suite} has no simulation; there is one in {allowed}",
            field="simulate",
            given=suite,
            allowed=allowed,
        )
    if scenario not in {"", SIMULATION}:
        raise UsageError(
            f"--simulate runs the scenario {SIMULATION}; {scenario} is another, so leave one of both out",
            field="scenario",
            given=scenario,
            allowed=SIMULATION,
        )
    return SIMULATION


def with_paths(suites: Sequence[Mapping[str, Any]], request: Requested) -> dict[str, Any]:
    """Return the parameters with a path for each that the scenario declares to be a file, so that it is uploaded.

    What a request already names by its content stays.
    """
    files = file_params(suites, request.suite, request.scenario)
    return {name: as_path(value) if name in files else value for name, value in request.params.items()}


def as_path(value: Any) -> Any:
    """Return the path that a text means unless it is empty or names a file by its content already."""
    if not isinstance(value, str) or not value or is_reference(value):
        return value
    return Path(value).expanduser()  # the shell does not expand ~ behind KEY=


def file_params(suites: Sequence[Mapping[str, Any]], suite: str, scenario: str) -> set[str]:
    """Return the names of a scenario's parameters that are files; none for a scenario that there is not."""
    for found in suites:
        if found["name"] == suite:
            for index, one in enumerate(found["scenarios"]):
                if one["name"] == scenario or (not scenario and index == 0):
                    return {param["name"] for param in one.get("params", ()) if param["type"] == "file"}
    return set()


async def _follow(swarm: Client, request: Requested, show: Show) -> RunView:
    """Request the run and follow it to its end; where we are interrupted, it is cancelled first."""
    run = await swarm.request(request)
    hint = asyncio.get_running_loop().call_later(
        _SILENCE_S,
        output.note,
        "no coordinator has taken the request yet; `swarm status` shows which services run",
    )

    def on_event(view: RunView, event: Any) -> None:
        hint.cancel()
        show(view, event)

    try:
        return await swarm.wait(run, on_event=on_event)
    except asyncio.CancelledError:
        await _cancel(swarm, run)
        raise
    finally:
        hint.cancel()


async def _cancel(swarm: Client, run: str) -> None:
    """Cancel the run and see that the log says so."""
    output.note(f"interrupted: cancelling run {run}")
    try:
        async with asyncio.timeout(_CANCEL_S):
            async with contextlib.aclosing(swarm.follow(run)) as events:
                await anext(events.__aiter__())  # a run can be cancelled once it has begun
            await swarm.cancel(run, "interrupted by the user")
            view = await swarm.wait(run)
        output.note(f"run {run} {view.status}")
    except (TimeoutError, SwarmError) as error:
        output.note(
            f"run {run} could not be cancelled ({error or 'no answer'}); `swarm cancel {run}` asks again"
        )


async def _write_report(swarm: Client, view: RunView, settings: Settings) -> Path | None:
    """Write the HTML page; a page that cannot be written is no reason to lose the result."""
    from swarm_cli.report.page import write_page  # noqa: PLC0415 - brings the template engine

    path = settings.home_path / "reports" / f"{view.run}.html"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_page(path, view, await swarm.events(view.run))
    except (OSError, BrokerUnavailable) as error:
        output.note(f"the report could not be written: {error}")
        return None
    return path


def _show_next(view: RunView, written: Path | None) -> None:
    if view.status == "rejected":
        return
    if written is not None:
        output.line(f"report: {written}")
    output.line(f"trace:  swarm trace {view.run}" + _link(view))
    more: Mapping[str, str] = {"look": "show", "verify": "replay", "data": "report --format json,csv,sqlite"}
    output.line("more:   " + "   ".join(f"swarm {command} {view.run}" for command in more.values()))


def _link(view: RunView) -> str:
    return f"   (trace id {view.trace_id})" if view.trace_id else ""


APPS = {"run": single(run)}
