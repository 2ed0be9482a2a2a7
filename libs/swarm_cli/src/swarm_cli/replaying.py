"""Replay of a file: is it as it was written, do its sums add up, and does today's code decide the same?"""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from swarm_cli.leaves import differing
from swarm_cli.stack.layout import SERVICES
from swarm_common.errors import InvalidEvent
from swarm_common.events import Event, Target
from swarm_common.events.benchmark import Completed
from swarm_common.log.files import Problem, chain, check, read_events
from swarm_common.runs import fold
from swarm_common.runtime.offline import Difference, Outcome

#: Fields of ``benchmark.completed`` that say what the log before it holds.
_OF_THE_RECORD = frozenset({"digest", "log_sha256", "events"})


class Verdict(msgspec.Struct, kw_only=True):
    """What a replay found."""

    file: str
    runs: list[str] = []
    events: int = 0
    problems: list[Problem] = []
    """What is not as it was written, or does not add up."""
    decisions: int = 0
    """Recorded events that were decided again."""
    skipped: int = 0
    """Recorded effects that are not repeated: training a model, calling an LLM."""
    differences: list[Difference] = []
    services: list[str] = []
    """Services that were asked."""
    missing: list[str] = []
    """Services whose package is not installed here."""
    unreadable: list[str] = []
    """Services that could not read the file, with their words."""

    @property
    def equal(self) -> bool:
        """Whether nothing was found."""
        return not (self.problems or self.differences or self.unreadable)

    @property
    def exit_code(self) -> int:
        """0 equal, 1 different, 3 where no service was there to decide anything."""
        if not self.equal:
            return 1
        return 0 if self.services or not self.missing else 3


async def replay_file(path: Path, *, verify: bool, decide: bool) -> Verdict:
    """Verify a file (manifest, chains, sums, the coordinator's decisions), and decide it again with every service.

    Raises :class:`NotFound` where there is no such file and :class:`InvalidEvent` where it is no log.
    """
    verdict = Verdict(file=str(path))
    if verify:
        verdict.problems += check(path)
    try:
        events = list(read_events(path))
    except InvalidEvent as error:
        if not verdict.problems:
            raise
        verdict.unreadable.append(str(error))
        return verdict
    verdict.events = len(events)
    verdict.runs = list(dict.fromkeys(event.run for event in events))
    if not events:
        raise InvalidEvent(f"{path} holds no events", field="file", given=str(path))
    if verify:
        for run in verdict.runs:
            verdict.problems += sums(run, [event for event in events if event.run == run])
    await _decide(path, verdict, SERVICES if decide else ("coordinator",), verify_only=not decide)
    return verdict


def sums(run: str, events: Sequence[Event]) -> list[Problem]:
    """Return what does not add up in a run: its chain, its counts, its targets, its order."""
    found = [
        Problem(event.seq, f"run {run}: the same event stands in the file twice", event.id)
        for event in _repeated(events)
    ]
    for event in events:
        if isinstance(event.data, Completed):
            found += _completed(event, event.data, events)
    return found


def _repeated(events: Iterable[Event]) -> list[Event]:
    seen: set[str] = set()
    return [event for event in events if event.id in seen or seen.add(event.id)]  # type: ignore[func-returns-value]


def _completed(end: Event, data: Completed, events: Sequence[Event]) -> list[Problem]:
    """Hold what a run says of itself at its end against its events."""
    link, count = "", 0
    for event in events:
        link, count = chain(link, event.raw), count + 1
        if event.id == end.causation:
            break
    found = []
    if data.log_sha256 != link:
        found.append(
            Problem(
                end.seq,
                f"the chain over the events before it is {link[:16]}…, recorded is {data.log_sha256[:16]}…",
                end.id,
            )
        )
    if data.events != count:
        found.append(Problem(end.seq, f"{count} events led to it, recorded is {data.events}", end.id))
    view = fold(end.run, events)
    for target in data.targets:
        values = [metric.value for metric in view.metrics if metric.name == target.metric]
        value = values[0] if values else None
        judged = Target(metric=target.metric, op=target.op, target=target.target).met_by(value)
        if (value, judged) != (target.value, target.met):
            found.append(
                Problem(
                    end.seq,
                    f"target {target.metric} {target.op} {target.target:g}: the metric is {value}, met {judged}",
                    end.id,
                )
            )
    return found


async def _decide(path: Path, verdict: Verdict, services: Sequence[str], *, verify_only: bool) -> None:
    """Have every installed service decide the file again, all at once."""
    for service in services:
        known = importlib.util.find_spec(f"swarm_{service}") is not None
        (verdict.services if known else verdict.missing).append(service)
    outcomes = await asyncio.gather(*(_ask(service, path) for service in verdict.services))
    for service, outcome in zip(list(verdict.services), outcomes, strict=True):
        if isinstance(outcome, str):
            verdict.unreadable.append(f"{service}: {outcome}")
        else:
            verdict.decisions += outcome.decisions
            verdict.skipped += outcome.skipped
            verdict.differences += [
                one for one in outcome.differences if counts(one, verify_only=verify_only)
            ]
    verdict.differences.sort(key=lambda difference: difference.position)


def counts(difference: Difference, *, verify_only: bool) -> bool:
    """Say whether a difference is one on the wire (a tuple and a list are the same JSON).

    A record is whole where the state that its events lead to has the digest, the chain and the number of events it
    says; that newer code would decide otherwise on that state is no flaw of the record.
    """
    places = {leaf.path.partition(".")[0] for leaf in differing(difference.recorded, difference.decided)}
    return bool(places & _OF_THE_RECORD if verify_only else places)


async def _ask(service: str, path: Path) -> Outcome | str:
    """Return what a service's replay found, or why it found nothing."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"swarm_{service}",
        "replay",
        str(path),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    try:
        return msgspec.json.decode(out.strip().rpartition(b"\n")[2], type=Outcome)
    except msgspec.DecodeError:
        words = err.decode("utf-8", "replace").strip().splitlines()
        return words[-1] if words else f"exit code {process.returncode}, no outcome"


def document(verdict: Verdict) -> dict[str, Any]:
    """Return the verdict as plain JSON."""
    plain: dict[str, Any] = msgspec.to_builtins(verdict)
    return plain | {"equal": verdict.equal}
