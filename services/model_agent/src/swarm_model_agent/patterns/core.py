"""What the six patterns share: a small seeded task, and something that learns it one iteration at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from swarm_common.resampling import stream_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Posed(msgspec.Struct, frozen=True, kw_only=True):
    """Which task: how much there is to learn from, how much is asked, and where its random numbers come from."""

    seed: int
    name: str
    """Of the pattern and the repeat; with the seed it gives all random numbers."""
    size: int
    """Multiplies what there is to learn from."""
    questions: int
    """Held out: nothing is learned from them."""
    shuffled: bool = False
    """Take away what there is to be learned: the same numbers, without what relates them."""

    def stream(self, part: str) -> np.random.Generator:
        """Return random numbers for a part of the task, the same each time."""
        return np.random.default_rng(stream_of(self.seed, f"{self.name}/{part}"))


class Learner(Protocol):
    """A task with what learns it. Making one learns nothing yet."""

    @property
    def lessons(self) -> int:
        """How many items one iteration learns from."""

    @property
    def chance(self) -> float:
        """The score of who guesses."""

    @property
    def baseline(self) -> float:
        """The score of something simple that has seen as much."""

    def learn(self) -> None:
        """Do one iteration of training."""

    def scores(self) -> Floats:
        """Return what the answer to each held-out question is worth: 1 is right; ``(questions,)``."""

    def recognise(self, question: int) -> Any:
        """Return what one input is taken for: the first step towards an answer."""

    def infer(self, question: int) -> Any:
        """Return the answer to one held-out question."""

    def measures(self) -> Mapping[str, float]:
        """Return what else tells of the pattern, by name."""


Make = Callable[[Posed], Learner]
