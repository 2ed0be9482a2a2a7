"""The supervisor: starts the broker and the services, starts again what dies, passes on the order to stop.

It waits in one place, for signals: SIGCHLD (a child ended), SIGHUP (other replicas are wanted), SIGTERM and SIGINT
(stop).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from swarm_cli.stack import broker
from swarm_cli.stack.child import Child, rotate
from swarm_cli.stack.layout import (
    Layout,
    Process,
    State,
    read_replicas,
    try_lock,
    write_state,
)
from swarm_cli.stack.probe import Probe
from swarm_common import clock
from swarm_common.errors import SwarmError
from swarm_common.settings import Settings, load_settings

#: How long services may finish what they have at hand, and the broker may close its files.
DRAIN_S = 10.0
_BROKER_STOP_S = 5.0
_BROKER_START_S = 20.0
_PR_SET_CHILD_SUBREAPER = 36
_SIGNALS = (signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM, signal.SIGINT)


class Supervisor:
    """Keeps the stack as it should be."""

    def __init__(self, settings: Settings, layout: Layout) -> None:
        self._settings = settings
        self._layout = layout
        self._started = clock.format_ns(clock.now_ns())
        self._broker = Child(
            Process(name="nats", instance="nats-1"),
            [str(broker.binary()), "-c", str(layout.home / "nats.conf")],
            os.environ,
            layout.logs / "nats.log",
        )
        self._services: list[Child] = []
        self._port = 0
        self._monitoring = 0
        self._stopping = False
        self._wakeup, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        for number in _SIGNALS:
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)

    def run(self) -> None:
        """Run until told to stop; then stop everything that was started."""
        try:
            self._start_broker()
            self._reconcile()
            while not self._stopping:
                self._wait(self._next_due())
                self._start_due()
        finally:
            self._stop()

    # -- starting ------------------------------------------------------------------------------------------

    def _start_broker(self) -> None:
        """Start the broker and wait until it answers; a port that somebody took meanwhile is exchanged."""
        name = f"swarmbench-{os.getpid()}"
        deadline = time.monotonic() + _BROKER_START_S
        while not self._stopping:
            if self._broker.pid is None:
                wanted = self._settings.nats_port if self._port == 0 else 0
                self._port, self._monitoring = broker.free_port(wanted), broker.free_port()
                (self._layout.home / "nats.conf").write_text(
                    broker.configuration(
                        name=name,
                        port=self._port,
                        monitoring=self._monitoring,
                        store=self._layout.store,
                        profile=self._settings.profile,
                    )
                )
                self._broker.start()
            self._wait(0.01)
            with contextlib.suppress(OSError), Probe(self._port) as probe:
                if probe.info.get("server_name") == name:
                    return
            if time.monotonic() > deadline:
                raise SwarmError(f"the broker does not come up; {self._layout.logs / 'nats.log'} says why")

    def _reconcile(self) -> None:
        """Start and stop instances until there are as many as wanted."""
        for service, count in read_replicas(self._layout).items():
            have = [child for child in self._services if child.process.name == service and child.wanted]
            taken = {child.process.instance for child in self._services if child.process.name == service}
            free = (f"{service}-{number}" for number in range(1, count + len(taken) + 1))
            free = (instance for instance in free if instance not in taken)
            for _ in range(count - len(have)):
                self._services.append(self._service(service, next(free)))
            for child in have[count:]:
                child.wanted = False
                child.signal(signal.SIGTERM)
        self._start_due()

    def _service(self, service: str, instance: str) -> Child:
        return Child(
            Process(name=service, instance=instance),
            [sys.executable, "-m", f"swarm_{service}"],
            self._environment(service, instance),
            self._layout.logs / f"{instance}.log",
        )

    def _environment(self, service: str, instance: str) -> dict[str, str]:
        """Return the environment of a service: this process's own, with every setting filled in."""
        settings = self._settings
        first = instance == f"{service}-1"
        data = self._layout.data / (service if first else instance)
        given = {
            "NATS_URL": self._url,
            "HOME": str(self._layout.home),
            "HEALTH_FILE": str(self._layout.health / instance),
            "DATA_DIR": str(data),
            "SESSION": settings.session,
            "PROFILE": settings.profile,
            "LOG_LEVEL": settings.log_level,
            "LOG_FORMAT": settings.log_format,
            "CPU_WORKERS": str(settings.cpu_workers),
            "IO_SLOTS": str(settings.io_slots),
            "SAMPLE_S": str(settings.sample_s),
            "MAX_BYTES": str(settings.max_bytes),
            "DASHBOARD_PORT": str(settings.dashboard_port if first else 0),
            "DASHBOARD_HOST": settings.dashboard_host,
            "LLM_URL": settings.llm_url,
            "LLM_MODEL": settings.llm_model,
        }
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        return {**os.environ, **{f"SWARM_{name}": value for name, value in given.items()}}

    def _start_due(self) -> None:
        now = time.monotonic()
        for child in (self._broker, *self._services):
            if child.wanted and child.pid is None and child.due <= now and not self._stopping:
                child.start()
        self._publish()

    def _next_due(self) -> float | None:
        due = [child.due for child in (self._broker, *self._services) if child.wanted and child.pid is None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    # -- waiting -------------------------------------------------------------------------------------------

    def _wait(self, timeout_s: float | None) -> None:
        """Wait for a signal and act on it."""
        select.select([self._wakeup], [], [], timeout_s)
        try:
            arrived = set(os.read(self._wakeup, 4096))
        except BlockingIOError:
            return
        if arrived & {signal.SIGTERM, signal.SIGINT}:
            self._stopping = True
        if signal.SIGCHLD in arrived:
            self._reap()
        if signal.SIGHUP in arrived and not self._stopping:
            self._reconcile()

    def _reap(self) -> None:
        """Take note of every process that ended, those that a dead child left to us included."""
        children = {child.pid: child for child in (self._broker, *self._services)}
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                if pid in children:
                    child = children[pid]
                    child.ended(status)
                    if child.wanted and not self._stopping:
                        say(
                            f"{child.process.instance} (pid {pid}) ended: {child.process.last_exit}; starting it again"
                        )
        self._services = [child for child in self._services if child.wanted or child.pid is not None]

    def _wait_for(self, children: Sequence[Child], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while any(child.pid is not None for child in children) and (left := deadline - time.monotonic()) > 0:
            self._wait(left)

    # -- stopping ------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        """Stop the services, then the broker; kill what does not stop in time."""
        self._stopping = True
        for children, patience_s in ((self._services, DRAIN_S + 1.0), ([self._broker], _BROKER_STOP_S)):
            for child in children:
                child.wanted = False
                child.signal(signal.SIGTERM)
            self._wait_for(children, patience_s)
            for child in children:
                child.signal(signal.SIGKILL)
            self._wait_for(children, 2.0)
        for pid in _orphans():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        self._layout.state.unlink(missing_ok=True)

    # -- telling -------------------------------------------------------------------------------------------

    @property
    def _url(self) -> str:
        return f"nats://127.0.0.1:{self._port}"

    def _publish(self) -> None:
        """Write ``stack.json``."""
        write_state(
            self._layout,
            State(
                nats_url=self._url,
                monitoring_url=f"http://127.0.0.1:{self._monitoring}",
                pid=os.getpid(),
                started=self._started,
                profile=self._settings.profile,
                broker=self._broker.process,
                services=[child.process for child in self._services if child.wanted],
            ),
        )


def _orphans() -> list[int]:
    """Return the processes that children of ours left behind (Linux gives them to us, see :func:`adopt_orphans`)."""
    try:
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    except OSError:
        return []


def adopt_orphans() -> None:
    """Have the kernel give us the processes that children of ours leave behind (prctl(2), Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def say(text: str) -> None:
    """Write a line to the supervisor's log."""
    sys.stderr.write(f"{clock.format_ns(clock.now_ns())} {text}\n")
    sys.stderr.flush()


def main(arguments: Sequence[str]) -> int:
    """Run the stack that settings describe; returns an exit code."""
    if arguments:
        say(f"unknown arguments {' '.join(arguments)!r}; settings come from SWARM_* variables")
        return 2
    try:
        settings = load_settings()
        layout = Layout(settings.home_path)
        layout.create()
        rotate(layout.logs / "supervisor.log")
        with layout.lock.open("ab") as lock:
            if not _lock_within(lock, 1.0):
                say("another supervisor runs already")
                return 1
            lock.truncate(0)
            lock.write(str(os.getpid()).encode())
            lock.flush()
            adopt_orphans()
            Supervisor(settings, layout).run()
    except SwarmError as error:
        say(str(error))
        return error.exit_code
    return 0


def _lock_within(lock: object, timeout_s: float) -> bool:
    """Take the lock; somebody who only looks whether it is free holds it for an instant."""
    deadline = time.monotonic() + timeout_s
    while not try_lock(lock):  # type: ignore[arg-type]
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
