"""Memory as it may develop, made up: series with a known answer, to see how often the detector of leaks is wrong.

Each is memory in bytes after so many equal portions of work, around 200 MiB, with noise of half a percent. ``work`` is
how much work a portion is: 1, or 2 for the run that is to confirm a suspicion.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

MIB = 2.0**20
LEVEL = 200 * MIB
NOISE = 0.005 * LEVEL
LENGTH = 480

Maker = Callable[[random.Random, int, int], list[float]]


def noisy(rng: random.Random, values: list[float]) -> list[float]:
    return [value + abs(rng.gauss(0, NOISE)) for value in values]


def flat(rng: random.Random, length: int, _work: int) -> list[float]:
    return noisy(rng, [LEVEL] * length)


def warm_up(rng: random.Random, length: int, work: int) -> list[float]:
    """Half as much again is loaded in the first fifth, then nothing."""
    end = length / 5 / work
    return noisy(rng, [LEVEL + LEVEL / 2 * min(1.0, index / end) for index in range(length)])


def sawtooth(rng: random.Random, length: int, work: int) -> list[float]:
    """Garbage piles up, a tenth in all, until it is collected every 15 portions (with doubled work, twice as fast)."""
    period = rng.choice((11, 13, 15))
    start = rng.randrange(period)
    share = [((index + start) * work % period) / period for index in range(length)]
    return noisy(rng, [LEVEL * (1 + 0.1 * part) for part in share])


def autocorrelated(rng: random.Random, length: int, _work: int) -> list[float]:
    """AR(1), .9, with a standard deviation of 2 %."""
    innovation, state, found = 0.02 * LEVEL * (1 - 0.9**2) ** 0.5, 0.0, []
    for _ in range(length):
        state = 0.9 * state + rng.gauss(0, innovation)
        found.append(LEVEL + state)
    return found


def step(rng: random.Random, length: int, _work: int) -> list[float]:
    """Once, at some time, something is loaded that stays: 5 to 30 %."""
    at, size = rng.randrange(length), rng.uniform(0.05, 0.3) * LEVEL
    return noisy(rng, [LEVEL + size * (index >= at) for index in range(length)])


def rare_steps(rng: random.Random, length: int, _work: int) -> list[float]:
    """Four times, at some time, something is loaded that stays: 2 to 10 % each, however much work is done."""
    steps = [(rng.randrange(length), rng.uniform(0.02, 0.1) * LEVEL) for _ in range(4)]
    return noisy(rng, [LEVEL + sum(size for at, size in steps if index >= at) for index in range(length)])


def random_walk(rng: random.Random, length: int, work: int) -> list[float]:
    """Up and down by .5 % of the level, once for each piece of work."""
    state, found = LEVEL, []
    for _ in range(length):
        state += sum(rng.gauss(0, NOISE) for _ in range(work))
        found.append(state)
    return found


def leak(rng: random.Random, length: int, work: int, share: float = 0.001) -> list[float]:
    """Each piece of work leaves ``share`` of the level behind."""
    return noisy(rng, [LEVEL * (1 + share * work * index) for index in range(length)])


def sawtooth_leak(rng: random.Random, length: int, work: int) -> list[float]:
    teeth = sawtooth(rng, length, work)
    return [tooth + LEVEL * 0.001 * work * index for index, tooth in enumerate(teeth)]


def autocorrelated_leak(rng: random.Random, length: int, work: int) -> list[float]:
    around = autocorrelated(rng, length, work)
    return [value + LEVEL * 0.001 * work * index for index, value in enumerate(around)]


CLEAN: Mapping[str, Maker] = {
    "flat": flat,
    "warm-up": warm_up,
    "sawtooth": sawtooth,
    "autocorrelated": autocorrelated,
    "one-way step": step,
    "four one-way steps": rare_steps,
    "random walk": random_walk,
}
LEAKING: Mapping[str, Maker] = {
    "leak": leak,
    "leak under a sawtooth": sawtooth_leak,
    "leak, autocorrelated": autocorrelated_leak,
}


def pair(maker: Maker, name: str, length: int = LENGTH) -> tuple[list[float], list[float]]:
    """Return two series that belong together: with single and with doubled work."""
    rng = random.Random(name)  # noqa: S311 - seeded, nothing secret
    return maker(rng, length, 1), maker(rng, length, 2)
