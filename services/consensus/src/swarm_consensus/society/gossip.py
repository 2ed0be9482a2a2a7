"""Gossip: agents that call one another at random until all know what one knew (anti-entropy: Demers et al. 1987).

In each round every agent calls one other, drawn at random:

- ``push``: who knows something tells it;
- ``pull``: everybody asks, naming what it knows; the answer, if there is one, is what it lacked;
- ``push_pull``: everybody tells what it knows, and is answered with what it lacked.

Nobody can know that there is no news, so with pull and push-pull all call in every round; with push, who knows nothing
has nothing to say. Every call and every answer is a message. What an agent hears in a round it passes on from the next
round on, however the messages of a round are ordered.

The nodes are sans-IO like all protocols, and :func:`once` is the runner: rounds are synchronous, as in the literature,
and a message that is lost is lost for good. Push takes log2 n + ln n rounds in the mean for many agents (Pittel 1987);
push-pull takes fewer, as who does not know yet calls too (Karp, Schindelhauer, Shenker and Vöcking 2000).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from random import Random

import msgspec

from swarm_consensus.protocols.core import Message, Node, Record, Setup, Transition, Value, on

FACT = "the fact"
"""What is spread where one fact is enough."""


class Tell(Message, frozen=True):
    """What the sender knows, or what the one who asked lacks of it."""

    facts: tuple[Value, ...]


class Ask(Message, frozen=True):
    """The sender wants to know what it does not: all but ``known``."""

    known: tuple[Value, ...]


class Exchange(Message, frozen=True):
    """What the sender knows; it wants to know the rest."""

    facts: tuple[Value, ...]


class Gossiper(Node):
    """An agent that knows facts and calls one other agent a tick. What it knows does not survive a crash."""

    TRANSITIONS = (Transition("susceptible", "heard of a fact", "infective"),)

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._known: dict[Value, None] = {}  # in the order of hearing; what it knew when the round began
        self._news: dict[Value, None] = {}

    def knows(self, fact: Value) -> bool:
        """Return whether this agent has heard of a fact."""
        return fact in self._known or fact in self._news

    def _on_propose(self, value: Value) -> None:
        self._hear((value,))

    def _on_restore(self, persisted: Sequence[Record]) -> None:
        """Know nothing, as nothing was persisted: others will call."""

    def _on_tick(self) -> None:
        if self._news:
            self._known |= self._news
            self._news = {}
        self._call(self._somebody())

    def _call(self, other: int) -> None:
        raise NotImplementedError

    def _somebody(self) -> int:
        """Return another agent, each as likely as any other."""
        members, draw = self.members, self._random.random
        while (other := members[int(draw() * len(members))]) == self.id:
            pass
        return other

    def _hear(self, facts: Iterable[Value]) -> None:
        for fact in facts:
            if not self.knows(fact):
                self._news[fact] = None
                if self.state == "susceptible":
                    self._become("infective", "heard of a fact")

    def _answer(self, caller: int, known: tuple[Value, ...]) -> None:
        lacked = tuple(fact for fact in self._known if fact not in known)
        if lacked:
            self._send(caller, Tell(lacked))

    @on(Tell)
    def _tell(self, sender: int, message: Tell) -> None:  # noqa: ARG002 - who told does not matter
        self._hear(message.facts)


class Push(Gossiper):
    """Tells what it knows."""

    def _call(self, other: int) -> None:
        if self._known:
            self._send(other, Tell(tuple(self._known)))


class Pull(Gossiper):
    """Asks for what it does not know."""

    def _call(self, other: int) -> None:
        self._send(other, Ask(tuple(self._known)))

    @on(Ask)
    def _asked(self, sender: int, message: Ask) -> None:
        self._answer(sender, message.known)


class PushPull(Gossiper):
    """Tells what it knows and is told what it does not."""

    def _call(self, other: int) -> None:
        self._send(other, Exchange(tuple(self._known)))

    @on(Exchange)
    def _exchange(self, sender: int, message: Exchange) -> None:
        self._hear(message.facts)
        self._answer(sender, message.facts)


NODES: Mapping[str, type[Gossiper]] = {"push": Push, "pull": Pull, "push_pull": PushPull}
"""By the way of calling, as users write it."""


class Course(msgspec.Struct, frozen=True):
    """How a fact became known to all."""

    knowing: tuple[int, ...]
    """Agents that knew after each round; the last is all."""
    messages: int

    @property
    def rounds(self) -> int:
        """How many it took."""
        return len(self.knowing)


def once(way: str, agents: int, *, loss: float, seed: int) -> Course:
    """Let agent 0 of a swarm know a fact, and run rounds until all know it; the same arguments give the same course.

    ``loss`` is the share of messages (calls and answers alike) that do not arrive, below 1.
    """
    partners, losses = Random(f"{seed}/partners"), Random(f"{seed}/losses")  # noqa: S311 - seeded, nothing secret
    members = tuple(range(agents))
    nodes = [NODES[way](Setup(id=agent, members=members, random=partners)) for agent in members]
    nodes[0].propose(FACT)
    unaware, knowing, messages = nodes[1:], [], 0
    while unaware:
        sent = [(node.id, to, message) for node in nodes for to, message in node.tick().messages]
        while sent:
            messages += len(sent)
            arrived = [each for each in sent if losses.random() >= loss] if loss else sent
            sent = [
                (to, back, answer)
                for sender, to, message in arrived
                for back, answer in nodes[to].step(sender, message).messages
            ]
        unaware = [node for node in unaware if not node.knows(FACT)]
        knowing.append(agents - len(unaware))
    return Course(tuple(knowing), messages)


def mean_curve(courses: Sequence[Course], agents: int) -> tuple[float, ...]:
    """Return the mean share of agents that knew after each round; a course that is over stays at 1."""
    longest = max(course.rounds for course in courses)
    return tuple(
        sum(course.knowing[at] if at < course.rounds else agents for course in courses)
        / (agents * len(courses))
        for at in range(longest)
    )
