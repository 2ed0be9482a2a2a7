"""Division of labour out of local rules: response thresholds that follow what an agent does.

The model is that of Theraulaz, Bonabeau and Deneubourg (1998). There are kinds of work, each with a stimulus
``s`` that all feel; it grows by ``DEMAND`` a step and falls with everybody who is at it. An idle agent meets one kind
of work a step, drawn at random, and takes it up with probability ``s² / (s² + θ²)``, where ``θ`` is its own threshold
for that work. Who is at work stops with probability ``STOP`` a step. While an agent does a work its threshold for it
falls by ``LEARN``; for what it does not do it rises by ``FORGET``. All agents begin alike.

What is measured is the division of labour of Gorelick, Bertram, Killeen and Fewell (2004): the mutual information of
who works and what is worked at, over the entropy of what is worked at. 1: each agent does one kind alone; 0: all
do the same mix. It is taken over the last ``WINDOW`` steps.

The null model is the same world with thresholds that stay: agents differ by chance alone, in as many steps, under the
same demand. Chance alone gives more than 0, as nobody does exactly the mean mix; that is why it stands beside.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from swarm_common.resampling import Floats
from swarm_consensus.scoring import settled_all

DEMAND, WORK, STOP = 1.0, 3.0, 0.2  # δ, α and p in the paper's letters
LEARN, FORGET = 10.0, 1.0  # ξ and φ
FIRST, LEAST, MOST = 500.0, 1.0, 1000.0  # θ at first, and its bounds
STEPS, WINDOW = 3000, 1000
#: Agents of all repetitions that are simulated at once: what a core's cache holds. Part of what is drawn.
_TOGETHER = 8192

MEASURE = "division of labour: mutual information of agent and work over the entropy of work"
NULL_MODEL = "thresholds stay as they were at first"


def division(agents: int, jobs: int, repetitions: int, *, learning: float, stream: list[int]) -> Floats:
    """Return the division of labour of each repetition, ``(repetitions,)``.

    ``learning`` multiplies how fast thresholds fall and rise; 0 is the null model. The same arguments give the same.
    """
    rng = np.random.default_rng(stream)
    height = max(1, _TOGETHER // agents)
    parts = [
        _done(min(height, repetitions - start), agents, jobs, learning, rng)
        for start in range(0, repetitions, height)
    ]
    return settled_all(normalised_information(np.concatenate(parts)))


def normalised_information(done: NDArray[np.int64]) -> Floats:
    """Return I(agent; work) / H(work) of each matrix in ``done``, ``(matrices, agents, jobs)``: steps spent.

    0 where all work was of one kind, or none was done: there was nothing to divide.
    """
    shares = done / np.maximum(done.sum(axis=(1, 2), keepdims=True), 1)
    of_agent, of_work = shares.sum(axis=2), shares.sum(axis=1)
    entropy = _entropy(of_work)
    information = _entropy(of_agent) + entropy - _entropy(shares.reshape(len(shares), -1))
    found = np.divide(information, entropy, out=np.zeros_like(entropy), where=entropy > 0)
    return np.clip(found, 0.0, 1.0)  # rounding goes a little past the ends


def _entropy(shares: Floats) -> Floats:
    logs = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    return np.asarray(-(shares * logs).sum(axis=1))


def _done(
    repetitions: int, agents: int, jobs: int, learning: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the steps each agent spent at each work in the window, ``(repetitions, agents, jobs)``."""
    shape = (repetitions, agents)
    thresholds = np.full((*shape, jobs), FIRST)
    stimuli = np.zeros((repetitions, jobs))
    at = np.full(shape, -1)  # which work; -1: idle
    done = np.zeros((*shape, jobs), dtype=np.int64)
    works, worlds = np.arange(jobs), np.arange(repetitions)[:, np.newaxis]
    change = np.empty_like(thresholds)
    for step in range(STEPS):
        idle = at < 0
        met = rng.integers(0, jobs, shape)
        felt = stimuli[worlds, met] ** 2
        own = np.take_along_axis(thresholds, met[..., np.newaxis], axis=2)[..., 0]
        chance = rng.random(shape)
        taken = idle & (chance < felt / (felt + own * own))
        at[~idle & (chance < STOP)] = -1
        at[taken] = met[taken]
        working = at[..., np.newaxis] == works
        if learning:
            np.multiply(working, -learning * (LEARN + FORGET), out=change)
            change += learning * FORGET
            thresholds += change
            np.clip(thresholds, LEAST, MOST, out=thresholds)
        stimuli += DEMAND - WORK / agents * working.sum(axis=1)
        np.maximum(stimuli, 0.0, out=stimuli)
        if step >= STEPS - WINDOW:
            done += working
    return done
