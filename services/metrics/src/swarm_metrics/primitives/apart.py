"""Measurements in a process of their own: ``python -m swarm_metrics.primitives.apart``.

It is started by :func:`measured_apart` alone. Each has a fresh interpreter, as with pyperf: what the service or an
earlier case has loaded, cached or left to be collected is not there, and the service's loop is not held. The order is a
MessagePack object on standard input, the answer one on standard output; a case that prints does so on standard error.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import msgspec

from swarm_common.errors import SwarmError, TaskFailed, UsageError
from swarm_metrics.primitives.case import Case, Fact
from swarm_metrics.primitives.harness import Measurement, Settings, measure, name_of

_SAID = 1500


class Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be measured: the parameters of a task of kind ``measure``."""

    scenario: str
    variant: str = ""
    size: int
    settings: Settings = Settings()


class Exercise(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Work that is done and checked, and not timed: the parameters of a task of kind ``exercise``."""

    cases: tuple[tuple[str, str, int, int], ...]
    """Scenario, variant, size, and how many loops."""


class _Job(msgspec.Struct, frozen=True):
    order: Order | None
    exercise: Exercise | None
    seed: int


class Measured(msgspec.Struct, frozen=True, kw_only=True, tag="measured"):
    """It was measured."""

    operation: str
    growth: str
    measurement: Measurement


class Exercised(msgspec.Struct, frozen=True, kw_only=True, tag="exercised"):
    """It was done, and is right."""

    checked: dict[str, dict[str, Fact]]
    """By scenario, variant and size: what came of it."""


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag="refused"):
    """There is no such thing to measure."""

    message: str
    field: str
    given: str
    allowed: str


class Wrong(msgspec.Struct, frozen=True, kw_only=True, tag="wrong"):
    """The work was wrong, or could not be done."""

    message: str
    retryable: bool


def case_of(scenario: str, variant: str, size: int) -> Case:
    """Return a case; raises :class:`UsageError` where there is none, or not of that size."""
    from swarm_metrics.primitives.cases import cases_of  # noqa: PLC0415 - the service starts without any case

    cases = {case.variant: case for case in cases_of(scenario)}
    if variant not in cases:
        allowed = ", ".join(repr(name) for name in cases)
        raise UsageError(
            f"scenario {scenario} has no variant {variant!r}; it has {allowed}",
            field="params.variant",
            given=variant,
            allowed=allowed,
        )
    if size < 1:
        raise UsageError(
            f"params.size is {size}; allowed is 1 or more",
            field="params.size",
            given=str(size),
            allowed="1 or more",
        )
    return cases[variant]


def measured(order: Order, seed: int) -> Measured:
    """Measure here and now; raises :class:`UsageError` for what there is not, :class:`TaskFailed` for wrong work."""
    case = case_of(order.scenario, order.variant, order.size)
    measurement = measure(case, order.size, seed, order.settings)
    return Measured(operation=case.operation, growth=case.growth, measurement=measurement)


def exercised(order: Exercise, seed: int) -> Exercised:
    """Do the work of cases here and now, one after the other, and check it; raises as :func:`measured` does."""
    checked = {}
    for scenario, variant, size, loops in order.cases:
        prepared = case_of(scenario, variant, size).prepare(size, seed)
        try:
            prepared.run(loops)
            checked[name_of(scenario, variant, size)] = prepared.check()
        finally:
            prepared.teardown()
    return Exercised(checked=checked)


async def measured_apart(order: Order, seed: int) -> Measured:
    """Measure in a fresh process, which ends with the measurement or where nobody waits for it any more.

    Raises:
        UsageError: There is no such scenario, variant or size.
        TaskFailed: The work was wrong, or the process ended without an answer.
    """
    found = await _asked(_Job(order, None, seed))
    assert isinstance(found, Measured)  # noqa: S101 - what such a job is answered with
    return found


async def exercised_apart(order: Exercise, seed: int) -> Exercised:
    """Do work in a fresh process; raises as :func:`measured_apart` does."""
    found = await _asked(_Job(None, order, seed))
    assert isinstance(found, Exercised)  # noqa: S101
    return found


async def _asked(job: _Job) -> Measured | Exercised:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        __name__,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    try:
        said, errors = await process.communicate(msgspec.msgpack.encode(job))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        told = errors.decode(errors="replace").strip()[-_SAID:]
        raise TaskFailed(
            f"the process that measures ended with status {process.returncode}: {told}", retryable=True
        )
    found = msgspec.msgpack.decode(said, type=Measured | Exercised | Refused | Wrong)
    if isinstance(found, Refused):
        raise UsageError(found.message, field=found.field, given=found.given, allowed=found.allowed)
    if isinstance(found, Wrong):
        raise TaskFailed(found.message, retryable=found.retryable)
    return found


def answer(job: bytes) -> bytes:
    """Return the answer to a job, whatever becomes of it but for a fault of the program."""
    asked = msgspec.msgpack.decode(job, type=_Job)
    found: Any
    try:
        if asked.order is not None:
            found = measured(asked.order, asked.seed)
        elif asked.exercise is not None:
            found = exercised(asked.exercise, asked.seed)
        else:
            found = Refused(message="the job asks for nothing", field="", given="", allowed="")
    except UsageError as error:
        found = Refused(message=str(error), field=error.field, given=error.given, allowed=error.allowed)
    except SwarmError as error:
        found = Wrong(message=str(error), retryable=isinstance(error, TaskFailed) and error.retryable)
    return msgspec.msgpack.encode(found)


def main() -> None:
    """Read the job, measure, answer."""
    # The service may die at any time; nobody reads the answer then, and the process ends all the same.
    out = os.dup(1)
    os.dup2(2, 1)
    said = answer(sys.stdin.buffer.read())
    with os.fdopen(out, "wb") as stream:
        stream.write(said)


if __name__ == "__main__":
    main()
