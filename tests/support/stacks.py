"""An embedded stack of a test's own, as `swarm up` starts it: to use, and to kill parts of."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from support.waiting import until, until_sync
from swarm_cli.stack.layout import Layout, Process, State, read_state
from swarm_common.client import Client
from swarm_common.errors import NotFound, SwarmError
from swarm_common.events import Event
from swarm_common.events.benchmark import TERMINAL, Completed
from swarm_common.runs import AFTERMATH
from swarm_common.settings import Settings

SWARM = Path(sys.executable).parent / "swarm"


class Stack:
    """A stack under a home of its own. What it starts, :func:`stack` ends."""

    def __init__(self, home: Path, **environ: str) -> None:
        self.home = home
        self.layout = Layout(home)
        self.settings = Settings(home=str(home), nats_port=0)
        outer = {k: v for k, v in os.environ.items() if not k.startswith(("SWARM_", "OTEL_"))}
        self.environ = {**outer, "SWARM_HOME": str(home), "SWARM_NATS_PORT": "0", **environ}

    def swarm(self, *arguments: str, check: bool = True, timeout_s: float = 90.0) -> str:
        done = subprocess.run(
            [SWARM, *arguments],
            cwd=self.home.parent,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == 0 or not check, f"swarm {arguments}: {done.stderr}{done.stdout}"
        return done.stdout

    @property
    def state(self) -> State:
        found = read_state(self.layout)
        assert found is not None, f"no stack under {self.home}"
        return found

    def client(self) -> Client:
        return Client(settings=self.settings)

    def process(self, name: str) -> Process:
        state = self.state
        return next(one for one in (state.broker, *state.services) if name in {one.name, one.instance})

    def kill(self, name: str) -> int:
        """End a process of the stack at once, as ``kill -9`` does; wait where it is not there yet. Return its pid."""
        if name == "worker":
            return self._kill_worker()
        pid = until_sync(lambda: self.process(name).pid, what=f"a pid of {name}")
        os.kill(pid, signal.SIGKILL)
        until_sync(lambda: self.process(name).pid != pid, what=f"the supervisor to see that {name} ended")
        return pid

    def _kill_worker(self) -> int:
        """End a pool worker of model_agent: a process without children below the fork server."""
        agent = psutil.Process(until_sync(lambda: self.process("model_agent").pid))

        def workers() -> list[psutil.Process]:
            with contextlib.suppress(psutil.Error):
                return [
                    one
                    for one in agent.children(recursive=True)
                    if not one.children() and one.ppid() != agent.pid
                ]
            return []

        worker = until_sync(workers, what="a pool worker")[0]
        worker.kill()
        return worker.pid

    def export(self, run: str) -> Path:
        path = self.home / f"{run}.jsonl"
        self.swarm("export", run, "-o", str(path))
        return path

    def replay(self, path: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "swarm_coordinator", "replay", str(path)],
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@contextlib.contextmanager
def stack(home: Path, *up: str, **environ: str) -> Iterator[Stack]:
    """Start a stack and end it after the ``with`` block."""
    found = Stack(home, **environ)
    found.swarm("up", *up)
    try:
        yield found
    finally:
        found.swarm("down", timeout_s=60.0)


class Follower:
    """Reads a run as it grows, by direct gets: works through any restart of the broker."""

    def __init__(self, client: Client, run: str) -> None:
        self.client = client
        self.run = run
        self.events: list[Event] = []

    async def more(self) -> Sequence[Event]:
        """Return what is new; nothing while the broker is away."""
        try:
            new = await self.client.log.read_run(self.run, after=self.events[-1].seq if self.events else 0)
        except NotFound:
            raise
        except SwarmError:
            return ()
        self.events += new
        return new

    async def reach(self, count: int, timeout_s: float = 60.0) -> None:
        """Wait until the run has so many events, or is over."""

        async def enough() -> bool:
            await self.more()
            return len(self.events) >= count or self.over

        await until(enough, timeout_s, f"event {count} of run {self.run}")

    async def settle(self, timeout_s: float = 90.0) -> Sequence[Event]:
        """Wait until the run is over, its aftermath included, and return its events."""

        async def settled() -> bool:
            await self.more()
            types = {event.type for event in self.events}
            return self.over and (Completed.type not in types or types >= AFTERMATH)

        await until(settled, timeout_s, f"the end of run {self.run}")
        return self.events

    @property
    def over(self) -> bool:
        return any(event.type in TERMINAL for event in self.events)


def results(events: Sequence[Event]) -> Counter[tuple[str, str]]:
    """Return what was recorded of tasks, and the aftermath: (type, task), failures left out."""
    return Counter(
        (event.type, getattr(event.data, "task", ""))
        for event in events
        if not event.type.startswith("benchmark.") and not event.type.endswith(".task_failed")
    )


def completed(events: Sequence[Event]) -> Completed:
    """Return how the run completed; fails the test where it ended otherwise."""
    (last,) = [event.data for event in events if event.type in TERMINAL]
    assert isinstance(last, Completed), last
    return last
