"""Container health check: ``python -m swarm_common.health`` exits 0 while the service in this container is healthy."""

from __future__ import annotations

import sys
from pathlib import Path

from swarm_common.runtime.health import check
from swarm_common.settings import load_settings

if __name__ == "__main__":
    sys.exit(check(Path(load_settings().health_file)))
