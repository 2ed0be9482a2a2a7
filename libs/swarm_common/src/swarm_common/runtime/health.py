"""Health: a file that a healthy service touches, and the check of it that containers run."""

from __future__ import annotations

import sys
import time
from pathlib import Path

#: A file older than this many seconds belongs to a service that hangs or is gone.
STALE_AFTER_S = 15.0


def beat(path: Path) -> None:
    """Say that the service is healthy now."""
    path.touch()


def problem(path: Path, now: float | None = None) -> str:
    """Return what is wrong, or an empty string."""
    try:
        age = (time.time() if now is None else now) - path.stat().st_mtime
    except OSError:
        return f"{path} is not there: the service has not become healthy yet"
    if age > STALE_AFTER_S:
        return f"{path} is {age:.0f} s old: the service has not been healthy since"
    return ""


def check(path: Path) -> int:
    """Print what is wrong and return an exit code."""
    found = problem(path)
    if found:
        sys.stderr.write(found + "\n")
    return 1 if found else 0
