"""The simulated world: nodes, a network, disks and clocks under one seed.

Time is virtual and counted in milliseconds. Between two events nothing happens, so a minute in which nobody speaks
costs nothing. What happens is in a :class:`~swarm_consensus.simulator.plan.Plan`; what it leaves open (each message's
delay, say) comes from random numbers seeded by it, in an order that the events alone decide.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from random import Random
from typing import Any, Literal

import msgspec

from swarm_consensus.protocols.core import (
    NOTHING,
    Decision,
    Effects,
    Keys,
    Mechanism,
    Message,
    Node,
    Record,
    Setup,
    Snapshot,
    Violated,
)
from swarm_consensus.simulator.keys import signers
from swarm_consensus.simulator.plan import (
    LEADER,
    Action,
    Clock,
    Compact,
    Crash,
    Cut,
    Heal,
    Mute,
    Plan,
    Query,
    Restart,
    Submit,
)

_TICK, _SYNCED, _ACTION, _RETRY, _CALM = range(-1, -6, -1)
"""What an event is that is no delivery; a delivery begins with the agent it is for."""


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """One line of a trace."""

    at_ms: int
    what: Literal[
        "sent", "lost", "delivered", "decided", "persisted", "action", "client", "snapshot", "violated"
    ]
    agent: int
    other: int = -1
    """To whom a message goes, or from whom it came."""
    detail: Any = None
    """The message, record, decision, value asked for, slot of a snapshot, action, or what was violated."""
    number: int = -1
    """Of the sending, from 0."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a world."""

    violation: str | None
    """What did not hold, where and when; ``None``: all invariants held throughout."""
    invariant: str | None
    """The name of that invariant."""
    stopped: bool
    """Whether something that was asked for was never decided by all who should be well."""
    undecided: tuple[str, ...]
    deliveries: int
    messages: int
    sent_to_decision: int
    """Messages sent when the first agent had decided for the first time."""
    ended_ms: int
    decided_ms: dict[str, int]
    """Virtual time from its first submission until somebody had decided it, by value."""
    known_ms: dict[str, int]
    """The same until all in the core had."""
    answers: dict[str, str]
    """What was decided of each value."""


