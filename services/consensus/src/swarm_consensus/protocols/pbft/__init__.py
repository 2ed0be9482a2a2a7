"""PBFT: agreement among agents of whom some lie. See :mod:`~swarm_consensus.protocols.pbft.node`."""

from __future__ import annotations

from swarm_consensus.checking.agreement import Agreement, Integrity
from swarm_consensus.checking.pbft import CHECKS
from swarm_consensus.protocols.core import Mechanism
from swarm_consensus.protocols.pbft.lies import LIES
from swarm_consensus.protocols.pbft.node import MESSAGES, RECORDS, Replica
from swarm_consensus.protocols.quorum import byzantine, faulty

MECHANISM = Mechanism(
    name="pbft",
    title="PBFT",
    description="A primary proposes, and two rounds of votes by quorums that share an honest agent decide",
    paper="Castro and Liskov 1999, Practical Byzantine fault tolerance",
    node=Replica,
    messages=MESSAGES,
    records=RECORDS,
    phases=("pre-prepare", "prepare", "commit"),
    crashes=lambda n: n - byzantine(n),
    liars=faulty,
    fault_free=lambda n: 2 * n * (n - 1),
    counted_until="quiet",
    checks=(Agreement, Integrity, *CHECKS),
    lies=LIES,
    variations={"checkpoint": (1, 2, 3), "timeout": (8, 30)},
    forwards=True,
)
