"""Celery and Redis, fetched once into a directory beside the temporary files and kept there for the next run."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from kit.measure import Skipped
from kit.servers import child, until

_HERE = Path(__file__).resolve().parent.parent / "peers"
_REQUIREMENTS = _HERE / "celery-requirements.txt"
#: Debian's packages of Redis and what it links to.
_PACKAGES = [
    "redis-server",
    "redis-tools",
    "libatomic1",
    "libhiredis0.14",
    "libjemalloc2",
    "liblua5.1-0",
    "liblzf1",
    "lua-bitop",
    "lua-cjson",
]
_PATIENCE_S = 240


def home() -> Path:
    """Return where the peers are kept; deleting it is always right."""
    path = Path(tempfile.gettempdir()) / f"swarm-bench-peers-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def celery_python() -> Path:
    """Return the Python of a venv with Celery; raises :class:`Skipped` where it cannot be made."""
    venv = home() / "celery"
    stamp = venv / "requirements.txt"
    if not stamp.exists() or stamp.read_text() != _REQUIREMENTS.read_text():
        shutil.rmtree(venv, ignore_errors=True)
        do([sys.executable, "-m", "venv", str(venv)])
        pip = [str(venv / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
        do([*pip, "install", "-r", str(_REQUIREMENTS)])
        stamp.write_text(_REQUIREMENTS.read_text())
    return venv / "bin" / "python"


def redis_server() -> tuple[str, Mapping[str, str]]:
    """Return the program and its environment: the installed one, or Debian's, unpacked and not installed."""
    if found := shutil.which("redis-server"):
        return found, {}
    if shutil.which("apt-get") is None:
        raise Skipped("there is no redis-server on the path; install one")
    folder = home() / "redis"
    program = folder / "root" / "usr" / "bin" / "redis-server"
    if not program.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        if os.getuid() == 0:
            do(["apt-get", "update", "-qq"])
        do(["apt-get", "download", "-q", *_PACKAGES], cwd=folder)
        for package in sorted(folder.glob("*.deb")):
            do(["dpkg-deb", "-x", str(package), str(folder / "root")])
    libraries = sorted({str(path.parent) for path in (folder / "root").rglob("*.so*")})
    return str(program), {"LD_LIBRARY_PATH": ":".join(libraries)}


def do(command: list[str], cwd: Path | None = None) -> None:
    try:
        subprocess.run(command, cwd=cwd, check=True, capture_output=True, timeout=_PATIENCE_S)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", b"") or b""
        raise Skipped(
            f"{' '.join(command[:3])} ... failed: {error} {said.decode(errors='replace')[-300:]}"
        ) from error


class Celery:
    """A running Celery: Redis, workers, and a process that sends."""

    def __init__(self, sender: subprocess.Popen[bytes]) -> None:
        self._sender = sender

    def run(self, tasks: int) -> float:
        """Return the seconds from sending ``tasks`` empty tasks to having all results."""
        assert self._sender.stdin is not None  # noqa: S101 - started so
        assert self._sender.stdout is not None  # noqa: S101
        self._sender.stdin.write(b"%d\n" % tasks)
        self._sender.stdin.flush()
        return float(self._sender.stdout.readline())


@contextlib.contextmanager
def celery(scratch: Path, workers: int, prefetch: int) -> Iterator[Celery]:
    """Run Redis, ``workers`` worker processes of one task at a time each, and a sender."""
    python = celery_python()
    redis, libraries = redis_server()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "PEER_REDIS": f"redis://127.0.0.1:{port}/0",
        "PEER_PREFETCH": str(prefetch),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [str(python), "-m", "celery", "-A", "celery_app", "worker", "--loglevel", "INFO"]
    command += ["--concurrency", str(workers), "--without-gossip", "--without-mingle", "--without-heartbeat"]
    keeps_nothing = ["--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--dir", str(scratch)]
    with contextlib.ExitStack() as ends:
        log = ends.enter_context((scratch / "peer.log").open("ab"))
        both = {"stdout": log, "stderr": log}
        ends.enter_context(
            child([redis, "--port", str(port), *keeps_nothing], env={**os.environ, **libraries}, **both)
        )
        until(lambda: _answers(port), "redis-server")
        worker = ends.enter_context(child(command, env=environment, cwd=_HERE, **both))
        until(lambda: b" ready." in _said(scratch) or worker.poll() is not None, "the Celery worker")
        if worker.poll() is not None:
            raise Skipped(f"the Celery worker ended: {_said(scratch)[-500:].decode(errors='replace')}")
        sender = subprocess.Popen(
            [str(python), "celery_app.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            cwd=_HERE,
        )
        ends.callback(sender.wait, 10)
        ends.callback(sender.stdin.close)  # type: ignore[union-attr]
        yield Celery(sender)


def _said(scratch: Path) -> bytes:
    return (scratch / "peer.log").read_bytes()


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1.0) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(5) == b"+PONG"
    except OSError:
        return False
