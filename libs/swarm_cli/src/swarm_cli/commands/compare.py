"""`swarm compare`: was anything slower, dearer or worse, beyond noise?"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swarm_cli import output
from swarm_cli.commands import single
from swarm_cli.connect import client, run_async
from swarm_cli.options import Json
from swarm_common.errors import UsageError

if TYPE_CHECKING:
    from swarm_cli.comparing import Comparison
    from swarm_cli.comparing_groups import Settings
    from swarm_cli.comparing_runs import Facts
    from swarm_cli.interleaving import Arm, Pairs

_PAIRS = 30
Metrics = Annotated[
    list[str] | None, typer.Option("--metric", help="Only this metric; may be repeated.", metavar="NAME")
]
Threshold = Annotated[str, typer.Option(help="Smallest shift that matters, as 5% or 0.05.", metavar="PART")]


def compare(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="BASE HEAD | PAIRS | BASE_REF HEAD_REF SUITE [SCENARIO]",
            help="Runs, sessions, `last` or exported files, several separated by commas; a file of pairs; or, with "
            "--interleave, two commits and what to run.",
            show_default=False,
        ),
    ] = None,
    threshold: Threshold = "5%",
    alpha: Annotated[
        float, typer.Option(help="Share of false alarms that is borne, for all metrics together.")
    ] = 0.05,
    metric: Metrics = None,
    interleave: Annotated[
        bool, typer.Option("--interleave", help="Measure now, in turns and in fresh processes: the sure way.")
    ] = False,
    pairs: Annotated[
        int, typer.Option(help="How many pairs, with --interleave; fixed beforehand.", min=1, max=1000)
    ] = _PAIRS,
    up_to: Annotated[
        int | None,
        typer.Option(
            help="Where --pairs leave something open, go on to twice as many, and so on up to this; each look errs in "
            "its share of --alpha.",
            min=1,
            max=1000,
            metavar="PAIRS",
        ),
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(
            "-p", "--param", help="A parameter of the suite, with --interleave.", metavar="KEY=VALUE"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the order within the pairs, and of the runs.")] = 42,
    command: Annotated[
        str | None,
        typer.Option(help="Run this in both checkouts in place of a suite; no shell.", metavar="CMD"),
    ] = None,
    base_command: Annotated[
        str | None, typer.Option(help="Any program in place of a commit; no shell.", metavar="CMD")
    ] = None,
    head_command: Annotated[str | None, typer.Option(help="The other one.", metavar="CMD")] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Keep the pairs in this file, to compare again.", metavar="FILE"),
    ] = None,
    json: Json = False,
) -> int:
    """Compare two sides, a row a metric: regression, improvement, equal or inconclusive, and why.

    A change counts where chance explains it badly and where it is as large as the threshold; equal is said where every
    such change is refuted. docs/compare.md has the methods and how often they err.

    Exit codes: 0 no regression; 1 a regression; 3 something is inconclusive; 130 interrupted.
    """
    wanted = _settings(threshold, alpha, metric)
    commands = {"--base-command": base_command, "--head-command": head_command, "--command": command}
    given = [name for name, value in commands.items() if value is not None]
    if not interleave:
        others = {"-p": param, "-o": out, "--up-to": up_to}
        extra = [*given, *(name for name, value in others.items() if value)]
        if extra:
            raise UsageError(
                f"{', '.join(extra)} goes with --interleave, which measures now; without it, recorded runs are "
                "compared",
                field="interleave",
            )
        return _recorded(names or [], wanted, json=json)
    if up_to is not None and up_to < pairs:
        raise UsageError(
            f"--up-to {up_to} is less than --pairs {pairs}, where the first look is",
            field="up_to",
            given=str(up_to),
            allowed=f"{pairs} to 1000",
        )
    if out is not None:
        _check_writable(out)
    from swarm_cli.interleaving import looks_at  # noqa: PLC0415 - not for --help

    with _interruptible():
        measured = _measure(
            names or [],
            looks_at(pairs, up_to or pairs),
            seed,
            param or [],
            (base_command, head_command),
            command,
            wanted,
            quiet=json,
        )
    return _show_pairs(measured, wanted, out=out, json=json)


def _check_writable(out: Path) -> None:
    """Raise :class:`UsageError` where the pairs could not be written: better now than when all is measured."""
    if out.is_dir() or not os.access(out.absolute().parent, os.W_OK):
        raise UsageError(
            f"-o {out}: no file can be written there; the directory must exist",
            field="output",
            given=str(out),
        )


def _settings(threshold: str, alpha: float, metrics: list[str] | None) -> Settings:
    from swarm_cli.comparing_groups import Settings  # noqa: PLC0415 - not for --help

    if not 0 < alpha < 0.5:
        raise UsageError(
            f"--alpha is {alpha}; allowed is more than 0, less than 0.5", field="alpha", given=str(alpha)
        )
    return Settings(threshold=part(threshold), alpha=alpha, metrics=tuple(metrics or ()))


def part(text: str) -> float:
    """Read ``5%`` or ``0.05``; raises :class:`UsageError` for what is neither, and for nothing or less."""
    try:
        found = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        found = 0.0
    if not 0 < found <= 10:
        raise UsageError(
            f"--threshold is {text!r}; it reads like 5% or 0.05, more than 0",
            field="threshold",
            given=text,
            allowed="0.001% to 1000%",
        )
    return found


# -- recorded runs -----------------------------------------------------------------------------------------


def _recorded(names: list[str], wanted: Settings, *, json: bool) -> int:
    from swarm_cli.interleaving import is_pairs, read_pairs  # noqa: PLC0415 - not for --help

    if len(names) == 1 and is_pairs(Path(names[0])):
        return _show_pairs(read_pairs(Path(names[0])), wanted, out=None, json=json)
    if len(names) != 2:
        raise UsageError(
            f"compare takes two sides, BASE and HEAD, or one file of pairs; given are {len(names)}",
            field="base",
            given=" ".join(names),
            allowed="BASE HEAD",
        )
    base, head = read_sides(names)
    both = sorted({run.run for run in base} & {run.run for run in head})
    if both:
        raise UsageError(
            f"run {both[0]} stands on both sides; a run is compared with others", field="head", given=both[0]
        )
    from swarm_cli.comparing import compare_runs  # noqa: PLC0415

    _check_metrics(wanted, [*base, *head])
    return _show(
        compare_runs(base, head, wanted),
        json=json,
        sides={"base": [run.run for run in base], "head": [run.run for run in head]},
    )


def read_sides(names: list[str]) -> tuple[list[Facts], list[Facts]]:
    """Return the runs of both sides; a broker is asked only where a name is no file."""
    from swarm_cli.comparing_runs import file_facts, is_file, named, run_facts  # noqa: PLC0415

    wanted = [named(name) for name in names]
    known = {name: file_facts(Path(name)) for side in wanted for name in side if is_file(name)}
    rest = list(dict.fromkeys(name for side in wanted for name in side if name not in known))
    if rest:

        async def ask() -> dict[str, list[Facts]]:
            async with client() as swarm:
                return {name: await run_facts(swarm, name) for name in rest}

        known |= run_async(ask())
    base, head = (list({run.run: run for name in side for run in known[name]}.values()) for side in wanted)
    return base, head


def _check_metrics(wanted: Settings, runs: Sequence[Facts]) -> None:
    there = sorted({one.name for run in runs for one in run.metrics})
    for name in wanted.metrics:
        if name not in there:
            raise UsageError(
                f"--metric {name}: no run here measured that; there are {', '.join(there) or 'none'}",
                field="metric",
                given=name,
                allowed=", ".join(there),
            )


def _show(comparison: Comparison, *, json: bool, sides: dict[str, Any]) -> int:
    from swarm_cli.comparing_show import document, show  # noqa: PLC0415

    if json:
        output.emit(document(comparison, **sides))
    else:
        show(comparison)
    return comparison.exit_code


# -- measuring in turns ------------------------------------------------------------------------------------


def _measure(
    names: list[str],
    looks: Sequence[int],
    seed: int,
    params: list[str],
    commands: tuple[str | None, str | None],
    command: str | None,
    wanted: Settings,
    *,
    quiet: bool,
) -> Pairs:
    from swarm_cli import interleaving  # noqa: PLC0415
    from swarm_common.hosts import this_host  # noqa: PLC0415

    say = (lambda _: None) if quiet else output.note
    with tempfile.TemporaryDirectory(prefix="swarm-compare-") as scratch, contextlib.ExitStack() as stack:
        arms = _arms(names, seed, params, commands, command, Path(scratch), stack)
        return interleaving.interleave(
            arms,
            looks,
            seed,
            say=say,
            host=this_host(),
            warmed=lambda runs: _check_metrics(wanted, runs),
            decided=lambda pairs: not _compared(pairs, wanted).open,
        )


def _arms(
    names: list[str],
    seed: int,
    params: list[str],
    commands: tuple[str | None, str | None],
    command: str | None,
    scratch: Path,
    stack: contextlib.ExitStack,
) -> tuple[Arm, Arm]:
    """Return both arms; ``stack`` undoes what was made for them."""
    from swarm_cli.interleaving_arms import Checkout, Command, environment, worktree  # noqa: PLC0415

    if any(one is not None for one in commands):
        base_command, head_command = commands
        if base_command is None or head_command is None or names or command is not None or params:
            raise UsageError(
                "--base-command and --head-command go together, and without commits, suites and parameters",
                field="base_command",
            )
        return Command(base_command, name="base"), Command(head_command, name="head")
    if len(names) < 2 or (command is None) == (len(names) == 2) or len(names) > 4 or (command and params):
        raise UsageError(
            "--interleave takes BASE_REF HEAD_REF and a SUITE [SCENARIO] with its -p, or --command CMD in place of the "
            "suite, or --base-command CMD --head-command CMD and nothing else",
            field="interleave",
            given=" ".join(names),
        )
    request = [*names[2:], "--seed", str(seed), *(word for text in params for word in ("-p", text))]
    arms: list[Arm] = []
    for name, ref in zip(("base", "head"), names, strict=False):
        tree, own = scratch / name / "tree", scratch / name
        own.mkdir()
        commit = stack.enter_context(worktree(Path.cwd(), ref, tree))
        label = f"{ref} ({commit[:12]})"
        if command is None:
            arms.append(Checkout(tree, label, own, request))
        else:
            arms.append(Command(command, name=name, cwd=tree, environ=environment(tree), label=label))
    return arms[0], arms[1]


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Have SIGTERM undo what was made, as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _show_pairs(measured: Pairs, wanted: Settings, *, out: Path | None, json: bool) -> int:
    from swarm_cli import interleaving  # noqa: PLC0415

    if out is not None:
        interleaving.write_pairs(out, measured)
    _check_metrics(wanted, [run for side in interleaving.sides(measured) for run in side])
    comparison = _compared(measured, wanted)
    if not json:
        output.line(f"base {measured.base}, head {measured.head}: {len(measured.pairs)} pairs")
    return _show(comparison, json=json, sides=interleaving.described(measured))


def _compared(measured: Pairs, wanted: Settings) -> Comparison:
    """Judge pairs: at their share of ``alpha``, for as many looks as could have been taken."""
    import msgspec  # noqa: PLC0415 - not for --help

    from swarm_cli.comparing import compare_pairs  # noqa: PLC0415
    from swarm_cli.interleaving import sides  # noqa: PLC0415

    return compare_pairs(*sides(measured), msgspec.structs.replace(wanted, looks=measured.looks))


APPS = {"compare": single(compare)}
