"""`swarm up`, `swarm down`, `swarm status`."""

from __future__ import annotations

import signal
import sys
from typing import Annotated

import typer

from swarm_cli import context, output
from swarm_cli.commands import single
from swarm_cli.options import Json
from swarm_cli.stack import control
from swarm_cli.stack.layout import Layout
from swarm_common.errors import UsageError
from swarm_common.settings import Settings


def up(
    replicas: Annotated[
        list[str] | None,
        typer.Option(help="Instances of a service, as model_agent=2; may be repeated.", metavar="SERVICE=N"),
    ] = None,
    profile: Annotated[str | None, typer.Option(help="Durability of the log: fast or durable.")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port of the broker on 127.0.0.1; 0 means any free one.")
    ] = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay until interrupted, then stop the stack.")
    ] = False,
    json: Json = False,
) -> int:
    """Start the embedded stack and return when all six services take work; change its replicas where it runs."""
    settings = context.settings(profile=profile, nats_port=port)
    if foreground:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # as an interrupt does, it must reach the stack
    started = control.up(settings, parse_replicas(replicas or []))
    if not foreground or started.supervisor is None:
        _show_started(started, settings, json=json)
        return 0
    try:
        _show_started(started, settings, json=json)
        return started.supervisor.wait()
    finally:
        started.supervisor.terminate()
        started.supervisor.wait()


def _show_started(started: control.Started, settings: Settings, *, json: bool) -> None:
    state = started.state
    if json:
        output.emit(
            {
                "nats_url": state.nats_url,
                "monitoring_url": state.monitoring_url,
                "pid": state.pid,
                "already_running": started.was_running,
                "seconds": round(started.seconds, 3),
                "services": [
                    {"name": one.name, "instance": one.instance, "pid": one.pid} for one in state.services
                ],
            }
        )
    elif started.was_running:
        output.line(
            f"The stack runs already at {state.nats_url}, with {len(state.services)} service processes."
        )
    else:
        output.line(
            f"The stack is ready after {started.seconds:.2f} s at {state.nats_url}; "
            f"logs are in {Layout(settings.home_path).logs}."
        )
    sys.stdout.flush()


def parse_replicas(texts: list[str]) -> dict[str, int]:
    """Read ``model_agent=2``; raises :class:`UsageError` for anything else."""
    found = {}
    for text in texts:
        service, separator, count = text.partition("=")
        if not separator or not count.isdecimal():
            raise UsageError(
                f"--replicas {text!r}: it reads SERVICE=NUMBER, as in model_agent=2",
                field="replicas",
                given=text,
            )
        found[service.replace("-", "_")] = int(count)
    return found


def down(json: Json = False) -> int:
    """Stop the embedded stack: services finish what they have at hand. The log stays."""
    stopped = control.down(context.settings())
    if json:
        output.emit({"stopped": stopped})
    else:
        output.line("The stack is stopped." if stopped else "The stack does not run.")
    return 0


def status(json: Json = False) -> int:
    """Show services, consumers' lag, dead letters, and how full the log is."""
    from swarm_cli import look_at_stack  # noqa: PLC0415 - needs the client, which up and down do not

    return look_at_stack.status(json=json)


APPS = {"up": single(up), "down": single(down), "status": single(status)}
