"""What commands do with the embedded stack: start it, wait until it is ready, change it, stop it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from swarm_cli.stack.broker import check_profile
from swarm_cli.stack.layout import (
    SERVICES,
    Layout,
    Process,
    State,
    exclusively,
    is_running,
    read_replicas,
    read_state,
    write_replicas,
)
from swarm_cli.stack.probe import Probe
from swarm_common.errors import SwarmError, UsageError
from swarm_common.settings import Settings

START_S = 60.0
_STOP_S = 20.0
_TICK_S = 0.01
#: A service that ended this often before it was ready will not come up.
_HOPELESS = 3
_MOST_REPLICAS = 64


class Started(msgspec.Struct, frozen=True):
    """What :func:`up` did."""

    state: State
    seconds: float
    was_running: bool
    supervisor: subprocess.Popen[bytes] | None = None


def up(
    settings: Settings, replicas: Mapping[str, int] | None = None, *, timeout_s: float = START_S
) -> Started:
    """Start the stack, or change its replicas where it runs, and return when every service takes work.

    Raises :class:`UsageError` where settings name another broker or a profile that needs several, and
    :class:`SwarmError` with the end of a log where something does not come up; what was started is then stopped.
    """
    if settings.nats_url:
        raise UsageError(
            "SWARM_NATS_URL names a broker, so there is nothing embedded to start; unset it to use the embedded stack",
            field="nats_url",
        )
    check_profile(settings.profile)
    replicas = check_replicas(replicas or {})
    began = time.monotonic()
    layout = Layout(settings.home_path)
    layout.create()
    with exclusively(layout.up_lock):
        was_running = is_running(layout)
        supervisor = None
        if not was_running:
            _clear_leftovers(layout)
            write_replicas(layout, dict(replicas))
            supervisor = _spawn(settings, layout)
        elif replicas:
            write_replicas(layout, read_replicas(layout) | dict(replicas))
            os.kill(supervisor_pid(layout), signal.SIGHUP)
        try:
            state = _wait_until_ready(layout, supervisor, began + timeout_s)
        except BaseException:  # an interrupt, too, leaves nothing half started
            if supervisor is not None:
                _stop(layout)
            raise
    return Started(state, time.monotonic() - began, was_running, supervisor)


def ensure(settings: Settings) -> Started | None:
    """Start the embedded stack where no broker is named and it does not run; return what was started."""
    if settings.nats_url:
        return None
    started = up(settings)
    return None if started.was_running else started


def down(settings: Settings) -> bool:
    """Stop the stack and wait for its end; return whether there was anything to stop."""
    layout = Layout(settings.home_path)
    if not layout.home.exists():
        return False
    with exclusively(layout.up_lock):
        was_running = is_running(layout)
        if was_running:
            _stop(layout)
        return _clear_leftovers(layout) or was_running


def check_replicas(replicas: Mapping[str, int]) -> Mapping[str, int]:
    """Return the replicas; raises :class:`UsageError` for an unknown service or an absurd number."""
    for service, count in replicas.items():
        if service not in SERVICES:
            raise UsageError(
                f"there is no service {service!r}; there are {', '.join(SERVICES)}",
                field="replicas",
                given=service,
                allowed=", ".join(SERVICES),
            )
        if not 0 <= count <= _MOST_REPLICAS:
            raise UsageError(
                f"{service}={count}; allowed are 0 to {_MOST_REPLICAS} replicas",
                field="replicas",
                given=str(count),
            )
    return replicas


def supervisor_pid(layout: Layout) -> int:
    """Return the supervisor's pid, which stands in the lock file that it holds."""
    return int(layout.lock.read_text() or 0)


