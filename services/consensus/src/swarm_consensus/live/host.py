"""A process that hosts agents: ``python -m swarm_consensus.live.host``, started by the driver alone.

It is told what to host on its standard input, which stays open: when that ends, so does this process, however the
driver came to its end. Everything else goes over core NATS (:mod:`~swarm_consensus.live.telling` has the subjects).

Nodes are driven as in the simulator: what they persist is written (and synced, with ``fsync``) before anything they say
goes out. All that one read from the broker brought is handled before that, so that one sync and one write serve many
messages (*group commit*). There is no task and no timer on the way of a message; a timer makes the ticks.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import importlib
import os
import shutil
import signal
import struct
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Union

import msgspec

from swarm_common.errors import BrokerUnavailable
from swarm_common.mechanisms import MECHANISMS as MODULES
from swarm_consensus.live import applying, opinions
from swarm_consensus.live.client import Client
from swarm_consensus.live.disk import Disk
from swarm_consensus.live.keys import keys_of
from swarm_consensus.live.telling import (
    DRIVER,
    NOBODY,
    TO_HOST,
    Answer,
    Ask,
    Count,
    Counted,
    Decide,
    Done,
    Elsewhere,
    Go,
    Hosting,
    Leads,
    Ready,
    Report,
    Reported,
    Turn,
)
from swarm_consensus.live.wire import Wire
from swarm_consensus.protocols.core import (
    NOTHING,
    Decision,
    Effects,
    Lie,
    Mechanism,
    Message,
    Node,
    Setup,
    Value,
)

_DIRECT, _ALL, _ROUND, _BACK, _ORDERS, _ASKED = range(1, 7)
_FRAME = struct.Struct("<I")
_PR_SET_PDEATHSIG = 1
#: Decisions in one report: a message of the broker holds a megabyte.
_REPORTED_AT_ONCE = 2000
#: A client beside its agent asks again after so many ticks.
AGAIN_TICKS = 15
#: The exit status of a host that lost the broker.
LOST = 3


class Agent:
    """An agent and what is its own: node, disk, decisions, clients that wait for it."""

    __slots__ = (
        "decided",
        "dirty",
        "disk",
        "id",
        "leader",
        "lie",
        "machine",
        "node",
        "phases",
        "setup",
        "waiting",
    )

    def __init__(
        self, node: Node, setup: Setup, disk: Disk, lie: Lie | None, machine: applying.Registers | None
    ) -> None:
        self.id = setup.id
        self.node = node
        self.setup = setup
        self.disk = disk
        self.lie = lie
        self.machine = machine
        self.dirty = False
        self.leader: int | None = -2  # unlike any: the first look at it is told
        self.decided: list[Decision] = []
        self.phases: dict[int, list[tuple[str, int]]] = {}
        self.waiting: dict[Value, list[tuple[int, int]]] = {}


class Host:
    """Agents on one connection. Give it what it hosts, and :meth:`run` it."""

    def __init__(self, hosting: Hosting) -> None:
        self.hosting = hosting
        self.mechanism: Mechanism = importlib.import_module(MODULES[hosting.mechanism]).MECHANISM
        self.members = tuple(sorted(agent for agents in hosting.hosts for agent in agents))
        self.agents = [self._made(agent) for agent in hosting.hosts[hosting.host]]
        alone = len(self.agents) == 1
        self.wire = Wire(self._deliver, self._settle, self._lost, echo=not alone)
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.sent = self.refused = 0
        self._prefix = f"wire.{hosting.run}."
        where = {agent: host for host, agents in enumerate(hosting.hosts) for agent in agents}
        self._where = where
        self._subjects = [f"{self._prefix}{where[agent]}.{agent}".encode() for agent in self.members]
        self._by_subject = {self._subjects[agent.id]: agent for agent in self.agents}
        self._names = [agent.to_bytes(2, "big") for agent in self.members]
        self._all = f"{self._prefix}all".encode()
        self._told = f"{self._prefix}told".encode()
        self._asked_all = f"{self._prefix}asked".encode()
        self._round = f"{self._prefix}round".encode()
        self.needed = needed(self.mechanism, len(self.members))
        """How many agents must say the same for a client to believe it."""
        self._others = len(self.members) - 1
        self._encode = msgspec.msgpack.Encoder().encode
        kinds = self.mechanism.messages
        self._decode = msgspec.msgpack.Decoder(kinds[0] if len(kinds) == 1 else Union[kinds]).decode  # noqa: UP007
        self._order = msgspec.msgpack.Decoder(TO_HOST).decode
        self._dirty: list[Agent] = []
        self._held: list[tuple[Agent, Effects]] = []
        self._going = False
        self._turns: _Turns | None = None
        self._next_tick_s = 0.0

    def _made(self, agent: int) -> Agent:
        hosting = self.hosting
        opinion = opinions.opinion_of(hosting.seed, agent) if self.mechanism.votes else str
        setup = Setup(
            id=agent,
            members=self.members,
            random=Random(f"{hosting.seed}/{agent}/{hosting.restarted}"),  # noqa: S311 - seeded, nothing secret
            opinion=opinion,
            keys=keys_of(agent, hosting.secrets, hosting.publics),
            options=hosting.options,
        )
        disk = Disk(Path(hosting.directory) / f"agent-{agent}.log", self.mechanism.records)
        behaviour = hosting.liars.get(agent)
        lie = None if behaviour is None else self.mechanism.lies.get(behaviour, _silence)
        return Agent(self.mechanism.node(setup), setup, disk, lie, applying.machine_for(self.mechanism))

    async def run(self) -> int:
        """Serve until the driver ends; return the exit status."""
        hosting, wire = self.hosting, self.wire
        await wire.connect(hosting.url, name=f"swarm-agents-{hosting.host}")
        wire.subscribe(_DIRECT, f"{self._prefix}{hosting.host}.*")
        wire.subscribe(_ALL, f"{self._prefix}all")
        wire.subscribe(_ROUND, f"{self._prefix}round")
        wire.subscribe(_BACK, f"{self._prefix}back.{hosting.host}")
        wire.subscribe(_ORDERS, f"{self._prefix}to.{hosting.host}")
        wire.subscribe(_ASKED, f"{self._prefix}asked")
        await wire.flushed()
        for agent in self.agents:
            effects = agent.node.restore(agent.disk.restore())
            if effects is not NOTHING:
                self._carry_out(agent, effects)
        if hosting.restarted:
            self._go()
        self._tell(Ready(hosting.host))
        self._settle()
        return await self.ended

    def _go(self) -> None:
        if not self._going:
            self._going = True
            self._next_tick_s = asyncio.get_running_loop().time()
            self._tick()

    def _lost(self, reason: str) -> None:
        if not self.ended.done():
            sys.stderr.write(f"lost the broker: {reason}\n")
            self.ended.set_result(LOST)

    # --- inputs -------------------------------------------------------------------------------------------

    def _deliver(self, sid: int, subject: bytes, payload: bytes) -> None:
        if sid == _DIRECT:
            agent = self._by_subject.get(subject)
            if agent is not None:
                self._step((agent,), payload)
        elif sid == _ALL:
            self._step(self.agents, payload)
        elif sid == _ROUND:
            self._answer_round(payload)
        elif sid == _BACK:
            if self._turns is not None:
                self._turns.back(payload)
        else:
            self._obey(self._order(payload))

    def _step(self, agents: Sequence[Agent], payload: bytes) -> None:
        """Hand a message to agents, its sender left out: the first two bytes say who that is."""
        sender = payload[0] << 8 | payload[1]
        try:
            message: Message = self._decode(payload[2:])
        except msgspec.DecodeError:
            self.refused += 1
            return
        for agent in agents:
            if agent.id != sender:
                effects = agent.node.step(sender, message)
                if effects is not NOTHING:
                    self._carry_out(agent, effects)

    def _answer_round(self, payload: bytes) -> None:
        """Answer for each agent but the one that begins the round; its host and the round's number are repeated."""
        beginner = payload[0] << 8 | payload[1]
        back = b"%bback.%d" % (self._prefix.encode(), self._where[beginner])
        for agent in self.agents:
            if agent.id != beginner:
                self.wire.send(back, payload)

    def begin_round(self, agent: int, number: int) -> None:
        """Have all other agents answer."""
        self.wire.send(self._round, self._names[agent] + number.to_bytes(4, "big"))

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        # A process that was kept waiting does not make up for it: its clock has stood still.
        self._next_tick_s = max(loop.time(), self._next_tick_s + self.hosting.tick_ms / 1e3)
        loop.call_at(self._next_tick_s, self._tick)
        for agent in self.agents:
            effects = agent.node.tick()
            if effects is not NOTHING:
                self._carry_out(agent, effects)
            self._watch(agent)
        if self._turns is not None:
            self._turns.look()
        self._settle()

    def _watch(self, agent: Agent) -> None:
        leader = agent.node.leader
        if leader != agent.leader:
            agent.leader = leader
            self._tell(Leads(agent.id, -1 if leader is None else leader))

    def _obey(self, order: Any) -> None:
        if isinstance(order, Ask):
            self._asked(order)
        elif isinstance(order, Answer):
            if self._turns is not None:
                self._turns.client.answered(order)
        elif isinstance(order, Elsewhere):
            if self._turns is not None:
                self._turns.client.elsewhere(order.asked, order.agent)
        elif isinstance(order, Go):
            self._go()
        elif isinstance(order, Decide):
            self._turns = _Turns(self, order)
            self._turns.go_on()
        elif isinstance(order, Count):
            syncs = sum(agent.disk.syncs for agent in self.agents)
            self._tell(Counted(self.hosting.host, self.sent, syncs, self.refused))
        elif isinstance(order, Report):
            self._report()

    # --- effects ------------------------------------------------------------------------------------------

    def _carry_out(self, agent: Agent, effects: Effects) -> None:
        """Persist, then send; with ``fsync`` what an agent says waits for its disk, and so does all it says after."""
        if effects.persist:
            agent.disk.write(effects.persist)
            if self.hosting.fsync and not agent.dirty:
                if self.mechanism.early and effects.messages:
                    effects = self._early(agent, effects)
                agent.dirty = True
                self._dirty.append(agent)
        if agent.dirty:
            self._held.append((agent, effects))
        else:
            self._release(agent, effects)

    def _early(self, agent: Agent, effects: Effects) -> Effects:
        """Send what need not wait for the disk, which has all of before; return what waits."""
        kinds = self.mechanism.early
        early = [one for one in effects.messages if type(one[1]) in kinds]
        if not early:
            return effects
        self._send(agent, early)
        later = [one for one in effects.messages if type(one[1]) not in kinds]
        return msgspec.structs.replace(effects, messages=later)

    def _settle(self) -> None:
        """Sync what was written, let go what waited for it, and write to the broker."""
        while self._dirty:
            self.wire.flush()  # what need not wait is on its way while the disk writes
            dirty, self._dirty = self._dirty, []
            for agent in dirty:
                agent.disk.sync()
                agent.dirty = False
            held, self._held = self._held, []
            later = []
            for agent, effects in held:
                if agent.dirty:  # what was just let go led it to persist more: this waits for that
                    later.append((agent, effects))
                else:
                    self._release(agent, effects)
            self._held = later + self._held
        self.wire.flush()

    def _release(self, agent: Agent, effects: Effects) -> None:
        now = 0
        if effects.phases or effects.decisions:
            # What is known is known now, whatever else there is to do before somebody is told.
            now = time.perf_counter_ns()
            for slot, phase in effects.phases:
                agent.phases.setdefault(slot, []).append((phase, now))
        if effects.messages:
            self._send(agent, effects.messages)
        if effects.snapshot is not None and agent.machine is not None:
            agent.machine.set(effects.snapshot.slot, effects.snapshot.state)
        for decision in effects.decisions:
            self._note(agent, decision, now)

    def _send(self, agent: Agent, messages: list[tuple[int, Message]]) -> None:
        if agent.lie is not None:
            told = [(to, agent.lie(message, to, agent.setup)) for to, message in messages]
            messages = [(to, message) for to, message in told if message is not None]
        name, encode, subjects, send = self._names[agent.id], self._encode, self._subjects, self.wire.send
        self.sent += len(messages)
        if len(messages) == 1:
            to, message = messages[0]
            send(subjects[to], name + encode(message))
            return
        at, end = 0, len(messages)
        while at < end:
            message = messages[at][1]
            body = encode(message)
            after = at + 1
            while after < end and (messages[after][1] is message or encode(messages[after][1]) == body):
                after += 1
            if after - at == self._others and len({to for to, _ in messages[at:after]}) == self._others:
                send(self._all, name + body)  # the same to all others: published once, and counted once each
            else:
                for to, _ in messages[at:after]:
                    send(subjects[to], name + body)
            at = after

    def _note(self, agent: Agent, decision: Decision, now: int) -> None:
        agent.decided.append(decision)
        asked = decision.question or decision.value
        phases = agent.phases.pop(decision.slot, None)
        if self._turns is not None and self._turns.home is agent:
            self._turns.decided(asked, decision, phases, now)
        if agent.machine is not None:
            for value, slot, result in agent.machine.apply(decision):
                self._answer(agent, value, slot, value, {}, result)
        if agent.machine is None or not applying.is_command(decision.value):
            self._answer(agent, asked, decision.slot, decision.value, decision.certificate, "")

    def _answer(
        self, agent: Agent, asked: Value, slot: int, value: Value, certificate: Mapping[str, Any], result: str
    ) -> None:
        """Tell the clients that wait for it; a liar tells them something else."""
        waiting = agent.waiting.pop(asked, ())
        if waiting and agent.lie is not None:
            value, result = f"not {value}", f"not {result}" if result else ""
        for client, back in waiting:
            self._say(back, Answer(client, agent.id, asked, slot, value, certificate, result))

    # --- clients ------------------------------------------------------------------------------------------

    def _asked(self, ask: Ask) -> None:
        for agent in self.agents:
            if ask.back == self.hosting.host and self._turns is not None and agent is self._turns.home:
                continue  # its client has asked it by a call
            if ask.agent in {-1, agent.id}:
                self._ask(agent, ask)
            elif self.needed > 1:
                self._wait(agent, ask)

    def _ask(self, agent: Agent, ask: Ask) -> None:
        leader = agent.node.leader
        if ask.agent >= 0 and leader != agent.id:
            self._say(ask.back, Elsewhere(ask.client, ask.value, -1 if leader is None else leader))
            if self.needed > 1:
                self._wait(agent, ask)
            return
        self._wait(agent, ask)
        effects = agent.node.propose(ask.value)
        if effects is not NOTHING:
            self._carry_out(agent, effects)

    def _wait(self, agent: Agent, ask: Ask) -> None:
        if ask.back == NOBODY:
            return
        waiting = agent.waiting.setdefault(ask.value, [])
        if (ask.client, ask.back) not in waiting:
            waiting.append((ask.client, ask.back))

    def ask(self, to: int, value: Value) -> None:
        """Ask for the client that lives here: its own agent by a call, others over the wire."""
        assert self._turns is not None  # noqa: S101 - only its client asks
        home = self._turns.home
        if to in {-1, home.id}:
            effects = home.node.propose(value)
            if effects is not NOTHING:
                self._carry_out(home, effects)
            elif home.node.leader != home.id and to >= 0:
                self._turns.client.elsewhere(value, -1 if home.node.leader is None else home.node.leader)
        if to != home.id:
            # Where agents may lie, it believes its own alone.
            back = self.hosting.host if self.needed == 1 else NOBODY
            subject = self._asked_all if to < 0 else b"%bto.%d" % (self._prefix.encode(), self._where[to])
            self.wire.send(subject, self._encode(Ask(to, value, 0, back)))

    def _say(self, back: int, what: Any) -> None:
        if back == NOBODY:
            return
        if back == DRIVER:
            self._tell(what)
        elif back == self.hosting.host:
            self._obey(what)
        else:
            self.wire.send(f"{self._prefix}to.{back}".encode(), self._encode(what))

    def _tell(self, what: Any) -> None:
        self.wire.send(self._told, self._encode(what))

    def tell(self, turns: Sequence[Turn]) -> None:
        """Tell the driver of turns, and that these were all."""
        for turn in turns:
            self._tell(turn)
        self._tell(Done(self.hosting.host))
        self._turns = None

    def later(self, turn: Callable[[], None]) -> None:
        """Call ``turn`` when what is at hand has been done, and settle what it leads to."""

        def do() -> None:
            turn()
            self._settle()

        asyncio.get_running_loop().call_soon(do)

    def _report(self) -> None:
        for agent in self.agents:
            decided = [(decision.slot, decision.value) for decision in agent.decided]
            for at in range(0, len(decided), _REPORTED_AT_ONCE):
                some = tuple(decided[at : at + _REPORTED_AT_ONCE])
                self._tell(Reported(agent.id, some, last=False, host=self.hosting.host))
        self._tell(Reported(self.agents[0].id, (), last=True, host=self.hosting.host))


