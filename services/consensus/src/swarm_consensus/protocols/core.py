"""What all protocols share: messages go in, and messages, records for the disk and decisions come out.

A node is a state machine without network, disk, clock or randomness of its own. Whoever runs it (the simulator, the
live runner, a test) hands it messages and ticks, and carries out the :class:`Effects` it gets back, in this order:

1. write ``persist`` to the disk and wait until it is there (the durability rule: *persist before send*),
2. send ``messages``, act on ``decisions``, ``reads`` and ``snapshot``.

Messages of the kinds in :attr:`Mechanism.early` may be sent while ``persist`` is being written, all before it being
there.

A node that comes back after a crash is made anew and given all it had persisted by :meth:`Node.restore`. Whatever else
it knew is lost.

The way is that of etcd's raft library (``Step``, ``Tick``, ``Ready``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from random import Random
from typing import Any, ClassVar, Literal, Protocol, TypeVar

import msgspec

from swarm_common.errors import SwarmError

Value = str
"""What is agreed on. The protocols do not look inside."""


class ImpossibleTransition(SwarmError):
    """A node went from one state to another in a way its table does not have: a bug in the protocol."""


class Message(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=True):
    """What one agent tells another; each protocol has types of its own. Whom it is from, the transport says."""


class Record(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=True):
    """What a node must find again after a crash; each protocol has types of its own."""


class Decision(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A node knows that ``value`` is what the swarm decided in ``slot``."""

    slot: int
    """Place in the sequence of decisions, from 0."""
    value: Value
    certificate: Mapping[str, Any] = {}
    """Why: term, ballot or view, and who was heard. What it holds, the protocol says."""
    question: Value = ""
    """What was proposed, where ``value`` is the swarm's answer to it; empty: the value itself was proposed."""