def _spawn(settings: Settings, layout: Layout) -> subprocess.Popen[bytes]:
    """Start the supervisor in a session of its own, so that it outlives this command and its terminal."""
    given = {
        f"SWARM_{name.upper()}": str(value)
        for name, value in msgspec.structs.asdict(settings).items()
        if value != ""
    }
    with (layout.logs / "supervisor.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "swarm_cli.stack"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=layout.home,
            env={**os.environ, **given, "SWARM_HOME": str(layout.home)},
            start_new_session=True,
        )


def _wait_until_ready(layout: Layout, supervisor: subprocess.Popen[bytes] | None, deadline: float) -> State:
    """Return once every wanted instance answers on the broker."""
    while time.monotonic() < deadline:
        _check_alive(layout, supervisor)
        state = read_state(layout)
        if state is None or Counter(one.name for one in state.services) != Counter(_wanted(layout)):
            time.sleep(_TICK_S)
            continue
        _check_hopeless(layout, state)
        if _all_ready(state, time.monotonic() + 0.25):
            return state
    state = read_state(layout)
    waiting = ", ".join(one.instance for one in state.services) if state else "the broker"
    raise SwarmError(f"the stack is not ready in time ({waiting}); the logs under {layout.logs} say why")


def _all_ready(state: State, until: float) -> bool:
    pids = {one.pid for one in state.services}
    if None in pids:
        time.sleep(_TICK_S)
        return False
    try:
        with Probe(urlsplit(state.nats_url).port or 0) as probe:
            return pids <= probe.ready(lambda found: pids <= found, until)
    except OSError:
        time.sleep(_TICK_S)
        return False


def _wanted(layout: Layout) -> Iterator[str]:
    for service, count in read_replicas(layout).items():
        yield from [service] * count


def _check_alive(layout: Layout, supervisor: subprocess.Popen[bytes] | None) -> None:
    ended = supervisor.poll() is not None if supervisor is not None else not is_running(layout)
    if ended:
        raise SwarmError(f"the supervisor ended: {tail(layout.logs / 'supervisor.log')}")


def _check_hopeless(layout: Layout, state: State) -> None:
    for one in state.services:
        if one.restarts >= _HOPELESS and one.last_exit:
            log = layout.logs / f"{one.instance}.log"
            raise SwarmError(
                f"{one.instance} does not come up ({one.last_exit}, {one.restarts} times): {tail(log)}"
            )


def tail(log: Path, lines: int = 3) -> str:
    """Return the last lines of a log file, on one line, and its name."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - 4096))
            last = stream.read().decode("utf-8", "replace").splitlines()[-lines:]
    except OSError:
        last = []
    return f"{' / '.join(line.strip() for line in last) or 'nothing was logged'} (see {log})"


def _stop(layout: Layout) -> None:
    """Have the supervisor stop everything; one that does not answer is killed, and its children end with it."""
    for number, patience_s in ((signal.SIGTERM, _STOP_S), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(supervisor_pid(layout), number)
        deadline = time.monotonic() + patience_s
        while is_running(layout):
            if time.monotonic() > deadline:
                break
            time.sleep(_TICK_S)
        else:
            return
    raise SwarmError(f"the supervisor (pid {supervisor_pid(layout)}) does not end")


def _clear_leftovers(layout: Layout) -> bool:
    """End what a supervisor that was killed left behind, and remove its ``stack.json``."""
    state = read_state(layout)
    if state is not None:
        for process in (state.broker, *state.services):
            _end(process, layout)
    present = layout.state.exists()
    layout.state.unlink(missing_ok=True)
    return present


def _end(process: Process, layout: Layout) -> None:
    """End a process if its pid still is what ``stack.json`` says."""
    import psutil  # noqa: PLC0415 - needed only after an accident

    if process.pid is None:
        return
    with contextlib.suppress(psutil.Error):
        found = psutil.Process(process.pid)
        ours = str(layout.home / "nats.conf") if process.name == "nats" else f"swarm_{process.name}"
        if ours in found.cmdline():
            found.terminate()
            try:
                found.wait(3.0)
            except psutil.TimeoutExpired:
                found.kill()
                found.wait(3.0)
