"""What a case is: work of a size that grows, prepared before it is timed and checked after.

A scenario of the suite has one case or several (its variants, as two ways to the same result). The harness
(:mod:`~swarm_metrics.primitives.harness`) knows nothing of what a case does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import msgspec

from swarm_common.errors import TaskFailed
from swarm_common.events import Samples

Fact: TypeAlias = int | float | str | bool
Growth = Literal["", "constant", "log n", "linear", "n log n", "quadratic"]
"""How the time of one operation may grow with the size; empty where nothing is promised."""


def nothing() -> None:
    """Do nothing: the end of a case that holds no thread, no file and no process."""


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A case of one size, ready to be timed."""

    run: Callable[[int], int | None]
    """Does the timed work ``loops`` times over, in a loop of its own, and keeps nothing that makes the next dearer.

    It returns ``None`` and is timed from outside; or the nanoseconds (``perf_counter_ns``) of the operations alone,
    where a loop has a part that is not of them, as filling again what they emptied. It then reads the clock once before
    and once after them in each loop, since that is what the harness takes off.
    """
    operations: int = 1
    """How many operations one loop does: a sample is the time of one operation."""
    once: Callable[[], object] | None = None
    """One operation alone, for single shots: the samples of ``run`` are means over many operations where one is short,
    and a mean hides the slowest. ``None``: one operation cannot be done alone."""
    check: Callable[[], dict[str, Fact]]
    """What came of the work: facts that are the same for the same size and seed however many loops there were.

    They are in the digest. Where the work was wrong it raises (see :func:`require`), and the task fails.
    """
    also: Callable[[], tuple[Samples, ...]] | None = None
    """What else was measured, when the timing is done: bytes, or single times that loops have kept (``us``)."""
    teardown: Callable[[], None] = nothing
    """Ends what was prepared: threads, files, processes. It is called once, also where something raised."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A thing that is measured, at sizes."""

    scenario: str
    """Of the suite ``primitives``."""
    variant: str = ""
    """Which of the scenario's cases, where there are several: ``hash``, ``all_pairs``."""
    sizes: tuple[int, ...]
    """Those of the catalogue, ascending."""
    operation: str
    """What one operation is, for people: ``one dequeue from a queue of n``."""
    growth: Growth = ""
    """What the time of one operation is promised to grow like; the fitted exponent is held against it."""
    most_samples: int = 0
    """Where a sample takes long whatever is done, as one that waits: how many are enough. 0: all that are asked for."""
    prepare: Callable[[int, int], Prepared]
    """``prepare(size, seed)`` makes the input from the seed and everything else that is not timed."""


def require(holds: bool, message: str) -> None:
    """Say in a check what must hold; raises :class:`TaskFailed`, which is not tried again, where it does not."""
    if not holds:
        raise TaskFailed(f"the work that was timed was wrong: {message}", retryable=False)
