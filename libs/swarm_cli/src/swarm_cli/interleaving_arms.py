"""The arms of an interleaved comparison: a command, or the code of a commit with a stack of its own."""

from __future__ import annotations

import contextlib
import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from swarm_cli.comparing_runs import Facts, Measure
from swarm_common.errors import SwarmError, UsageError
from swarm_common.events import Metric

_END_S = 10.0
_CLI = ("-P", "-c", "from swarm_cli.main import main; main()")


class Printed(msgspec.Struct, frozen=True):
    """What a command prints that measures by itself: a part of what `swarm run --json` does."""

    metrics: list[Metric]
    suite: str = ""
    scenario: str = ""
    params: dict[str, Any] = {}
    seed: int = 0
    run: str = ""
    status: str = "completed"
    deterministic: bool = False
    digest: str | None = None


class Command:
    """Any program: it is timed from outside, and what it prints as JSON with ``metrics`` is taken, too."""

    def __init__(
        self,
        text: str,
        *,
        name: str,
        cwd: Path | None = None,
        environ: Mapping[str, str] | None = None,
        label: str = "",
    ) -> None:
        try:
            self._words = shlex.split(text)
        except ValueError as error:
            raise UsageError(f"--{name}-command: {error}", field=f"{name}_command", given=text) from None
        if not self._words:
            raise UsageError(f"--{name}-command is empty", field=f"{name}_command", given=text)
        if shutil.which(self._words[0], path=(environ or os.environ).get("PATH")) is None and cwd is None:
            raise UsageError(
                f"--{name}-command: there is no program {self._words[0]!r}; it is started without a shell",
                field=f"{name}_command",
                given=text,
            )
        self.label = label or text
        self._cwd = cwd
        self._environ = environ

    def run(self) -> Facts:
        """Start the program, wait for its end, and return its times and what it printed."""
        used = _children_cpu_s()
        began = time.perf_counter_ns()
        out = call(self._words, cwd=self._cwd, environ=self._environ)
        wall_s = (time.perf_counter_ns() - began) / 1e9
        times = (
            Measure(name="wall_s", value=wall_s, unit="s", better="lower", timing=True),
            Measure(name="cpu_s", value=_children_cpu_s() - used, unit="s", better="lower", timing=True),
        )
        printed = _printed(out)
        return _facts(printed, times) if printed is not None else Facts(run="", metrics=times)


class Checkout:
    """The code of a commit: a fresh stack with an empty log for every run, so that each run is a restart."""

    def __init__(self, tree: Path, label: str, scratch: Path, request: Sequence[str]) -> None:
        if not (tree / "libs" / "swarm_cli" / "src").is_dir():
            raise UsageError(
                f"{label} is no commit of Swarmbench; for other programs there are --command, or --base-command and "
                "--head-command",
                field="base",
                given=label,
            )
        self.label = label
        self._scratch = scratch
        self._request = request
        self._environ = environment(tree)

    def run(self) -> Facts:
        """Start the stack, run, stop the stack, and forget its log."""
        home = self._scratch / "home"
        environ = {**self._environ, "SWARM_HOME": str(home), "SWARM_NATS_PORT": "0"}
        swarm = (sys.executable, *_CLI)
        try:
            out = call(
                (*swarm, "run", *self._request, "--json", "--no-report"), cwd=self._scratch, environ=environ
            )
        finally:
            call((*swarm, "down"), cwd=self._scratch, environ=environ)
            shutil.rmtree(home, ignore_errors=True)
        printed = _printed(out)
        if printed is None or printed.status != "completed":
            raise SwarmError(f"{self.label}: the run did not complete: {_end(out)}")
        return _facts(printed, ())


def environment(tree: Path) -> dict[str, str]:
    """Return an environment in which Python takes our packages from a checkout: they come before the installed ones."""
    sources = [str(path) for part in ("libs", "services") for path in sorted(tree.glob(f"{part}/*/src"))]
    outer = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("SWARM_") or name.startswith("SWARM_LLM")
    }
    return {**outer, "PYTHONPATH": os.pathsep.join(sources)} if sources else outer


