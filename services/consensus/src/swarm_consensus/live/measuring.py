"""One measurement of a live swarm, from its processes to the events that tell of it.

What it does with a swarm, in this order:

1. starts the host processes and waits until each has connected and read its agents' disks,
2. one first decision, which elects or prepares where the mechanism has to,
3. decisions one after the other, asked for beside the agent that leads, in turns with rounds of all agents (the floor),
4. clients at once, in this process, on a register; with a crash in the middle where the fault is one,
5. collects what every honest agent decided, and checks it.

With a crash the order is 1, 2, 4, 3, 5: what comes one after the other is then measured of who is left.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec

from swarm_common.events import Array
from swarm_common.events.consensus import Decided, Measured
from swarm_consensus.checking.agreement import Agreement, Integrity
from swarm_consensus.keyvalue import Command, encode
from swarm_consensus.live import applying, opinions
from swarm_consensus.live.client import Client
from swarm_consensus.live.driver import Swarm, swarm
from swarm_consensus.live.host import AGAIN_TICKS
from swarm_consensus.live.params import LiveParams
from swarm_consensus.live.telling import Answer, Count, Counted, Report, Reported, Turn
from swarm_consensus.protocols.core import Decision, Effects, Node, Value, Violated
from swarm_histories import REGISTER, Operation, Verdict, check
from swarm_primitives.claims import Claims

_LEADS_S = 30.0
#: Configurations that the check of a history may look at: some ten seconds.
_STEPS = 2_000_000
_SHOWN = 5
#: A client whose patience was over so often asks no more.
_SILENT = 2
#: Seconds that one part of a measurement may take: a task has 300 for all of them.
_PART_S = 100.0


class Outcome(msgspec.Struct, frozen=True):
    """What came of a measurement."""

    decided: tuple[Decided, ...]
    measured: Measured
    turns: tuple[Turn, ...]
    """Those of ``decided``, with the wall clock of their beginning."""


async def measure(
    params: LiveParams, url: str, *, task: str = "live", seed: int = 0, home: Path | None = None
) -> Outcome:
    """Have a swarm decide over the broker at ``url``, and return what was measured and checked.

    Raises:
        BrokerUnavailable: The broker is away, or went away.
        TaskFailed: A process ended that nobody has killed, or did not start.
    """
    began = time.perf_counter()
    async with swarm(params, url, seed=seed, home=home) as made:
        measurement = _Measurement(made, params)
        await measurement.run()
    return measurement.outcome(task, time.perf_counter() - began)


class _Measurement:
    def __init__(self, made: Swarm, params: LiveParams) -> None:
        self.swarm = made
        self.params = params
        self.patience_s = made.patience_s
        self.first: Turn | None = None
        self.turns: list[Turn] = []
        self.sent: float | None = None
        self.load = Load(made, params)
        self.reported: list[tuple[int, tuple[tuple[int, Value], ...]]] = []

    async def run(self) -> None:
        first = await self.swarm.decide([self._value("first", 0)], patience_s=self.patience_s)
        self.first = first[0] if first else None
        if self.params.fault in {"leader_crash", "crashes"}:
            await self._under_load()
            await self._one_by_one()
        else:
            await self._one_by_one()
            await self._under_load()
        await self._report()

    def _value(self, part: str, number: int) -> Value:
        return f"{'question' if self.swarm.mechanism.votes else 'value'} {part} {number}"

    async def _one_by_one(self) -> None:
        decisions = self.params.decisions
        before = await self._count()
        self.turns = await self.swarm.decide(
            [self._value("of", number) for number in range(decisions)],
            rounds=self.params.rounds,
            patience_s=self.patience_s,
            limit_s=_PART_S,
        )
        decided = sum(turn.latency_us >= 0 for turn in self.turns)
        if decided:
            self.sent = (await self._count() - before) / decided

    async def _count(self) -> int:
        swarm = self.swarm
        with swarm.listen(Counted) as counted:
            swarm.say_all(Count())
            await swarm.until(lambda: len(counted.said) == len(swarm.up), self.patience_s, "hosts to count")
            return sum(one.sent for one in counted.said)

    async def _under_load(self) -> None:
        self.load.begin()
        try:
            await self._hurt()
            await self.swarm.soon(lambda: self.load.over, _PART_S)
        finally:
            self.load.end()

    async def _hurt(self) -> None:
        """Kill whom the fault says when a third is decided; a leader comes back when another is, or time is up."""
        swarm, load = self.swarm, self.load
        if self.params.fault not in {"leader_crash", "crashes"}:
            return
        third = max(1, load.operations // 3)
        await swarm.soon(lambda: load.over or len(load.known_s) >= third, _PART_S / 3)
        if self.params.fault == "crashes":
            hosts = sorted({swarm.where[agent] for agent in swarm.victims})
        else:
            leader = swarm.leader
            hosts = [swarm.where[leader if leader is not None else swarm.alive[0]]]
        for host in hosts:
            await swarm.kill(host)
        load.hurt_s = time.perf_counter()
        if self.params.fault == "leader_crash":
            await swarm.soon(lambda: load.over or len(load.known_s) >= 2 * third, 2 * self.patience_s)
            await swarm.restart(hosts[0])

    async def _report(self) -> None:
        swarm = self.swarm
        with swarm.listen(Reported) as reported:
            swarm.say_all(Report())
            await swarm.until(
                lambda: {one.host for one in reported.said if one.last} == set(swarm.up),
                max(10.0, self.patience_s),
                "hosts to report",
            )
            self.reported = [(one.agent, one.decisions) for one in reported.said]

    # --- what came of it ----------------------------------------------------------------------------------

    def outcome(self, task: str, elapsed_s: float) -> Outcome:
        swarm, params, load = self.swarm, self.params, self.load
        decided = [turn for turn in self.turns if turn.latency_us >= 0]
        agreement, violations = _agreement(swarm, self.reported, load.answers)
        verdict = None if swarm.mechanism.votes else load.verdict()
        asked = len(self.turns) + load.asked
        known = len(decided) + len(load.known_s)
        events = tuple(
            Decided(
                task=task,
                mechanism=params.mechanism,
                agents=params.agents,
                fault=params.fault,
                number=turn.number,
                slot=turn.slot,
                value=turn.value,
                question=turn.asked if swarm.mechanism.votes else "",
                certificate=dict(turn.certificate),
                latency_us=turn.latency_us,
                phases_us=turn.phases_us,
            )
            for turn in decided
        )
        measured = Measured(
            task=task,
            mechanism=params.mechanism,
            agents=params.agents,
            fault=params.fault,
            inside=inside(swarm),
            processes=len(swarm.hosts),
            asked=asked,
            decisions=known,
            unanswered=asked - known,
            latency_us=_floats([turn.latency_us for turn in decided]) if decided else None,
            first_us=self.first.latency_us if self.first is not None and self.first.latency_us >= 0 else None,
            round_us=_floats([turn.round_us for turn in self.turns if turn.round_us >= 0]),
            messages_a_decision=self.sent,
            throughput_s=load.throughput_s
            if params.fault in {"none", "byzantine", "byzantine_more"}
            else None,
            gap_us=load.gap_us,
            agreement=agreement,
            violations=violations,
            linearizable=None if verdict is None else verdict.linearizable,
            history_operations=0 if verdict is None else verdict.operations,
            history=_refuting(verdict),
            quality=self._quality(decided),
            elapsed_s=elapsed_s,
        )
        return Outcome(events, measured, tuple(decided))

    def _quality(self, decided: Sequence[Turn]) -> float | None:
        if not self.swarm.mechanism.votes or not decided:
            return None
        seed = self.swarm.seed
        return sum(turn.value == opinions.truth(seed, turn.asked) for turn in decided) / len(decided)


class Load:
    """Clients at once, each with one operation at a time: on a register, or questions where decisions are answers."""

    def __init__(self, made: Swarm, params: LiveParams) -> None:
        self.operations = params.decisions
        self.asked = 0
        self.known_s: list[float] = []
        """When each answer came."""
        self.answers: list[Answer] = []
        self.history: list[Operation] = []
        self.hurt_s: float | None = None
        self._swarm = made
        self._count = params.clients
        self._patience_s = made.patience_s
        self._began_s = self._ended_s = 0.0
        self._busy: set[int] = set()

    @property
    def over(self) -> bool:
        """Whether all clients have done what there was to do, or given up."""
        return not self._busy

    @property
    def throughput_s(self) -> float | None:
        """Decisions a second."""
        lasted = self._ended_s - self._began_s
        return len(self.known_s) / lasted if self.known_s and lasted > 0 else None

    @property
    def gap_us(self) -> float | None:
        """The longest time without an answer while somebody waited for one; ``None``: nobody asked."""
        if not self.asked:
            return None
        moments = [self._began_s, *self.known_s, self._ended_s]
        return 1e6 * max(after - before for before, after in pairwise(moments))

    def begin(self) -> None:
        """Let all clients ask."""
        swarm = self._swarm
        self._began_s = time.perf_counter()
        self._ended_s = self._began_s
        leads_itself = sum(swarm.leaders.get(agent) == agent for agent in swarm.alive)
        for number in range(self._count):
            agents = list(range(swarm.n))
            leader = swarm.leader
            # Where everybody takes questions, clients spread; where one leads, they know it.
            at = number % swarm.n if leads_itself > 1 or leader is None else leader
            client = Client(
                [*agents[at:], *agents[:at]],
                partial(swarm.ask, number),
                need=swarm.needed,
                again_s=AGAIN_TICKS * swarm.tick_ms / 1e3,
                patience_s=self._patience_s,
            )
            swarm.clients[number] = client
            self._busy.add(number)
        for number in range(self._count):
            self._next(number, 0, 0)
        swarm.flush()

    def end(self) -> None:
        """Ask no more; what is on its way nobody knows the end of."""
        for number in sorted(self._busy):
            client = self._swarm.clients[number]
            if client.asked is not None:
                client.give_up()
        self._busy.clear()
        self._swarm.clients.clear()

    def _next(self, number: int, count: int, silent: int) -> None:
        if self.asked >= self.operations or silent == _SILENT or number not in self._busy:
            self._busy.discard(number)
            return
        self.asked += 1
        at = self.asked
        operation = (
            None if self._swarm.mechanism.votes else applying.command(number, count, at if at % 2 else None)
        )
        value = f"question by {number} {count}" if operation is None else encode(operation)
        called = time.perf_counter_ns()

        def done(answer: Answer | None) -> None:
            returned = time.perf_counter_ns()
            if answer is not None:
                self.known_s.append(time.perf_counter())
                self.answers.append(answer)
            self._ended_s = time.perf_counter()
            if operation is not None:
                self._remember(operation, answer, called, returned)
            # Who does not know what became of an operation is somebody else from then on: clients do one at a time.
            self._next(number, count + 1, 0 if answer is not None else silent + 1)

        self._swarm.clients[number].ask(value, done)

    def _remember(self, operation: Command, answer: Answer | None, called: int, returned: int) -> None:
        value: Any = operation.value
        if answer is not None and operation.f == "get":
            try:
                value = applying.read_of(answer.result)
            except msgspec.DecodeError:
                value = answer.result  # a liar's word: no register ever held it
        self.history.append(
            Operation(
                process=operation.client,
                f="read" if operation.f == "get" else "write",
                key=operation.key,
                value=value,
                called=called,
                returned=returned if answer is not None else None,
            )
        )

    def verdict(self) -> Verdict:
        """Return whether the history is linearizable."""
        return check(self.history, REGISTER, steps=_STEPS)


def inside(swarm: Swarm) -> bool:
    """Return whether the mechanism's fault model has what was done to the swarm."""
    fault, mechanism, n = swarm.params.fault, swarm.mechanism, swarm.n
    if fault == "leader_crash":
        return max(len(agents) for agents in swarm.hosts) <= mechanism.crashes(n)
    return len(swarm.liars) <= mechanism.liars(n)


