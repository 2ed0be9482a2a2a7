"""The command ``swarm``: which commands there are, and what an error becomes.

A command's module is imported when the command runs, so that `swarm --help` imports none of them.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

import swarm_common
from swarm_cli import context
from swarm_common.errors import SwarmError, UsageError

#: Name, module under ``swarm_cli.commands`` with a function of that name, and the line in `swarm --help`.
COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("stack", "start the embedded stack: a broker and the six services"),
    "down": ("stack", "stop the embedded stack"),
    "status": ("stack", "services, their lag, dead letters, how full the log is"),
    "suites": ("suites", "suites and scenarios with parameters and targets"),
    "roles": ("cast", "roles of agents: what they speak with"),
    "strategies": ("cast", "strategies: how agents work on a question"),
    "run": ("run", "request a run, show its progress, print its result"),
    "runs": ("look", "list runs"),
    "show": ("look", "show a run, at any moment of its past"),
    "watch": ("look", "events as they happen"),
    "cancel": ("look", "stop a run"),
    "export": ("files", "write a run or a session to a file: JSON Lines of CloudEvents"),
    "import": ("files", "put an exported file back into the log"),
    "archive": ("files", "export, verify the file, then remove those runs from the broker"),
    "replay": ("replay", "verify a recorded run, and decide it again with today's code"),
    "suggest": ("suggest", "what a run could do better; try it, and measure the gain"),
    "trace": ("trace", "a run's timeline and critical path, in microseconds"),
    "report": ("report", "one self-contained HTML page, or JSON, CSV, SQLite"),
    "compare": ("compare", "was anything slower, dearer or worse, beyond noise?"),
    "history": ("history", "a metric over many sessions, and where its level changed"),
    "dead-letters": ("dead_letters", "what could not be handled: list, show, redrive"),
    "check-history": ("histories", "is a history of clients' operations linearizable?"),
    "schema": ("schema", "the events as AsyncAPI or JSON Schema"),
    "doctor": ("doctor", "check this machine and the broker; say what to do"),
}
INTERRUPTED = 130


class LazyGroup(TyperGroup):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the group's protocol
        """Return the names in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """Import a command; ``None`` where there is no such."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"swarm_cli.commands.{COMMANDS[cmd_name][0]}")
        app: typer.Typer = module.APPS[cmd_name]
        command = typer.main.get_command(app)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"swarm {swarm_common.__version__}")
        raise typer.Exit


@app.callback()
def root(
    home: Annotated[
        str | None, typer.Option(help="Where the embedded stack keeps state and logs.", metavar="DIR")
    ] = None,
    nats_url: Annotated[
        str | None, typer.Option(help="Broker to use instead of the embedded one.", metavar="URL")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Benchmarks of agent swarms, recorded so that every number can be recomputed.

    Begin with `swarm run quick`. Settings come from flags, then SWARM_* variables, then swarm.toml.
    """
    _ = version
    context.set_flags(home=home, nats_url=nats_url)


def main() -> NoReturn:
    """Run the command line and exit: 0 good, 1 failed, 2 wrong usage, 3 inconclusive, 130 interrupted."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command line; return the exit code."""
    with contextlib.suppress(AttributeError):
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    json_wanted = "--json" in arguments
    try:
        return int(app(arguments, prog_name="swarm", standalone_mode=False) or 0)
    except SwarmError as error:
        return _report(error, json_wanted=json_wanted)
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except typer.TyperException as error:
        return _report(UsageError(_usage(error)), json_wanted=json_wanted)


def _usage(error: typer.TyperException) -> str:
    """Return what was wrong with the command line, and where to read how it is meant."""
    path = getattr(getattr(error, "ctx", None), "command_path", "swarm")
    return f"{error.format_message().rstrip('.')}; `{path} --help` says how it is meant"


def _report(error: SwarmError, *, json_wanted: bool) -> int:
    from swarm_cli import output  # noqa: PLC0415 - only where something went wrong

    sys.stdout.flush()
    sys.stderr.write(f"swarm: {error}\n")
    if json_wanted and not output.printed():
        output.emit_error(error)
    return error.exit_code
