"""The linearizability checker: a long clean history, and those on which searches are known to drown.

Each comes twice: as it was played, which is linearizable, and with one late read that returns an old value.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import msgspec
from kit.cli import alone
from kit.measure import Bench, Row

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.histories import played
from swarm_histories import CAS_REGISTER, KV, REGISTER, Model, Operation, check


def _random(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - seeded, nothing secret


History = tuple[Model, list[Operation]]


def _stale(history: History) -> History:
    """Let a late read return what was overwritten long before (of a text: what was there before the last append)."""
    model, operations = history
    reads = [
        at
        for at, one in enumerate(operations)
        if model.operations[one.f] == "read" and one.returned is not None and one.value is not None
    ]
    late = reads[-len(reads) // 20]
    old = operations[reads[len(reads) // 3]].value
    changed = list(operations)
    changed[late] = msgspec.structs.replace(changed[late], value=old)
    return model, changed


def _wrong(processes: int, changed: int) -> History:
    """Let that many late reads return any of the few values there are."""
    random = _random(changed)
    operations = played(_random(1), CAS_REGISTER, 1000, processes=processes, values=5)
    reads = [at for at, one in enumerate(operations) if one.f == "read"]
    for at in random.sample(reads[-len(reads) // 3 :], changed):
        operations[at] = msgspec.structs.replace(operations[at], value=random.randrange(5))
    return CAS_REGISTER, operations


def _clean(count: int) -> History:
    return REGISTER, played(_random(1), REGISTER, count, processes=5)


def _few_values(count: int, processes: int) -> History:
    return CAS_REGISTER, played(_random(2), CAS_REGISTER, count, processes=processes, values=5)


def _distinct(count: int, processes: int, unsure: float) -> History:
    weights = {"write": 3.0, "read": 1.0}
    return REGISTER, played(_random(3), REGISTER, count, processes=processes, unsure=unsure, weights=weights)


def _crashes(count: int, values: int | None) -> History:
    return CAS_REGISTER, played(_random(4), CAS_REGISTER, count, processes=10, values=values, unsure=0.1)


def _appends(count: int, processes: int) -> History:
    weights = {"append": 3.0, "get": 1.0}
    return KV, played(_random(5), KV, count, processes=processes, keys=10, weights=weights)


def _all_at_once(writers: int) -> History:
    """Write distinct values at the same time, unsure ones among them; then read two, and the first again."""
    operations = [
        Operation(
            process=at, f="write", value=at, called=at + 1, returned=None if at % 3 == 2 else 10_000 + at
        )
        for at in range(writers)
    ]
    for at, value in enumerate((1, 3, 1)):
        operations.append(
            Operation(process=writers, f="read", value=value, called=1000 + 2 * at, returned=1001 + 2 * at)
        )
    return REGISTER, operations


_STEPS = 200_000

CASES: tuple[tuple[str, str, Callable[[], History]], ...] = (
    (
        "crowd",
        "2,000 operations of 50 processes on one register, 5 values, with cas",
        lambda: _few_values(2000, 50),
    ),
    (
        "distinct",
        "3,000 operations of 30 processes, distinct values, one in ten unsure",
        lambda: _distinct(3000, 30, 0.1),
    ),
    (
        "crashes",
        "3,000 operations of 10 processes, cas, 5 values, one in ten unsure",
        lambda: _crashes(3000, 5),
    ),
    ("crashes-distinct", "the same with distinct values", lambda: _crashes(3000, None)),
    (
        "appends",
        "5,000 operations of 20 processes on 10 texts, three of four append",
        lambda: _appends(5000, 20),
    ),
)


def _row(
    name: str, what: str, history: History, limit_s: float | None, repeats: int, expected: bool | None
) -> Row:
    model, operations = history
    samples = []
    for _ in range(repeats):
        began = time.perf_counter()
        verdict = check(operations, model, steps=_STEPS)
        samples.append(time.perf_counter() - began)
        if expected is not None and verdict.linearizable is not expected:
            raise AssertionError(f"{name}: {verdict.outcome}")
    found = verdict.refutation
    what += f": refuted by {len(found.operations)} of them" if found else f": {verdict.outcome}"
    return Row(
        name=name, what=what, unit="s", samples=tuple(samples), target=f"< {limit_s:g}" if limit_s else ""
    )


def run(quick: bool) -> tuple[list[Row], list[str]]:
    repeats = 1 if quick else 3
    rows = [
        _row("clean", "10,000 operations of 5 processes on one register", _clean(10_000), 5, repeats, True)
    ]
    for name, what, make in CASES:
        history = make()
        rows.append(_row(name, what, history, 10, repeats, True))
        rows.append(
            _row(f"{name}, stale", "a late read returns an old value", _stale(history), 10, repeats, None)
        )
    rows.append(
        _row(
            "all-at-once",
            "50 writes of distinct values under way, a read that goes back",
            _all_at_once(50),
            10,
            repeats,
            False,
        )
    )
    what = "1,000 operations of 5 processes, 5 values, 30 reads changed"
    rows.append(_row("few-values, wrong", what, _wrong(5, 30), 10, repeats, False))
    what = "the same of 20 processes, 60 reads changed, 200,000 configurations"
    rows.append(_row("crowd, wrong", what, _wrong(20, 60), None, repeats, None))
    return rows, ["a refuted history is also shrunk, which is most of its time"]


BENCH = Bench("histories", "linearizability of recorded histories", run)

if __name__ == "__main__":
    alone(BENCH)
