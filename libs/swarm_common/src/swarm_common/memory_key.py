"""The name under which the swarm remembers a scenario: planners ask with it, memory-sync answers with it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec


def memory_key(suite: str, scenario: str, params: Mapping[str, Any]) -> str:
    """Return ``<suite>/<scenario>/<12 hexadecimal digits over the parameters>``."""
    canonical = msgspec.json.encode(dict(params), order="deterministic")
    return f"{suite}/{scenario}/{hashlib.sha256(canonical).hexdigest()[:12]}"
