"""What the operating system says of this process and those it started. Where it does not say, ``None``.

Linux tells it all under ``/proc``; the two files that are read each time stay open. Elsewhere only what the standard
library's ``resource`` has is known: the greatest memory so far.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from swarm_common.live import Children

_PROC = Path("/proc/self")
_KIB = 1024


class Status(msgspec.Struct, frozen=True):
    """What ``/proc/self/status`` has (proc_pid_status(5))."""

    peak_bytes: int | None = None
    threads: int | None = None


class OwnProcess:
    """This process. Make it in the process that it is to tell of: after a fork it still reads its parent."""

    def __init__(self) -> None:
        self._statm = _opened(_PROC / "statm")
        self._status = _opened(_PROC / "status")
        self._page = os.sysconf("SC_PAGE_SIZE")

    def rss_bytes(self) -> int | None:
        """Return the memory that the process holds in RAM; within some tens of KiB, for the kernel sums up late."""
        if self._statm is None:
            return None
        return int(os.pread(self._statm, 128, 0).split()[1]) * self._page

    def status(self) -> Status:
        """Return the most memory that it ever held, and its threads."""
        if self._status is None:
            return Status(peak_bytes=_peak_elsewhere())
        found = dict(line.split(b":", 1) for line in os.pread(self._status, 8192, 0).splitlines())
        peak = found.get(b"VmHWM")
        return Status(int(peak.split()[0]) * _KIB if peak else None, int(found[b"Threads"]))

    def uss_bytes(self) -> int | None:
        """Return the memory that would come free with this process: what it shares with no other.

        The kernel looks through every mapping for it, so this takes a millisecond or more.
        """
        try:
            lines = (_PROC / "smaps_rollup").read_bytes().splitlines()
        except OSError:
            return None
        return sum(int(line.split()[1]) * _KIB for line in lines if line.startswith(b"Private_"))

    def close(self) -> None:
        for number in (self._statm, self._status):
            if number is not None:
                os.close(number)
        self._statm = self._status = None


class _Seen(msgspec.Struct, frozen=True):
    """One process, after ``/proc/<pid>/stat`` (proc_pid_stat(5))."""

    pid: int
    parent: int
    began: int
    """In ticks since the machine started: a number that is given again to another process differs in this."""
    ticks: int
    """Processor time, that of its children that have ended included."""
    rss_pages: int


class Descendants:
    """The processes below this one. Looking for new ones reads every process there is, so it is asked for rarely."""

    def __init__(self) -> None:
        self._known: dict[int, int] | None = None
        self._page, self._tick = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")

    def look(self) -> None:
        """Look for processes that are new."""
        below: dict[int, list[_Seen]] = {}
        for seen in _all_processes():
            below.setdefault(seen.parent, []).append(seen)
        known, open_ends = {}, [os.getpid()]
        while open_ends:
            for seen in below.get(open_ends.pop(), ()):
                known[seen.pid] = seen.began
                open_ends.append(seen.pid)
        self._known = known

    def read(self) -> Children | None:
        """Return what the known ones use; ``None`` before the first look, and where the system has no ``/proc``."""
        if self._known is None or not sys.platform.startswith("linux"):
            return None
        there = [seen for pid, began in self._known.items() if (seen := _seen(pid)) and seen.began == began]
        ended = os.times()
        return Children(
            processes=len(there),
            cpu_s=sum(seen.ticks for seen in there) / self._tick
            + ended.children_user
            + ended.children_system,
            rss_bytes=sum(seen.rss_pages for seen in there) * self._page,
        )


def _all_processes() -> Iterator[_Seen]:
    if sys.platform.startswith("linux"):
        for name in os.listdir("/proc"):  # noqa: PTH208 - names are enough, and a path object for each takes longer
            if name.isdecimal() and (seen := _seen(int(name))):
                yield seen


def _seen(pid: int) -> _Seen | None:
    try:
        number = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    except OSError:
        return None
    try:
        text = os.read(number, 1024)
    except OSError:
        return None
    finally:
        os.close(number)
    # The name before it stands in brackets and may hold anything, brackets too.
    fields = text[text.rindex(b")") + 2 :].split()
    return _Seen(
        pid,
        parent=int(fields[1]),
        began=int(fields[19]),
        ticks=sum(map(int, fields[11:15])),
        rss_pages=int(fields[21]),
    )


def _opened(path: Path) -> int | None:
    with contextlib.suppress(OSError):
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    return None


def _peak_elsewhere() -> int:
    import resource  # noqa: PLC0415 - Linux does not need it

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * _KIB