@contextlib.contextmanager
def worktree(repository: Path, ref: str, path: Path) -> Iterator[str]:
    """Check a commit out beside the repository for the length of a ``with`` block; returns its id.

    Raises :class:`UsageError` where the directory is in no repository, or the ref names no commit.
    """
    commit = commit_of(repository, ref)
    try:
        git(repository, "worktree", "add", "--detach", "--quiet", str(path), commit)
        yield commit
    finally:  # also where it was interrupted half way
        shutil.rmtree(path, ignore_errors=True)
        git(repository, "worktree", "prune")


def commit_of(repository: Path, ref: str) -> str:
    """Return the id of the commit that a ref names; raises :class:`UsageError` where there is none."""
    try:
        git(repository, "rev-parse", "--git-dir")
    except SwarmError:
        raise UsageError(
            f"{repository} is in no git repository; start the command inside one, or give --base-command and "
            "--head-command",
            field="ref",
            given=ref,
        ) from None
    unknown = UsageError(
        f"{ref!r} names no commit of this repository; `git log --oneline` lists them", field="ref", given=ref
    )
    if ref.startswith("-"):
        raise unknown
    try:
        return git(repository, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
    except SwarmError:
        raise unknown from None


def git(repository: Path, *arguments: str) -> str:
    """Return what git says."""
    program = shutil.which("git")
    if program is None:
        raise SwarmError("comparing commits needs git, which is not installed")
    return call((program, "-C", str(repository), *arguments)).decode("utf-8", "replace").strip()


def call(words: Sequence[str], *, cwd: Path | None = None, environ: Mapping[str, str] | None = None) -> bytes:
    """Return what a program prints; raises :class:`SwarmError` with its last words where it fails.

    It has a process group of its own, which is ended when we are interrupted.
    """
    with _interrupts_held() as held:
        try:
            process = subprocess.Popen(  # noqa: S603 - no shell; what is started is what the user asks for
                list(words),
                cwd=cwd,
                env=None if environ is None else dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise SwarmError(f"{shlex.join(words)} cannot be started: {error.strerror or error}") from None
    try:
        if held:
            raise KeyboardInterrupt
        out, err = process.communicate()
    except BaseException:  # an interrupt, too: nothing that we started goes on
        _end_group(process)
        raise
    if process.returncode:
        raise SwarmError(
            f"{shlex.join(words[:8])} ended with exit code {process.returncode}: {_end(err) or _end(out)}"
        )
    return out


@contextlib.contextmanager
def _interrupts_held() -> Iterator[list[int]]:
    """Note interrupts in the list that is returned: one while a process is being started would leave it to itself."""
    held: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: held.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield held
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGINT, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=_END_S)
            return


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _printed(out: bytes) -> Printed | None:
    """Return the JSON document with metrics that a program printed; ``None`` where it printed none."""
    for text in (out, out.strip().rpartition(b"\n")[2]):
        with contextlib.suppress(msgspec.DecodeError):
            return msgspec.json.decode(text, type=Printed)
    return None


def _facts(printed: Printed, times: tuple[Measure, ...]) -> Facts:
    metrics = [
        Measure(
            name=one.name,
            value=one.value,
            unit=one.unit,
            better=one.better,
            timing=one.timing,
            low=one.low,
            high=one.high,
            reason=one.reason,
        )
        for one in printed.metrics
    ]
    return Facts(
        run=printed.run,
        suite=printed.suite,
        scenario=printed.scenario,
        params=printed.params,
        seed=printed.seed,
        status=printed.status,
        deterministic=printed.deterministic,
        digest=printed.digest or "",
        metrics=(*metrics, *times),
    )


def _end(text: bytes) -> str:
    """Return the last words of an output."""
    return " / ".join(text.decode("utf-8", "replace").strip().splitlines()[-3:])[-400:]
