"""The ways to agree. One module a mechanism; each offers its ``MECHANISM`` under the name that the table has for it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from swarm_common.mechanisms import MECHANISMS as MODULES
from swarm_consensus.protocols.core import Mechanism

MECHANISMS: Mapping[str, Mechanism] = {
    name: import_module(module).MECHANISM for name, module in MODULES.items()
}
"""By name. A further one is a module like these, and a line in :mod:`swarm_common.mechanisms`."""
