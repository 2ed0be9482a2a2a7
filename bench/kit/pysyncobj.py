"""Three processes of PySyncObj in an environment of their own, kept beside the temporary files for the next run."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from kit.etcd import free_ports
from kit.peers import do, home
from kit.servers import until

_HERE = Path(__file__).resolve().parent.parent / "peers"
_REQUIREMENTS = _HERE / "pysyncobj-requirements.txt"


def python() -> Path:
    """Return the Python of a venv with PySyncObj; raises :class:`~kit.measure.Skipped` where it cannot be made."""
    venv = home() / "pysyncobj"
    stamp = venv / "requirements.txt"
    if not stamp.exists() or stamp.read_text() != _REQUIREMENTS.read_text():
        shutil.rmtree(venv, ignore_errors=True)
        do([sys.executable, "-m", "venv", str(venv)])
        pip = [str(venv / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
        do([*pip, "install", "-r", str(_REQUIREMENTS)])
        stamp.write_text(_REQUIREMENTS.read_text())
    return venv / "bin" / "python"


class Node:
    """One process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def leads(self) -> bool:
        """Return whether it is the leader."""
        return bool(self._ask("leads"))

    def add(self, count: int) -> list[float]:
        """Count up so often, one after the other, in the leader's own process; return microseconds of each."""
        return [float(one) for one in self._ask(str(count))]

    def _ask(self, what: str) -> object:
        assert self._process.stdin is not None  # noqa: S101 - started so
        assert self._process.stdout is not None  # noqa: S101
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@contextlib.contextmanager
def pysyncobj(config: str) -> Iterator[Node]:
    """Run three nodes with the settings that ``pysyncobj_peer.py`` has under that name; give the leader."""
    program = python()
    names = [f"127.0.0.1:{port}" for port in free_ports(3)]
    with contextlib.ExitStack() as ends:
        nodes = []
        for own in names:
            process = subprocess.Popen(
                [str(program), "pysyncobj_peer.py", config, own, *(name for name in names if name != own)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # it complains of its own log, see docs/bench.md
                text=True,
                cwd=_HERE,
            )
            ends.callback(process.wait, 10)
            ends.callback(process.kill)
            nodes.append(Node(process))
        yield until(lambda: next((node for node in nodes if node.leads()), None), "PySyncObj's leader")