def _agreement(
    swarm: Swarm,
    reported: Sequence[tuple[int, Sequence[tuple[int, Value]]]],
    answers: Sequence[Answer],
) -> tuple[float | None, tuple[str, ...]]:
    """Return the share of slots in which all honest agents decided the same, and what was broken.

    What an agent told clients counts like what it reported: a killed one cannot report any more.
    """
    honest = frozenset(swarm.honest)
    checks = (Agreement(swarm.honest), Integrity(swarm.honest))
    slots: Claims[int, Value, int] = Claims()
    violations: list[str] = []
    told = [
        (answer.agent, [(answer.slot, answer.value)])
        for answer in answers
        if swarm.mechanism.liars(swarm.n) == 0
    ]
    for source, group in ((reported, checks), (told, checks[:1])):
        for agent, decisions in source:
            if agent not in honest:
                continue
            node = cast("Node", SimpleNamespace(id=agent))
            for slot, value in decisions:
                slots.claim(slot, value, agent)
                for one in group:
                    try:
                        one.after(node, Effects(decisions=[Decision(slot, value)]))
                    except Violated as violated:
                        violations.append(str(violated))
    if not slots:
        return None, ()
    shown = list(dict.fromkeys(violations))
    if len(shown) > _SHOWN:
        shown[_SHOWN:] = [f"and {len(shown) - _SHOWN} more"]
    return (len(slots) - len(slots.disputed)) / len(slots), tuple(shown)


def _refuting(verdict: Verdict | None) -> str:
    if verdict is None or verdict.refutation is None:
        return ""
    first = min(one.called for one in verdict.refutation.operations)
    return "\n".join(
        f"client {one.process} {one.f} {one.value} "
        f"{(one.called - first) / 1e3:.0f}..{'' if one.returned is None else f'{(one.returned - first) / 1e3:.0f}'} us"
        for one in verdict.refutation.operations
    )


def _floats(values: Sequence[float]) -> Array:
    return Array("<f4", (len(values),), struct.pack(f"<{len(values)}f", *values))
