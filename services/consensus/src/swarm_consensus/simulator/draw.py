"""Draws worlds from seeds: what fails, when, how badly, and who lies.

How badly is drawn anew for each seed, and where several faults are on, which ones: worlds in which everything is a
little wrong all the time find less than worlds that differ (Groce et al. 2012, Swarm Testing). What clients ask for and
when depends on the seed alone, so that the cell of a fault and the one without it differ in the fault.

A world begins with chaos. Then it heals: cuts are mended, clocks run right, crashed agents come back but for as many as
the mechanism may do without. What was asked for has to be decided by all that are well, and so has one value more that
is asked for now.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

import msgspec

from swarm_common.errors import UsageError
from swarm_consensus.protocols.core import Mechanism
from swarm_consensus.simulator.plan import (
    LEADER,
    AnyAction,
    Clock,
    Compact,
    Crash,
    Cut,
    Heal,
    Mute,
    Network,
    Plan,
    Query,
    Restart,
    Submit,
)

FAULTS = (
    "loss",
    "delay",
    "duplication",
    "partition",
    "one_way_partition",
    "crash",
    "clock",
    "byzantine",
)
"""What fails in the matrix, one at a time."""
OTHERS = ("none", "all_but_byzantine", "all", "crash_more", "byzantine_more")
"""The base line; all at once, without liars and with; and, outside of every model, one crashed agent or liar more than
it allows."""

_CHAOS_MS = (250, 500)
_LONG = 4
"""How many times as long the chaos is in one world of ten: some bugs need several leaders one after the other."""
_EVERY_LEADER = 0.15
"""The share of worlds with partitions, or crashes, in which they meet one leader after the other."""
_HANGS = 0.1
"""The share of worlds with all faults in which a leader hangs."""
_PATIENCE_MS = 10_000
"""How long a swarm that is well again has to decide everything."""
_BEYOND, _SHORT_MS = ("crash_more", "byzantine_more"), 2_000
"""The same where nobody expects it to."""


class _Draft:
    """A plan while it is drawn."""

    def __init__(self, mechanism: Mechanism, n: int, chaos_ms: int, random: Random) -> None:
        self.mechanism, self.n, self.chaos_ms, self.random = mechanism, n, chaos_ms, random
        self.members = tuple(range(n))
        self.actions: list[AnyAction] = []
        self.network = Network(settled_ms=(1, 5))
        self.sync_ms = (0, 0)
        self.lost: frozenset[int] = frozenset()
        self.liars: dict[int, str] = {}

    def change(self, **network: object) -> None:
        """Change the network while there is chaos."""
        self.network = msgspec.structs.replace(self.network, **network)

    def spell(self) -> tuple[int, int]:
        """Return the beginning and the end of something that lasts, within the chaos."""
        began = self.random.randrange(self.chaos_ms)
        return began, min(self.chaos_ms, began + self.random.randint(20, min(self.chaos_ms, _CHAOS_MS[1])))

    def spells(self) -> range:
        """Return how often something happens: more often in a longer chaos."""
        return range(self.random.randint(1, 3 * max(1, self.chaos_ms // _CHAOS_MS[1])))

    def terms(self) -> list[tuple[int, int]]:
        """Return times, one after the other, in which something happens to whoever leads then."""
        step = self.random.randint(40, 250)
        down = self.random.randint(20, 2 * step)
        return [(at, min(self.chaos_ms, at + down)) for at in range(step, self.chaos_ms, step)]

    def some(self, least: int, most: int) -> tuple[int, ...]:
        """Return between ``least`` and ``most`` agents, in ascending order."""
        return tuple(sorted(self.random.sample(self.members, self.random.randint(least, most))))


def _loss(draft: _Draft) -> None:
    draft.change(drop=_share(draft.random, 0.02, 0.5))


def _delay(draft: _Draft) -> None:
    random = draft.random
    longest = random.choice((20, 60, 150))
    draft.change(
        delay_ms=(1, longest),
        slow=_share(random, 0.02, 0.4),
        slow_ms=(longest, longest + random.randint(50, 400)),
    )


def _duplication(draft: _Draft) -> None:
    # A copy may come when an election or a view later has been decided: that is what makes it a danger.
    draft.change(duplicate=_share(draft.random, 0.05, 0.6), slow_ms=(1, draft.random.choice((10, 100, 500))))


def _partition(draft: _Draft) -> None:
    random = draft.random
    if random.random() < _EVERY_LEADER:
        for began, ended in draft.terms():
            draft.actions += [
                Cut(began, (LEADER,), draft.members),
                Cut(began, draft.members, (LEADER,)),
            ]
            if random.random() < 0.5:
                draft.actions.append(Heal(ended))
        return
    for _ in draft.spells():
        began, ended = draft.spell()
        shape = random.choice(("leader", "one", "halves", "random", "bridge"))
        if shape == "leader":
            rest = draft.members
            draft.actions += [Cut(began, (LEADER,), rest), Cut(began, rest, (LEADER,))]
        elif shape == "bridge" and draft.n > 2:
            # Two sides that do not hear each other, and one agent that hears both.
            sides = draft.some(draft.n, draft.n)
            bridge = random.choice(sides)
            rest = tuple(agent for agent in sides if agent != bridge)
            side = tuple(sorted(random.sample(rest, len(rest) // 2)))
            other = tuple(agent for agent in rest if agent not in side)
            draft.actions += [Cut(began, side, other), Cut(began, other, side)]
        else:
            size = {"one": 1, "halves": max(1, draft.n // 2)}.get(shape) or random.randint(1, draft.n - 1)
            side = draft.some(size, size)
            other = tuple(agent for agent in draft.members if agent not in side)
            draft.actions += [Cut(began, side, other), Cut(began, other, side)]
        draft.actions.append(Heal(ended))


def _one_way_partition(draft: _Draft) -> None:
    random = draft.random
    if random.random() < _EVERY_LEADER:
        draft.actions.append(Mute(random.randrange(200), random.randint(1, 3)))
        draft.actions += [Heal(ended) for _, ended in draft.terms()]
        return
    for _ in draft.spells():
        began, ended = draft.spell()
        shape = random.choice(("leader mute", "leader deaf", "random"))
        if shape == "random":
            side = draft.some(1, draft.n - 1)
            other = tuple(agent for agent in draft.members if agent not in side)
            draft.actions.append(Cut(began, side, other))
        elif shape == "leader mute":
            draft.actions.append(Cut(began, (LEADER,), draft.members))
        else:
            draft.actions.append(Cut(began, draft.members, (LEADER,)))
        draft.actions.append(Heal(ended))


def _crash(draft: _Draft) -> None:
    """Let agents crash and come back, some only after the chaos, and as many never as the model has."""
    random, most = draft.random, draft.mechanism.crashes(draft.n)
    draft.sync_ms = random.choice(((0, 0), (0, 5), (1, 30)))
    if random.random() < _EVERY_LEADER:
        for began, ended in draft.terms():
            draft.actions.append(Crash(began, LEADER))
            draft.actions += [Restart(ended, agent) for agent in draft.members]
    for _ in draft.spells():
        began, ended = draft.spell()
        shape = random.choice(("leader", "some", "all", "one after the other"))
        if shape == "leader":
            draft.actions.append(Crash(began, LEADER))
            draft.actions += [Restart(ended, agent) for agent in draft.members]
        elif shape == "one after the other":
            for step, agent in enumerate(draft.some(1, draft.n)):
                draft.actions += [Crash(began + 15 * step, agent), Restart(began + 15 * step + 40, agent)]
        else:
            down = draft.members if shape == "all" else draft.some(1, max(1, most))
            draft.actions += [Crash(began, agent) for agent in down]
            draft.actions += [Restart(ended, agent) for agent in down]
    if random.random() < 0.5:
        _lose(draft, random.randint(0, max(0, most - len(draft.liars))))


def _lose(draft: _Draft, size: int) -> None:
    """Let agents crash and not come back while the chaos lasts; who is not of the core does not come back then."""
    if not draft.mechanism.votes:
        draft.lost = frozenset(draft.some(size, size))
        draft.actions += [Crash(draft.spell()[0], agent) for agent in sorted(draft.lost)]
        return
    # The model of voting has voters that crash, and not that who collects stays away: these never collected anything.
    draft.lost = frozenset(draft.some(size, size))
    draft.actions = [
        action for action in draft.actions if not (isinstance(action, Restart) and action.agent in draft.lost)
    ]
    draft.actions += [Crash(0, agent) for agent in sorted(draft.lost)]


def _crash_more(draft: _Draft) -> None:
    """Let one agent more crash than may, before anything is asked for after the chaos; none comes back."""
    size = min(draft.n, draft.mechanism.crashes(draft.n) + 1)
    _lose(draft, size)


def _clock(draft: _Draft) -> None:
    for agent in draft.some(1, draft.n):
        for _ in range(draft.random.randint(1, 2)):
            # 0 is an agent whose process hangs: it answers and never looks at its clock.
            rate = draft.random.choice((0.0, 0.2, 0.5, 1.5, 3.0, 8.0))
            draft.actions.append(Clock(draft.spell()[0], agent, rate))


def _lying(draft: _Draft, size: int) -> None:
    behaviours = ("silence", *sorted(draft.mechanism.lies))
    behaviour = draft.random.choice(behaviours)
    mixed = draft.random.random() < 0.3
    for agent in draft.some(size, size):
        draft.liars[agent] = draft.random.choice(behaviours) if mixed else behaviour


def _byzantine(draft: _Draft) -> None:
    _lying(draft, max(1, draft.mechanism.liars(draft.n)))


def _byzantine_more(draft: _Draft) -> None:
    _lying(draft, draft.mechanism.liars(draft.n) + 1)


def _all_but_byzantine(draft: _Draft) -> None:
    chosen = [name for name in FAULTS if name != "byzantine" and draft.random.random() < 0.5]
    # Rates of two that both set them go together: the later keeps what the other has set.
    for name in chosen or ["loss", "crash"]:
        _DRAWN[name](draft)
    if draft.random.random() < _HANGS:
        _hang(draft)


def _hang(draft: _Draft) -> None:
    """Let the leader's process hang and the network forget it; then clients read, from whoever thinks it leads."""
    began = draft.random.randrange(100, draft.chaos_ms)
    draft.actions += [
        Clock(began, LEADER, 0.0),
        Cut(began, (LEADER,), draft.members),
        Cut(began, draft.members, (LEADER,)),
    ]
    for at_ms in range(began + 50, draft.chaos_ms, 50):
        draft.actions += [Query(at_ms, agent) for agent in draft.members]


