"""Where the embedded stack keeps things, and what ``stack.json`` says while it runs."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

SERVICES = ("coordinator", "model_agent", "consensus", "memory_sync", "metrics", "optimizer")


class Layout(msgspec.Struct, frozen=True):
    """The directories and files under ``home``."""

    home: Path

    @property
    def state(self) -> Path:
        """``stack.json``: there while the stack runs."""
        return self.home / "stack.json"

    @property
    def lock(self) -> Path:
        """Held by the supervisor as long as it lives."""
        return self.home / "stack.lock"

    @property
    def up_lock(self) -> Path:
        """Held while somebody starts or stops the stack."""
        return self.home / "up.lock"

    @property
    def replicas(self) -> Path:
        """How many instances of each service are wanted."""
        return self.home / "replicas.json"

    @property
    def logs(self) -> Path:
        """A log file a process."""
        return self.home / "logs"

    @property
    def store(self) -> Path:
        """JetStream's store: the log itself."""
        return self.home / "nats"

    @property
    def health(self) -> Path:
        """A file a service process, touched while it is healthy."""
        return self.home / "health"

    @property
    def data(self) -> Path:
        """Projections of the services, a directory each."""
        return self.home / "data"

    @property
    def reports(self) -> Path:
        """What `swarm run` and `swarm report` write."""
        return self.home / "reports"

    def create(self) -> None:
        """Make the directories; only their owner may look inside."""
        for path in (self.home, self.logs, self.store, self.health, self.data, self.reports):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)


class Process(msgspec.Struct, kw_only=True):
    """A child process of the supervisor."""

    name: str
    """The service, or ``nats``."""
    instance: str
    """``coordinator-1``; also the name of its log file."""
    pid: int | None = None
    """``None`` between its end and its restart."""
    restarts: int = 0
    last_exit: str = ""
    """How it last ended by itself: ``exit code 1``, ``signal 9``."""


class State(msgspec.Struct, kw_only=True):
    """What ``stack.json`` says."""

    nats_url: str
    monitoring_url: str
    pid: int
    """Of the supervisor."""
    started: str
    profile: str
    broker: Process
    services: list[Process]

    def restarts(self) -> int:
        """Return how often any child was started again."""
        return self.broker.restarts + sum(service.restarts for service in self.services)


def write_state(layout: Layout, state: State) -> None:
    """Replace ``stack.json`` in one step, so that nobody reads half of it."""
    _replace(layout.state, msgspec.json.format(msgspec.json.encode(state), indent=1))


def read_state(layout: Layout) -> State | None:
    """Return what ``stack.json`` says, or ``None`` where there is none that can be read."""
    with contextlib.suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode(layout.state.read_bytes(), type=State)
    return None


def write_replicas(layout: Layout, replicas: dict[str, int]) -> None:
    """Say how many instances of each service are wanted."""
    _replace(layout.replicas, msgspec.json.encode(replicas))


def read_replicas(layout: Layout) -> dict[str, int]:
    """Return how many instances of each service are wanted; one where nothing else was said."""
    found: dict[str, int] = {}
    with contextlib.suppress(OSError, msgspec.DecodeError):
        found = msgspec.json.decode(layout.replicas.read_bytes(), type=dict[str, int])
    return {service: found.get(service, 1) for service in SERVICES}


def _replace(path: Path, content: bytes) -> None:
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_bytes(content)
    scratch.replace(path)


def is_running(layout: Layout) -> bool:
    """Say whether a supervisor lives: it holds its lock, whatever ``stack.json`` says."""
    try:
        stream = layout.lock.open("rb")
    except OSError:
        return False
    with stream:
        return not try_lock(stream, shared=True)


def try_lock(stream: IO[bytes], *, shared: bool = False) -> bool:
    """Take a lock if it is free, and say whether it was. Closing the stream gives it back."""
    try:
        fcntl.flock(stream, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def exclusively(path: Path) -> Iterator[None]:
    """Hold a lock file for the length of a ``with`` block; waits for whoever holds it."""
    with path.open("ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
