"""Work in a fresh process: nothing that the service has loaded, cached or traces is there, and its loop is not held.

``python -m swarm_metrics.costs.apart MODULE`` reads a MessagePack object from standard input, has the module's ``work``
do it and writes what came of it. It is started by :func:`apart` alone.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from swarm_common.errors import TaskFailed

T = TypeVar("T")
_SAID = 1500
_MODULES = ("overhead", "memory")


async def apart(
    module: str, order: msgspec.Struct, found: type[T], environ: Mapping[str, str] | None = None
) -> T:
    """Have a module of this package do ``order`` in a fresh process; return what it found.

    The process ends with the work, or where nobody waits for it any more. Raises :class:`TaskFailed` where it ends
    otherwise, with the last that it said.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        __name__,
        module,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**_plain_environ(), **(environ or {})},
    )
    try:
        said, errors = await process.communicate(msgspec.msgpack.encode(order))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        told = errors.decode(errors="replace").strip()[-_SAID:]
        raise TaskFailed(f"the process that measures ended with status {process.returncode}: {told}")
    return msgspec.msgpack.decode(said, type=found)


def _plain_environ() -> dict[str, str]:
    """Return our environment without what would have the child export its spans somewhere."""
    return {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}


def main() -> None:
    """Read the order, do it, say what came of it; what is printed meanwhile goes to standard error."""
    (name,) = sys.argv[1:]
    if name not in _MODULES:
        sys.exit(f"nothing here measures {name!r}; it is one of {', '.join(_MODULES)}")
    module = importlib.import_module(f"swarm_metrics.costs.{name}")
    out = os.dup(1)
    os.dup2(2, 1)
    found = module.work(msgspec.msgpack.decode(sys.stdin.buffer.read(), type=module.Order))
    with os.fdopen(out, "wb") as stream:
        stream.write(msgspec.msgpack.encode(found))


if __name__ == "__main__":
    main()
