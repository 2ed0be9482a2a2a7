"""What the driver of a live swarm, its host processes and its clients tell each other beside the protocol's messages.

Subjects, all below ``wire.<run>.``: ``<host>.<agent>`` a message to an agent; ``all`` a message to all agents but its
sender; ``round`` and ``back.<host>`` the all-agents round and its answers; ``to.<host>`` what this module has, to one
host; ``asked`` the same to all hosts; ``told`` to the driver.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from swarm_consensus.protocols.core import Value

DRIVER = -1
"""The driver's number where a host's is asked for."""
NOBODY = -2
"""Where no answer is wanted."""


class Said(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """Anything of this module that goes over the wire."""


class Hosting(msgspec.Struct, frozen=True, kw_only=True):
    """What a host process is told first, on its standard input: no secret stands in arguments or environment."""

    run: str
    """Token of the subjects: of one measurement alone."""
    url: str
    host: int
    hosts: tuple[tuple[int, ...], ...]
    """The agents of every host."""
    mechanism: str
    directory: str
    """Where the agents' disks are."""
    fsync: bool
    tick_ms: float
    seed: int
    secrets: Mapping[int, bytes] = {}
    """The secret key of each of its agents, where the mechanism signs."""
    publics: Mapping[int, bytes] = {}
    """The public key of every agent."""
    parent: int
    """Process id of the driver, with which a host ends."""
    liars: Mapping[int, str] = {}
    options: Mapping[str, Any] = {}
    restarted: bool = False
    """A crashed host that comes back begins at once, with what is on its disks."""


class Ask(Said, frozen=True):
    """A client wants a value decided."""

    agent: int
    """Who is asked; -1: everybody, at once."""
    value: Value
    client: int
    back: int
    """Where the client is: a host, or the driver."""


class Answer(Said, frozen=True):
    """An agent has decided what a client asked for."""

    client: int
    agent: int
    asked: Value
    slot: int
    value: Value
    certificate: Mapping[str, Any]
    result: str
    """What the state machine over the decisions made of it; empty where there is none."""


class Elsewhere(Said, frozen=True):
    """An agent names another whom to ask; -1: it knows of none for now."""

    client: int
    asked: Value
    agent: int


class Go(Said, frozen=True):
    """The agents begin: clocks run, messages are sent."""


class Decide(Said, frozen=True):
    """A host's client asks for these values one after the other, between rounds of all agents."""

    home: int
    """The agent that the client sits beside."""
    first: int
    """The number of the first value."""
    values: tuple[Value, ...]
    rounds: int
    """How many of the decisions have a measured round before them."""
    alive: int
    """Agents that take part in a round."""
    patience_s: float
    leader: int
    """Whom to ask first."""


class Count(Said, frozen=True):
    """How much has been sent so far?"""


class Report(Said, frozen=True):
    """What have your agents decided?"""


class Ready(Said, frozen=True):
    """A host has connected, and its agents have read their disks."""

    host: int


class Leads(Said, frozen=True):
    """An agent thinks that another, or itself, is whom a client should ask; -1: nobody."""

    agent: int
    leader: int


class Turn(Said, frozen=True):
    """One decision of those asked for one after the other."""

    number: int
    asked: Value
    latency_us: float
    """Below 0: it was not decided within the client's patience."""
    round_us: float
    """Of the round just before; below 0: there was none."""
    slot: int
    value: Value
    certificate: Mapping[str, Any]
    phases_us: tuple[tuple[str, float], ...]
    began_ns: int
    """Wall clock."""


class Done(Said, frozen=True):
    """All turns have been told."""

    host: int


class Counted(Said, frozen=True):
    """Messages between agents that the host's agents have sent; one to all counts as one to each."""

    host: int
    sent: int
    syncs: int
    """How often a disk was waited for."""
    refused: int
    """Messages that were none of the mechanism's."""


class Reported(Said, frozen=True):
    """Decisions of an agent in its present life, in the order it made them."""

    agent: int
    decisions: tuple[tuple[int, Value], ...]
    """Slot and value."""
    last: bool
    """Whether this is the end of what the host has to report."""
    host: int


TO_HOST = Ask | Answer | Elsewhere | Go | Decide | Count | Report
TO_DRIVER = Answer | Elsewhere | Ready | Leads | Turn | Done | Counted | Reported