def _all(draft: _Draft) -> None:
    _byzantine(draft)
    _all_but_byzantine(draft)


_DRAWN: dict[str, Callable[[_Draft], None]] = {
    "loss": _loss,
    "delay": _delay,
    "duplication": _duplication,
    "partition": _partition,
    "one_way_partition": _one_way_partition,
    "crash": _crash,
    "clock": _clock,
    "byzantine": _byzantine,
    "all_but_byzantine": _all_but_byzantine,
    "all": _all,
    "crash_more": _crash_more,
    "byzantine_more": _byzantine_more,
}


def inside(mechanism: Mechanism, agents: int, fault: str) -> bool:
    """Return whether the fault model of a mechanism has a fault, for so many agents."""
    check_fault(fault)
    if fault in _BEYOND:
        return False
    return fault not in {"byzantine", "all"} or mechanism.liars(agents) >= 1


def draw(mechanism: Mechanism, agents: int, fault: str, seed: int, *, values: int = 3) -> Plan:
    """Return the world of a seed: ``values`` are asked for, the last after the chaos and the others during it.

    Raises:
        UsageError: There is no such fault, or too few agents or values.
    """
    check_fault(fault)
    _at_least("agents", agents, 2)
    _at_least("values", values, 1)
    times = Random(f"{seed}/{agents}/clients")  # noqa: S311 - seeded, nothing secret
    chaos_ms = times.randint(*_CHAOS_MS) * (_LONG if times.random() < 0.1 else 1)
    # Swarms with a leader elect it first; the later half of the chaos is where there is something to break.
    when = [int(chaos_ms * math.sqrt(times.random())) for _ in range(values - 1)]
    when.append(chaos_ms + times.randint(10, 60))
    submits = [
        Submit(at_ms, f"value {number}", times.randrange(agents)) for number, at_ms in enumerate(sorted(when))
    ]
    random = Random(f"{seed}/{agents}/{mechanism.name}/{fault}")  # noqa: S311
    draft = _Draft(mechanism, agents, chaos_ms, random)
    if fault != "none":
        _DRAWN[fault](draft)
    _look_around(draft)
    core: tuple[int, ...] = ()
    if draft.lost:
        core = tuple(agent for agent in draft.members if agent not in draft.lost and agent not in draft.liars)
        # A client that was to ask one that is gone asks another first.
        submits = [
            msgspec.structs.replace(submit, agent=core[submit.agent % len(core)])
            if core and submit.agent in draft.lost
            else submit
            for submit in submits
        ]
    return Plan(
        mechanism=mechanism.name,
        n=agents,
        seed=seed,
        actions=tuple(sorted([*submits, *draft.actions], key=lambda action: action.at_ms)),
        network=draft.network,
        sync_ms=draft.sync_ms,
        chaos_ms=chaos_ms,
        core=core,
        liars=dict(sorted(draft.liars.items())),
        limit_ms=chaos_ms + (_SHORT_MS if fault in _BEYOND else _PATIENCE_MS),
        options=_options(mechanism, random),
    )


