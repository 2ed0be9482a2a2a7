"""Worker processes live no longer than the service, even where it is killed and can say no more."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends (Linux, ``prctl(2)``); elsewhere do nothing.

    The fork server dies with the service and each worker with the fork server. An idle worker would notice without it,
    by the end of its socket; one that is deep in a fit would not.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def is_orphan() -> bool:
    """Say whether a worker's fork server is gone: its parent is then the service, or whoever takes in orphans."""
    service = multiprocessing.parent_process()
    return os.getppid() in {1, service.pid if service is not None else 1}
