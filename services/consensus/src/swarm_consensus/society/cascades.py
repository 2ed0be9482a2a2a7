"""Information cascades: rational agents that follow one another, right or wrong.

The model is that of Bikhchandani, Hirshleifer and Welch (1992, section II A). The world is good or bad, as a fair coin
fell. Agents choose one after another, each once: adopt or reject. Each has a private signal that is right with
``accuracy`` and sees what those before it chose, not what they knew. It chooses what is likelier by Bayes' rule, and
tosses a coin where both are as likely. Once what is seen weighs more than any one signal, the next agent chooses the
same whatever its own signal says, and tells those behind it nothing: a cascade, which never ends.

What is measured is conformity: the share of agents that chose what most chose. The null model is the same agents with
the same accuracy who see their own signals only. What a cascade makes alike is not what is right: how many cascades
are wrong stands beside, with what theory expects.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from swarm_common.resampling import Floats
from swarm_consensus.scoring import settled

MEASURE = "conformity: share of agents that chose what most chose"
NULL_MODEL = "agents see their own signals only"
#: Log-likelihood ratios that differ by less are equal: a tie of two signals is one however it is added up.
_SAME = 1e-9


class Choices(msgspec.Struct, frozen=True):
    """What agents chose, one row a repetition."""

    right: NDArray[np.bool_]
    """``(repetitions, agents)``: whether the choice was the right one."""
    cascade: NDArray[np.int8]
    """``(repetitions,)``: 1 a right cascade when the last agent had chosen, -1 a wrong one, 0 none."""


def choose(agents: int, repetitions: int, *, accuracy: float, social: bool, stream: list[int]) -> Choices:
    """Let agents choose one after another; not ``social``: each by its own signal. The same arguments give the same.

    Everything is counted relative to the truth, which the agents do not know: by symmetry their prior is even.
    """
    rng = np.random.default_rng(stream)
    signals = rng.random((repetitions, agents)) < accuracy
    if not social:
        return Choices(signals, np.zeros(repetitions, dtype=np.int8))
    coins = rng.random((repetitions, agents)) < 0.5
    weight = math.log(accuracy / (1 - accuracy))
    seen = np.zeros(repetitions)  # log odds of the truth, from what those before chose
    right = np.empty((repetitions, agents), dtype=bool)
    for agent in range(agents):
        # What the agent would choose with either signal: nan-free, vectorised Bayes.
        if_good, if_bad = _adopts(seen + weight), _adopts(seen - weight)
        chance = np.where(signals[:, agent], if_good, if_bad)
        right[:, agent] = np.where(chance == 0.5, coins[:, agent], chance > 0.5)
        # What that choice tells those behind: how likely it was in either state of the world.
        true = accuracy * if_good + (1 - accuracy) * if_bad
        false = (1 - accuracy) * if_good + accuracy * if_bad
        likely = np.where(right[:, agent], true, 1 - true)
        unlikely = np.where(right[:, agent], false, 1 - false)
        seen = seen + np.log(likely) - np.log(unlikely)
    return Choices(right, np.sign(np.where(np.abs(seen) > weight + _SAME, seen, 0.0)).astype(np.int8))


def conformity(choices: Choices) -> Floats:
    """Return the share of agents that chose what most chose, ``(repetitions,)``: one half at least."""
    share = choices.right.mean(axis=1)
    return np.asarray(np.maximum(share, 1 - share))


def shares(choices: Choices, accuracy: float) -> dict[str, float]:
    """Return how many repetitions ended in a right, a wrong and no cascade, and what theory expects of each."""
    right, wrong, none = expected(choices.right.shape[1], accuracy)
    return {
        "right_cascade": float((choices.cascade > 0).mean()),
        "right_cascade_expected": right,
        "wrong_cascade": float((choices.cascade < 0).mean()),
        "wrong_cascade_expected": wrong,
        "no_cascade": float((choices.cascade == 0).mean()),
        "no_cascade_expected": none,
    }


def expected(agents: int, accuracy: float) -> tuple[float, float, float]:
    """Return the chances of a right, a wrong and no cascade after ``agents`` choices (section II A).

    Agents decide in pairs: two that choose the same start a cascade, two that differ leave all as it was. Of an odd
    number the last one alone can start none.
    """
    p = accuracy
    pair = p - p * p  # a pair differs
    none = pair ** (agents // 2)
    right = p * (p + 1) / 2 * (1 - none) / (1 - pair)
    return settled(right), settled(1 - none - right), settled(none)


def _adopts(odds: Floats) -> Floats:
    """Return the chance of the right choice with these log odds: 1, 0, or one half where they are even."""
    return np.where(np.abs(odds) < _SAME, 0.5, odds > 0)
