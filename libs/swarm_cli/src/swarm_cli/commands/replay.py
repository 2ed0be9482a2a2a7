"""`swarm replay`: verify a recorded run, decide it again."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from swarm_cli import output, render
from swarm_cli.commands import single
from swarm_cli.connect import client, run_async
from swarm_cli.exporting import export_runs, writing
from swarm_cli.importing import problem_text
from swarm_cli.leaves import differing
from swarm_cli.lookup import find_run
from swarm_cli.options import Json
from swarm_cli.replaying import Verdict, document, replay_file
from swarm_common.runtime.offline import Difference

#: Differences shown, and places in each of them.
_SHOWN = 5
_LEAVES = 8


def replay(
    run_or_file: Annotated[
        str, typer.Argument(metavar="RUN|FILE", help="A run of the log, or an exported file.")
    ],
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Is the record whole? Checksums, chains, sums, the coordinator's decisions."
        ),
    ] = False,
    decide: Annotated[
        bool, typer.Option("--decide", help="Does the code as it is now decide the same?")
    ] = False,
    json: Json = False,
) -> int:
    """Replay a recorded run; without a flag both ways.

    Exit codes: 0 equal; 1 something differs, shown event against event; 3 nothing could be checked here.
    """
    both = not (verify or decide)
    verdict = run_async(_replay(run_or_file, verify=verify or both, decide=decide or both))
    if json:
        output.emit(document(verdict))
    else:
        _show(verdict)
    return verdict.exit_code


async def _replay(name: str, *, verify: bool, decide: bool) -> Verdict:
    if is_file(name):
        return await replay_file(Path(name), verify=verify, decide=decide)
    with tempfile.TemporaryDirectory(prefix="swarm-replay-") as scratch:
        path = Path(scratch) / "run.jsonl"
        async with client() as swarm:
            run = await find_run(swarm, name)
            with writing(path) as stream:
                await export_runs(
                    swarm, [run], stream, files=False
                )  # nothing that is decided again reads them
        verdict = await replay_file(path, verify=verify, decide=decide)
        verdict.file = ""
        return verdict


def is_file(name: str) -> bool:
    """Say whether a name means a file and not a run."""
    return "/" in name or name.endswith((".jsonl", ".json")) or Path(name).is_file()


def _show(verdict: Verdict) -> None:
    what = f"run {', '.join(verdict.runs[:3])}" + (
        f" and {len(verdict.runs) - 3} more" if len(verdict.runs) > 3 else ""
    )
    output.line(f"{what}: {verdict.events} events")
    for problem in verdict.problems[:_SHOWN]:
        output.line(render.styled(f"not as recorded, {problem_text(problem)}", "red"))
    for text in verdict.unreadable:
        output.line(render.styled(f"unreadable: {text}", "red"))
    for difference in verdict.differences[:_SHOWN]:
        _show_difference(difference)
    more = len(verdict.differences) + len(verdict.problems) - 2 * _SHOWN
    if more > 0:
        output.line(
            f"and more: {len(verdict.problems)} problems, {len(verdict.differences)} differences in all"
        )
    for service in verdict.missing:
        output.line(render.styled(f"skipped: {service} is not installed here", "yellow"))
    output.line(conclusion(verdict))


def conclusion(verdict: Verdict) -> str:
    """Return the last line: equal or not, and how much was checked."""
    if not verdict.equal:
        return render.styled(
            f"different: {len(verdict.problems)} problems, {len(verdict.differences)} differences", "red"
        )
    if verdict.exit_code:
        return render.styled(
            "inconclusive: no service is installed that could decide anything again", "yellow"
        )
    effects = f"{verdict.skipped} recorded effects not repeated"
    return render.styled(f"equal: {verdict.decisions} decisions re-made, {effects}", "green")


def _show_difference(difference: Difference) -> None:
    output.line(render.styled(f"line {difference.position}, {difference.service}: {difference.what}", "red"))
    output.line(f"  event {difference.event_id} of run {difference.run}")
    leaves = list(differing(difference.recorded, difference.decided))
    for leaf in leaves[:_LEAVES]:
        output.line(f"  {leaf.path}")
        output.line(f"    recorded {render.value_text(leaf.recorded, 400)}")
        output.line(f"    decided  {render.value_text(leaf.decided, 400)}")
    if len(leaves) > _LEAVES:
        output.line(f"  and {len(leaves) - _LEAVES} more places")


APPS = {"replay": single(replay)}
