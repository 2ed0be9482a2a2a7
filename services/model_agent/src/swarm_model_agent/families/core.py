"""What a task family is: a pool of questions whose right answers are known, in three parts that share none.

A family's pool is the same on every machine and in every release of it: it is made once from a seed of the family's
own. A run draws from one part by a seed of the run's. Prompts are tuned on ``train``, chosen on ``validation`` and
reported on ``test``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import msgspec

from swarm_common.errors import UsageError
from swarm_common.events.agent import Item

SPLITS = ("train", "validation", "test")
#: Questions in each part, at least.
LEAST = 60


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of question."""

    name: str
    description: str
    chance: float
    """The score of one who guesses among the answers allowed."""
    guide: str
    """How to answer, in the words for a small model; the same for every question."""
    make: Callable[[Random], Item]
    """Draw one question, its ``id`` left empty; questions may repeat, and are kept once."""
    shots: int = 0
    """Examples that stand before a question or a piece of one."""
    shots_of: str = ""
    """The family whose examples they are, where a piece is a question of another family; empty: its own."""
    stage_shots: Callable[[Item], tuple[tuple[str, str], ...]] | None = None
    """Of a family in stages: what is asked and rightly said in each stage of a question, for its examples."""
    control: str = ""
    """``floor`` or ``ceiling``: what a model of this size cannot do, or cannot fail at; empty for the others."""


def pool(family: Family) -> dict[str, tuple[Item, ...]]:
    """Return all questions of a family by split, each at least :data:`LEAST`; none is in two splits."""
    random = Random(f"family/{family.name}")  # noqa: S311 - seeded, nothing secret
    found: dict[tuple[str, tuple[str, ...]], Item] = {}
    need = LEAST * len(SPLITS)
    for _ in range(need * 20):
        item = family.make(random)
        found.setdefault((item.question, item.parts), item)
        if len(found) == need:
            break
    else:
        raise UsageError(f"family {family.name} has {len(found)} different questions; it needs {need}")
    items = list(found.values())
    return {
        split: tuple(
            msgspec.structs.replace(item, id=f"{family.name}/{split}/{number}")
            for number, item in enumerate(items[place * LEAST : (place + 1) * LEAST])
        )
        for place, split in enumerate(SPLITS)
    }


def draw(family: Family, split: str, count: int, seed: int) -> tuple[Item, ...]:
    """Return ``count`` different questions of a split, drawn by ``seed``.

    Raises:
        UsageError: There is no such split, or it has fewer.
    """
    if split not in SPLITS:
        raise UsageError(
            f"params.split is {split!r}; there are {', '.join(SPLITS)}", field="params.split", given=split,
            allowed=", ".join(SPLITS),
        )  # fmt: skip
    items = pool(family)[split]
    if not 1 <= count <= len(items):
        raise UsageError(
            f"params.items is {count}; family {family.name} has {len(items)} in each split",
            field="params.items",
            given=str(count),
            allowed=f"1 to {len(items)}",
        )
    return tuple(Random(f"{seed}/{family.name}/{split}").sample(items, count))  # noqa: S311


def examples(family: Family, source: Family) -> tuple[Item, ...]:
    """Return ``train`` questions of ``source``: as many as ``family`` wants, different answers first."""
    train = pool(source)["train"]
    first: dict[str, Item] = {}
    for item in train:
        first.setdefault(item.answer, item)
    rest = [item for item in train if item is not first[item.answer]]
    return tuple([*first.values(), *rest][: family.shots])


def stage_examples(family: Family, stage: int) -> tuple[tuple[str, str], ...]:
    """Return what stands before a stage of a question, asked and said; empty where the family shows none."""
    if family.stage_shots is None:
        return ()
    return tuple(family.stage_shots(item)[stage] for item in examples(family, family))


def pick(random: Random, options: Sequence[str]) -> str:
    """Return one of several texts."""
    return options[int(random.random() * len(options))]


def some(random: Random, options: Sequence[str], count: int) -> list[str]:
    """Return ``count`` different ones of several texts, in a drawn order."""
    return random.sample(list(options), count)
