"""Records the golden logs of the present version anew: ``python tests/golden/record.py``.

Each is an export of a real run of the embedded stack. A log of a released version is never recorded again: the code
must go on reading it. A new version adds its own files.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from swarm_common import __version__

HERE = Path(__file__).parent
#: Name of the file, then the arguments of ``swarm run``.
RUNS: dict[str, list[str]] = {
    "noop": ["noop", "-p", "tasks=5"],
    "retries": ["noop", "-p", "tasks=3", "-p", "fail_attempts=1"],
    "ensemble": ["ensemble", "breast_cancer"],
}


def swarm(home: str, *arguments: str) -> Any:
    """Run the command against a stack of its own and return what it prints as JSON."""
    command = [str(Path(sys.executable).parent / "swarm"), "--home", home, *arguments, "--json"]
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("SWARM_", "OTEL_"))}
    environ |= {"SWARM_NATS_PORT": "0"}
    done = subprocess.run(command, env=environ, cwd=home, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout or b"null")


def main() -> None:
    """Record every run into ``<name>-<version>.jsonl`` beside this file."""
    with tempfile.TemporaryDirectory() as home:
        try:
            for name, arguments in RUNS.items():
                run = swarm(home, "run", *arguments, "--no-report")
                path = HERE / f"{name}-{__version__}.jsonl"
                swarm(home, "export", run["run"], "-o", str(path))
                sys.stdout.write(f"{path.name}: {run['events']} events, {path.stat().st_size} bytes\n")
        finally:
            swarm(home, "down")


if __name__ == "__main__":
    main()