def _look_around(draft: _Draft) -> None:
    """Have agents compact, and ask for reads: one here and there, or all at some moments, who may think they lead."""
    random, whole_ms = draft.random, draft.chaos_ms + 100
    anybody = (LEADER, *draft.members)
    for _ in range(random.randint(0, 2)):
        draft.actions.append(Compact(random.randrange(whole_ms), random.choice(anybody)))
    for _ in range(random.randint(0, 2)):
        draft.actions.append(Query(random.randrange(whole_ms), random.choice(anybody)))
    if random.random() < 0.2:
        for _ in draft.spells():
            at_ms = random.randrange(whole_ms)
            draft.actions += [Query(at_ms, agent) for agent in draft.members]


def _options(mechanism: Mechanism, random: Random) -> dict[str, int]:
    """Return options for one world in four other than the usual ones."""
    if not mechanism.variations or random.random() < 0.75:
        return {}
    return {name: random.choice(values) for name, values in mechanism.variations.items()}


def check_fault(fault: str) -> None:
    """Raise :class:`UsageError` where there is no such fault."""
    if fault not in (*FAULTS, *OTHERS):
        allowed = ", ".join((*FAULTS, *OTHERS))
        raise UsageError(
            f"there is no fault {fault!r}; there are {allowed}", field="fault", given=fault, allowed=allowed
        )


def _at_least(name: str, given: int, least: int) -> None:
    if given < least:
        raise UsageError(
            f"{name} is {given}; allowed is a whole number from {least} on",
            field=name,
            given=str(given),
            allowed=f"from {least} on",
        )


def _share(random: Random, low: float, high: float) -> float:
    """Return a share between two, small ones as likely as great ones are (log-uniform)."""
    return round(low * math.exp(math.log(high / low) * random.random()), 4)
