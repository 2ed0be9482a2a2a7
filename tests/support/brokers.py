"""Real brokers to test against: the wheel's ``nats-server``, or a container with ``SWARM_TEST_BROKER=docker``.

Both can be killed, started again on the same port and store, frozen and thawed.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from support.waiting import until_sync

IMAGE = "nats:2.15-alpine"
_STARTED: set[subprocess.Popen[bytes]] = set()


class BrokerProcess(Protocol):
    """A broker that a test may treat roughly."""

    url: str

    def start(self) -> None:
        """Start it, or start it again where it was, and return when it takes connections."""

    def kill(self) -> None:
        """End it at once, as ``kill -9`` does; what it stored stays."""

    def restart(self) -> None:
        """Kill it and start it again on the same port and store."""

    def freeze(self) -> None:
        """Stop it in its tracks: connections stay open, nothing answers."""

    def thaw(self) -> None:
        """Let it go on."""

    def stop(self) -> None:
        """End it for good."""


class NativeBroker:
    """``nats-server`` from the wheel, as a child process."""

    def __init__(self, home: Path, *, config: str = "", environ: Mapping[str, str] | None = None) -> None:
        self.home = home
        self.port = -1
        self.url = ""
        self.process: subprocess.Popen[bytes] | None = None
        self._config = config
        self._environ = dict(os.environ) | dict(environ or {})

    def start(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        conf = self.home / "nats.conf"
        conf.write_text(
            f'listen: "127.0.0.1:{self.port}"\n'
            f'jetstream {{ store_dir: "{self.home}/store" }}\n'
            f'ports_file_dir: "{self.home}"\n{self._config}\n',
            encoding="utf-8",
        )
        for old in self.home.glob("*.ports"):
            old.unlink()
        log = (self.home / "nats.log").open("ab")
        with log:
            self.process = subprocess.Popen(
                [str(Path(sys.executable).parent / "nats-server"), "-c", str(conf)],
                env=self._environ,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        _STARTED.add(self.process)
        self.port = until_sync(self._listening, what=f"a broker in {self.home}")
        self.url = f"nats://127.0.0.1:{self.port}"
        until_sync(lambda: answers(self.port), what=f"an answer from {self.url}")

    def _listening(self) -> int:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(
                f"nats-server ended: {(self.home / 'nats.log').read_text(encoding='utf-8')[-2000:]}"
            )
        with contextlib.suppress(OSError, ValueError, LookupError):
            (ports,) = self.home.glob(f"*_{self.process.pid}.ports")
            return int(json.loads(ports.read_text(encoding="utf-8"))["nats"][0].rsplit(":", 1)[1])
        return 0

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            _STARTED.discard(self.process)
            self.process = None

    def restart(self) -> None:
        self.kill()
        self.start()

    def freeze(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGCONT)

    def stop(self) -> None:
        self.kill()  # its store is thrown away with it: nothing is gained by a gentle end


class DockerBroker:
    """The same broker in a container, with the repository's own configuration."""

    def __init__(self) -> None:
        os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
        from testcontainers.core.container import DockerContainer  # noqa: PLC0415 - only where Docker is asked for

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"nats://127.0.0.1:{self.port}"
        self._container = DockerContainer(IMAGE).with_command("-js -sd /data")
        self._container.ports["4222/tcp"] = (
            "127.0.0.1",
            self.port,
        )  # with_bind_ports would bind all interfaces
        self._started = False

    @property
    def _docker(self) -> Any:
        return self._container.get_wrapped_container()

    def start(self) -> None:
        if self._started:
            self._docker.start()
        else:
            self._container.start()
            self._started = True
        until_sync(lambda: answers(self.port), what=f"an answer from {self.url}")

    def kill(self) -> None:
        self._docker.kill()
        self._docker.wait()

    def restart(self) -> None:
        self.kill()
        self.start()

    def freeze(self) -> None:
        self._docker.pause()

    def thaw(self) -> None:
        self._docker.unpause()

    def stop(self) -> None:
        if self._started:
            self._container.stop(force=True, delete_volume=True)


def answers(port: int) -> bool:
    """Say whether a broker greets on this port and JetStream can be asked."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1.0) as connection:
            return connection.recv(5) == b"INFO "
    except OSError:
        return False


def uses_docker() -> bool:
    return os.environ.get("SWARM_TEST_BROKER") == "docker"


@contextlib.contextmanager
def running(
    home: Path, *, config: str = "", environ: Mapping[str, str] | None = None
) -> Iterator[BrokerProcess]:
    """Run a broker for the length of a ``with`` block; one with ``config`` of its own is always a native one."""
    own = config or environ
    broker: BrokerProcess = (
        DockerBroker() if uses_docker() and not own else NativeBroker(home, config=config, environ=environ)
    )
    broker.start()
    try:
        yield broker
    finally:
        with contextlib.suppress(Exception):
            broker.thaw()
        broker.stop()


@atexit.register
def _end_all() -> None:
    """End what an interrupted session has left."""
    for process in _STARTED:
        if process.poll() is None:
            process.kill()
