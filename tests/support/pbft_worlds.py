"""Worlds that are hard on PBFT: short time-outs, so that views change often, and liars where they do most harm."""

from __future__ import annotations

from random import Random

from swarm_consensus.protocols.core import Mechanism
from swarm_consensus.simulator.plan import (
    Action,
    Clock,
    Compact,
    Crash,
    Cut,
    Heal,
    Network,
    Plan,
    Restart,
    Submit,
)

CHAOS_MS = 1_200


def hard(
    mechanism: Mechanism,
    n: int,
    seed: int,
    *,
    behaviours: tuple[str, ...] | None = None,
    liars: int | None = None,
    values: int = 5,
) -> Plan:
    """Return a world of loss, partitions, crashes and clocks, each drawn or not, with ``liars`` (f) that lie.

    Liars are primaries of the first views more often than not. All values but the last are asked for in the chaos.
    """
    random = Random(f"{seed}/{n}")  # noqa: S311 - seeded, nothing secret
    known = behaviours or ("silence", *sorted(mechanism.lies))
    size = mechanism.liars(n) if liars is None else liars
    first = random.randrange(3)
    preferred = [*range(first, n), *range(first)] if random.random() < 0.7 else random.sample(range(n), n)
    same = random.choice(known) if random.random() < 0.5 else None
    lying = {agent: same or random.choice(known) for agent in sorted(preferred[:size])}
    longest = random.choice((5, 5, 20, 80))
    network = Network(
        delay_ms=(1, longest),
        drop=random.choice((0.0, 0.05, 0.2, 0.4)),
        duplicate=random.choice((0.0, 0.0, 0.1)),
        slow=random.choice((0.0, 0.0, 0.2)),
        slow_ms=(longest, 200),
        settled_ms=(1, 5),
    )
    times = [20, *(random.randrange(CHAOS_MS) for _ in range(values - 2)), CHAOS_MS + 100]
    actions: list[Action] = [
        Submit(at_ms, f"value {index}", random.randrange(n)) for index, at_ms in enumerate(times)
    ]
    lost = _crashes(random, n, mechanism.crashes(n) - size, lying, actions)
    for _ in range(random.choice((0, 1, 3))):
        actions += _partition(random, n)
    if random.random() < 0.3:
        actions += [
            Clock(random.randrange(CHAOS_MS), agent, random.choice((0.3, 2.0, 5.0))) for agent in (0, n - 1)
        ]
    actions += [
        Compact(random.randrange(CHAOS_MS), random.randrange(n)) for _ in range(random.choice((0, 0, 4)))
    ]
    return Plan(
        mechanism=mechanism.name,
        n=n,
        seed=seed,
        actions=tuple(sorted(actions, key=lambda action: action.at_ms)),
        network=network,
        sync_ms=random.choice(((0, 0), (0, 5), (1, 20))),
        chaos_ms=CHAOS_MS,
        core=tuple(agent for agent in range(n) if agent not in lying and agent not in lost),
        liars=lying,
        limit_ms=CHAOS_MS + 30_000,
        options={"timeout": random.choice((4, 8, 15, 30)), "checkpoint": random.choice((1, 2, 3, 100))},
    )


def _crashes(
    random: Random, n: int, spare: int, lying: dict[int, str], actions: list[Action]
) -> frozenset[int]:
    """Let agents crash and come back, and as many as may be spared stay away."""
    for _ in range(random.choice((0, 0, 2, 5))):
        agent, began = random.randrange(n), random.randrange(CHAOS_MS)
        actions += [Crash(began, agent), Restart(began + random.randint(5, 150), agent)]
    if random.random() < 0.2:
        actions += [Crash(CHAOS_MS // 2, agent) for agent in range(n)]
        actions += [Restart(CHAOS_MS // 2 + 30, agent) for agent in range(n)]
    if spare <= 0 or random.random() < 0.5:
        return frozenset()
    lost = random.sample([agent for agent in range(n) if agent not in lying], spare)
    actions += [Crash(CHAOS_MS - 1, agent) for agent in sorted(lost)]
    return frozenset(lost)


def _partition(random: Random, n: int) -> list[Action]:
    began = random.randrange(CHAOS_MS)
    side = tuple(sorted(random.sample(range(n), random.randint(1, n - 1))))
    other = tuple(agent for agent in range(n) if agent not in side)
    cuts: list[Action] = [Cut(began, side, other)]
    if random.random() < 0.7:
        cuts.append(Cut(began, other, side))
    return [*cuts, Heal(began + random.randint(20, 400))]