class _Turns:
    """Decisions one after the other, each after a round of all agents: what takes turns is measured alike.

    Before a measured round comes one that is not: with it, what the last decision left to be done is done.
    """

    def __init__(self, host: Host, order: Decide) -> None:
        self.home = next(agent for agent in host.agents if agent.id == order.home)
        self._host = host
        self._order = order
        agents = (order.leader, *(agent for agent in host.members if agent != order.leader))
        self.client = Client(
            agents,
            host.ask,
            need=1,  # it sits beside an agent that it trusts
            again_s=AGAIN_TICKS * host.hosting.tick_ms / 1e3,
            patience_s=order.patience_s,
        )
        self._turns: list[Turn] = []
        self._at = 0
        self._number = 0
        self._waits = 0
        self._quiet = False
        self._round_us = -1.0
        self._began = 0
        self._wall = 0
        self._due_s = 0.0
        self._silent = 0
        self._kept = False

    def go_on(self) -> None:
        """Begin the next turn, or tell of all."""
        if (
            self._at == len(self._order.values) or self._silent == 2
        ):  # who has waited twice in vain waits no more
            self._host.tell(self._turns)
            return
        self._round_us = -1.0
        self._quiet = True
        if self._order.alive > 1 and self._at < self._order.rounds:
            self._round()
        else:
            self._decide()

    def _round(self) -> None:
        self._number += 1
        self._waits = self._order.alive - 1
        self._due_s = time.perf_counter() + self._order.patience_s
        self._began = time.perf_counter_ns()
        self._host.begin_round(self.home.id, self._number)

    def back(self, payload: bytes) -> None:
        """Take an answer to a round."""
        if int.from_bytes(payload[2:6], "big") != self._number or not self._waits:
            return
        self._waits -= 1
        if self._waits:
            return
        if self._quiet:
            self._quiet = False
            self._round()
        else:
            self._round_us = (time.perf_counter_ns() - self._began) / 1e3
            self._decide()

    def _decide(self) -> None:
        self._wall = time.time_ns()
        self._began = time.perf_counter_ns()
        self.client.ask(self._order.values[self._at], self._answered)

    def decided(
        self, asked: Value, decision: Decision, phases: list[tuple[str, int]] | None, now: int
    ) -> None:
        """Take note that the agent beside has decided, and when."""
        if asked == self.client.asked:
            self._keep(
                now, decision.slot, decision.value, decision.certificate, _durations(phases or [], now)
            )
            self._kept = True
            leader = self.home.node.leader
            asked_next = self.home.id if leader is None else leader
            self.client.answered(Answer(0, asked_next, asked, decision.slot, decision.value, {}, ""))

    def _keep(
        self,
        now: int,
        slot: int,
        value: Value,
        certificate: Any,
        phases: tuple[tuple[str, float], ...],
    ) -> None:
        order = self._order
        self._turns.append(
            Turn(
                order.first + self._at,
                order.values[self._at],
                (now - self._began) / 1e3,
                self._round_us,
                slot,
                value,
                certificate,
                phases,
                self._wall,
            )
        )

    def _answered(self, answer: Answer | None) -> None:
        if answer is None:
            order = self._order
            self._turns.append(
                Turn(
                    order.first + self._at,
                    order.values[self._at],
                    -1.0,
                    self._round_us,
                    -1,
                    "",
                    {},
                    (),
                    self._wall,
                )
            )
            self._silent += 1
        else:
            if not self._kept:  # another agent knew first
                self._keep(time.perf_counter_ns(), answer.slot, answer.value, answer.certificate, ())
            self._silent = 0
        self._kept = False
        self._at += 1
        if self._order.alive > 1:
            self.go_on()
        else:
            # An agent alone decides within the call that asks it: the next turn must not lie inside of this one.
            self._host.later(self.go_on)

    def look(self) -> None:
        """Look at the clock: a round that somebody does not answer is given up."""
        if self._waits and time.perf_counter() > self._due_s:
            self._waits = 0
            self._decide()
        else:
            self.client.look()


