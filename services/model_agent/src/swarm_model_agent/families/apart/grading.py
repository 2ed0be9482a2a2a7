"""Answers that are graded by running something: each in a process of its own, shut in before it is looked at.

``python -m swarm_model_agent.families.apart.grading`` reads what is to be graded from standard input as JSON, loads the
library once, forks for each answer, and writes the scores to standard output. It knows no variable of the environment.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from swarm_common.errors import SwarmError, UsageError
from swarm_model_agent.families.apart import human_eval, reasoning_gym, shutting

#: Of computation for one answer, and of time that may go by, for it may sleep.
COMPUTING_S, _WAITING_S = 5, 30.0
#: Of what a scorer says: a number, or why there is none.
_LONGEST = 1000
_SCORES: Mapping[str, Callable[[str, str], float]] = {
    human_eval.CHECKER: human_eval.score,
    reasoning_gym.CHECKER: reasoning_gym.score,
}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be graded."""

    checker: str
    said: str
    right: str


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What the grading process is told."""

    answers: tuple[Answer, ...]
    seconds: int
    """Of computation, for each."""


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """What it was worth, or why that is not known."""

    value: float | None = None
    why: str = ""


def scores(answers: Sequence[Answer], seconds: int = COMPUTING_S) -> list[float]:
    """Return what answers are worth, 0 to 1; one that was ended is worth 0: by the kernel, or after ``seconds``.

    Raises:
        UsageError: This machine cannot shut a process in, or the library is not here or not the one that posed.
        SwarmError: The grading process ended before it had graded.
    """
    if why := shutting.missing():
        raise UsageError(
            f"answers of {answers[0].checker} are graded by running them, shut in, and this machine cannot do that: "
            f"{why}",
            field="params.family",
        )
    with tempfile.TemporaryDirectory(prefix="swarm-grading-") as folder:
        done = subprocess.run(  # noqa: S603 - our own module
            [sys.executable, "-P", "-m", __spec__.name],
            input=msgspec.json.encode(Work(answers=tuple(answers), seconds=seconds)),
            capture_output=True,
            cwd=folder,
            env={},
            timeout=60 + _WAITING_S * len(answers),
            check=False,
            start_new_session=True,
        )
    try:
        found = msgspec.json.decode(done.stdout, type=list[Score])
    except msgspec.DecodeError:
        words = done.stderr[-500:].decode("utf-8", "replace").strip()
        raise SwarmError(
            f"answers could not be graded: {words or f'exit status {done.returncode}'}"
        ) from None
    if unknown := next((one.why for one in found if one.value is None), ""):
        raise UsageError(unknown, field="checker")
    return [one.value for one in found if one.value is not None]


def _score(answer: Answer, number: int, seconds: int) -> Score:
    """Grade one answer in a child that is shut in."""
    if not answer.said.strip():
        return Score(value=0.0)
    folder = f"answer-{number}"
    os.mkdir(folder)  # noqa: PTH102 - relative to where this process alone is
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ours)
        _graded(answer, folder, theirs, seconds)
    os.close(theirs)
    told, until = b"", time.monotonic() + _WAITING_S
    while len(told) < _LONGEST and select.select([ours], [], [], max(0.0, until - time.monotonic()))[0]:
        if not (piece := os.read(ours, _LONGEST)):
            break
        told += piece
    os.close(ours)
    os.kill(pid, signal.SIGKILL)  # it may have closed the pipe and gone on
    os.waitpid(pid, 0)
    try:
        return msgspec.json.decode(told, type=Score)
    except msgspec.DecodeError:
        return Score(value=0.0)  # ended by the kernel, or out of time


def _graded(answer: Answer, folder: str, out: int, seconds: int) -> None:
    """Shut this process in, say what the answer is worth, and end."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    os.chdir(folder)
    try:
        shutting.shut(os.getcwd(), seconds)  # noqa: PTH109
        found = Score(value=min(1.0, max(0.0, _SCORES[answer.checker](answer.said, answer.right))))
    except (UsageError, shutting.CannotShut) as error:
        found = Score(why=str(error))
    except BaseException:  # noqa: BLE001 - a scorer that chokes on an answer found it not right
        found = Score(value=0.0)
    os.write(out, msgspec.json.encode(found))
    os._exit(0)


def main() -> None:
    """Grade what standard input holds."""
    work = msgspec.json.decode(sys.stdin.buffer.read(), type=Work)
    if any(answer.checker == reasoning_gym.CHECKER for answer in work.answers):
        reasoning_gym.library()
    found = [_score(answer, number, work.seconds) for number, answer in enumerate(work.answers)]
    sys.stdout.buffer.write(msgspec.json.encode(found))


if __name__ == "__main__":
    main()
