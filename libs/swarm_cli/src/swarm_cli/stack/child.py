"""One child process: started with its own log file, ended with its parent, started again when it dies."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from swarm_cli.stack.layout import Process

#: A log file above this many bytes is set aside when its process starts: one old file is kept.
ROTATE_BYTES = 10 * 1024 * 1024
_BACKOFF_S = (0.2, 5.0)
#: A child that lived this long is taken to be well: the next restart comes at once again.
_WELL_AFTER_S = 10.0
_PR_SET_PDEATHSIG = 1


class Child:
    """A process that is meant to run until it is told otherwise."""

    def __init__(
        self, process: Process, command: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        self.process = process
        self.wanted = True
        self.due = 0.0
        """When to start it (``time.monotonic()``), while it does not run."""
        self._command = list(command)
        self._environment = dict(environment)
        self._log = log
        self._backoff_s = _BACKOFF_S[0]
        self._started = 0.0
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its pid while it runs."""
        return self.process.pid

    def start(self) -> None:
        """Start it; what it writes goes to its log file."""
        rotate(self._log)
        with self._log.open("ab") as log:
            self._popen = subprocess.Popen(  # noqa: S603 - our own programs
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                preexec_fn=_die_with(os.getpid()),  # noqa: PLW1509 - the supervisor has one thread
            )
        self._started = time.monotonic()
        self.process.pid = self._popen.pid

    def ended(self, status: int) -> None:
        """Take note of its end (a wait status) and of when to start it again."""
        code = os.waitstatus_to_exitcode(status)
        if self._popen is not None:
            self._popen.returncode = code
        self.process.pid = None
        if not self.wanted:
            return
        self.process.last_exit = f"signal {-code}" if code < 0 else f"exit code {code}"
        self.process.restarts += 1
        now = time.monotonic()
        if now - self._started > _WELL_AFTER_S:
            self._backoff_s = _BACKOFF_S[0]
        self.due = now + self._backoff_s
        self._backoff_s = min(self._backoff_s * 2, _BACKOFF_S[1])

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it runs. Its pid stays its own until it is waited for."""
        if self.process.pid is not None:
            os.kill(self.process.pid, number)


def rotate(log: Path) -> None:
    """Set a large log file aside."""
    if log.exists() and log.stat().st_size > ROTATE_BYTES:
        log.replace(log.with_name(log.name + ".1"))


def _die_with(parent: int) -> Callable[[], None] | None:
    """Return what has the kernel end a child when its parent dies, however that dies (prctl(2), Linux)."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def before_exec() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return before_exec