def _durations(phases: Sequence[tuple[str, int]], end: int) -> tuple[tuple[str, float], ...]:
    """Return how long each phase took, in microseconds: until the next began, the last until the decision."""
    ends = [*[began for _, began in phases[1:]], end][: len(phases)]
    return tuple((name, (after - began) / 1e3) for (name, began), after in zip(phases, ends, strict=True))


def _silence(message: Message, to: int, setup: Setup) -> Message | None:  # noqa: ARG001 - the signature of a lie
    return None


def needed(mechanism: Mechanism, n: int) -> int:
    """Return how many agents must say the same for a client to believe it: one more than may lie."""
    return mechanism.liars(n) + 1


def _read_all(count: int) -> bytes:
    parts = b""
    while len(parts) < count:
        part = os.read(0, count - len(parts))
        if not part:
            raise SystemExit(0)
        parts += part
    return parts


def _read_hosting() -> Hosting:
    (length,) = _FRAME.unpack(_read_all(_FRAME.size))
    return msgspec.msgpack.decode(_read_all(length), type=Hosting)


def frame(hosting: Hosting) -> bytes:
    """Return what a host process is to be given on its standard input."""
    body = msgspec.msgpack.encode(hosting)
    return _FRAME.pack(len(body)) + body


async def _main(hosting: Hosting) -> int:
    loop = asyncio.get_running_loop()
    host = Host(hosting)

    def end() -> None:
        if not host.ended.done():
            host.ended.set_result(0)

    orphaned = os.getppid() != hosting.parent  # it ended before anybody could listen

    def listen() -> None:
        nonlocal orphaned
        orphaned = not os.read(0, 1)  # a driver that is done with us says so; else it has just ended
        end()

    def terminated() -> None:
        nonlocal orphaned
        orphaned = (
            True  # the kernel sends it when the driver dies, and may be sooner than the end of the input
        )
        end()

    os.set_blocking(0, False)
    loop.add_reader(0, listen)
    loop.add_signal_handler(signal.SIGTERM, terminated)
    if orphaned:
        end()
    try:
        status = await host.run()
    except BrokerUnavailable as error:
        sys.stderr.write(f"{error}\n")
        status = LOST
    host.wire.close()
    if orphaned or os.getppid() != hosting.parent:
        shutil.rmtree(hosting.directory, ignore_errors=True)  # nobody else is there to do it
    return status


def main() -> None:
    """Host what standard input says until it ends."""
    import uvloop  # noqa: PLC0415 - not for those who import a name from here

    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    hosting = _read_hosting()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        status = runner.run(_main(hosting))
    sys.exit(status)


if __name__ == "__main__":
    main()
