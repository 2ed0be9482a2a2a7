"""`swarm doctor`: is this machine fit, and if not, what to do."""

from __future__ import annotations

from collections import Counter

import msgspec

from swarm_cli import context, output, render
from swarm_cli.checks import Finding, examine
from swarm_cli.commands import single
from swarm_cli.connect import run_async
from swarm_cli.options import Json

_STYLE = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor(json: Json = False) -> int:
    """Check Python, broker, JetStream, ports, disk, clock, memory, extras; say what to do. Exit code 1 if one fails."""
    found = run_async(examine(context.settings()))
    failed = any(one.verdict == "fail" for one in found)
    if json:
        output.emit({"good": not failed, "checks": msgspec.to_builtins(found)})
    else:
        _show(found)
    return 1 if failed else 0


def _show(found: list[Finding]) -> None:
    for one in found:
        output.line(f"{render.styled(f'{one.verdict:<4}', _STYLE[one.verdict])}  {one.name:<12} {one.what}")
        if one.advice:
            output.line(f"      {'':<12} → {one.advice}")
    counts = Counter(one.verdict for one in found)
    output.line(f"{counts['ok']} ok, {counts['warn']} to look at, {counts['fail']} failed")


APPS = {"doctor": single(doctor)}
