"""Made-up predictions that tests of combinations share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarm_consensus.combining import Combined, Member, combine

CLASSES = 3
Case = tuple[NDArray[Any], list[Member]]


def probabilities(rng: np.random.Generator, truth: NDArray[Any], skill: float) -> NDArray[np.float64]:
    """Return made-up predictions: noise, with more on the right class the greater the skill."""
    found = rng.dirichlet(np.ones(CLASSES), len(truth))
    found[np.arange(len(truth)), truth] += skill * rng.random(len(truth))
    return found / found.sum(axis=1, keepdims=True)


def classification(seed: int = 0, skills: tuple[float, ...] = (2.0, 1.0, 0.2)) -> Case:
    rng = np.random.default_rng(seed)
    y_train, y_test = rng.integers(0, CLASSES, 200), rng.integers(0, CLASSES, 50)
    return y_train, [
        Member(f"m{number}", probabilities(rng, y_test, skill), probabilities(rng, y_train, skill))
        for number, skill in enumerate(skills)
    ]


def regression(seed: int = 0, noises: tuple[float, ...] = (0.1, 1.0, 3.0)) -> Case:
    rng = np.random.default_rng(seed)
    y_train, y_test = rng.normal(100, 2, 200), rng.normal(100, 2, 50)
    return y_train, [
        Member(f"m{number}", y_test + rng.normal(0, noise, 50), y_train + rng.normal(0, noise, 200))
        for number, noise in enumerate(noises)
    ]


def combined(case: Case, strategy: str = "weighted", seed: int = 42, **more: Any) -> Combined:
    return combine(case[1], case[0], strategy, seed=seed, name="combine", **more)


def without_folds(members: list[Member]) -> list[Member]:
    return [Member(member.name, member.held_out, None) for member in members]
