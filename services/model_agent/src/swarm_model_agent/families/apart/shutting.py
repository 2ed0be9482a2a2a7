"""A process shuts itself in, for good, by the kernel's means: no privilege is needed, and none can be got back.

- Landlock (``landlock(7)``): nothing can be written, made, removed or renamed but below one folder.
- seccomp (``seccomp(2)``): calls to the kernel that pure computation and files need are let through, all others fail:
  no socket, no other process or thread, no program, no signal, no change of limits, owners or the system.
- limits (``setrlimit(2)``): processor time, memory, size and number of files.

Files that the user may read can still be read, and there is nowhere to send them to. This keeps out accidents and what
a model may write; code that is made to fool its grader, within its own process, can.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct
import sys
from pathlib import Path

_NO_NEW_PRIVS, _SECCOMP, _FILTER = 38, 22, 2
_CREATE, _ADD, _RESTRICT = 444, 445, 446  # landlock_*
_BENEATH = _VERSION = 1
#: The first version that keeps files from being emptied.
_LANDLOCK = 3
#: Of a ruleset: writing (1), removing and making of each kind (4 to 12), moving between folders, emptying.
_WRITING = sum(1 << bit for bit in (1, *range(4, 15)))
_AUDIT = 0xC000003E  # x86_64
#: Calls that are let through, by number on x86_64.
_ALLOWED = (
    *(
        0,
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        8,
        17,
        18,
        19,
        20,
        32,
        33,
        72,
        77,
        292,
    ),  # read, write, open, stat, seek, poll, dup, fcntl
    *(
        21,
        79,
        80,
        82,
        83,
        84,
        87,
        89,
        217,
        257,
        258,
        262,
        263,
        264,
        267,
        269,
        316,
        332,
        439,
    ),  # names and folders
    *(9, 10, 11, 12, 25, 28),  # memory
    *(13, 14, 15, 131, 37, 38, 36),  # its own signals and timers
    *(24, 35, 23, 270, 271, 202, 219, 230, 204, 309, 324, 334, 273),  # waiting, locks
    *(
        39,
        63,
        96,
        97,
        98,
        99,
        100,
        102,
        104,
        107,
        108,
        110,
        186,
        201,
        228,
        229,
        318,
    ),  # questions about itself and time
    *(60, 231),  # its end
)
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _EPERM = 0x7FFF0000, 0x00050001
#: Of memory, beyond what is in use.
MORE_BYTES = 512 << 20
FILE_BYTES = 1 << 20
OPEN_FILES = 64


class CannotShut(Exception):
    """This machine has not what it takes; the message says what."""


def missing() -> str:
    """Return what is missing for a process to be shut in; empty where nothing is."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return f"Linux on x86_64 is needed; this is {platform.system()} on {platform.machine()}"
    version = ctypes.CDLL(None, use_errno=True).syscall(_CREATE, None, ctypes.c_size_t(0), _VERSION)
    if version < _LANDLOCK:
        return "the kernel's Landlock is needed (Linux 6.2 or later), and it is not there or not switched on"
    return ""


def shut(folder: str, seconds: int) -> None:
    """Shut this process in: it can write below ``folder`` only, and compute for so many seconds.

    Raises:
        CannotShut: A step was refused; the process may be shut in by halves and must end.
    """
    if why := missing():
        raise CannotShut(why)
    for what, most in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, _in_use() + MORE_BYTES),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
    libc = ctypes.CDLL(None, use_errno=True)
    _done(libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    _write_below(libc, folder)
    _allow_few(libc)


def _in_use() -> int:
    """Return the bytes of addresses that this process has mapped: see ``proc_pid_statm(5)``."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()


def _write_below(libc: ctypes.CDLL, folder: str) -> None:
    ruleset = ctypes.create_string_buffer(struct.pack("=Q", _WRITING), 8)
    rules = _done(libc.syscall(_CREATE, ruleset, ctypes.c_size_t(8), 0), "landlock")
    place = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        beneath = ctypes.create_string_buffer(struct.pack("=Qi", _WRITING, place), 12)
        _done(libc.syscall(_ADD, rules, _BENEATH, beneath, 0), "landlock")
        _done(libc.syscall(_RESTRICT, rules, 0), "landlock")
    finally:
        os.close(place)
        os.close(rules)


def _allow_few(libc: ctypes.CDLL) -> None:
    """Have the kernel answer all other calls with ``EPERM``: a filter in classic BPF over ``struct seccomp_data``."""
    count = len(_ALLOWED)
    lines = [(_LOAD, 0, 0, 4), (_EQUAL, 0, count + 1, _AUDIT), (_LOAD, 0, 0, 0)]
    # An allowed number jumps over the rest and the refusal to the last line.
    lines += [(_EQUAL, count - at, 0, number) for at, number in enumerate(_ALLOWED)]
    lines += [(_RETURN, 0, 0, _EPERM), (_RETURN, 0, 0, _ALLOW)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in lines))
    program = struct.pack("=H6xQ", len(lines), ctypes.addressof(code))
    _done(libc.prctl(_SECCOMP, _FILTER, ctypes.create_string_buffer(program, len(program)), 0, 0), "seccomp")


def _done(found: int, what: str) -> int:
    if found < 0:
        raise CannotShut(f"the kernel refused {what}: {os.strerror(ctypes.get_errno())}")
    return found
