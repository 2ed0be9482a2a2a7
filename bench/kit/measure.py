"""Pairs, ratios with their spread, and what a bench says in the end.

Machines are shared and clocks of CPUs wander, so nothing is judged by one figure: ours and the peer take turns
(A B A B ...) within one run, and each turn gives one ratio.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec

#: Above this share of the machine used by other programs, or stolen from it, figures are spoiled.
_OTHERS, _STEAL = 0.15, 0.02
_LOOK_S = 0.4
_PR_SET_CHILD_SUBREAPER = 36


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One side of a comparison, or a further figure."""

    name: str
    what: str
    unit: str
    samples: tuple[float, ...]
    target: str = ""
    """``>= 0.8``, ``< 8``; empty where nothing is promised."""

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def met(self) -> bool | None:
        """Whether the median meets the target; ``None`` where there is none."""
        if not self.target:
            return None
        op, limit = self.target.split()
        value, bound = self.median, float(limit.replace(",", ""))
        return {">=": value >= bound, ">": value > bound, "<=": value <= bound, "<": value < bound}[op]


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """How busy the machine was with other things."""

    cores: int
    average_before: float
    average_after: float
    others_before: float
    """Share of all cores that others used just before, while this process slept."""
    others_during: float
    """The same over the whole bench: all that was busy, less what this process and its children used."""
    others_after: float
    steal: float
    """Share of the bench's time that the hypervisor took."""

    @property
    def spoiled(self) -> str:
        """Why figures may be off; empty where the machine was quiet."""
        worst = max(self.others_before, self.others_during, self.others_after)
        if self.steal > _STEAL:
            return f"{self.steal:.0%} of the time was stolen from this machine"
        if worst > _OTHERS:
            return f"other programs used up to {worst:.0%} of the machine"
        return ""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a bench found."""

    bench: str
    title: str
    rows: tuple[Row, ...]
    load: Load
    seconds: float
    notes: tuple[str, ...] = ()


class Skipped(Exception):
    """The peer, or something else that is needed, is not to be had here; the message says what to do."""


class _Times(msgspec.Struct, frozen=True):
    busy: float
    steal: float
    total: float

    @classmethod
    def now(cls) -> _Times:
        """Read ``/proc/stat``: seconds of all cores together."""
        try:
            line = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0]
        except OSError:
            return cls(0.0, 0.0, 0.0)
        ticks = [int(text) for text in line.split()[1:9]]
        second = os.sysconf("SC_CLK_TCK")
        user, nice, system, _idle, _iowait, irq, softirq, steal = ticks
        return cls((user + nice + system + irq + softirq) / second, steal / second, sum(ticks) / second)


class Watch:
    """Looks at the machine before, during and after. All children must have been waited for when it ends."""

    def __init__(self) -> None:
        self._average = os.getloadavg()[0]
        self._before = _look()
        self._times, self._own = _Times.now(), _own_cpu_s()
        self._began = time.perf_counter()

    def end(self) -> tuple[Load, float]:
        """Return the load and the seconds that went by."""
        seconds = time.perf_counter() - self._began
        times = _Times.now()
        total = times.total - self._times.total
        others = (times.busy - self._times.busy) - (_own_cpu_s() - self._own)
        load = Load(
            cores=os.cpu_count() or 1,
            average_before=self._average,
            average_after=os.getloadavg()[0],
            others_before=self._before,
            others_during=max(0.0, others / total) if total else 0.0,
            others_after=_look(),
            steal=(times.steal - self._times.steal) / total if total else 0.0,
        )
        return load, seconds


def _look() -> float:
    """Return the share of the machine that is used while we sleep."""
    before = _Times.now()
    time.sleep(_LOOK_S)
    after = _Times.now()
    total = after.total - before.total
    return (after.busy - before.busy) / total if total else 0.0


def _own_cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


Side = Callable[[int], Awaitable[float]]


async def turns(repeats: int, *sides: Side) -> list[tuple[float, ...]]:
    """Let the sides take turns, ``repeats`` times; return the figures of each side.

    A side gets the number of the turn. Turn -1 warms up and is not counted.
    """
    for side in sides:
        await side(-1)
    figures: list[list[float]] = [[] for _ in sides]
    for turn in range(repeats):
        for figure, side in zip(figures, sides, strict=True):
            figure.append(await side(turn))
    return [tuple(figure) for figure in figures]


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, ...]:
    """Return ours over theirs, turn by turn."""
    return tuple(a / b for a, b in zip(ours, theirs, strict=True))


def quantile(samples: Sequence[float], share: float) -> float:
    """Return the sample below which ``share`` of them lie (nearest rank)."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def show(result: Result) -> str:
    """Return a result as people read it."""
    lines = [f"\n{result.bench}: {result.title}"]
    width = max(len(row.name) for row in result.rows)
    for row in result.rows:
        line = f"  {row.name:<{width}}  {_number(row.median):>9} {row.unit:<8}"
        if len(row.samples) > 1:
            span = f"{_number(min(row.samples))}..{_number(max(row.samples))}"
            line += f" {span:<18} n={len(row.samples):<4}"
        line += f" {row.what}"
        if row.met is not None:
            line += f"  [target {row.target}: {'met' if row.met else 'MISSED'}]"
        lines.append(line.rstrip())
    load = result.load
    lines.append(
        f"  load: average {load.average_before:.1f} before, {load.average_after:.1f} after, on {load.cores} cores; "
        f"others used {load.others_before:.0%} before, {load.others_during:.0%} during, {load.others_after:.0%} after; "
        f"steal {load.steal:.1%}; {result.seconds:.0f} s"
    )
    lines += [f"  note: {note}" for note in result.notes]
    if load.spoiled:
        lines.append(f"  WARNING: {load.spoiled}; trust ratios within this run, no absolute figure")
    return "\n".join(lines)


def _number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.2f}"


class Bench(msgspec.Struct, frozen=True):
    """A bench by name; ``run(quick)`` returns rows and notes."""

    name: str
    title: str
    run: Callable[[bool], tuple[Sequence[Row], Sequence[str]]]


def _adopt() -> None:
    """Have the kernel give us what outlives a child of ours (prctl(2), Linux): its CPU time is ours, too."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _reap(patience_s: float = 2.0) -> None:
    """Wait for processes that ended without anybody waiting for them; those that go on are left alone."""
    deadline = time.monotonic() + patience_s
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < deadline:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.05)


def measure(bench: Bench, *, quick: bool) -> Result:
    """Run a bench and look at the machine meanwhile."""
    _adopt()
    watch = Watch()
    rows, notes = bench.run(quick)
    _reap()
    load, seconds = watch.end()
    return Result(
        bench=bench.name, title=bench.title, rows=tuple(rows), load=load, seconds=seconds, notes=tuple(notes)
    )


def pair(
    ours: Sequence[float],
    theirs: Sequence[float],
    *,
    names: tuple[str, str],
    unit: str,
    target: str,
    peer: str = "peer",
) -> list[Row]:
    """Return the rows of a comparison: ours, theirs, and the ratio of each turn."""
    return [
        Row(name="ours", what=names[0], unit=unit, samples=tuple(ours)),
        Row(name=peer, what=names[1], unit=unit, samples=tuple(theirs)),
        Row(name="ratio", what=f"ours / {peer}", unit="x", samples=ratios(ours, theirs), target=target),
    ]
