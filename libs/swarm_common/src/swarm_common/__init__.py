"""What all parts of Swarmbench share: events, the log, the service runtime, tracing, settings, and a client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from swarm_common.errors import SwarmError

if TYPE_CHECKING:
    from swarm_common.client import Client, Run

__version__ = "0.1.0"
__all__ = ["Client", "Run", "SwarmError", "__version__"]


def __getattr__(name: str) -> Any:
    """Import the client when it is asked for: most of what imports this package needs no broker."""
    if name in {"Client", "Run"}:
        from swarm_common import client  # noqa: PLC0415 - slow import

        return getattr(client, name)
    raise AttributeError(name)