class Read(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The read asked for under ``request`` may be answered from a state that has applied ``slot`` and all before it."""

    request: str
    slot: int
    """-1: nothing need have been applied."""


class Snapshot(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The state after a prefix of the decisions, in their place."""

    slot: int
    """The last slot that is in it."""
    state: str
    """As the state machine wrote it; the protocols do not look inside."""


class Effects(msgspec.Struct, gc=False):
    """What is to be carried out after an input, in the order that this module's docstring gives."""

    persist: list[Record] = []
    messages: list[tuple[int, Message]] = []
    """To whom, and what."""
    decisions: list[Decision] = []
    """In the order of slots where the protocol has an order."""
    reads: list[Read] = []
    snapshot: Snapshot | None = None
    """The state machine is to be set to this before ``decisions`` are applied."""
    phases: list[tuple[int, str]] = []
    """Slot, and the phase of its decision that begins here: what traces show. See :attr:`Mechanism.phases`."""


NOTHING = Effects()
"""No effects: what most ticks return. Never changed."""


class Keys(Protocol):
    """Signatures over bytes; a node holds its own secret and can verify everybody's."""

    def sign(self, payload: bytes) -> bytes:
        """Return this node's signature."""
        ...

    def verify(self, signer: int, payload: bytes, signature: bytes) -> bool:
        """Return whether ``signer`` signed ``payload``."""
        ...


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What a node is made from. The same setup and the same inputs give the same effects."""

    id: int
    members: tuple[int, ...]
    """All agents of the swarm in ascending order, this one among them."""
    random: Random
    """For time-outs and backoff; seeded by whoever runs the node."""
    opinion: Callable[[Value], Value] = str
    """This agent's own answer to a question; asked by mechanisms in which agents vote. Pure."""
    weights: Mapping[int, float] = {}
    """By agent, what its vote counts; who is not named counts 1."""
    keys: Keys | None = None
    """For protocols that sign."""
    options: Mapping[str, Any] = {}
    """The protocol's own settings, in ticks and counts; see its docstring."""


class Transition(msgspec.Struct, frozen=True):
    """One row of a protocol's table: in ``source``, when ``trigger``, the node goes to ``target``."""

    source: str
    trigger: str
    target: str


Lie = Callable[[Message, int, Setup], Message | None]
"""What a liar tells agent ``to`` in place of a message it should send; ``None``: nothing. Setup is the liar's own."""


class Mechanism(msgspec.Struct, frozen=True, kw_only=True):
    """One way to agree, and what there is to know about it: what a module of this package offers as ``MECHANISM``."""

    name: str
    """As users write it: ``raft``."""
    title: str
    description: str
    """One sentence: how it decides."""
    paper: str
    """Authors, year, title; the section where one is followed."""
    node: Callable[[Setup], Node]
    messages: tuple[type[Message], ...]
    records: tuple[type[Record], ...]
    phases: tuple[str, ...]
    """Of one decision, in their order, as :attr:`Effects.phases` names them."""
    crashes: Callable[[int], int]
    """Of n agents, how many may crash while decisions go on."""
    liars: Callable[[int], int]
    """Of n agents, how many may lie without harm to safety; 0 where the fault model has crashes only."""
    fault_free: Callable[[int], int]
    """Of n agents: messages of one decision, nothing failing and a leader in office, until ``counted_until``."""
    counted_until: Literal["decided", "quiet"]
    """Until the first agent has decided, or until nobody has anything more to say of it."""
    checks: tuple[Callable[[tuple[int, ...]], Check], ...]
    """Invariants, made from the honest members."""
    lies: Mapping[str, Lie] = {}
    """By the name of a behaviour, ``equivocation`` and ``wrong_value`` at least; ``silence`` is known for all."""
    forwards: bool = False
    """Whether an agent that is asked passes the value on, so that a client need not ask whom it names (who may lie)."""
    variations: Mapping[str, tuple[int, ...]] = {}
    """By option, values with which the simulator runs it, besides the usual one: so that what is rare happens."""
    early: tuple[type[Message], ...] = ()
    """Kinds that need not wait for the records beside them, for all earlier ones alone: they say nothing that rests on
    these."""
    votes: bool = False
    """Whether the decision is made of the agents' own opinions; otherwise it is what one agent proposed."""


class Violated(SwarmError):
    """An invariant did not hold.

    Attributes:
        invariant: Its name in the literature.
    """

    def __init__(self, invariant: str, what: str) -> None:
        super().__init__(f"{invariant}: {what}")
        self.invariant = invariant


class Check(Protocol):
    """Watches the honest nodes of a swarm and raises :class:`Violated`; stands apart from the protocol it checks.

    One that looks at decisions and snapshots alone may say ``decisions_only: ClassVar = True``, and is called where
    there are some. What it checks is named as its class is, or by ``INVARIANTS: ClassVar = (...)``.
    """

    def after(self, node: Node, effects: Effects) -> None:
        """Look at what a node did, its records being on disk and its messages not yet sent.

        Raises:
            Violated: The invariant does not hold.
        """
        ...

    def restarted(self, node: Node) -> None:
        """Take note that a node has crashed and come back as this one, its effects of ``restore`` yet to come."""
        ...


_N = TypeVar("_N", bound="Node")
_M = TypeVar("_M", bound=Message)
_Handler = Callable[[_N, int, _M], None]


def on(kind: type[_M]) -> Callable[[_Handler[_N, _M]], _Handler[_N, _M]]:
    """Mark a method ``(self, sender, message) -> None`` as what a node does with messages of ``kind``."""

    def mark(method: _Handler[_N, _M]) -> _Handler[_N, _M]:
        method.__dict__["handles"] = kind
        return method

    return mark


class Node:
    """One agent's part in a protocol: fill the effects in ``_send``, ``_persist`` and ``_decide``, return ``_take()``.

    A subclass gives ``TRANSITIONS``, methods marked with :func:`on`, and the four ``_on_*`` methods it needs.
    """

    TRANSITIONS: ClassVar[tuple[Transition, ...]] = ()
    """The table of its states; the first row's source is where a node begins. docs/ draws the diagram from it."""
    _handlers: ClassVar[dict[type[Message], Callable[[Any, int, Any], None]]] = {}
    _ways: ClassVar[frozenset[tuple[str, str, str]]] = frozenset()

    def __init_subclass__(cls) -> None:
        found = dict(cls._handlers)
        for method in vars(cls).values():
            if kind := getattr(method, "handles", None):
                found[kind] = method
        cls._handlers = found
        cls._ways = frozenset((row.source, row.trigger, row.target) for row in cls.TRANSITIONS)

    def __init__(self, setup: Setup) -> None:
        self.id = setup.id
        self.members = setup.members
        self.state = self.TRANSITIONS[0].source
        self._setup = setup
        self._random = setup.random
        self._effects: Effects | None = None

    @cached_property
    def peers(self) -> tuple[int, ...]:
        """All members but this node; made when first asked for: a swarm that gossips is large, and asks for none."""
        return tuple(member for member in self.members if member != self.id)

    # --- inputs -------------------------------------------------------------------------------------------

    def propose(self, value: Value) -> Effects:
        """Take up a client's value, or do nothing where another node (``leader``) should be asked."""
        self._on_propose(value)
        return self._take()

    def step(self, sender: int, message: Message) -> Effects:
        """Take a message from ``sender``. A kind that the protocol does not know has no effect."""
        handler = self._handlers.get(type(message))
        if handler is None:
            return NOTHING
        handler(self, sender, message)
        effects = self._effects  # as _take does: with ticks, these are nearly all the calls there are
        if effects is None:
            return NOTHING
        self._effects = None
        return effects

    def tick(self) -> Effects:
        """Let one unit of time pass."""
        self._on_tick()
        effects = self._effects
        if effects is None:
            return NOTHING
        self._effects = None
        return effects

    def restore(self, persisted: Sequence[Record]) -> Effects:
        """Take up what was persisted, in the order it was written, before any other input."""
        self._on_restore(persisted)
        return self._take()

    def read(self, request: str) -> Effects:
        """Ask when a linearizable read may be served; effects have it in ``reads``, at once or later, or never."""
        self._on_read(request)
        return self._take()

    def compact(self, snapshot: Snapshot) -> Effects:
        """Replace the decisions up to ``snapshot.slot`` by the state they led to."""
        self._on_compact(snapshot)
        return self._take()

    @property
    def leader(self) -> int | None:
        """Whom a client should ask, as far as this node knows; ``None``: nobody, for now."""
        return self.id

    # --- for subclasses -----------------------------------------------------------------------------------

    def _on_propose(self, value: Value) -> None:
        raise NotImplementedError

    def _on_tick(self) -> None:
        return

    def _on_restore(self, persisted: Sequence[Record]) -> None:
        raise NotImplementedError

    def _on_read(self, request: str) -> None:
        """Serve no reads, where a protocol has none."""

    def _on_compact(self, snapshot: Snapshot) -> None:
        """Keep everything, where a protocol has no snapshots."""

    @property
    def _out(self) -> Effects:
        effects = self._effects
        if effects is None:
            effects = self._effects = Effects()
        return effects

    def _send(self, to: int, message: Message) -> None:
        effects = self._effects  # as _out does: every message comes this way
        if effects is None:
            effects = self._effects = Effects()
        effects.messages.append((to, message))

    def _broadcast(self, message: Message) -> None:
        """Send to all but this node itself."""
        self._out.messages.extend([(peer, message) for peer in self.peers])

    def _persist(self, record: Record) -> None:
        self._out.persist.append(record)

    def _decide(
        self, slot: int, value: Value, certificate: Mapping[str, Any] | None = None, question: Value = ""
    ) -> None:
        self._out.decisions.append(Decision(slot, value, certificate or {}, question))

    def _phase(self, slot: int, phase: str) -> None:
        self._out.phases.append((slot, phase))

    def _become(self, target: str, trigger: str) -> None:
        """Go to another state.

        Raises:
            ImpossibleTransition: The table has no such row.
        """
        if (self.state, trigger, target) not in self._ways:
            raise ImpossibleTransition(
                f"{type(self).__name__}: no way from {self.state} to {target} by {trigger!r}"
            )
        self.state = target

    def _take(self) -> Effects:
        effects = self._effects
        if effects is None:
            return NOTHING
        self._effects = None
        return effects
