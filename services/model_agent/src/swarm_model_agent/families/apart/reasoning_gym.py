"""Some hundred kinds of puzzle, made from seeds and scored by the library that makes them, ``reasoning-gym``.

Stojanovski et al., *Reasoning Gym*, 2025, arXiv 2505.24760; Apache-2.0.

A question belongs to the split that its own words name by their hash, so no question is in two of them, however many
are drawn.
"""

from __future__ import annotations

import hashlib
from random import Random
from types import ModuleType
from typing import Any

import msgspec

from swarm_common.errors import UsageError
from swarm_common.events.agent import Item
from swarm_model_agent.families.core import SPLITS

NAME = CHECKER = "reasoning-gym"
#: Puzzles that are made for one that is new and of the split, before there is said to be no other.
_PATIENCE = 100


class Puzzle(msgspec.Struct, frozen=True, kw_only=True):
    """From what the library makes a puzzle again; the ``answer`` of an :class:`Item` as JSON."""

    dataset: str
    seed: int
    answer: str | None = None
    """One right answer; ``None`` where the library has none to show, and only judges."""


def library() -> ModuleType:
    """Return the library; raises :class:`UsageError` where it is not installed."""
    try:
        import reasoning_gym  # noqa: PLC0415 - an extra, and slow
    except ImportError:
        raise UsageError(
            f"family {NAME}/DATASET needs the library reasoning-gym, which is not installed here: "
            "pip install 'swarm-model-agent[reasoning-gym]'",
            field="params.family",
            given=NAME,
        ) from None
    module: ModuleType = reasoning_gym
    return module


def draw(family: str, split: str, count: int, seed: int) -> tuple[Item, ...]:
    """Return different puzzles of the dataset that the family's name ends with."""
    from swarm_model_agent.families.apart import too_few  # noqa: PLC0415 - it imports this module

    dataset = family.partition("/")[2]
    known(dataset)
    random = Random(f"{seed}/{family}/{split}")  # noqa: S311 - seeded, nothing secret
    found: dict[str, Item] = {}
    for _ in range(count):
        for _ in range(_PATIENCE):
            one = random.getrandbits(31)
            entry = made(dataset, one)[1]
            question = entry["question"]
            if _split(question) == split and question not in found:
                found[question] = _item(family, dataset, one, entry)
                break
        else:
            raise too_few(family, split, count, len(found))
    return tuple(found.values())


def known(dataset: str) -> None:
    """Raise :class:`UsageError` naming the datasets there are where there is none of that name."""
    library()
    from reasoning_gym.factory import DATASETS  # noqa: PLC0415

    if dataset not in DATASETS:
        names = ", ".join(sorted(DATASETS))
        raise UsageError(
            f"reasoning-gym has no dataset {dataset!r}; there are {names}",
            field="params.family",
            given=f"{NAME}/{dataset}",
            allowed=names,
        )


def made(dataset: str, seed: int) -> tuple[Any, dict[str, Any]]:
    """Return the dataset of one puzzle that a seed makes, and the puzzle."""
    whole = library().create_dataset(dataset, size=1, seed=seed)
    return whole, whole[0]


def score(said: str, right: str) -> float:
    """Return what the library's own scorer makes of an answer, 0 to 1. Some evaluate it: only where that is shut in.

    Raises:
        UsageError: The library that is installed makes another puzzle of that seed than the one that was asked.
    """
    puzzle = msgspec.json.decode(right, type=Puzzle)
    whole, entry = made(puzzle.dataset, puzzle.seed)
    if entry["answer"] != puzzle.answer:
        raise UsageError(
            f"this reasoning-gym makes another puzzle of seed {puzzle.seed} in {puzzle.dataset} than the one that was "
            "asked: install the version that posed it",
            field="checker",
        )
    return float(whole.score_answer(said, entry))


def _split(question: str) -> str:
    return SPLITS[int.from_bytes(hashlib.sha256(question.encode()).digest()[:8]) % len(SPLITS)]


def _item(family: str, dataset: str, seed: int, entry: dict[str, Any]) -> Item:
    puzzle = Puzzle(dataset=dataset, seed=seed, answer=entry["answer"])
    return Item(
        id=f"{family}/{seed}",
        question=entry["question"],
        answer=msgspec.json.encode(puzzle).decode(),
        checker=CHECKER,
    )
