"""Standard output: one JSON document, or lines for people. What is no result goes to standard error."""

from __future__ import annotations

import sys
from typing import Any

import msgspec

from swarm_common.errors import SwarmError, UsageError

_printed = False


def emit(document: Any) -> None:
    """Print the one JSON document of a command."""
    global _printed  # noqa: PLW0603 - whether something stands there already is a fact of this process's stdout
    _printed = True
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n")
    sys.stdout.flush()


def emit_error(error: SwarmError) -> None:
    """Print an error as the JSON document of a command that asked for one."""
    found: dict[str, Any] = {"error": str(error), "kind": type(error).__name__, "exit_code": error.exit_code}
    if isinstance(error, UsageError):
        found |= {"field": error.field, "given": error.given, "allowed": error.allowed}
    emit(found)


def printed() -> bool:
    """Say whether the JSON document was printed already."""
    return _printed


def line(text: str = "") -> None:
    """Print a line for people."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """Print a line that is no result: progress, hints."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