class World:
    """One plan, carried out: make it, then :meth:`run` it once.

    ``opinion`` is what an agent answers a question. Given with a mechanism in which nobody votes, the agent that is
    asked proposes its own answer, as ``question=answer``: that is then decided of the question. ``weights`` are
    :attr:`~swarm_consensus.protocols.core.Setup.weights` of all.
    """

    def __init__(
        self,
        mechanism: Mechanism,
        plan: Plan,
        *,
        trace: bool = False,
        opinion: Callable[[int, str], str] | None = None,
        weights: Mapping[int, float] | None = None,
    ) -> None:
        self.plan = plan
        self._opinion = opinion
        self._own_answers = opinion is not None and not mechanism.votes
        self._weights = weights or {}
        self.mechanism = mechanism
        self.members = tuple(range(plan.n))
        self.honest = tuple(agent for agent in self.members if agent not in plan.liars)
        self.core = frozenset(plan.core or self.honest)
        self.now_ms = 0
        self.trace: list[Seen] | None = [] if trace else None
        self.deliveries = self.sent = 0
        self.nodes: list[Node | None] = [None] * plan.n
        self.decisions: list[dict[int, Decision]] = [{} for _ in self.members]
        """What each agent has decided in its present life, by slot."""
        self.snapshots: list[Snapshot | None] = [None] * plan.n
        # Events by the millisecond they come in, in the order they were made: cheaper than a heap, and as exact.
        self._queue: defaultdict[int, list[tuple[int, Any, Any]]] = defaultdict(list)
        self._random = Random(f"{plan.seed}/network")  # noqa: S311 - seeded, nothing secret
        self._draw = self._random.random
        self._choices = Random(f"{plan.seed}/nodes")  # noqa: S311
        self._keys: Sequence[Keys] = signers(plan.n)
        self._checks = tuple(check(self.honest) for check in mechanism.checks)
        self._always = tuple(check for check in self._checks if not getattr(check, "decisions_only", False))
        self._disks: list[list[Record]] = [[] for _ in self.members]
        self._unsynced: list[list[Effects]] = [[] for _ in self.members]
        self._sync_at = [0] * plan.n
        self._slow_disks = plan.sync_ms[1] > 0
        self._lives = [0] * plan.n
        self._rates: list[float] | None = None  # None: all clocks run right
        self._phases = [0.0] * plan.n
        self._cuts: frozenset[tuple[int, int]] = frozenset()
        self._mute = 0  # how many of those who come to lead are to be cut off
        self._led: set[int] = set()
        self._chaos = plan.chaos_ms > 0
        self._asked: dict[str, int] = {}
        self._answered: dict[str, str] = {}
        self._decided_ms: dict[str, int] = {}
        self._known_ms: dict[str, int] = {}
        self._missing: dict[str, set[int]] = {}
        self._highest = -1  # of all slots decided so far
        self._queries: dict[str, int] = {}  # what that was when a read was asked for
        self._last_asked = 0
        self._acting = -1  # whose effects are carried out
        self._over = False
        self._to_come = sum(isinstance(action, Submit) for action in plan.actions)
        self._sent_to_decision = 0
        self._setups = [self._setup(agent) for agent in self.members]
        self._late_low, late = plan.network.slow_ms
        self._late_span = late - self._late_low + 1
        self._take_delay(plan.network.delay_ms)
        self._noise = self._noises() if self._chaos else (0.0, 0.0, 0.0)

    def run(self) -> Outcome:
        """Let everything happen until all is decided, the limit is reached or an invariant broken."""
        violated: Violated | None = None
        try:
            self._begin()
            self._go()
        except Violated as error:
            violated = error
            if self.trace is not None:
                self.trace.append(Seen(self.now_ms, "violated", self._acting, -1, str(error)))
        except Exception as error:
            error.add_note(f"after {self.now_ms} ms in the world of {self.plan}")
            raise
        undecided = tuple(sorted(self._missing))
        return Outcome(
            violation=None if violated is None else f"{violated} (at {self.now_ms} ms)",
            invariant=None if violated is None else violated.invariant,
            stopped=violated is None and bool(undecided or self._to_come),
            undecided=undecided,
            deliveries=self.deliveries,
            messages=self.sent,
            sent_to_decision=self._sent_to_decision,
            ended_ms=self.now_ms,
            decided_ms=self._decided_ms,
            known_ms=self._known_ms,
            answers=self._answered,
        )

    def _take_delay(self, delay_ms: tuple[int, int]) -> None:
        self._low, high = delay_ms
        self._span = high - self._low + 1

    def _noises(self) -> tuple[float, float, float]:
        """Return below which draw a message is lost, below which it comes twice, and below which it is slow."""
        network = self.plan.network
        twice = network.drop + network.duplicate
        return network.drop, twice, twice + network.slow

    # --- the clock ----------------------------------------------------------------------------------------

    def _begin(self) -> None:
        plan = self.plan
        for agent in self.members:
            self._start(agent)
        for action in plan.actions:
            self._at(action.at_ms, _ACTION, action)
        self._at(plan.tick_ms, _TICK)
        if self._chaos:
            self._at(plan.chaos_ms, _CALM)

    def _at(self, at_ms: int, kind: int, a: Any = None, b: Any = None) -> None:
        self._queue[at_ms].append((kind, a, b))

    def _go(self) -> None:
        queue, nodes, limit, trace = self._queue, self.nodes, self.plan.limit_ms, self.trace
        carry_out = self._carry_out
        for now in range(limit):
            if now not in queue:
                continue
            self.now_ms = now
            for kind, a, b in queue[now]:  # what is appended meanwhile has its turn, too
                if kind >= 0:
                    node = nodes[kind]
                    if node is None:
                        continue
                    self.deliveries += 1
                    if trace is not None:
                        trace.append(Seen(now, "delivered", kind, a, b))
                    effects = node.step(a, b)
                    if effects is not NOTHING:
                        carry_out(node, effects)
                else:
                    self._happen(kind, a, b)
                if self._over:
                    return
            del queue[now]
        self.now_ms = limit

    def _happen(self, kind: int, a: Any, b: Any) -> None:
        if kind == _TICK:
            self._tick()
        elif kind == _ACTION:
            self._act(a)
        elif kind == _SYNCED:
            if self._lives[a] == b:
                self._synced(a)
        elif kind == _RETRY:
            self._ask(a, b)
        else:
            self._calm()

    def _tick(self) -> None:
        self._at(self.now_ms + self.plan.tick_ms, _TICK)
        if self._rates is not None:
            self._tick_unevenly(self._rates)
            return
        for node in self.nodes:
            if node is not None:
                effects = node.tick()
                if effects is not NOTHING:
                    self._carry_out(node, effects)

    def _tick_unevenly(self, rates: Sequence[float]) -> None:
        for agent, node in enumerate(self.nodes):
            if node is None:
                continue
            self._phases[agent] += rates[agent]
            times = int(self._phases[agent])
            self._phases[agent] -= times
            for _ in range(times):
                effects = node.tick()
                if effects is not NOTHING:
                    self._carry_out(node, effects)

    # --- nodes and their disks ----------------------------------------------------------------------------

    def _setup(self, agent: int) -> Setup:
        def opinion(question: str) -> str:
            if self._opinion is not None:
                return self._opinion(agent, question)
            return opinion_of(self.plan.seed, agent, question)

        return Setup(
            id=agent,
            members=self.members,
            random=self._choices,
            opinion=opinion if self.mechanism.votes else str,
            weights=self._weights,
            keys=self._keys[agent],
            options=self.plan.options,
        )

    def _start(self, agent: int) -> None:
        node = self.nodes[agent] = self.mechanism.node(self._setups[agent])
        if self._lives[agent]:
            self.decisions[agent].clear()
            self.snapshots[agent] = None
            if agent not in self.plan.liars:
                for check in self._checks:
                    check.restarted(node)
        effects = node.restore(self._disks[agent])
        if effects is not NOTHING:
            self._carry_out(node, effects)

    def _carry_out(self, node: Node, effects: Effects) -> None:
        """Persist, then send: at once where the disk takes no time, else when it is done with all before."""
        if self._slow_disks and (effects.persist or self._unsynced[node.id]):
            if self.mechanism.early and not self._unsynced[node.id]:
                effects = self._early(node, effects)
            self._write(node.id, effects)
        else:
            self._release(node, effects)

    def _early(self, node: Node, effects: Effects) -> Effects:
        """Send what need not wait for the records beside it, and return the rest."""
        kinds = self.mechanism.early
        early = [one for one in effects.messages if type(one[1]) in kinds]
        if not early:
            return effects
        self._release(node, Effects(messages=early))
        later = [one for one in effects.messages if type(one[1]) not in kinds]
        return msgspec.structs.replace(effects, messages=later)

    def _write(self, agent: int, effects: Effects) -> None:
        low, high = self.plan.sync_ms
        self._unsynced[agent].append(effects)
        delay = low + int(self._draw() * (high - low + 1)) if effects.persist else 0
        # Not before those that wait already: an order is an order.
        self._sync_at[agent] = at_ms = max(self.now_ms + delay, self._sync_at[agent])
        self._at(at_ms, _SYNCED, agent, self._lives[agent])

    def _synced(self, agent: int) -> None:
        node = self.nodes[agent]
        effects = self._unsynced[agent].pop(0)
        if node is not None:
            self._release(node, effects)

    def _release(self, node: Node, effects: Effects) -> None:
        agent = node.id
        if effects.persist:
            self._keep(agent, effects.persist)
        self._acting = agent
        lies = self.plan.liars.get(agent) if self.plan.liars else None
        if lies is None:
            for check in self._checks if effects.decisions or effects.snapshot is not None else self._always:
                check.after(node, effects)
            if effects.reads:
                self._check_reads(agent, effects)
        if effects.snapshot is not None:
            self._install(agent, effects.snapshot)
        if effects.decisions:
            self._note(agent, effects.decisions, honest=lies is None)
        if effects.messages:
            if self._mute and node.leader == agent and agent not in self._led:
                self._cut_off(agent)
            self._send(agent, effects.messages if lies is None else self._lie(agent, effects.messages, lies))

    def _keep(self, agent: int, records: list[Record]) -> None:
        self._disks[agent].extend(records)
        if self.trace is not None:
            self.trace += [Seen(self.now_ms, "persisted", agent, -1, record) for record in records]

    def _install(self, agent: int, snapshot: Snapshot) -> None:
        """Set an agent's state to a snapshot: for this world the list of what was decided, by slot."""
        self.snapshots[agent] = snapshot
        if self.trace is not None:
            self.trace.append(Seen(self.now_ms, "snapshot", agent, -1, snapshot.slot))
        known = msgspec.json.decode(snapshot.state, type=list[Decision])
        if agent in self.honest:
            self._note(agent, [one for one in known if one.slot not in self.decisions[agent]], honest=True)

    # --- the network --------------------------------------------------------------------------------------

    def _send(self, sender: int, messages: list[tuple[int, Message]]) -> None:
        queue, draw, now, cuts = self._queue, self._draw, self.now_ms, self._cuts
        low, span, trace = self._low, self._span, self.trace
        calm = self.plan.calm
        drop, duplicate, slow = self._noise
        number = self.sent - 1
        for to, message in messages:
            number += 1
            at_ms = now + low + int(draw() * span)
            fate = draw() if slow else 1.0
            if trace is not None:
                trace.append(Seen(now, "sent", sender, to, message, number))
            if calm and any(first <= number <= last for first, last in calm):
                at_ms, fate = now + low, 1.0
            if fate < drop or (cuts and (sender, to) in cuts):
                if trace is not None:
                    trace.append(Seen(now, "lost", sender, to, message, number))
                continue
            if fate < slow:
                late_ms = now + self._late_low + int(draw() * self._late_span)
                if fate < duplicate:
                    queue[late_ms].append((to, sender, message))
                else:
                    at_ms = late_ms
            queue[at_ms].append((to, sender, message))
        self.sent = number + 1

    def _lie(
        self, agent: int, messages: list[tuple[int, Message]], behaviour: str
    ) -> list[tuple[int, Message]]:
        """Return what a liar sends in place of ``messages``."""
        if behaviour == "silence":
            return []
        lie = self.mechanism.lies[behaviour]
        told = [(to, lie(message, to, self._setups[agent])) for to, message in messages]
        return [(to, message) for to, message in told if message is not None]

    # --- clients ------------------------------------------------------------------------------------------

    def _ask(self, value: str, agent: int) -> None:
        """Ask an agent, or whom it names; again and elsewhere while nobody has decided."""
        if value not in self._missing:
            return
        alive = [member for member in self.members if self.nodes[member] is not None]
        if value not in self._decided_ms and alive:
            asked = agent if agent in alive else alive[agent % len(alive)]
            node = self.nodes[asked]
            named = node.leader if node is not None else None
            if self.mechanism.forwards and self.now_ms > self._asked[value]:
                named = None  # whom it named has not answered
            if named is not None and named != asked and named in alive:
                asked, node = named, self.nodes[named]
            if node is not None:
                self._last_asked = asked
                if self.trace is not None:
                    self.trace.append(Seen(self.now_ms, "client", asked, -1, value))
                own = f"={self._opinion(asked, value)}" if self._opinion and self._own_answers else ""
                effects = node.propose(value + own)
                if effects is not NOTHING:
                    self._carry_out(node, effects)
        self._at(self.now_ms + self.plan.retry_ms, _RETRY, value, (agent + 1) % self.plan.n)

    def _note(self, agent: int, decisions: list[Decision], *, honest: bool) -> None:
        if self.trace is not None:
            self.trace.extend(Seen(self.now_ms, "decided", agent, -1, decision) for decision in decisions)
        if not honest:
            return
        mine = self.decisions[agent]
        for decision in decisions:
            mine[decision.slot] = decision
            self._highest = max(self._highest, decision.slot)
            value = decision.question or decision.value
            if self._own_answers:
                value = value.partition("=")[0]
            if value not in self._asked:
                self._check_validity(agent, decision)
                continue
            if value not in self._decided_ms:
                self._decided_ms[value] = self.now_ms - self._asked[value]
                self._answered[value] = decision.value
                self._sent_to_decision = self._sent_to_decision or self.sent
            missing = self._missing.get(value)
            if missing is not None:
                missing.discard(agent)
                if not missing:
                    self._known_ms[value] = self.now_ms - self._asked[value]
                    del self._missing[value]
                    self._look()

    def _look(self) -> None:
        """See whether there is anything left to wait for."""
        self._over = not self._missing and not self._to_come and not self._chaos

    def _check_validity(self, agent: int, decision: Decision) -> None:
        """Where nobody lies, what is decided has been asked for (an empty value fills a slot, and nobody asked)."""
        if not self.plan.liars and decision.value:
            raise Violated("validity", f"agent {agent} decided {decision.value!r}, which nobody asked for")

    def _check_reads(self, agent: int, effects: Effects) -> None:
        """A read sees all that anybody had decided when it was asked for: that is what linearizable means for it."""
        for read in effects.reads:
            least = self._queries.get(read.request, -1)
            if read.slot < least:
                raise Violated(
                    "linearizable reads",
                    f"agent {agent} answers {read.request} from slot {read.slot}; {least} was decided before it",
                )

    # --- what the plan says -------------------------------------------------------------------------------

    def _act(self, action: Action) -> None:  # noqa: C901 - one branch a kind
        agent = getattr(action, "agent", 0)
        if agent == LEADER:
            agent = self._leader()
        shown = agent if hasattr(action, "agent") else -1
        if self.trace is not None:
            self.trace.append(Seen(self.now_ms, "action", shown, -1, action))
        if isinstance(action, Submit):
            self._to_come -= 1
            self._asked[action.value] = self.now_ms
            self._missing[action.value] = set(self.core)
            self._ask(action.value, agent)
        elif isinstance(action, Crash):
            self._crash(agent)
        elif isinstance(action, Restart):
            if self.nodes[agent] is None:
                self._start(agent)
        elif isinstance(action, Cut):
            self._cut(action)
        elif isinstance(action, Heal):
            self._cuts = frozenset()
            self._led.clear()
        elif isinstance(action, Mute):
            self._mute = action.leaders
            self._led = {node.id for node in self.nodes if node is not None and node.leader == node.id}
        elif isinstance(action, Clock):
            rates = self._rates or [1.0] * self.plan.n
            rates[agent] = action.rate
            self._rates = rates
        elif isinstance(action, Compact):
            self._compact(agent)
        elif isinstance(action, Query):
            self._query(agent)

    def _leader(self) -> int:
        """Return who leads: whom most name, among those who name themselves; without one, whom a client asked last."""
        named = Counter(node.leader for node in self.nodes if node is not None)
        leaders = [node.id for node in self.nodes if node is not None and node.leader == node.id]
        if not leaders or (len(leaders) > 1 and self._last_asked in leaders and named[self._last_asked] == 1):
            return self._last_asked
        return max(leaders, key=lambda agent: (named[agent], -agent))

    def _cut(self, action: Cut) -> None:
        leader = self._leader() if LEADER in (*action.sources, *action.targets) else LEADER
        sources = {leader if one == LEADER else one for one in action.sources}
        targets = {leader if one == LEADER else one for one in action.targets}
        if LEADER in action.sources:
            targets -= sources
        if LEADER in action.targets:
            sources -= targets
        self._cuts |= {(one, other) for one in sources for other in targets if one != other}

    def _cut_off(self, agent: int) -> None:
        """Let nothing get from an agent that has just come to lead."""
        self._mute -= 1
        self._led.add(agent)
        self._cuts |= {(agent, other) for other in self.members if other != agent}

    def _query(self, agent: int) -> None:
        node = self.nodes[agent]
        if node is None:
            return
        request = f"read {len(self._queries)}"
        self._queries[request] = self._highest
        effects = node.read(request)
        if effects is not NOTHING:
            self._carry_out(node, effects)

    def _crash(self, agent: int) -> None:
        self.nodes[agent] = None
        self._unsynced[agent].clear()
        self._sync_at[agent] = 0
        self._lives[agent] += 1

    def _compact(self, agent: int) -> None:
        node, known = self.nodes[agent], self.decisions[agent]
        slot = -1
        while slot + 1 in known:
            slot += 1
        if node is None or slot < 0:
            return
        state = msgspec.json.encode([known[index] for index in range(slot + 1)]).decode()
        effects = node.compact(Snapshot(slot, state))
        if effects is not NOTHING:
            self._carry_out(node, effects)

    def _calm(self) -> None:
        """End the chaos: from now on the core is well, and has to show it."""
        self._chaos = False
        self._mute = 0
        self._cuts = frozenset()
        self._rates = None
        self._noise = (0.0, 0.0, 0.0)
        if self.plan.network.settled_ms is not None:
            self._take_delay(self.plan.network.settled_ms)
        for agent in sorted(self.core):
            if self.nodes[agent] is None:
                self._start(agent)
        self._look()


def opinion_of(seed: int, agent: int, question: str) -> str:
    """Return what an agent of a simulated world answers: ``yes`` or ``no``, two of three the same in the mean."""
    draw = int.from_bytes(blake2b(f"{seed}/{agent}/{question}".encode(), digest_size=4).digest(), "big")
    return "yes" if draw < 2**32 * 2 / 3 else "no"
